//! What one thread of the supervisor has of its own.

use rustix::io;
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

/// Gives the calling thread its own root, working directory and umask.
pub fn own_fs() -> io::Result<()> {
    // SAFETY: only `UnshareFlags::FILES` can hide descriptors from other threads, and it is not given.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
}

/// Drops every capability of the calling thread, for good.
pub fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// How long the calling thread wants to run at a time: short, so that it is let run soon after it wakes up.
const SLICE_NANOS: u64 = 100_000;

/// Asks for a short time slice, which every user may (Linux 6.12; before that it changes nothing): of those who wait for
/// a processor, the one with the earliest end of its slice is next.
///
/// # Errors
/// Those of `sched_setattr(2)`.
pub fn prefer_soon() -> io::Result<()> {
    let nice = rustix::process::getpriority_process(None)?;
    // SAFETY: all fields are integers, for which zero is a value.
    let mut wanted: libc::sched_attr = unsafe { std::mem::zeroed() };
    wanted.size = size_of::<libc::sched_attr>() as u32;
    wanted.sched_policy = libc::SCHED_OTHER as u32;
    wanted.sched_nice = nice;
    wanted.sched_runtime = SLICE_NANOS;
    // SAFETY: thread 0 is the calling one; the kernel reads `size` bytes of `wanted`, which is of that size and outlives
    // the call.
    let status = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) };
    if status == 0 { Ok(()) } else { Err(super::last_errno()) }
}

/// The calling thread's id.
pub fn own_tid() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// The signal that ends a system call of one of our own threads.
const INTERRUPT: libc::c_int = libc::SIGUSR1;

extern "C" fn do_nothing(_signal: libc::c_int) {}

/// Lets [`interrupt`] end the system calls of threads of this process: they fail with EINTR, and
/// nothing else happens.
///
/// # Errors
/// Those of `sigaction(2)`.
pub fn accept_interrupts() -> io::Result<()> {
    // SAFETY: all zero bits are a valid `sigaction`: no flags (so no restart), an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = do_nothing as *const () as libc::sighandler_t;
    // SAFETY: `action` is initialised and borrowed for the call; its handler does nothing, so it is
    // safe in a signal context; the old action is not asked for.
    let status = unsafe { libc::sigaction(INTERRUPT, &raw const action, std::ptr::null_mut()) };
    if status == 0 { Ok(()) } else { Err(super::last_errno()) }
}

/// Ends the system call that the thread `tid` of this process is in. 0 is nobody.
pub fn interrupt(tid: i32) {
    if tid == 0 {
        return;
    }
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: takes three numbers and touches no memory; with our own pid it fails for a thread that
    // is not ours. A thread that is gone is no error here.
    unsafe { libc::syscall(libc::SYS_tgkill, own, tid, INTERRUPT) };
}

/// Sends `signal` to one thread of another process. One that is gone is no error here.
pub fn signal(tid: i32, signal: i32) {
    // SAFETY: takes two numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_tkill, tid, signal) };
}
