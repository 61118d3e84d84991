use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::ptr;

use rustix::process::{Signal, WaitOptions, WaitStatus, kill_process, waitpid};

use super::*;
use crate::layer::seccomp::{Opens, program};
use crate::sys::ptrace;

/// What no call gives.
const UNTOUCHED: i32 = 4242;

fn recipe(argv: &[&str]) -> Recipe<'static> {
    let texts = |texts: &[&str]| -> Arc<[CString]> { texts.iter().map(|text| CString::new(*text).unwrap()).collect() };
    Recipe::new(texts(&argv[..1]), texts(argv), texts(&["A=b"]), program::filter(Opens::Held), None).unwrap()
}

fn errno() -> &'static mut i32 {
    // SAFETY: has no precondition.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own, always there, and no other thread writes it.
    unsafe { &mut *place }
}

/// Lets every call of the child run, to its end.
fn see_through(held: Held) -> (Result<(), Failed>, WaitStatus) {
    let (pid, listener, execution) = held.release().unwrap().into_parts();
    while !listener.is_deserted() {
        if let Ok(call) = listener.receive() {
            let _ = listener.send_continue(call.id);
        }
    }
    (execution.wait(), end_of(pid))
}

fn end_of(pid: Pid) -> WaitStatus {
    waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap().1
}

/// The number behind `name` in its status, in hexadecimal.
fn status(pid: Pid, name: &str) -> u64 {
    field(&std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap(), name)
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

fn output() -> File {
    File::from(rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC).unwrap())
}

#[test]
fn the_child_is_a_process_of_its_own_within_this_memory() {
    let word = std::cell::Cell::new(1_u64);
    let held = start(recipe(&["/bin/true"])).unwrap();
    assert_ne!(held.pid, rustix::process::getpid());
    // Written after the child was made, and seen through it.
    word.set(0x1234_5678_9abc_def0);
    let mut seen = [0; 8];
    let tid = held.pid.as_raw_nonzero().get();
    assert_eq!(crate::sys::memory::read(tid, word.as_ptr() as u64, &mut seen), Ok(8));
    assert_eq!(u64::from_ne_bytes(seen), word.get());
    // What it has of its own: one thread, no capabilities, the filter.
    let status = |name| status(held.pid, name);
    assert_eq!(
        (status("Threads"), status("CapEff"), status("CapPrm"), status("NoNewPrivs"), status("Seccomp")),
        (1, 0, 0, 1, 2)
    );
    let (executed, end) = see_through(held);
    assert_eq!((executed, end.exit_status()), (Ok(()), Some(0)));
}

#[test]
fn the_memory_of_this_process_is_its_own_again() {
    let heap: Vec<u64> = (0..100_000).collect();
    let stack = [0x5a_u8; 16 << 10];
    for _ in 0..20 {
        let (executed, end) = see_through(start(recipe(&["/bin/true"])).unwrap());
        assert_eq!((executed, end.exit_status()), (Ok(()), Some(0)));
    }
    // Whether others may look into it goes with memory, and the child gave up capabilities in it.
    assert_eq!(rustix::process::dumpable_behavior(), Ok(rustix::process::DumpableBehavior::Dumpable));
    assert!(heap.iter().copied().eq(0..100_000));
    assert_eq!(std::hint::black_box(stack), [0x5a; 16 << 10]);
}

#[test]
fn errors_of_the_child_do_not_reach_the_thread_that_made_it() {
    let recipe = recipe(&["/nowhere/there is no such program"]);
    *errno() = UNTOUCHED;
    // It fails to drop capabilities that don't exist.
    let held = start(recipe).unwrap();
    assert_eq!(*errno(), UNTOUCHED);
    let (pid, listener, execution) = held.release().unwrap().into_parts();
    let call = listener.receive().unwrap();
    listener.send_continue(call.id).unwrap();
    let failed = execution.wait();
    let end = end_of(pid);
    assert_eq!(*errno(), UNTOUCHED);
    assert_eq!(failed, Err(Failed { step: Step::Exec, errno: Errno::NOENT }));
    assert_eq!(end.exit_status(), Some(127));
}

#[test]
fn what_is_no_program_goes_to_the_shell_and_what_may_not_run_is_told() {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&script, "exit 3\n").unwrap();
    let path = script.path().to_str().unwrap().to_owned();
    let (executed, end) = see_through(start(recipe(&["/etc/passwd"])).unwrap());
    assert_eq!((executed, end.exit_status()), (Err(Failed { step: Step::Exec, errno: Errno::ACCESS }), Some(126)));
    let (file, _guard) = script.into_parts();
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o700)).unwrap();
    drop(file);
    let (executed, end) = see_through(start(recipe(&[&path])).unwrap());
    assert_eq!((executed, end.exit_status()), (Ok(()), Some(3)));
}

