//! Programs at hooks of the security module: attached, kept alive by pins, switched.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya::maps::{Array, MapData};
use rustix::fd::AsFd as _;
use rustix::io::Errno;

use super::linked::Refusal;
use super::object::{failed, map_error};
use super::{BpfError, Object};
use crate::sys::bpf::program::pin;

/// Each program of the engine and its hook, in the order in which they are attached: membership first.
pub const HOOKS: &[(&str, &str)] = &[
    ("task_alloc", "task_alloc"),
    ("bprm_check_security", "bprm_check_security"),
    ("bprm_committing_creds", "bprm_committing_creds"),
    ("path_mknod", "path_mknod"),
    ("file_open", "file_open"),
    ("mmap_file", "mmap_file"),
    ("file_mprotect", "file_mprotect"),
    ("path_unlink", "path_unlink"),
    ("path_rmdir", "path_rmdir"),
    ("path_mkdir", "path_mkdir"),
    ("path_symlink", "path_symlink"),
    ("path_link", "path_link"),
    ("path_rename", "path_rename"),
    ("path_chmod", "path_chmod"),
    ("path_chown", "path_chown"),
    ("path_chroot", "path_chroot"),
    ("file_receive", "file_receive"),
    ("inode_setxattr", "inode_setxattr"),
    ("inode_removexattr", "inode_removexattr"),
    ("inode_set_acl", "inode_set_acl"),
    ("inode_remove_acl", "inode_remove_acl"),
    ("socket_create", "socket_create"),
    ("socket_connect", "socket_connect"),
    ("socket_bind", "socket_bind"),
    ("socket_listen", "socket_listen"),
    ("socket_sendmsg", "socket_sendmsg"),
    ("task_kill", "task_kill"),
    ("sb_mount", "sb_mount"),
    ("sb_umount", "sb_umount"),
    ("sb_pivotroot", "sb_pivotroot"),
    ("move_mount", "move_mount"),
    ("bpf_call", "bpf"),
    ("userns_create", "userns_create"),
    ("ptrace_access_check", "ptrace_access_check"),
    ("uring_cmd", "uring_cmd"),
    ("uring_override_creds", "uring_override_creds"),
];

/// Hooks that a kernel which does not have them does not need: before 6.2 access lists came by the hooks of extended
/// attributes, and there can be no io_uring.
const OPTIONAL: [&str; 4] = ["inode_set_acl", "inode_remove_acl", "uring_cmd", "uring_override_creds"];

impl Object {
    /// Loads and attaches the programs of all hooks that this kernel has.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub fn attach_hooks(&mut self) -> Result<(), BpfError> {
        self.load_all(HOOKS);
        for (program, hook) in HOOKS {
            match self.attach(program, hook) {
                Err(BpfError::Program { cause: Refusal::NoHook { .. }, .. }) if OPTIONAL.contains(hook) => {}
                attached => attached?,
            }
        }
        Ok(())
    }

    /// Pins the links of all hooks in a folder of a bpffs, so that they outlive this process.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub fn pin_lsm(&mut self, folder: &Path) -> Result<(), BpfError> {
        for link in self.take_lsm_links() {
            let path = CString::new(folder.join(&link.program).as_os_str().as_bytes()).map_err(|_| Errno::INVAL);
            path.and_then(|path| pin(link.fd.as_fd(), &path))
                .map_err(|errno| failed(&link.program, "pin")(errno.into()))?;
        }
        Ok(())
    }

    /// Sets a switch that programs look at.
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn switch(&mut self, index: u32, value: u32) -> Result<(), BpfError> {
        let mut switches: Array<MapData, u32> = self.map("SWITCHES")?.try_into().map_err(map_error("SWITCHES"))?;
        switches.set(index, value, 0).map_err(map_error("SWITCHES"))
    }
}
