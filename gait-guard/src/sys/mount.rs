//! Mounts of the guard: a second view of the file system whose files can't be executed, and a place for pins.

use std::path::Path;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io;
use rustix::mount::{MountFlags, OpenTreeFlags, UnmountFlags, open_tree};

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// A detached copy of all mounts below `/`, each `noexec`. A file opened through it can't be mapped executable
/// or executed by descriptor, whoever tries; its name in `/proc/self/fd` is the same.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN in the user namespace that owns the mounts, `ENOSYS` before Linux 5.12.
pub fn noexec_root() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(rustix::fs::CWD, c"/", flags)?;
    let attributes = MountAttributes { set: libc::MOUNT_ATTR_NOEXEC, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the descriptor is open; the kernel reads an empty C string and `size_of` bytes of `attributes`, both
    // of which outlive the call.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &attributes,
            size_of::<MountAttributes>(),
        )
    };
    if rc < 0 { Err(super::last_errno()) } else { Ok(tree) }
}

/// Mounts a file system for pins of BPF objects on a folder that only its owner can enter.
///
/// # Errors
/// Those of `mount(2)`.
pub fn bpffs(folder: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(c"gait", folder, c"bpf", flags, c"mode=0700")
}

/// Unmounts it: the pins are gone then; and removes the folder.
///
/// # Errors
/// Those of `umount(2)` and `rmdir(2)`.
pub fn remove_bpffs(folder: &Path) -> io::Result<()> {
    match rustix::mount::unmount(folder, UnmountFlags::DETACH) {
        // It never came to the mount.
        Ok(()) | Err(io::Errno::INVAL) => rustix::fs::rmdir(folder),
        Err(errno) => Err(errno),
    }
}
