//! What the `landlock` crate keeps to itself.

use std::ptr;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io;

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;

/// The version of the kernel's interface.
///
/// # Errors
/// `ENOSYS`: not built in, or before Linux 5.13. `EOPNOTSUPP`: switched off at boot.
pub fn abi() -> io::Result<u32> {
    // SAFETY: with this flag the kernel demands a null attribute of length 0 and only returns a number.
    let rc = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<u8>(), 0usize, VERSION) };
    u32::try_from(rc).map_err(|_| super::last_errno())
}

/// Puts the calling thread, and what it starts, into the domain of `ruleset`, for good.
///
/// # Errors
/// Those of `landlock_restrict_self(2)`.
pub fn restrict(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the descriptor is open because it is borrowed; the call reads no memory.
    let rc = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) };
    if rc == 0 { Ok(()) } else { Err(super::last_errno()) }
}
