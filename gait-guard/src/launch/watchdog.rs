//! Three processes that guard each other, so that no agent outlives its guard.
//!
//! ```text
//! launcher     what the user started: relays signals, ends with the run's exit status
//!   watchdog   takes every orphan when the supervisor is gone (subreaper)
//!     supervisor   everything else: session, notify engine; takes every orphan (subreaper)
//!       agent
//! ```
//! When the launcher dies, the watchdog kills everything below itself. When the supervisor dies, so does the
//! watchdog. When the watchdog dies, everything below falls to the launcher (a subreaper too), which does
//! the same. The agent itself also dies with the supervisor, by the kernel. Only if all three are killed in one moment can a
//! process that left the agent's own family live on, behind Landlock and a filter without a supervisor.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Mutex;

use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{self, Errno};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, set_child_subreaper, set_parent_process_death_signal, wait,
};

use super::kin::{Family, children};
use crate::notify::Tree;
use crate::sys::process::{Fork, SignalSet, exit_now, fork, stop_self};

/// What the launcher takes from the user and the terminal and passes on.
const RELAYED: [Signal; 6] = [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP, Signal::TSTP, Signal::CONT];

/// Why no run could be started, or how it was lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The processes could not be set up; nothing was started.
    #[error("the guard's processes could not be started: {0}")]
    Start(#[source] std::io::Error),
    /// The supervisor or the watchdog was killed. So was the whole tree.
    #[error("the guard was killed; the agent and all that it started were ended")]
    Killed,
}

/// What the supervisor has of its guards.
#[derive(Debug)]
pub struct Wards {
    /// Tells the agent's processes from the guard's.
    pub tree: Tree,
    /// Numbers of signals, one byte each, that the launcher passes on.
    pub signals: OwnedFd,
    /// What was blocked when the launcher started: what the agent shall start with.
    pub blocked: SignalSet,
    watchdog: Pid,
}

impl Wards {
    /// Everything that the agent started, wherever it went.
    pub fn agents(&self) -> Family {
        let supervisor = raw(getpid());
        Family::new([raw(self.watchdog), supervisor], [supervisor])
    }
}

/// Runs `work` in a process of its own, guarded; gives its result when nothing of it is left.
///
/// The calling process must have one thread. It becomes the launcher.
///
/// # Errors
/// Those of [`WatchError`].
pub fn watch(work: impl FnOnce(Wards) -> Vec<u8>) -> Result<Vec<u8>, WatchError> {
    watch_then(work, |result| result)
}

/// The same, and has `then` make something of the result while the guard's processes end.
///
/// # Errors
/// As [`watch`].
///
/// # Panics
/// Where `then` does.
pub fn watch_then<T: Send>(
    work: impl FnOnce(Wards) -> Vec<u8>,
    then: impl FnOnce(Vec<u8>) -> T + Send,
) -> Result<T, WatchError> {
    let start = |errno: Errno| WatchError::Start(errno.into());
    // Whoever was here before `gait` was executed in this process is no part of the run.
    let strangers = children(raw(getpid()));
    let (signals, relay) = pipe_with(PipeFlags::CLOEXEC).map_err(start)?;
    // The result, and that it is whole.
    let paper = memfd_create(c"gait-result", MemfdFlags::CLOEXEC).map_err(start)?;
    let (result, verdict) = pipe_with(PipeFlags::CLOEXEC).map_err(start)?;
    set_child_subreaper(Some(getpid())).map_err(start)?;
    let waited = SignalSet::of(&[&RELAYED[..], &[Signal::CHILD]].concat());
    let blocked = waited.block().map_err(start)?;

    let launcher = getpid();
    match fork().map_err(start)? {
        Fork::Child => {
            drop((result, relay));
            exit_now(be_watchdog(launcher, blocked, signals, Verdict { paper, done: verdict }, work));
        }
        Fork::Parent { child } => {
            forget(work);
            drop((signals, verdict));
            let then = Mutex::new(Some(then));
            let read = || match io::retry_on_intr(|| io::read(&result, &mut [0u8])) {
                Ok(1) => {
                    let bytes = read_all(&paper)?;
                    let then = then.lock().ok().and_then(|mut then| then.take());
                    then.map(|then| then(bytes)).ok_or(WatchError::Killed)
                }
                _ => Err(WatchError::Killed),
            };
            // The signals that the launcher takes are blocked in the thread too.
            let outcome = std::thread::scope(|scope| {
                let reading = std::thread::Builder::new().name("result".into()).spawn_scoped(scope, read);
                be_launcher(child, &waited, &relay, strangers);
                match reading {
                    Ok(reading) => reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                    Err(_) => read(),
                }
            });
            let _ = blocked.set();
            outcome
        }
    }
}

