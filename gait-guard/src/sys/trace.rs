//! Whether this process may trace its descendants.

use std::ptr;

use rustix::io;
use rustix::process::{Pid, WaitOptions, waitpid};

/// Attaches to `child` as the tracer does, stops it, and lets it go.
///
/// # Errors
/// Those of `ptrace(2)`.
pub fn seize_and_release(child: Pid) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, child)?;
    request(libc::PTRACE_INTERRUPT, child)?;
    // Without this it would stay stopped, and who waits for it wait forever.
    io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
    request(libc::PTRACE_DETACH, child)
}

fn request(request: libc::c_uint, child: Pid) -> io::Result<()> {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: these requests take no address and no data, so nothing of this process is read or written.
    let rc = unsafe { libc::ptrace(request, child.as_raw_nonzero().get(), none, none) };
    if rc == -1 { Err(super::last_errno()) } else { Ok(()) }
}
