//! The loop: receive a call, decide it, answer it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::dispatch::dispatch;
use super::{Call, Context, Reply};
use crate::session::Judge;
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
    desk: Arc<Desk>,
}

impl Supervisor {
    /// A supervisor that has not started yet.
    pub fn new(context: Context) -> Self {
        let listener = Arc::clone(&context.listener);
        Self {
            desk: Arc::new(Desk {
                listener,
                context: Mutex::new(context),
                calls: Mutex::default(),
                wanted: Condvar::new(),
            }),
        }
    }

    /// Answers until nobody is left under the filter. The calling thread becomes an acting thread: it gives up its
    /// capabilities and the root, working directory and umask that it shared.
    ///
    /// # Errors
    /// Those of [`NotifyError`]; the caller must end the tree.
    pub fn run(self) -> Result<(), NotifyError> {
        prepare().map_err(|errno| NotifyError::Prepare(errno.into()))?;
        // Older kernels lack it: only slower.
        let _ = self.desk.listener.wake_synchronously();
        let served = self.desk.serve(Role::First);
        let second = self.desk.close();
        if let (Ok(()), Some(second)) = (&served, second) {
            // Nobody is left for it either. After an error it may wait for a call until the caller has ended the tree.
            let _ = second.join();
        }
        served
    }
}

/// What the two acting threads share.
///
/// One of them decides and acts at a time, which is what all of the engine relies on. But a call that was not received
/// yet can be interrupted by a signal, even one that the kernel itself never interrupts (`kill`): so while one thread
/// acts and more than one thread of the agent makes calls, the other receives. It keeps the call for the one that acts,
/// or acts itself if that has just become free. Nothing is handed from thread to thread on the way of a lone call.
struct Desk {
    listener: Arc<Listener>,
    /// Locked by the thread that acts.
    context: Mutex<Context>,
    calls: Mutex<Calls>,
    /// The second thread is wanted, or all is over.
    wanted: Condvar,
}

/// Calls on their way.
#[derive(Default)]
struct Calls {
    /// Whether a thread acts.
    is_acting: bool,
    /// Received and not decided, oldest first. One for each held thread of the agent at most.
    waiting: VecDeque<Call>,
    /// The thread of the agent that made the last one.
    last: i32,
    /// For how many more calls two threads receive.
    company: u32,
    /// The second thread, once it was wanted.
    second: Option<JoinHandle<()>>,
    is_over: bool,
}

/// Calls of one thread of the agent in a row after which one thread receives alone again: with two, both are woken for
/// each call.
const COMPANY: u32 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Always there.
    First,
    /// There while the agent has several threads.
    Second,
}

impl Desk {
    fn serve(self: &Arc<Self>, role: Role) -> Result<(), NotifyError> {
        while role == Role::First || self.is_second_wanted() {
            let notification = match self.listener.receive() {
                Ok(notification) => notification,
                Err(Errno::INTR) => continue,
                Err(_) if self.listener.is_deserted() => return Ok(()),
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
            if let Some(call) = self.take(role, call) {
                self.act(call);
            }
        }
        Ok(())
    }

    /// Decides a call and all that came meanwhile.
    fn act(&self, call: Call) {
        // Nobody else holds it: `is_acting` says so. A thread that panicked ended the process or the run.
        let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Some(call);
        while let Some(call) = next {
            let reply = dispatch(&mut context, &call);
            answer(&self.listener, context.judge.as_ref(), &call, reply);
            let mut calls = self.calls();
            next = calls.waiting.pop_front();
            calls.is_acting = next.is_some();
        }
    }

    /// The call, if the caller is to act on it: else the thread that acts already will.
    fn take(self: &Arc<Self>, role: Role, call: Call) -> Option<Call> {
        let mut calls = self.calls();
        if call.tid == calls.last {
            calls.company = calls.company.saturating_sub(1);
        } else {
            calls.last = call.tid;
            if calls.company == 0 {
                self.wanted.notify_one();
            }
            calls.company = COMPANY;
            if role == Role::First && calls.second.is_none() {
                // Without it calls are only received later.
                calls.second = self.start_second().ok();
            }
        }
        if calls.is_acting {
            calls.waiting.push_back(call);
            return None;
        }
        calls.is_acting = true;
        Some(call)
    }

    /// Started by the first thread once that is prepared, so that it has the same credentials, and the same root, working
    /// directory and umask: whichever acts finds them as the other left them.
    fn start_second(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let desk = Arc::clone(self);
        let second = move || {
            let abort = AbortOnPanic;
            let _ = thread::prefer_soon();
            // An error of the listener is one for the first thread too, which reports it.
            let _ = desk.serve(Role::Second);
            std::mem::forget(abort);
        };
        std::thread::Builder::new().name("gait-notify-2".into()).spawn(second)
    }

    /// Waits until two threads are to receive; false once all is over.
    fn is_second_wanted(&self) -> bool {
        let mut calls = self.calls();
        while calls.company == 0 && !calls.is_over {
            calls = self.wanted.wait(calls).unwrap_or_else(PoisonError::into_inner);
        }
        !calls.is_over
    }

    /// Ends the second thread when it comes to it, and gives it.
    fn close(&self) -> Option<JoinHandle<()>> {
        let mut calls = self.calls();
        calls.is_over = true;
        self.wanted.notify_all();
        calls.second.take()
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        // Nothing in between can panic.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard that failed must not leave calls unanswered: the process ends, and with it the tree.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

fn prepare() -> Result<(), Errno> {
    match thread::own_fs() {
        // A container's profile: working directory and umask stay shared with the other threads of the guard, which
        // names files by absolute paths and explicit modes.
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    // Only faster.
    let _ = thread::prefer_soon();
    thread::drop_capabilities()?;
    let limit = getrlimit(Resource::Nofile);
    // Each held call may need a few descriptors; the agent's own limit is applied by the kernel on injection.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    Ok(())
}

/// Answers one call. A caller that died meanwhile needs no answer.
pub(super) fn answer(listener: &Listener, judge: &dyn Judge, call: &Call, reply: Reply) {
    let outcome = match reply {
        Reply::Value(value) => listener.send_value(call.id, value),
        Reply::Errno(errno) => listener.send_errno(call.id, errno),
        Reply::Restart => listener.send_restart(call.id),
        Reply::Continue(_) => listener.send_continue(call.id),
        Reply::Handed => Ok(()),
        Reply::Inject { fd, cloexec, early_close } => {
            let on_exec = if cloexec { OnExec::Close } else { OnExec::Keep };
            judge.gives(call.tid, Some(fd.as_fd()));
            let done = if early_close {
                let number = listener.add_fd(call.id, fd.as_fd(), on_exec, Answer::Later);
                drop(fd);
                number.and_then(|number| listener.send_value(call.id, number.into()))
            } else {
                listener.add_fd(call.id, fd.as_fd(), on_exec, Answer::Now).map(drop)
            };
            judge.gives(call.tid, None);
            // EMFILE: the agent's own limit.
            done.or_else(|errno| listener.send_errno(call.id, errno))
        }
    };
    // ENOENT: the caller died meanwhile.
    let _ = outcome;
}
