//! The child that becomes the agent: a process within the memory of this one that shares its descriptor table until it
//! has a listener to leave there, puts itself behind every layer, and executes the command, which gives it a memory of its own.
//!
//! Nothing is copied: a copy of the tables of this memory, of each page that either side writes then, and the end of all that
//! were a tenth of a start. In exchange the child may use of this memory only what was made for it ([`within::Plan`]), by
//! calls that leave nothing behind ([`super::raw`]). Why that is no reach for the agent: docs/decisions/0016-within-memory.md.

mod within;

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::listener::Listener;
use super::process::SignalSet;
use super::raw::{self, Stack};
use within::{Plan, Words, become_agent};

/// What the child executes, and behind what.
pub struct Recipe<'a> {
    words: Words,
    filter: &'static [libc::sock_filter],
    landlock: Option<BorrowedFd<'a>>,
    stdio: [Option<BorrowedFd<'a>>; 3],
    blocked: Option<SignalSet>,
    group: Option<BorrowedFd<'a>>,
}

impl<'a> Recipe<'a> {
    /// `programs` are tried in order, as `execvp` does; `argv[0]` need not be among them.
    ///
    /// # Errors
    /// `EINVAL` for a filter that is longer than the kernel takes.
    pub fn new(
        programs: Arc<[CString]>,
        argv: Arc<[CString]>,
        environment: Arc<[CString]>,
        filter: &'static [libc::sock_filter],
        landlock: Option<BorrowedFd<'a>>,
    ) -> io::Result<Self> {
        u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
        let words = Words::new(programs, argv, environment);
        Ok(Self { words, filter, landlock, stdio: [None; 3], blocked: None, group: None })
    }

    /// The control group that the child is made in, if not the caller's.
    pub fn group(mut self, group: Option<BorrowedFd<'a>>) -> Self {
        self.group = group;
        self
    }

    /// The signals that the command starts with blocked, if not those of the calling thread.
    pub fn blocked(mut self, blocked: Option<SignalSet>) -> Self {
        self.blocked = blocked;
        self
    }

    /// Gives the command other descriptors than the caller's own as 0, 1 and 2. They stay open until it is released.
    pub fn stdio(mut self, stdio: [Option<BorrowedFd<'a>>; 3]) -> Self {
        self.stdio = stdio;
        self
    }
}

/// A step of the child that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A session of its own, and no signal handlers of this process.
    Session,
    /// Bound to the life of the thread that made it.
    ParentDeath,
    /// No capabilities.
    Capabilities,
    /// `no_new_privs`.
    NoNewPrivs,
    /// Landlock.
    Landlock,
    /// The seccomp filter.
    Seccomp,
    /// No inherited descriptors.
    Descriptors,
    /// `execve` of the command.
    Exec,
}

const STEPS: [Step; 8] = [
    Step::Session,
    Step::ParentDeath,
    Step::Capabilities,
    Step::NoNewPrivs,
    Step::Landlock,
    Step::Seccomp,
    Step::Descriptors,
    Step::Exec,
];

/// The child failed at `step`; it has ended and nothing of the command ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step:?}: {errno}")]
pub struct Failed {
    /// Where.
    pub step: Step,
    /// Why.
    pub errno: Errno,
}

/// A message of the child: a tag and a number.
const LISTENER: i32 = 100;
const UNSHARED: i32 = 101;

/// A child behind all layers that waits for [`Held::release`].
#[derive(Debug)]
pub struct Held {
    /// Its process.
    pub pid: Pid,
    life: Option<OwnedFd>,
    listener: Listener,
    go: OwnedFd,
    reports: OwnedFd,
    // Shared with the child until it has its own table, so they stay open until then.
    shared: [OwnedFd; 2],
}

/// A child that was let go: it executes the command, or fails.
#[derive(Debug)]
pub struct Released {
    /// Its process.
    pub pid: Pid,
    /// Where its syscalls, `execve` first, are to be answered.
    pub listener: Listener,
    reports: OwnedFd,
}

