//! How a held syscall ends.

use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// The answer to one notification.
#[derive(Debug)]
pub enum Reply {
    /// The call returns this value.
    Value(i64),
    /// The call fails.
    Errno(Errno),
    /// The kernel runs a pending signal handler, then gives EINTR or restarts by `SA_RESTART`
    /// (`-ERESTARTSYS`), as it would have natively.
    Restart,
    /// The call returns a new descriptor of the agent for `fd`.
    Inject {
        /// What to install; our copy is closed.
        fd: OwnedFd,
        /// Whether the agent asked for close-on-exec.
        cloexec: bool,
        /// Close our copy before the agent goes on: a second holder of a FIFO or terminal is visible.
        early_close: bool,
    },
    /// The kernel performs the call as it stands.
    Continue(RegisterOnly),
    /// Somebody else answers: the tracer, or the thread on which the call was parked.
    Handed,
}

/// Proof that a call was decided by its registers alone.
///
/// A call that is continued is read again by the kernel: anything that was judged in the agent's
/// memory may have changed by then. Whoever makes one of these says that nothing was.
#[derive(Debug)]
pub struct RegisterOnly(());

impl RegisterOnly {
    /// `_why` is for the reader: the reason why memory does not matter here.
    pub(super) fn because(_why: &'static str) -> Self {
        Self(())
    }
}
