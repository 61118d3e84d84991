//! The process tree as the kernel sees it: forks, execs and ends, for every engine.

use core::ffi::c_void;

use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gait_ebpf::record::{counter, kind};

use crate::kernel::{
    self, O_BPRM_FILE, O_FILE_PATH, O_SIGNAL_LIVE, O_TASK_EXIT_CODE, O_TASK_SIGNAL, address_of, member,
};
use crate::path;
use crate::ring;
use crate::scope;

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
    scope::note(child, kernel::number(child));
    let mut header = ring::header(kind::FORK, kernel::number(child), 0);
    header.detail = u64::from(kernel::process_number(child));
    header.extra = kernel::process_start(child);
    if !ring::put(&header) {
        ring::count(counter::LOST);
    }
    0
}

/// A program was started: what file, as the kernel opened it.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn on_exec(ctx: BtfTracePointContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    let bprm: *const c_void = ctx.arg(2);
    // SAFETY: the verifier knows the type of the argument.
    let file: *const c_void = unsafe { member(bprm, &O_BPRM_FILE) };
    if file.is_null() {
        return 0;
    }
    scratch.state = 0;
    let task = kernel::current();
    scope::note(task, kernel::number(task));
    let resolved = path::of_path(scratch, address_of(file, &O_FILE_PATH) as u64, false);
    let mut header = ring::header(kind::EXEC, 0, 0);
    header.extra = resolved.found as u64;
    if !ring::put_path(scratch, header, resolved.start) {
        ring::count(counter::LOST);
    }
    0
}

/// A task ended: the last of a process says how.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn on_exit(_ctx: BtfTracePointContext) -> i32 {
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
    if !ring::put(&header) {
        ring::count(counter::LOST);
    }
    0
}
