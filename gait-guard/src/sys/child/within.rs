//! What runs in the child between its making and `execve`, in the memory of this process.
//!
//! It reads a [`Plan`] and writes to its own stack, nothing else: other threads run meanwhile and may hold any lock, and the thread
//! pointer is that of the thread that made it. So there are raw calls only: no `errno`, no allocation, no formatting, and nothing that
//! can panic. Calls of `memset` and the like are bound when the program is loaded (`-z now`, which rustc asks for), so the dynamic linker has no part.
//!
//! What else of a process goes with its memory, and what not:
//! - Not with memory, so the child's own as after `fork(2)`: credentials, capabilities and their bounding set, `no_new_privs`, the Landlock
//!   domain, the seccomp filter, the session, handlers and mask of signals, the signal at the death of the parent. Dropping capabilities and
//!   `no_new_privs` leave the flag `dumpable`, which is the memory's, as it is: the kernel only clears it where ids change or capabilities are gained.
//! - Registered by address for a thread of the C library: the kernel gives a child that shares memory no robust futexes, no address to clear
//!   when it ends, no `rseq` area and no alternate signal stack. So nothing is written at the parent's.
//! - `membarrier(2)` is registered for a memory; executing begins with none.
//! - A fatal signal ends, and a core dump stops, the threads of one process, not all that share its memory (Linux 5.16).
//! - When memory runs out the kernel kills all that share it: then the supervisor dies with the child, and the watchdog ends the run.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;

use rustix::process::Pid;

use super::super::raw::{Mask, call};
use super::{LISTENER, Step, UNSHARED};

/// Flags of `seccomp(2)`; the last two as the supervisor needs them (Linux 5.19).
const FILTER_FLAGS: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
    | libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH
    | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

/// All that the child reads, ready for raw calls. It owns what it points at; descriptors are numbers of the shared table.
pub(super) struct Plan {
    pub words: Words,
    pub filter: &'static [libc::sock_filter],
    pub landlock: Option<i32>,
    pub stdio: [Option<i32>; 3],
    /// What the command starts with blocked.
    pub blocked: Mask,
    /// The process that the child must be a child of.
    pub guard: Pid,
    /// Where the word to go comes from.
    pub go: i32,
    /// Where it says how far it has come.
    pub reports: i32,
}

/// What is executed, as `execve` takes it.
pub(super) struct Words {
    attempts: Vec<Attempt>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    /// What all pointers lead to.
    _texts: [Arc<[CString]>; 3],
}

/// One file that may be the program.
struct Attempt {
    program: *const c_char,
    /// For a file without a `#!` line, which the shell runs: sh, the program, the arguments.
    shell_argv: Vec<*const c_char>,
}

impl Words {
    pub(super) fn new(programs: Arc<[CString]>, argv: Arc<[CString]>, environment: Arc<[CString]>) -> Self {
        let pointers = |texts: &[CString]| -> Vec<*const c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        let attempts = programs.iter().map(|program| {
            let start = [c"sh".as_ptr(), program.as_ptr()].into_iter();
            let rest = argv.iter().skip(1).map(|text| text.as_ptr());
            Attempt { program: program.as_ptr(), shell_argv: start.chain(rest).chain([ptr::null()]).collect() }
        });
        Self {
            attempts: attempts.collect(),
            argv: pointers(&argv),
            envp: pointers(&environment),
            _texts: [programs, argv, environment],
        }
    }
}

/// The whole life of the child.
pub(super) extern "C" fn become_agent(plan: *const Plan) -> ! {
    // SAFETY: whoever made the child keeps the plan as it is until the child has executed the command or is gone.
    let plan = unsafe { &*plan };
    let error = match confine(plan) {
        Ok(()) => (Step::Exec, execute(&plan.words)),
        Err(failed) => failed,
    };
    report(plan.reports, error.0 as i32, error.1);
    let code = if error.1 == libc::ENOENT { 127 } else { 126 };
    loop {
        // No destructor or exit handler of this memory, which goes on without the child.
        let _ = raw(libc::SYS_exit_group, [code, 0, 0, 0, 0]);
    }
}

