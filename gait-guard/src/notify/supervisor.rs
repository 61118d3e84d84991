//! The loop: receive a call, decide it, answer it.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::dispatch::dispatch;
use super::{Call, Context, Reply};
use crate::sys::listener::{Answer, Listener, OnExec};
use crate::sys::thread;

/// Why the supervisor could not go on. The tree must be killed: its calls are not answered any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The acting thread could not be set up.
    #[error("the supervisor's thread could not be prepared: {0}")]
    Prepare(#[source] io::Error),
    /// The listener failed.
    #[error("no syscall could be received: {0}")]
    Receive(#[source] io::Error),
}

/// Decides the syscalls of one tree.
pub struct Supervisor {
    context: Context,
}

impl Supervisor {
    /// A supervisor that has not started yet.
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    /// Answers until nobody is left under the filter. The calling thread becomes the acting thread: it gives up its
    /// capabilities and the root, working directory and umask that it shared.
    ///
    /// # Errors
    /// Those of [`NotifyError`]; the caller must end the tree.
    pub fn run(mut self) -> Result<(), NotifyError> {
        prepare().map_err(|errno| NotifyError::Prepare(errno.into()))?;
        // Older kernels lack it: only slower.
        let _ = self.context.listener.wake_synchronously();
        loop {
            let notification = match self.context.listener.receive() {
                Ok(notification) => notification,
                Err(Errno::INTR) => continue,
                Err(_) if self.context.listener.is_deserted() => return Ok(()),
                // The caller was killed before its call was received.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(NotifyError::Receive(errno.into())),
            };
            let call = Call {
                id: notification.id,
                tid: notification.tid,
                nr: notification.nr.into(),
                args: notification.args,
            };
            let reply = dispatch(&mut self.context, &call);
            answer(&self.context.listener, &call, reply);
        }
    }
}

fn prepare() -> Result<(), Errno> {
    match thread::own_fs() {
        // A container's profile: working directory and umask stay shared with the other threads of the guard, which
        // names files by absolute paths and explicit modes.
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    thread::drop_capabilities()?;
    let limit = getrlimit(Resource::Nofile);
    // Each held call may need a few descriptors; the agent's own limit is applied by the kernel on injection.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    Ok(())
}

/// Answers one call. A caller that died meanwhile needs no answer.
pub(super) fn answer(listener: &Listener, call: &Call, reply: Reply) {
    let outcome = match reply {
        Reply::Value(value) => listener.send_value(call.id, value),
        Reply::Errno(errno) => listener.send_errno(call.id, errno),
        Reply::Restart => listener.send_restart(call.id),
        Reply::Continue(_) => listener.send_continue(call.id),
        Reply::Handed => Ok(()),
        Reply::Inject { fd, cloexec, early_close } => {
            let on_exec = if cloexec { OnExec::Close } else { OnExec::Keep };
            let done = if early_close {
                let number = listener.add_fd(call.id, rustix::fd::AsFd::as_fd(&fd), on_exec, Answer::Later);
                drop(fd);
                number.and_then(|number| listener.send_value(call.id, number.into()))
            } else {
                listener.add_fd(call.id, rustix::fd::AsFd::as_fd(&fd), on_exec, Answer::Now).map(drop)
            };
            // EMFILE: the agent's own limit.
            done.or_else(|errno| listener.send_errno(call.id, errno))
        }
    };
    // ENOENT: the caller died meanwhile.
    let _ = outcome;
}
