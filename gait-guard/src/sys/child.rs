//! The child that becomes the agent: a copy of this process that shares its descriptor table until it
//! has a listener to leave there, puts itself behind every layer, and executes the command.
//!
//! The copy is made while other threads may hold any lock, so until `execve` it only makes raw calls
//! on what was prepared before: no allocation, no locks, no formatting.

use std::ffi::CString;
use std::ptr;

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::listener::Listener;
use super::process::SignalSet;

/// Flags of `seccomp(2)`; the last two as the supervisor needs them (Linux 5.19).
const FILTER_FLAGS: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
    | libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH
    | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

/// Flag of `clone3`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the child executes, and behind what. Everything is ready for raw calls.
pub struct Recipe<'a> {
    attempts: Vec<Attempt<'a>>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    filter: libc::sock_fprog,
    landlock: Option<BorrowedFd<'a>>,
    stdio: [Option<BorrowedFd<'a>>; 3],
    blocked: Option<SignalSet>,
    group: Option<BorrowedFd<'a>>,
}

/// One file that may be the program.
struct Attempt<'a> {
    program: &'a CString,
    /// For a file without a `#!` line, which the shell runs: sh, the program, the arguments.
    shell_argv: Vec<*const libc::c_char>,
}

impl<'a> Recipe<'a> {
    /// `programs` are tried in order, as `execvp` does; `argv[0]` need not be among them.
    ///
    /// # Errors
    /// `EINVAL` for a filter that is longer than the kernel takes.
    pub fn new(
        programs: &'a [CString],
        argv: &'a [CString],
        environment: &'a [CString],
        filter: &'a [libc::sock_filter],
        landlock: Option<BorrowedFd<'a>>,
    ) -> io::Result<Self> {
        let pointers = |strings: &'a [CString]| -> Vec<*const libc::c_char> {
            strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
        };
        let attempts = programs.iter().map(|program| {
            let start = [c"sh".as_ptr(), program.as_ptr()].into_iter();
            let rest = argv.iter().skip(1).map(|s| s.as_ptr());
            Attempt { program, shell_argv: start.chain(rest).chain([ptr::null()]).collect() }
        });
        Ok(Self {
            attempts: attempts.collect(),
            argv: pointers(argv),
            envp: pointers(environment),
            filter: libc::sock_fprog {
                len: u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?,
                filter: filter.as_ptr().cast_mut(),
            },
            landlock,
            stdio: [None; 3],
            blocked: None,
            group: None,
        })
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

    /// Gives the command other descriptors than the caller's own as 0, 1 and 2.
    pub fn stdio(mut self, stdio: [Option<BorrowedFd<'a>>; 3]) -> Self {
        self.stdio = stdio;
        self
    }
}

/// A step of the child that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A session of its own.
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
pub fn start(recipe: &Recipe<'_>) -> Result<Held, Failed> {
    let at_start = |errno| Failed { step: Step::Session, errno };
    let (go_reader, go) = pipe_with(PipeFlags::CLOEXEC).map_err(at_start)?;
    let (reports, report_writer) = pipe_with(PipeFlags::CLOEXEC).map_err(at_start)?;
    let guard = rustix::process::getpid();

    let rc = match recipe.group {
        // SAFETY: without CLONE_VM this is a fork, and a null stack keeps the caller's. The child makes only
        // raw calls on memory prepared above (`become_agent` never returns).
        None => unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_FILES | libc::SIGCHLD, 0, 0, 0, 0) },
        Some(group) => {
            // SAFETY: all fields are integers, for which zero is a value.
            let mut wanted: libc::clone_args = unsafe { std::mem::zeroed() };
            // A child that is moved afterwards would be one that was outside for a while.
            wanted.flags = (libc::CLONE_FILES as u64) | CLONE_INTO_CGROUP;
            wanted.exit_signal = libc::SIGCHLD as u64;
            wanted.cgroup = group.as_raw_fd() as u64;
            // SAFETY: as above; the kernel reads as many bytes of `wanted` as it is told there are.
            unsafe { libc::syscall(libc::SYS_clone3, &raw const wanted, size_of::<libc::clone_args>()) }
        }
    };
    if rc == 0 {
        become_agent(recipe, guard, go_reader.as_raw_fd(), report_writer.as_raw_fd());
    }
    let pid = Pid::from_raw(rc as i32).filter(|_| rc > 0).ok_or_else(|| at_start(super::last_errno()))?;

    let listener = match read_report(&reports) {
        Ok(Report::Listener(fd)) => fd,
        outcome => {
            drop(report_writer);
            reap(pid);
            return Err(failure_of(outcome));
        }
    };
    // SAFETY: the child made this descriptor in the table that both share, handed it over by number, and
    // never closes it there: it takes a table of its own first.
    let listener = Listener::new(unsafe { OwnedFd::from_raw_fd(listener) });
    Ok(Held { pid, listener, go, reports, shared: [go_reader, report_writer] })
}

