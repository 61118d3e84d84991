//! Watches over one running agent: passes signals on, keeps the time, and says when it is over.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::sys::process::{SignalSet, collect_dead_children};

/// How long an agent that was asked to end may take before it is killed.
pub const GRACE: Duration = Duration::from_secs(5);

/// Why the agent was not left to end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It did.
    Itself,
    /// Its time was up.
    Timeout,
    /// The guard was asked to end, by this signal.
    Signal(i32),
    /// The run could not go on: its session stopped.
    Run,
}

/// What the minder minds.
pub struct Minder<'a> {
    agent: Pid,
    pidfd: OwnedFd,
    signals: OwnedFd,
    deaths: OwnedFd,
    stop: BorrowedFd<'a>,
    deadline: Option<Instant>,
    kill_at: Option<Instant>,
    cause: Cause,
}

impl<'a> Minder<'a> {
    /// Minds `agent`, the leader of its session, from the main thread, to which its orphans come; `signals` gives numbers to pass on, one byte each;
    /// `stop` is readable once the run can't go on.
    ///
    /// # Errors
    /// Those of `pidfd_open(2)` and `signalfd(2)`.
    pub fn new(agent: Pid, signals: OwnedFd, stop: BorrowedFd<'a>, timeout: Option<Duration>) -> io::Result<Self> {
        let pidfd = pidfd_open(agent, PidfdFlags::empty())?;
        // Blocked since the launcher.
        let deaths = SignalSet::of(&[Signal::CHILD]).descriptor()?;
        let deadline = timeout.map(|after| Instant::now() + after);
        Ok(Self { agent, pidfd, signals, deaths, stop, deadline, kill_at: None, cause: Cause::Itself })
    }

    /// Returns when the agent has ended, or must be.
    pub fn mind(mut self) -> Cause {
        loop {
            let events = self.wait();
            if events.death {
                self.collect();
            }
            if events.agent {
                break;
            }
            if events.ended {
                self.cause = Cause::Run;
                break;
            }
            if events.signal {
                self.pass_on();
            }
            let now = Instant::now();
            if self.deadline.is_some_and(|at| at <= now) {
                self.deadline = None;
                self.ask(Signal::TERM, Cause::Timeout);
            }
            if self.kill_at.is_some_and(|at| at <= now) {
                break;
            }
        }
        self.cause
    }

    fn wait(&self) -> Events {
        let next = self.deadline.into_iter().chain(self.kill_at).min();
        let timeout = next.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        let mut fds = [self.pidfd.as_fd(), self.stop, self.signals.as_fd(), self.deaths.as_fd()]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {
                let [agent, ended, signal, death] =
                    fds.map(|fd| fd.revents().intersects(PollFlags::IN | PollFlags::HUP));
                Events { agent, ended, signal, death }
            }
            Err(Errno::INTR) => Events::default(),
            // Without eyes the run can't be minded.
            Err(_) => Events { ended: true, ..Events::default() },
        }
    }

    /// Collects orphans that died. The signal is taken first: one that comes meanwhile makes the descriptor readable again.
    fn collect(&self) {
        let _ = io::read(&self.deaths, &mut [0u8; 128]);
        collect_dead_children(Some(self.agent));
    }

    fn pass_on(&mut self) {
        let mut byte = [0u8];
        let Ok(1) = io::read(&self.signals, &mut byte) else {
            // The launcher is gone; so will be this process, at once.
            self.cause = Cause::Run;
            self.kill_at = Some(Instant::now());
            return;
        };
        let Some(signal) = Signal::from_named_raw(byte[0].into()) else { return };
        match signal {
            // The agent's session has no terminal, so the terminal's stop would not stop it.
            Signal::TSTP => self.send(Signal::STOP),
            Signal::TERM | Signal::HUP => self.ask(signal, Cause::Signal(signal.as_raw())),
            other => self.send(other),
        }
    }

    /// Asks the agent to end; it is killed if it does not.
    fn ask(&mut self, signal: Signal, cause: Cause) {
        self.cause = cause;
        self.kill_at.get_or_insert(Instant::now() + GRACE);
        self.send(signal);
    }

    fn send(&self, signal: Signal) {
        let _ = kill_process_group(self.agent, signal);
    }
}

#[derive(Default)]
struct Events {
    agent: bool,
    ended: bool,
    signal: bool,
    death: bool,
}