#[test]
fn a_signal_that_the_command_starts_with_blocked_waits_for_it() {
    let mut output = output();
    let recipe = recipe(&["/bin/cat", "/proc/self/status"]).blocked(Some(SignalSet::of(&[Signal::USR1])));
    let held = start(recipe.stdio([None, Some(output.as_fd()), None])).unwrap();
    kill_process(held.pid, Signal::USR1).unwrap();
    let (executed, end) = see_through(held);
    assert_eq!((executed, end.exit_status()), (Ok(()), Some(0)));
    let mut text = String::new();
    output.seek(SeekFrom::Start(0)).unwrap();
    output.read_to_string(&mut text).unwrap();
    assert_eq!((field(&text, "SigBlk"), field(&text, "ShdPnd")), (bit(Signal::USR1), bit(Signal::USR1)));
}

#[test]
fn the_mask_of_the_thread_is_the_commands_and_stays_the_threads() {
    let before = SignalSet::of(&[Signal::USR2]).block().unwrap();
    let held = start(recipe(&["/bin/true"])).unwrap();
    assert_eq!(status(held.pid, "SigBlk"), before.mask() | bit(Signal::USR2));
    assert_eq!(before.set().unwrap().mask(), before.mask() | bit(Signal::USR2));
    // None of this process's handlers can run there, and SIGPIPE is not ignored.
    assert_eq!(status(held.pid, "SigCgt"), 0);
    assert_eq!(status(held.pid, "SigIgn") & bit(Signal::PIPE), 0);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    assert_ne!(
        field(&own, "SigCgt") & bit(Signal::SEGV),
        0,
        "the runtime has a handler, so there was something to put away"
    );
    assert_eq!(see_through(held).0, Ok(()));
}

#[test]
fn a_signal_that_is_deadly_ends_the_child_alone_and_is_told() {
    for signal in [Signal::SEGV, Signal::BUS, Signal::TERM, Signal::KILL] {
        let held = start(recipe(&["/bin/true"])).unwrap();
        let pid = held.pid;
        kill_process(pid, signal).unwrap();
        assert_eq!(end_of(pid).terminating_signal(), Some(signal.as_raw()));
        assert_eq!(held.release().unwrap_err(), Failed { step: Step::Session, errno: Errno::CHILD });
    }
}

#[test]
fn a_child_without_room_for_its_group_is_none() {
    // Not a control group: clone3 refuses, and what was made for the child is given back.
    let folder = File::open("/").unwrap();
    let failed = start(recipe(&["/bin/true"]).group(Some(folder.as_fd()))).unwrap_err();
    assert_eq!(failed.step, Step::Session);
    let (executed, _) = see_through(start(recipe(&["/bin/true"])).unwrap());
    assert_eq!(executed, Ok(()));
}

#[test]
fn a_held_child_ends_with_the_thread_that_made_it_and_leaves_the_memory() {
    let recipe = || recipe(&["/bin/true"]);
    let held = std::thread::spawn(move || start(recipe()).unwrap()).join().unwrap();
    assert_eq!(end_of(held.pid).terminating_signal(), Some(Signal::KILL.as_raw()));
    let (executed, end) = see_through(start(recipe()).unwrap());
    assert_eq!((executed, end.exit_status()), (Ok(()), Some(0)));
}

/// The list of robust futexes that the kernel would walk at the end of a thread; 0 is the calling one.
fn robust_list(tid: i32) -> usize {
    let (mut head, mut length) = (usize::MAX, 0_usize);
    // SAFETY: the kernel writes one address and one length.
    let done = unsafe { libc::syscall(libc::SYS_get_robust_list, tid, &raw mut head, &raw mut length) };
    assert_eq!(done, 0);
    head
}

/// Where the kernel writes on which processor a stopped thread runs.
fn rseq(tid: i32) -> u64 {
    const PTRACE_GET_RSEQ_CONFIGURATION: libc::c_uint = 0x420f;
    let mut words = [u64::MAX; 3];
    let room = ptr::without_provenance_mut::<libc::c_void>(size_of_val(&words));
    // SAFETY: the kernel writes an address and four numbers of four bytes, no more than it is told there is room for.
    let got = unsafe { libc::ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, room, words.as_mut_ptr()) };
    assert_eq!(got, 24);
    words[0]
}

#[test]
fn nothing_of_the_thread_is_registered_for_the_child() {
    let held = start(recipe(&["/bin/true"])).unwrap();
    let tid = held.pid.as_raw_nonzero().get();
    assert_ne!(robust_list(0), 0, "the C library has one for this thread, so there was something to inherit");
    assert_eq!(robust_list(tid), 0);
    ptrace::seize(tid).unwrap();
    ptrace::interrupt(tid).unwrap();
    assert_eq!(ptrace::wait(ptrace::Reap::Yes), Ok(ptrace::Stop::Interrupted { tid }));
    assert_eq!(rseq(tid), 0);
    ptrace::detach(tid).unwrap();
    let (executed, end) = see_through(held);
    assert_eq!((executed, end.exit_status()), (Ok(()), Some(0)));
}
