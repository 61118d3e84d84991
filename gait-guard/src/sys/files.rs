//! Calls on files that rustix lacks, all on handles that were judged.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

fn done(status: libc::c_long) -> Result<(), Errno> {
    if status == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Changes the mode of the object that the `O_PATH` handle `object` stands for (`fchmodat2` with
/// `AT_EMPTY_PATH`, Linux 6.6).
///
/// # Errors
/// Those of `chmod(2)`; `EOPNOTSUPP` for a symbolic link; `ENOSYS` on an older kernel.
pub fn chmod_handle(object: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    let fd = object.as_raw_fd();
    // SAFETY: `fd` stays open because it is borrowed; the path is a static NUL-terminated string.
    done(unsafe { libc::syscall(libc::SYS_fchmodat2, fd, c"".as_ptr(), mode, libc::AT_EMPTY_PATH) })
}

/// Sets the length of the file that `path` leads to. `length` is handed to the kernel as it is:
/// a negative one is its `EINVAL`.
///
/// # Errors
/// Those of `truncate(2)`.
pub fn truncate(path: &CStr, length: i64) -> Result<(), Errno> {
    // SAFETY: `path` is NUL-terminated and borrowed for the call; the kernel only reads it.
    done(unsafe { libc::syscall(libc::SYS_truncate, path.as_ptr(), length) })
}

/// Times for [`set_times`], with `UTIME_NOW` and `UTIME_OMIT` as the kernel knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct KernelTimes {
    /// Seconds and nanoseconds of the last access, then of the last modification.
    pub values: [[i64; 2]; 2],
}

/// Sets the times of the object that the handle stands for (`utimensat` with `AT_EMPTY_PATH`,
/// Linux 5.8). `None` is now.
///
/// # Errors
/// Those of `utimensat(2)`; times are checked by the kernel.
pub fn set_times(object: BorrowedFd<'_>, times: Option<&KernelTimes>) -> Result<(), Errno> {
    let fd = object.as_raw_fd();
    let times = times.map_or(std::ptr::null(), |times| times.values.as_ptr());
    // SAFETY: `fd` stays open because it is borrowed, the path is static, and `times` is null or
    // points to two pairs of 64-bit numbers (the kernel's `timespec64[2]`) borrowed for the call.
    done(unsafe { libc::syscall(libc::SYS_utimensat, fd, c"".as_ptr(), times, libc::AT_EMPTY_PATH) })
}

/// Changes owner and group of the object that the handle stands for. `u32::MAX` leaves one as it is.
///
/// # Errors
/// Those of `fchownat(2)`.
pub fn chown_handle(object: BorrowedFd<'_>, owner: u32, group: u32) -> Result<(), Errno> {
    let fd = object.as_raw_fd();
    // SAFETY: `fd` stays open because it is borrowed; the path is a static NUL-terminated string.
    done(unsafe { libc::syscall(libc::SYS_fchownat, fd, c"".as_ptr(), owner, group, libc::AT_EMPTY_PATH) })
}

/// Makes a node as `mknodat(2)` does, with `device` as the kernel's 32-bit device number.
///
/// # Errors
/// Those of `mknodat(2)`.
pub fn make_node(parent: BorrowedFd<'_>, name: &CStr, mode: u32, device: u32) -> Result<(), Errno> {
    let fd = parent.as_raw_fd();
    // SAFETY: `fd` stays open because it is borrowed; `name` is NUL-terminated and only read.
    done(unsafe { libc::syscall(libc::SYS_mknodat, fd, name.as_ptr(), mode, device) })
}

/// Renames as `renameat2(2)` does. Unknown `flags` are the kernel's to refuse.
///
/// # Errors
/// Those of `renameat2(2)`.
pub fn rename(
    from: BorrowedFd<'_>,
    from_name: &CStr,
    to: BorrowedFd<'_>,
    to_name: &CStr,
    flags: u32,
) -> Result<(), Errno> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: both descriptors stay open because they are borrowed; both names are NUL-terminated,
    // borrowed for the call and only read.
    done(unsafe { libc::syscall(libc::SYS_renameat2, from, from_name.as_ptr(), to, to_name.as_ptr(), flags) })
}

/// Sets an extended attribute on what `path` leads to. `flags` are the kernel's to check.
///
/// # Errors
/// Those of `setxattr(2)`.
pub fn set_attribute(path: &CStr, name: &CStr, value: &[u8], flags: i32) -> Result<(), Errno> {
    // SAFETY: both strings are NUL-terminated, `value` is described by its own length, all are
    // borrowed for the call, and the kernel only reads them.
    done(unsafe { libc::syscall(libc::SYS_setxattr, path.as_ptr(), name.as_ptr(), value.as_ptr(), value.len(), flags) })
}

/// Adds `path` to the inotify instance `inotify` and gives the watch descriptor.
///
/// # Errors
/// Those of `inotify_add_watch(2)`.
pub fn add_watch(inotify: BorrowedFd<'_>, path: &CStr, mask: u32) -> Result<i32, Errno> {
    // SAFETY: the descriptor stays open because it is borrowed; `path` is NUL-terminated and only read.
    let watch = unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), mask) };
    if watch < 0 { Err(last_error()) } else { Ok(watch) }
}

#[cfg(test)]
mod tests {
    use super::{KernelTimes, chmod_handle, chown_handle, make_node, rename, set_times, truncate};
    use rustix::fd::AsFd;
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn each_call_acts_on_the_object_behind_the_handle() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        std::fs::write(&path, b"12345").expect("a file");
        let handle = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("a handle");
        chmod_handle(handle.as_fd(), 0o640).expect("chmod");
        set_times(handle.as_fd(), Some(&KernelTimes { values: [[1000, 1], [2000, 5]] })).expect("times");
        chown_handle(handle.as_fd(), u32::MAX, u32::MAX).expect("chown");
        let meta = std::fs::metadata(&path).expect("metadata");
        assert_eq!((meta.mode() & 0o7777, meta.atime(), meta.mtime(), meta.mtime_nsec()), (0o640, 1000, 2000, 5));
    }

    #[test]
    fn numbers_that_make_no_sense_are_left_to_the_kernel() {
        let dir = tempfile::tempdir().expect("a folder");
        let handle = rustix::fs::open(dir.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("a handle");
        std::fs::write(dir.path().join("f"), b"1").expect("a file");
        let times = KernelTimes { values: [[0, 2_000_000_000], [0, 0]] };
        assert_eq!(set_times(handle.as_fd(), Some(&times)), Err(Errno::INVAL));
        assert_eq!(truncate(c"/", -1), Err(Errno::INVAL));
        assert_eq!(make_node(handle.as_fd(), c"n", 0o170_000, 0), Err(Errno::INVAL));
        assert_eq!(rename(handle.as_fd(), c"f", handle.as_fd(), c"g", 1 << 20), Err(Errno::INVAL));
    }
}
