//! The process tree as the kernel sees it: forks, execs and ends, for every engine.

use core::ffi::c_void;

use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::debug;
use gait_ebpf::record::{ARGUMENT_BYTES, AT_FRONT, counter, kind};

use crate::kernel::{
    self, O_BPRM_FILE, O_FILE_INODE, O_FILE_PATH, O_INODE_NUMBER, O_MM_ARG_END, O_MM_ARG_START, O_SIGNAL_LIVE,
    O_TASK_EXIT_CODE, O_TASK_MM, O_TASK_SIGNAL, address_of, member,
};
use crate::path;
use crate::ring;
use crate::scope::{self, Scratch};

/// A task was made: inherits membership. The child can't have run yet. A tracepoint can't refuse it, so the parent dies if
/// there is no memory for its child.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn on_fork(ctx: BtfTracePointContext) -> i32 {
    let parent: *mut c_void = ctx.arg::<*mut c_void>(0);
    let child: *mut c_void = ctx.arg::<*mut c_void>(1);
    // The current task.
    let tid = kernel::number(parent);
    let shares = scope::is_sharing(parent, child);
    // What comes after this is the same for both kinds of heirs, so that the verifier looks at it once.
    if !scope::is_heir_that_shares(parent, tid, shares) {
        return 0;
    }
    let Some(scratch) = scope::adopted(child) else {
        ring::count(counter::UNSCOPED);
        // SAFETY: a signal to the current task, the parent.
        unsafe { h::bpf_send_signal(9) };
        return 0;
    };
    scratch.shares |= shares;
    let number = kernel::number(child);
    scope::note_first(scratch, number);
    debug!(&ctx, "task {} was made", number);
    let leader = kernel::leader(child);
    let mut header = ring::header_of(tid, kind::FORK, number, 0);
    header.detail = u64::from(kernel::number(leader));
    header.extra = kernel::start(leader);
    ring::put_or_lose(&header);
    0
}

/// A program was started: what file, as the kernel opened it, and with which arguments.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn on_exec(ctx: BtfTracePointContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    let bprm: *const c_void = ctx.arg(2);
    // SAFETY: the verifier knows the type of the argument.
    let file: *const c_void = unsafe { member(bprm, &O_BPRM_FILE) };
    if file.is_null() {
        return 0;
    }
    // One that another thread of its process made has the number of that process from now on.
    ring::identify(scratch);
    let arguments = arguments(scratch, file);
    scratch.state = 0;
    // An exec ends all other threads and takes a descriptor table of its own.
    scratch.shares = 0;
    scope::note(scratch, scratch.tid);
    let (bytes, found) = path::of_plain_path(scratch, address_of(file, &O_FILE_PATH) as u64);
    debug!(&ctx, "process {} runs another program", scratch.tgid);
    ring::head_of_known(scratch, kind::EXEC, found);
    let path = ring::put_front(scratch, bytes, AT_FRONT);
    ring::count_each([arguments, path].map(ring::or_lost));
    0
}

/// Records the argument area of the new image: nobody else has its memory yet. What the kernel says to the record.
#[inline(always)]
fn arguments(scratch: &mut Scratch, file: *const c_void) -> i64 {
    // SAFETY: the current task, whose type the verifier knows, and its memory, which it has got by now.
    let mm: *const c_void = unsafe { member(kernel::current(), &O_TASK_MM) };
    // SAFETY: as above.
    let (start, end): (u64, u64) = unsafe { (member(mm, &O_MM_ARG_START), member(mm, &O_MM_ARG_END)) };
    let length = end.wrapping_sub(start);
    // SAFETY: an open file has an inode, and zeros are a number.
    let inode: u64 = unsafe { member(member(file, &O_FILE_INODE), &O_INODE_NUMBER) };
    ring::head_of_known(scratch, kind::ARGUMENTS, inode);
    scratch.header.detail = length;
    let taken = kernel::at_most::<{ ARGUMENT_BYTES as u64 }>(length);
    // It never is: said for the verifier, which goes on with a bound. Counted as lost, it would end the run.
    if taken > ARGUMENT_BYTES as u64 {
        return -1;
    }
    // SAFETY: the helper writes at most the whole of the path's place.
    let read = unsafe { h::bpf_probe_read_user((&raw mut scratch.path).cast(), taken as u32, start as *const c_void) };
    let failed = kernel::failed(read);
    scratch.header.op = failed as u32;
    ring::put_front(scratch, kernel::unless(failed, taken), 0)
}

/// A task ended: the last of a process says how.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn on_exit(ctx: BtfTracePointContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    let task = kernel::current();
    scope::forget(scratch);
    // SAFETY: the current task, whose type the verifier knows.
    let signal: *const c_void = unsafe { member(task, &O_TASK_SIGNAL) };
    if signal.is_null() {
        return 0;
    }
    // Counted down before this point: 0 for the last thread.
    // SAFETY: as above.
    let live: u32 = unsafe { member(signal, &O_SIGNAL_LIVE) };
    if live != 0 {
        return 0;
    }
    let mut header = ring::header(kind::EXIT, 0, 0);
    // SAFETY: as above.
    let code: u32 = unsafe { member(task, &O_TASK_EXIT_CODE) };
    header.detail = u64::from(code);
    debug!(&ctx, "process {} ended with status {}", header.tgid, code);
    ring::put_or_lose(&header);
    0
}
