//! Signals to exactly one thread or process.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

use super::last_errno;

/// Sends a thread a signal that the kernel would have sent it, had it made its call itself.
///
/// # Errors
/// `ESRCH` for a thread that died.
pub fn signal_thread(tgid: i32, tid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: tgkill takes three numbers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, signal) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `pidfd_send_signal(2)`, with a `siginfo_t` as the agent wrote it, if it did.
///
/// # Errors
/// The kernel's own.
pub fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: i32, info: Option<&[u8; 128]>, flags: u32) -> Result<(), Errno> {
    let info = info.map_or(std::ptr::null(), |info| info.as_ptr());
    // SAFETY: the descriptor is borrowed; `info` is null or 128 readable bytes, the size of the
    // kernel's siginfo_t, which it copies.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, flags) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