impl Held {
    /// Lets the child execute the command.
    ///
    /// # Errors
    /// The step at which it failed before it tried.
    pub fn release(self) -> Result<Released, Failed> {
        let at = |errno| Failed { step: Step::Descriptors, errno };
        rustix::io::write(&self.go, &[1]).map_err(at)?;
        let outcome = read_report(&self.reports);
        drop(self.shared);
        match outcome {
            Ok(Report::Unshared) => Ok(Released { pid: self.pid, listener: self.listener, reports: self.reports }),
            outcome => {
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

// ---------------------------------------------------------------- in the child: raw calls only

fn become_agent(recipe: &Recipe<'_>, guard: Pid, go: i32, reports: i32) -> ! {
    let error = match confine(recipe, guard, go, reports) {
        Ok(()) => (Step::Exec, execute(recipe)),
        Err(failed) => failed,
    };
    report(reports, error.0 as i32, error.1);
    let code = if error.1 == libc::ENOENT { 127 } else { 126 };
    // SAFETY: ends the process at once; no destructor or exit handler of the parent's state runs.
    unsafe { libc::_exit(code) }
}

fn confine(recipe: &Recipe<'_>, guard: Pid, go: i32, reports: i32) -> Result<(), (Step, i32)> {
    at(Step::Session, raw(libc::SYS_setsid, [0; 5]))?;
    default_signals(recipe);
    at(Step::ParentDeath, raw(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0, 0]))?;
    if raw(libc::SYS_getppid, [0; 5]) != Ok(guard.as_raw_nonzero().get() as usize) {
        return Err((Step::ParentDeath, libc::ESRCH));
    }
    drop_all_capabilities()?;
    at(Step::NoNewPrivs, raw(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0]))?;
    if let Some(ruleset) = recipe.landlock {
        at(Step::Landlock, raw(libc::SYS_landlock_restrict_self, [ruleset.as_raw_fd() as usize, 0, 0, 0, 0]))?;
    }
    let program = ptr::from_ref(&recipe.filter) as usize;
    let install = [libc::SECCOMP_SET_MODE_FILTER as usize, FILTER_FLAGS as usize, program, 0, 0];
    let listener = at(Step::Seccomp, raw(libc::SYS_seccomp, install))?;
    report(reports, LISTENER, listener as i32);

    let mut byte = 0u8;
    if raw(libc::SYS_read, [go as usize, ptr::from_mut(&mut byte) as usize, 1, 0, 0]) != Ok(1) {
        return Err((Step::Descriptors, libc::EPIPE));
    }
    own_descriptors(recipe, reports)?;
    report(reports, UNSHARED, 0);
    Ok(())
}

/// Takes a table of its own and closes everything above 2 in it, except the pipe that reports a failed exec
/// (which closes itself when there is none).
fn own_descriptors(recipe: &Recipe<'_>, reports: i32) -> Result<(), (Step, i32)> {
    let max = u32::MAX as usize;
    let close = |from: usize, to: usize, flags: u32| {
        at(Step::Descriptors, raw(libc::SYS_close_range, [from, to, flags as usize, 0, 0])).map(drop)
    };
    // The range is empty: `unshare` itself is held by the filter.
    close(max, max, libc::CLOSE_RANGE_UNSHARE)?;
    for (number, fd) in recipe.stdio.iter().enumerate() {
        if let Some(fd) = fd {
            at(Step::Descriptors, raw(libc::SYS_dup2, [fd.as_raw_fd() as usize, number, 0, 0, 0]))?;
        }
    }
    let reports = reports as usize;
    close(reports + 1, max, 0)?;
    if reports > 3 { close(3, reports - 1, 0) } else { Ok(()) }
}

/// Undoes what the Rust runtime and this program changed: the agent starts as if nobody stood between.
fn default_signals(recipe: &Recipe<'_>) {
    // SAFETY: SIG_DFL is a valid disposition and no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    if let Some(blocked) = &recipe.blocked {
        // The kernel's sets are 8 bytes long.
        let set = [libc::SIG_SETMASK as usize, blocked.as_ptr() as usize, 0, 8, 0];
        let _ = raw(libc::SYS_rt_sigprocmask, set);
    }
}

fn drop_all_capabilities() -> Result<(), (Step, i32)> {
    // Without CAP_SETPCAP this fails, and changes nothing: no_new_privs keeps the permitted set from growing.
    for capability in 0..64 {
        let _ = raw(libc::SYS_prctl, [libc::PR_CAPBSET_DROP as usize, capability, 0, 0, 0]);
    }
    let clear = [libc::PR_CAP_AMBIENT as usize, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize, 0, 0, 0];
    let _ = raw(libc::SYS_prctl, clear);
    // version 3 of the header, the calling thread; two empty triples of effective, permitted, inheritable
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0u32; 6];
    let sets = [ptr::from_ref(&header) as usize, ptr::from_ref(&none) as usize, 0, 0, 0];
    at(Step::Capabilities, raw(libc::SYS_capset, sets)).map(drop)
}

