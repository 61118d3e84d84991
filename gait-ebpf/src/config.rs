//! Constants that user space writes into the object before it is loaded: offsets of kernel structures, and switches.
//!
//! `rustc` writes no CO-RE relocations. So every offset is a constant of the instructions, found in the running kernel's BTF and
//! set at load; the verifier sees it as a known number and keeps the types of pointers. A name here is the name of the
//! symbol.

/// An offset: its symbol, and the member it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Symbol in the object.
    pub symbol: &'static str,
    /// Structure of the kernel.
    pub structure: &'static str,
    /// Member, `.` between nested ones.
    pub member: &'static str,
}

const fn o(symbol: &'static str, structure: &'static str, member: &'static str) -> Offset {
    Offset { symbol, structure, member }
}

/// Every offset that a program reads.
#[rustfmt::skip]
pub const OFFSETS: &[Offset] = &[
    o("O_FILE_PATH", "file", "f_path"),
    o("O_FILE_FLAGS", "file", "f_flags"),
    o("O_FILE_MODE", "file", "f_mode"),
    o("O_FILE_INODE", "file", "f_inode"),
    o("O_PATH_DENTRY", "path", "dentry"),
    o("O_PATH_MNT", "path", "mnt"),
    o("O_DENTRY_PARENT", "dentry", "d_parent"),
    o("O_DENTRY_NAME", "dentry", "d_name"),
    o("O_DENTRY_INODE", "dentry", "d_inode"),
    o("O_INODE_MODE", "inode", "i_mode"),
    o("O_INODE_NLINK", "inode", "i_nlink"),
    o("O_INODE_NUMBER", "inode", "i_ino"),
    o("O_INODE_SB", "inode", "i_sb"),
    o("O_SB_MAGIC", "super_block", "s_magic"),
    o("O_MOUNT_MNT", "mount", "mnt"),
    o("O_MOUNT_PARENT", "mount", "mnt_parent"),
    o("O_MOUNT_POINT", "mount", "mnt_mountpoint"),
    o("O_MOUNT_NS", "mount", "mnt_ns"),
    o("O_VFSMOUNT_ROOT", "vfsmount", "mnt_root"),
    o("O_TASK_FILES", "task_struct", "files"),
    o("O_TASK_MM", "task_struct", "mm"),
    o("O_TASK_NSPROXY", "task_struct", "nsproxy"),
    o("O_NSPROXY_MNT", "nsproxy", "mnt_ns"),
    o("O_TASK_LEADER", "task_struct", "group_leader"),
    o("O_TASK_START", "task_struct", "start_boottime"),
    o("O_TASK_THREAD_PID", "task_struct", "thread_pid"),
    o("O_PID_LEVEL", "pid", "level"),
    o("O_PID_NUMBERS", "pid", "numbers"),
    o("O_TASK_SIGNAL", "task_struct", "signal"),
    o("O_TASK_EXIT_CODE", "task_struct", "exit_code"),
    o("O_TASK_THREAD_STATUS", "task_struct", "thread_info.status"),
    o("O_SIGNAL_LIVE", "signal_struct", "live"),
    o("O_SIGNAL_GROUP_EXIT", "signal_struct", "group_exit_code"),
    o("O_FILES_COUNT", "files_struct", "count"),
    o("O_FILES_FDT", "files_struct", "fdt"),
    o("O_FDT_FD", "fdtable", "fd"),
    o("O_FDT_MAX", "fdtable", "max_fds"),
    o("O_MM_ARG_START", "mm_struct", "arg_start"),
    o("O_MM_ARG_END", "mm_struct", "arg_end"),
    o("O_VMA_FLAGS", "vm_area_struct", "vm_flags"),
    o("O_VMA_FILE", "vm_area_struct", "vm_file"),
    o("O_MSGHDR_NAME", "msghdr", "msg_name"),
    o("O_REGS_NR", "pt_regs", "orig_ax"),
    o("O_TASK_FS", "task_struct", "fs"),
    o("O_FS_PWD", "fs_struct", "pwd"),
    o("O_REGS_FIRST", "pt_regs", "di"),
    o("O_REGS_SECOND", "pt_regs", "si"),
    o("O_REGS_THIRD", "pt_regs", "dx"),
    o("O_BPRM_FILE", "linux_binprm", "file"),
];