/// Starts the child and takes it up to the point where all layers are in force.
///
/// It dies with the calling thread.
///
/// # Errors
/// What kept it from being started, or the step at which it failed.
pub fn start(recipe: Recipe<'_>) -> Result<Held, Failed> {
    let at_start = |errno| Failed { step: Step::Session, errno };
    let (go_reader, go) = pipe_with(PipeFlags::CLOEXEC).map_err(at_start)?;
    let (reports, report_writer) = pipe_with(PipeFlags::CLOEXEC).map_err(at_start)?;
    let stack = Stack::new().map_err(at_start)?;
    // A signal that reaches the child before it has put the handlers away would run one in this memory.
    let before = raw::block_all().map_err(at_start)?;
    let plan = Box::into_raw(Box::new(Plan {
        words: recipe.words,
        filter: recipe.filter,
        landlock: recipe.landlock.map(|ruleset| ruleset.as_raw_fd()),
        stdio: recipe.stdio.map(|fd| fd.map(|fd| fd.as_raw_fd())),
        blocked: recipe.blocked.map_or(before, |blocked| blocked.mask()),
        guard: rustix::process::getpid(),
        go: go_reader.as_raw_fd(),
        reports: report_writer.as_raw_fd(),
    }));
    // SAFETY: `become_agent` never returns, does not panic and makes raw calls only. What it reads, `plan` and all that belongs to it, is
    // given back below where there is no child or none any more, and never else, and nobody writes to it; so is the stack. Signals are blocked.
    let made = unsafe { raw::make_within(&stack, recipe.group, become_agent, plan.cast_const()) };
    // Nothing but a wrong address or request makes this fail.
    let _ = raw::set_mask(before);
    // The child uses both until it has executed the command or has ended, whatever becomes of `Held`, of the caller and of its thread. So
    // both are left to the end of this process (of which some 12 KiB were touched), unless the child is known to be gone. A run makes two.
    let stack = ManuallyDrop::new(stack);
    let give_back = || {
        // SAFETY: only called when there is no child, and once.
        drop(unsafe { Box::from_raw(plan) });
        drop(ManuallyDrop::into_inner(stack));
    };
    let pid = match made {
        Ok(pid) => pid,
        Err(errno) => {
            give_back();
            return Err(at_start(errno));
        }
    };

    // Without it (a container may refuse the call) the end of a child that is killed before it says anything would not be seen.
    let life = pidfd_open(pid, PidfdFlags::empty()).ok();
    let listener = match next_report(&reports, life.as_ref()) {
        Ok(Report::Listener(fd)) => fd,
        outcome => {
            // Before any descriptor of the table that it shares is closed: it might still write to its number.
            reap(pid);
            drop(report_writer);
            give_back();
            return Err(failure_of(outcome));
        }
    };
    // SAFETY: the child made this descriptor in the table that both share, handed it over by number, and
    // never closes it there: it takes a table of its own first.
    let listener = Listener::new(unsafe { OwnedFd::from_raw_fd(listener) });
    Ok(Held { pid, life, listener, go, reports, shared: [go_reader, report_writer] })
}

impl Held {
    /// Lets the child execute the command.
    ///
    /// # Errors
    /// The step at which it failed before it tried.
    pub fn release(self) -> Result<Released, Failed> {
        let at = |errno| Failed { step: Step::Descriptors, errno };
        rustix::io::write(&self.go, &[1]).map_err(at)?;
        match next_report(&self.reports, self.life.as_ref()) {
            Ok(Report::Unshared) => {
                drop(self.shared);
                Ok(Released { pid: self.pid, listener: self.listener, reports: self.reports })
            }
            outcome => {
                // As above.
                reap(self.pid);
                Err(failure_of(outcome))
            }
        }
    }

    /// The listener, before the child is let go.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }
}

impl Released {
    /// Takes the listener and what tells whether the command was executed.
    pub fn into_parts(self) -> (Pid, Listener, Execution) {
        (self.pid, self.listener, Execution(self.reports))
    }
}

/// Tells how `execve` of the command ended.
#[derive(Debug)]
pub struct Execution(OwnedFd);

impl Execution {
    /// Waits until the command runs, or could not be executed.
    ///
    /// # Errors
    /// The error of `execve`.
    pub fn wait(self) -> Result<(), Failed> {
        match read_report(&self.0) {
            Ok(Report::Closed) => Ok(()),
            outcome => Err(failure_of(outcome)),
        }
    }
}

enum Report {
    Listener(i32),
    Unshared,
    Failed(Failed),
    Closed,
}

fn failure_of(outcome: io::Result<Report>) -> Failed {
    match outcome {
        Ok(Report::Failed(failed)) => failed,
        Ok(_) => Failed { step: Step::Session, errno: Errno::CHILD },
        Err(errno) => Failed { step: Step::Session, errno },
    }
}

/// What a child says that shares the table of descriptors, where its end does not close the pipe: it is seen at `life`, the child's pidfd.
fn next_report(pipe: &OwnedFd, life: Option<&OwnedFd>) -> io::Result<Report> {
    let Some(life) = life else { return read_report(pipe) };
    let is_told = |fds: &mut [PollFd<'_>], wait: Option<&Timespec>| -> io::Result<bool> {
        io::retry_on_intr(|| poll(fds, wait))?;
        Ok(fds.first().is_some_and(|pipe| !pipe.revents().is_empty()))
    };
    let pipe_end = || PollFd::new(pipe, PollFlags::IN);
    // The second look is for what it said right before it ended.
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if is_told(&mut [pipe_end(), PollFd::new(life, PollFlags::IN)], None)? || is_told(&mut [pipe_end()], Some(&now))? {
        return read_report(pipe);
    }
    Ok(Report::Closed)
}

fn read_report(pipe: &OwnedFd) -> io::Result<Report> {
    let mut bytes = [0u8; 8];
    let read = loop {
        match rustix::io::read(pipe, &mut bytes) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if read == 0 {
        return Ok(Report::Closed);
    }
    if read != bytes.len() {
        return Err(Errno::IO);
    }
    let word = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok(match (word(0), word(4)) {
        (LISTENER, fd) => Report::Listener(fd),
        (UNSHARED, _) => Report::Unshared,
        (step, errno) => Report::Failed(Failed {
            step: usize::try_from(step).ok().and_then(|at| STEPS.get(at)).copied().unwrap_or(Step::Session),
            errno: Errno::from_raw_os_error(errno),
        }),
    })
}

fn reap(pid: Pid) {
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    while let Err(Errno::INTR) = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()) {}
}

#[cfg(test)]
mod tests;
