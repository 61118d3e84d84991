//! Every call to the kernel that has no safe wrapper elsewhere: one operation per unsafe block, behind safe signatures.

pub mod bpf;
pub mod child;
pub mod files;
pub mod landlock;
pub mod listener;
pub mod mapping;
pub mod memory;
pub mod mount;
pub mod process;
pub mod ptrace;
mod raw;
pub mod signal;
pub mod socket;
pub mod thread;
pub mod trace;

use rustix::io::Errno;

/// The error of the libc call that just failed on this thread.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
