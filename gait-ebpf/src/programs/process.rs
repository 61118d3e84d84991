//! The process tree as the kernel sees it: forks, execs and ends, for every engine.

use core::ffi::c_void;

use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::debug;
use gait_ebpf::record::{ARGUMENT_BYTES, counter, kind};

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
    if !scope::is_heir(parent) {
        return 0;
    }
    if !scope::adopt(child) {
        ring::count(counter::UNSCOPED);
        // SAFETY: a signal to the current task, the parent.
        unsafe { h::bpf_send_signal(9) };
        return 0;
    }
    let number = kernel::number(child);
    scope::note(child, number);
    scope::note_sharing(parent, child);
    debug!(&ctx, "task {} was made", number);
    let mut header = ring::header(kind::FORK, number, 0);
    header.detail = u64::from(kernel::process_number(child));
    header.extra = kernel::process_start(child);
    if !ring::put(&header) {
        ring::count(counter::LOST);
    }
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
    scratch.tid = 0;
    arguments(scratch, file);
    scratch.state = 0;
    // An exec ends all other threads and takes a descriptor table of its own.
    scratch.shares = 0;
    let task = kernel::current();
    scope::note(task, kernel::number(task));
    let resolved = path::of_path(scratch, address_of(file, &O_FILE_PATH) as u64, false);
    let mut header = ring::header(kind::EXEC, 0, 0);
    debug!(&ctx, "process {} runs another program", header.tgid);
    header.extra = resolved.found as u64;
    scratch.header = header;
    if !ring::put_path(scratch, resolved.place) {
        ring::count(counter::LOST);
    }
    0
}

/// Records the argument area of the new image: nobody else has its memory yet.
#[inline(always)]
fn arguments(scratch: &mut Scratch, file: *const c_void) {
    // SAFETY: the current task, whose type the verifier knows.
    let mm: *const c_void = unsafe { member(kernel::current(), &O_TASK_MM) };
    if mm.is_null() {
        return;
    }
    // SAFETY: the memory of the current task, as above.
    let (start, end): (u64, u64) = unsafe { (member(mm, &O_MM_ARG_START), member(mm, &O_MM_ARG_END)) };
    let length = end.wrapping_sub(start);
    let taken = if length > ARGUMENT_BYTES as u64 { ARGUMENT_BYTES as u32 } else { length as u32 };
    // SAFETY: an open file, whose type the verifier knows, has an inode.
    let inode: *const c_void = unsafe { member(file, &O_FILE_INODE) };
    let mut header = ring::header(kind::ARGUMENTS, 0, 0);
    header.detail = length;
    if !inode.is_null() {
        // SAFETY: as above.
        header.extra = unsafe { member(inode, &O_INODE_NUMBER) };
    }
    // SAFETY: the helper writes at most the whole of the path's place.
    let failed = unsafe { h::bpf_probe_read_user((&raw mut scratch.path).cast(), taken, start as *const c_void) };
    if failed == 0 {
        header.size = taken;
    } else {
        header.op = 1;
    }
    scratch.header = header;
    if !ring::put_front(scratch) {
        ring::count(counter::LOST);
    }
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
    if !ring::put(&header) {
        ring::count(counter::LOST);
    }
    0
}