fn confine(plan: &Plan) -> Result<(), (Step, i32)> {
    at(Step::Session, raw(libc::SYS_setsid, [0; 5]))?;
    default_signals(plan)?;
    at(Step::ParentDeath, raw(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0, 0]))?;
    if raw(libc::SYS_getppid, [0; 5]) != Ok(plan.guard.as_raw_nonzero().get() as usize) {
        return Err((Step::ParentDeath, libc::ESRCH));
    }
    drop_all_capabilities()?;
    at(Step::NoNewPrivs, raw(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0]))?;
    if let Some(ruleset) = plan.landlock {
        at(Step::Landlock, raw(libc::SYS_landlock_restrict_self, [ruleset as usize, 0, 0, 0, 0]))?;
    }
    // That the length fits was seen when the recipe was made.
    let program = libc::sock_fprog { len: plan.filter.len() as u16, filter: plan.filter.as_ptr().cast_mut() };
    let program = ptr::from_ref(&program) as usize;
    let install = [libc::SECCOMP_SET_MODE_FILTER as usize, FILTER_FLAGS as usize, program, 0, 0];
    let listener = at(Step::Seccomp, raw(libc::SYS_seccomp, install))?;
    report(plan.reports, LISTENER, listener as i32);

    let mut byte = 0u8;
    if raw(libc::SYS_read, [plan.go as usize, ptr::from_mut(&mut byte) as usize, 1, 0, 0]) != Ok(1) {
        return Err((Step::Descriptors, libc::EPIPE));
    }
    own_descriptors(plan)?;
    report(plan.reports, UNSHARED, 0);
    Ok(())
}

/// Takes a table of its own and closes everything above 2 in it, except the pipe that reports a failed exec
/// (which closes itself when there is none).
fn own_descriptors(plan: &Plan) -> Result<(), (Step, i32)> {
    let max = u32::MAX as usize;
    let close = |from: usize, to: usize, flags: u32| {
        at(Step::Descriptors, raw(libc::SYS_close_range, [from, to, flags as usize, 0, 0])).map(drop)
    };
    // The range is empty: `unshare` itself is held by the filter.
    close(max, max, libc::CLOSE_RANGE_UNSHARE)?;
    for (number, fd) in plan.stdio.iter().enumerate() {
        if let Some(fd) = fd {
            at(Step::Descriptors, raw(libc::SYS_dup2, [*fd as usize, number, 0, 0, 0]))?;
        }
    }
    let reports = plan.reports as usize;
    close(reports.wrapping_add(1), max, 0)?;
    if reports > 3 { close(3, reports.wrapping_sub(1), 0) } else { Ok(()) }
}

/// `struct sigaction` as the kernel has it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Disposition {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: Mask,
}

const LAST_SIGNAL: usize = 64;

/// Undoes what the Rust runtime and this program changed: the agent starts as if nobody stood between.
///
/// `execve` would put handlers away too, but until then they would run here, so only without them may signals come. Those that
/// were ignored stay so, but for SIGPIPE, which the runtime ignores.
fn default_signals(plan: &Plan) -> Result<(), (Step, i32)> {
    let default = Disposition { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    for signal in 1..=LAST_SIGNAL {
        let mut found = default;
        let size = size_of::<Mask>();
        let look = [signal, 0, ptr::from_mut(&mut found) as usize, size, 0];
        at(Step::Session, raw(libc::SYS_rt_sigaction, look))?;
        let is_ours = !matches!(found.handler, libc::SIG_DFL | libc::SIG_IGN) || signal == libc::SIGPIPE as usize;
        if is_ours {
            at(Step::Session, raw(libc::SYS_rt_sigaction, [signal, ptr::from_ref(&default) as usize, 0, size, 0]))?;
        }
    }
    let blocked = ptr::from_ref(&plan.blocked) as usize;
    let set = [libc::SIG_SETMASK as usize, blocked, 0, size_of::<Mask>(), 0];
    at(Step::Session, raw(libc::SYS_rt_sigprocmask, set)).map(drop)
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
fn execute(words: &Words) -> i32 {
    let mut error = libc::ENOENT;
    for attempt in &words.attempts {
        match exec(attempt.program, words.argv.as_ptr(), words.envp.as_ptr()) {
            libc::ENOENT | libc::ENOTDIR if error != libc::EACCES => error = libc::ENOENT,
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => error = libc::EACCES,
            libc::ENOEXEC => {
                return exec(c"/bin/sh".as_ptr(), attempt.shell_argv.as_ptr(), words.envp.as_ptr());
            }
            other => return other,
        }
    }
    error
}

fn exec(program: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> i32 {
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
    // SAFETY: each caller passes numbers, descriptors or pointers to live values of the type that the call reads or writes. Those that
    // it writes are on the child's own stack, and what it changes of the process is the child's alone.
    unsafe { call(nr, args) }
}
