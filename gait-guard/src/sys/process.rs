//! Processes and signals of the guard itself.

use std::mem::MaybeUninit;
use std::ptr;

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::process::{Pid, Signal, WaitOptions, waitpid};

use super::raw::Mask;

/// Which side of [`fork`] this is.
#[derive(Debug)]
pub enum Fork {
    /// The original.
    Parent {
        /// The copy.
        child: Pid,
    },
    /// The copy.
    Child,
}

/// Copies this process.
///
/// # Errors
/// `EDEADLK` if another thread runs: the copy would lack it, and keep whatever locks it holds. Else those of `fork(2)`.
pub fn fork() -> io::Result<Fork> {
    // A thread that was joined has given everything back, but the kernel may list it for a moment longer.
    const WHILE: std::time::Duration = std::time::Duration::from_millis(500);
    let start = std::time::Instant::now();
    while std::fs::read_dir("/proc/self/task").map_err(|_| Errno::NOENT)?.count() != 1 {
        if start.elapsed() > WHILE {
            return Err(Errno::DEADLK);
        }
        std::thread::yield_now();
    }
    // SAFETY: this thread is the only one, as was just counted and only itself could change, so the copy is complete.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        pid if pid > 0 => Pid::from_raw(pid).map(|child| Fork::Parent { child }).ok_or(Errno::INVAL),
        _ => Err(super::last_errno()),
    }
}

/// Makes a process that runs `body` in the memory of this one and ends with its code: a child of the calling thread, which stands
/// still until then and does not collect it. Other threads may run.
///
/// Nothing is copied, as `vfork(2)` does it. What `body` changes of memory stays; what it makes of the process (descriptors,
/// credentials, Landlock domain) ends with it. It must get by with 64 KiB of stack, and keep no lock where it can be killed.
///
/// # Errors
/// Those of `clone(2)`.
pub fn make_within<F: FnOnce() -> u8>(body: F) -> io::Result<Pid> {
    const STACK: usize = 64 << 10;
    /// What a `body` that panics ends with.
    const PANICKED: libc::c_int = 255;
    extern "C" fn run<F: FnOnce() -> u8>(body: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the `Option<F>` of the caller, whose thread stands still while this runs.
        let body = unsafe { &mut *body.cast::<Option<F>>() };
        let body = body.take().map(|body| std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)));
        body.and_then(Result::ok).map_or(PANICKED, libc::c_int::from)
    }
    let mut body = Some(body);
    let mut stack = Vec::<u128>::with_capacity(STACK / size_of::<u128>());
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is the child's alone, aligned, and outlives it, as does `body`: this thread goes on only when the child has
    // ended. So nobody else uses this thread's own memory, `errno` among it, and of what threads share the child is one more user.
    let pid = unsafe { libc::clone(run::<F>, top.cast(), flags, (&raw mut body).cast()) };
    Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(super::last_errno)
}

/// Ends this process at once, without destructors or exit handlers.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: has no precondition.
    unsafe { libc::_exit(code.into()) }
}

/// A set of signals.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSet(..)")
    }
}

impl SignalSet {
    /// Exactly these signals.
    pub fn of(signals: &[Signal]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `set` is room for one `sigset_t`.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for signal in signals {
            // SAFETY: `set` was initialised by `sigemptyset`; the number is that of a real signal.
            unsafe { libc::sigaddset(set.as_mut_ptr(), signal.as_raw()) };
        }
        // SAFETY: initialised by `sigemptyset`.
        Self(unsafe { set.assume_init() })
    }

    /// Blocks these, besides what is blocked, on the calling thread (new threads and processes inherit it); gives what
    /// was blocked before.
    pub fn block(&self) -> io::Result<Self> {
        self.apply(libc::SIG_BLOCK)
    }

    /// Blocks exactly these on the calling thread.
    pub fn set(&self) -> io::Result<Self> {
        self.apply(libc::SIG_SETMASK)
    }

