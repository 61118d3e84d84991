//! The few ptrace requests with which an exec is looked at before its first instruction.
//!
//! Requests are bound to the *thread* that seized: the same one must wait, read and let go.

use libc::{c_int, c_long, pid_t};
use rustix::io::Errno;

use super::last_errno;

/// What a wait of the tracing thread found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// An exec has happened; nothing of the new program has run. The process has one thread now and
    /// goes by `pid`, whichever of its threads called.
    Exec {
        /// The process.
        pid: i32,
    },
    /// Stopped because it was asked to, or by a stop signal: the call that was waited for is over.
    Interrupted {
        /// The thread.
        tid: i32,
    },
    /// About to receive a signal.
    Signal {
        /// The thread.
        tid: i32,
        /// The signal.
        signal: i32,
    },
    /// It is dead (and, by [`wait`], reaped as far as the tracer is concerned).
    Gone {
        /// The thread.
        tid: i32,
    },
    /// This thread traces nobody: the tracee was swallowed by an exec of another of its threads.
    Nobody,
}

fn request(request: libc::c_uint, tid: i32, data: usize) -> Result<(), Errno> {
    // SAFETY: none of the requests made here (SEIZE, INTERRUPT, CONT, DETACH) makes the kernel read
    // or write our memory: `addr` is ignored and `data` is a number.
    let result: c_long = unsafe { libc::ptrace(request, tid, std::ptr::null_mut::<libc::c_void>(), data) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Attaches to a thread without stopping it; it dies with this thread.
///
/// # Errors
/// `ESRCH` for a dead thread, `EPERM` where somebody else traces it or it can't be traced.
pub fn seize(tid: i32) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SEIZE, tid, options as usize)
}

/// Makes a seized thread stop at the next chance: when its syscall has returned.
///
/// # Errors
/// `ESRCH` for a dead thread.
pub fn interrupt(tid: i32) -> Result<(), Errno> {
    request(libc::PTRACE_INTERRUPT, tid, 0)
}

/// Lets a stopped thread run on, delivering `signal` unless it is 0.
///
/// # Errors
/// `ESRCH` for a thread that died.
pub fn resume(tid: i32, signal: i32) -> Result<(), Errno> {
    request(libc::PTRACE_CONT, tid, signal.unsigned_abs() as usize)
}

/// Lets a stopped thread go for good.
///
/// # Errors
/// `ESRCH` for a thread that died.
pub fn detach(tid: i32) -> Result<(), Errno> {
    request(libc::PTRACE_DETACH, tid, 0)
}

/// Whether a dead tracee is reaped by a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reap {
    /// As usual.
    Yes,
    /// Leave it to its parent, which is this process.
    No,
}

/// Waits for what the calling thread traces, and only for that: no child of another thread of this
/// process is touched.
///
/// # Errors
/// What `waitid(2)` gives, but for EINTR and ECHILD.
pub fn wait(reap: Reap) -> Result<Stop, Errno> {
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let keep = if reap == Reap::No { libc::WNOWAIT } else { 0 };
        let options: c_int = libc::WEXITED | libc::WSTOPPED | libc::__WALL | libc::__WNOTHREAD | keep;
        // SAFETY: `info` is a valid place for one siginfo_t, which is all that the kernel writes.
        let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) };
        if result < 0 {
            match last_errno() {
                Errno::INTR => continue,
                Errno::CHILD => return Ok(Stop::Nobody),
                errno => return Err(errno),
            }
        }
        // SAFETY: zeroed, then filled by the kernel; all bit patterns of a siginfo_t are valid.
        let info = unsafe { info.assume_init() };
        // SAFETY: waitid filled in the SIGCHLD form, which has a pid.
        let tid: pid_t = unsafe { info.si_pid() };
        // SAFETY: as above, and a status.
        let status = unsafe { info.si_status() };
        return Ok(decode(tid, info.si_code, status));
    }
}

fn decode(tid: i32, code: i32, status: i32) -> Stop {
    if code != libc::CLD_TRAPPED && code != libc::CLD_STOPPED {
        return Stop::Gone { tid };
    }
    match status >> 8 {
        libc::PTRACE_EVENT_EXEC => Stop::Exec { pid: tid },
        libc::PTRACE_EVENT_STOP => Stop::Interrupted { tid },
        _ => Stop::Signal { tid, signal: status & 0x7f },
    }
}

/// Kills a process.
///
/// # Errors
/// `ESRCH` where it is dead already.
pub fn kill(pid: i32) -> Result<(), Errno> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)
}