/// Leaves what only the supervisor needs to the end of this process: to give it back piece by piece is to copy its memory first,
/// which both have.
fn forget(work: impl FnOnce(Wards) -> Vec<u8>) {
    std::mem::forget(work);
}

// ---------------------------------------------------------------- launcher

fn be_launcher(watchdog: Pid, waited: &SignalSet, relay: &OwnedFd, strangers: Vec<i32>) {
    loop {
        let received = waited.wait();
        if received == Signal::CHILD.as_raw() {
            if reap_until(watchdog) {
                break;
            }
            continue;
        }
        let _ = io::write(relay, &[received as u8]);
        if received == Signal::TSTP.as_raw() {
            // The agent was told to stop; now the shell gets its terminal back.
            let _ = stop_self();
        }
    }
    // Whatever is left fell to us: the watchdog died before it could end it.
    let _ = Family::new([raw(getpid())], strangers).kill_own();
}

fn read_all(paper: &OwnedFd) -> Result<Vec<u8>, WatchError> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::from(paper.try_clone()?);
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(WatchError::Start)
}

/// Where the supervisor writes its result: to `paper`, then one byte to `done`.
struct Verdict {
    paper: OwnedFd,
    done: OwnedFd,
}

/// Collects what has died; whether `awaited` was among it.
fn reap_until(awaited: Pid) -> bool {
    let mut found = false;
    while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
        found |= pid == awaited;
    }
    found
}

// ---------------------------------------------------------------- watchdog

/// How the watchdog learns that the launcher died. It is blocked, and nobody of the tree may signal the watchdog.
const BEREAVED: Signal = Signal::USR2;

fn be_watchdog(
    launcher: Pid,
    blocked: SignalSet,
    signals: OwnedFd,
    verdict: Verdict,
    work: impl FnOnce(Wards) -> Vec<u8>,
) -> u8 {
    let waited = SignalSet::of(&[Signal::CHILD, BEREAVED]);
    let prepared = waited
        .block()
        .and_then(|_| set_parent_process_death_signal(Some(BEREAVED)))
        .and_then(|()| set_child_subreaper(Some(getpid())));
    if prepared.is_err() || getppid() != Some(launcher) {
        return 1;
    }
    let watchdog = getpid();
    match fork() {
        Err(_) => 1,
        Ok(Fork::Child) => be_supervisor(launcher, watchdog, blocked, signals, verdict, work),
        Ok(Fork::Parent { child }) => {
            forget(work);
            // Only the supervisor may hold these: their end must be seen when it dies.
            drop((signals, verdict));
            stand_watch(launcher, child, &waited);
            0
        }
    }
}

fn stand_watch(launcher: Pid, supervisor: Pid, waited: &SignalSet) {
    loop {
        let received = waited.wait();
        if received == BEREAVED.as_raw() && getppid() != Some(launcher) {
            break;
        }
        if reap_until(supervisor) {
            break;
        }
    }
    let _ = Family::new([raw(getpid())], []).kill_own();
}

// ---------------------------------------------------------------- supervisor

fn be_supervisor(
    launcher: Pid,
    watchdog: Pid,
    blocked: SignalSet,
    signals: OwnedFd,
    verdict: Verdict,
    work: impl FnOnce(Wards) -> Vec<u8>,
) -> u8 {
    // Where Yama lets a process look into its descendants only, an orphan must stay one to be judged.
    if set_child_subreaper(Some(getpid())).is_err() {
        return 1;
    }
    let tree = Tree::new(getpid(), Some(watchdog), Some(launcher));
    let result = work(Wards { tree, signals, blocked, watchdog });
    let written = std::fs::File::from(verdict.paper).write_all(&result);
    if written.is_ok() {
        let _ = io::write(&verdict.done, &[1]);
    }
    0
}

fn raw(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}
