//! One guarded command, from the layers to the end of everything that it started.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, Thread};
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::minder::{Cause, Minder};
use super::watchdog::Wards;
use super::{Command, Confinement, hold};
use crate::bpf::BpfError;
use crate::bpf::probes::Probes;
use crate::layer::seccomp::Opens;
use crate::notify::{Context, NotifyError, Supervisor};
use crate::session::Judge;
use crate::sys::child::{Execution, Failed, Held};
use crate::sys::listener::Listener;
use crate::sys::process::collect_dead_children;

/// What a run needs besides its command.
pub struct Terms<'a> {
    /// Decides and records.
    pub judge: Arc<dyn Judge>,
    /// The Landlock ruleset.
    pub landlock: Option<BorrowedFd<'a>>,
    /// The view of `/` without executables.
    pub noexec_root: Option<OwnedFd>,
    /// Readable once the judge can't go on: the agent is ended then.
    pub stop: BorrowedFd<'a>,
    /// Who decides opens.
    pub opens: Opens,
    /// Called right before (true) and right after (false) the agent is made, by the thread that makes it: what that thread makes
    /// between is of the tree. An error ends the start.
    pub scope: &'a (dyn Fn(bool) -> io::Result<()> + Sync),
    /// Called while the agent is made, which does not run before it has returned. An error ends the start.
    pub begins: &'a (dyn Fn() -> io::Result<()> + Sync),
    /// Told the agent's process before it runs.
    pub spawned: &'a (dyn Fn(i32) + Sync),
    /// How long the agent may run.
    pub timeout: Option<Duration>,
    /// What else watches the agent's tree.
    pub probes: Option<&'a mut Probes>,
}

/// Why there was no run, or it was cut short. Nothing of the agent is left in any case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A layer could not be put in force, so the command was not started.
    #[error("the agent could not be confined: {0}")]
    Confine(#[source] Failed),
    /// The processes or threads of the guard could not be set up.
    #[error("the supervisor could not be started: {0}")]
    Start(#[source] io::Error),
    /// The evidence can't be begun, so the command was not started.
    #[error("the journal can't be put on the disk: {0}")]
    Begin(#[source] io::Error),
    /// The probes that were in force can't be told whom to watch, so the command was not started.
    #[error("the probes can't be told whom to watch: {0}")]
    Watch(#[source] Box<BpfError>),
    /// The supervisor failed, so the agent was ended.
    #[error(transparent)]
    Supervise(#[from] NotifyError),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// The end of a run.
#[derive(Debug)]
pub struct End {
    /// How the command ended.
    pub status: Status,
    /// Why.
    pub cause: Cause,
    /// `execve` of the command itself failed: none of it ran.
    pub not_executed: Option<Failed>,
}

/// Runs `command` to its end.
///
/// # Errors
/// Those of [`RunError`].
pub fn run(command: &Command, terms: Terms<'_>, wards: Wards) -> Result<End, RunError> {
    let family = wards.agents();
    let (held_sender, held) = mpsc::channel();
    let (go, gone) = mpsc::channel::<Pid>();
    let (opens, landlock) = (terms.opens, terms.landlock);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (judge, noexec_root, tree, probes) = (terms.judge, terms.noexec_root, wards.tree.clone(), terms.probes);
        let (blocked, scoped) = (Some(wards.blocked), terms.scope);
        let acts = Acts { is_over: &is_over, waiting: thread::current() };
        // The agent dies with this thread, which acts with no more rights than the agent's.
        let acting = thread::Builder::new().name("gait-notify".into()).spawn_scoped(scope, move || {
            let _acts = acts;
            let lock = probes.as_ref().and_then(|probes| probes.group()).map(|(_, lock)| Arc::clone(lock));
            let confinement = Confinement { opens, landlock, blocked, ..Confinement::default() };
            scoped(true).map_err(RunError::Start)?;
            let held = make(command, confinement, probes);
            scoped(false).map_err(RunError::Start)?;
            act(held?, &held_sender, &gone, |listener| {
                let mut context = Context::new(judge, listener, tree, noexec_root)?;
                context.lock = lock;
                Ok(context)
            })
        });
        let acting = acting.map_err(RunError::Start)?;
        let begun = (terms.begins)().map_err(RunError::Begin);
        // None if there is no child, of which the acting thread knows more.
        let minded = held.recv().ok().map(|agent| -> Result<(Pid, Cause), RunError> {
            begun?;
            let minder = Minder::new(agent, wards.signals, terms.stop, terms.timeout);
            let minder = minder.map_err(|errno| RunError::Start(errno.into()))?;
            // Only now may it run: somebody can end it.
            (terms.spawned)(agent.as_raw_nonzero().get());
            let _ = go.send(agent);
            Ok((agent, minder.mind()))
        });
        drop(go);
        let mut status = None;
        let immortal = family.kill_until(|| {
            if let (Some(Ok((agent, _))), None) = (&minded, status) {
                // Before Linux 6.11 a dead task counts as under its filter until it is collected.
                status = status_of(*agent);
            }
            // The rest only once the agent's own status is known: whoever collects it first is the only one to see it.
            if status.is_some() || !matches!(minded, Some(Ok(_))) {
                collect_dead_children(None);
            }
            is_over.load(Ordering::Acquire)
        });
        immortal.map_err(|cause| RunError::Start(io::Error::other(cause)))?;
        let acted = acting.join().map_err(|_| RunError::Start(io::Error::other("the supervisor panicked")));
        // The acting thread only knows that the child was not let go.
        let minded = minded.transpose()?;
        let execution = acted??;
        let (agent, cause) = minded.ok_or_else(|| RunError::Start(io::ErrorKind::BrokenPipe.into()))?;
        let status = status.or_else(|| status_of(agent)).unwrap_or(Status::Signaled(libc::SIGKILL));
        Ok(End { status, cause, not_executed: execution.wait().err() })
    })
}

/// Held by the acting thread: tells the one that waits for its end.
struct Acts<'a> {
    is_over: &'a AtomicBool,
    waiting: Thread,
}

impl Drop for Acts<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.waiting.unpark();
    }
}