/// As `execvp`: the first program that is there; one that is no binary and has no `#!` goes to the shell.
fn execute(recipe: &Recipe<'_>) -> i32 {
    let mut error = libc::ENOENT;
    for attempt in &recipe.attempts {
        match exec(attempt.program.as_ptr(), recipe.argv.as_ptr(), recipe.envp.as_ptr()) {
            libc::ENOENT | libc::ENOTDIR if error != libc::EACCES => error = libc::ENOENT,
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => error = libc::EACCES,
            libc::ENOEXEC => {
                return exec(c"/bin/sh".as_ptr(), attempt.shell_argv.as_ptr(), recipe.envp.as_ptr());
            }
            other => return other,
        }
    }
    error
}

fn exec(program: *const libc::c_char, argv: *const *const libc::c_char, envp: *const *const libc::c_char) -> i32 {
    match raw(libc::SYS_execve, [program as usize, argv as usize, envp as usize, 0, 0]) {
        Ok(_) => 0,
        Err(errno) => errno,
    }
}

fn report(pipe: i32, tag: i32, value: i32) {
    let words = [tag, value];
    let _ = raw(libc::SYS_write, [pipe as usize, ptr::from_ref(&words) as usize, 8, 0, 0]);
}

fn at(step: Step, result: Result<usize, i32>) -> Result<usize, (Step, i32)> {
    result.map_err(|errno| (step, errno))
}

fn raw(nr: libc::c_long, args: [usize; 5]) -> Result<usize, i32> {
    // SAFETY: only called in the child, whose memory is its own copy: each caller passes numbers, descriptors or
    // pointers to live values of the type that the call reads or writes.
    let rc = unsafe { libc::syscall(nr, args[0], args[1], args[2], args[3], args[4]) };
    if rc < 0 {
        // SAFETY: gives the address of this thread's errno, always valid.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: valid as said above, and only this thread writes it.
        Err(unsafe { *errno })
    } else {
        Ok(rc as usize)
    }
}