    fn apply(&self, how: i32) -> io::Result<Self> {
        let mut before = MaybeUninit::uninit();
        // SAFETY: the new set is initialised, `before` is room for the old one.
        let rc = unsafe { libc::pthread_sigmask(how, &self.0, before.as_mut_ptr()) };
        if rc != 0 {
            return Err(Errno::from_raw_os_error(rc));
        }
        // SAFETY: the call succeeded, so it wrote the old set.
        Ok(Self(unsafe { before.assume_init() }))
    }

    /// Waits for one of these, which must be blocked.
    pub fn wait(&self) -> i32 {
        loop {
            // SAFETY: the set is initialised, and a null pointer asks for no details.
            let signal = unsafe { libc::sigwaitinfo(&self.0, ptr::null_mut()) };
            if signal > 0 {
                return signal;
            }
        }
    }

    /// A descriptor that is readable while one of these, which must be blocked, is pending (`signalfd(2)`).
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        // SAFETY: the set is initialised; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(super::last_errno());
        }
        // SAFETY: just made, and nobody else has its number.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The set as the kernel has it, for the child that [`super::child`] makes.
    pub(super) fn mask(&self) -> Mask {
        // SAFETY: the kernel's set is the first eight bytes of the C library's, which is aligned alike and larger.
        unsafe { ptr::from_ref(&self.0).cast::<Mask>().read() }
    }
}

/// Stops this process, as the terminal would.
pub fn stop_self() -> io::Result<()> {
    rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)
}

/// Collects the dead children of the calling thread (orphans that came to this process are its main thread's), and
/// leaves alone what others wait for: a child that a tracer thread holds at a stop is only looked at.
///
/// Stops at `awaited`, whose status somebody wants: it falls to this thread when the one that made it has ended.
pub fn collect_dead_children(awaited: Option<Pid>) {
    while let Some(child) = dead_child() {
        if awaited.is_some_and(|awaited| awaited.as_raw_nonzero().get() == child) {
            break;
        }
        let options = libc::WNOHANG | libc::__WNOTHREAD;
        // SAFETY: a null pointer asks for no status.
        if unsafe { libc::waitpid(child, ptr::null_mut(), options) } <= 0 {
            break;
        }
    }
}

/// The next dead child, which stays to be collected.
fn dead_child() -> Option<i32> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WNOTHREAD;
    // SAFETY: `info` is room for one `siginfo_t`.
    if unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) } != 0 {
        return None;
    }
    // SAFETY: zeroed before, and written by waitid where there is a child.
    let info = unsafe { info.assume_init() };
    // SAFETY: either zeros or the SIGCHLD form, which has a pid.
    let pid = unsafe { info.si_pid() };
    let is_dead = matches!(info.si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED);
    (pid > 0 && is_dead).then_some(pid)
}

/// Runs `body` in a process of its own ([`make_within`]); gives what it returned.
///
/// # Errors
/// No process could be made, or it was killed (`ECHILD`).
pub fn in_child(body: impl FnOnce() -> u8) -> Result<i32, Errno> {
    let child = make_within(body)?;
    let status = io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
    status.and_then(|(_, status)| status.exit_status()).ok_or(Errno::CHILD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_within_this_one_has_its_memory_and_its_own_descriptors() {
        let (mut seen, here) = (0, std::process::id());
        let file = std::fs::File::open("/dev/null").unwrap();
        let code = in_child(|| {
            seen = std::process::id();
            // SAFETY: in the child's own table, which ends with it.
            unsafe { libc::close(rustix::fd::AsRawFd::as_raw_fd(&file)) };
            7
        });
        assert_eq!(code, Ok(7));
        assert!(seen != 0 && seen != here);
        assert!(file.metadata().is_ok());
    }

    #[test]
    fn how_a_process_within_this_one_ends_is_told() {
        let killed = in_child(|| {
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
            0
        });
        assert_eq!(killed, Err(Errno::CHILD));
        assert_eq!(in_child(|| panic!("told on standard error, as it should be")), Ok(255));
        assert_eq!(in_child(|| 0), Ok(0));
    }
}