/// Makes the child, in sight of the probes.
fn make(command: &Command, confinement: Confinement<'_>, probes: Option<&mut Probes>) -> Result<Held, RunError> {
    let held = match probes {
        None => hold(command, &confinement),
        Some(probes) => {
            let group = probes.group().map(|(group, _)| group.as_fd().try_clone_to_owned()).transpose();
            let group = group.map_err(RunError::Start)?;
            let make = || hold(command, &Confinement { group: group.as_ref().map(AsFd::as_fd), ..confinement });
            probes.seeded(make).map_err(|error| RunError::Watch(Box::new(error)))?
        }
    };
    held.map_err(RunError::Confine)
}

/// The acting thread: from the child to the last answered call.
fn act(
    held: Held,
    held_sender: &mpsc::Sender<Pid>,
    gone: &mpsc::Receiver<Pid>,
    context: impl FnOnce(Listener) -> Result<Context, Errno>,
) -> Result<Execution, RunError> {
    let _ = held_sender.send(held.pid);
    if gone.recv().is_err() {
        return Err(RunError::Start(io::ErrorKind::Interrupted.into()));
    }
    let (_, listener, execution) = held.release().map_err(RunError::Confine)?.into_parts();
    let context = context(listener).map_err(|errno| RunError::Start(errno.into()))?;
    Supervisor::new(context).run()?;
    Ok(execution)
}

/// How the agent ended, if it has. At an exec-stop the tracer may have ended and collected it.
fn status_of(agent: Pid) -> Option<Status> {
    match waitpid(Some(agent), WaitOptions::NOHANG) {
        Ok(Some((_, status))) => {
            status.exit_status().map(Status::Exited).or(status.terminating_signal().map(Status::Signaled))
        }
        Ok(None) => None,
        Err(_) => Some(Status::Signaled(libc::SIGKILL)),
    }
}

impl Status {
    /// As a shell gives it: the code, or 128 and the signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code as u8,
            Self::Signaled(signal) => 128u8.wrapping_add(signal as u8),
        }
    }
}
