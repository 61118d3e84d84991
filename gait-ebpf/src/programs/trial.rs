//! The decision by itself, driven through `BPF_PROG_TEST_RUN`: proves that the kernel decides as user space does.
//!
//! It reads nothing but its own maps and is attached to nothing. [`flood`] goes on to the record and the answer, as the
//! hooks do.

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::{btf_map, raw_tracepoint};
use aya_ebpf::programs::RawTracePointContext;
use gait_ebpf::op::Op;
use gait_ebpf::tables::PATH_BYTES;
use gait_ebpf::trial::{SUBJECTS, Subject};

use crate::path::Place;
use crate::{automaton, kernel, lsm, scope};

#[btf_map]
static SUBJECT: Array<Subject, SUBJECTS, { 1 << 10 }> = Array::new();

#[repr(C)]
struct Nothing {
    unused: u64,
}

extern "C" fn one(index: u32, _: *mut Nothing) -> i64 {
    let Some(subject) = SUBJECT.get_ptr_mut(index) else { return 1 };
    // SAFETY: a value of the map; only user space writes the rest of it, between two runs.
    unsafe {
        let place = Place::of((*subject).start, (*subject).end);
        let bytes = (&raw const (*subject).bytes).cast::<u8>();
        (*subject).outcome = if (*subject).domain_end == 0 {
            automaton::decide((*subject).op, bytes, place)
        } else {
            let domain = Place::of((*subject).domain_start, (*subject).domain_end);
            automaton::decide_host((*subject).op, bytes, place, domain)
        };
    }
    0
}

/// Decides the first `args[0]` subjects.
#[raw_tracepoint]
pub fn trial(ctx: RawTracePointContext) -> i32 {
    let count: u64 = ctx.arg(0);
    let mut nothing = Nothing { unused: 0 };
    // SAFETY: the callback takes what it is given.
    unsafe { h::bpf_loop(count as u32 & (2 * SUBJECTS as u32 - 1), one as *mut c_void, (&raw mut nothing).cast(), 0) };
    let _ = ctx.as_ptr();
    0
}

#[repr(C)]
struct Flood {
    first: u64,
}

extern "C" fn judged(index: u32, flood: *mut Flood) -> i64 {
    let Some(subject) = SUBJECT.get_ptr_mut(index) else { return 1 };
    let Some(scratch) = scope::mine() else { return 1 };
    // SAFETY: a value of the map, as above; the helper copies as many bytes as a path has.
    let start = unsafe {
        let from = (&raw const (*subject).bytes).cast::<c_void>();
        h::bpf_probe_read_kernel((&raw mut scratch.path).cast(), PATH_BYTES as u32, from);
        (*subject).start & (PATH_BYTES as u32 - 1)
    };
    // SAFETY: `bpf_loop` passes on what it was given.
    let number = unsafe { (*flood).first } + u64::from(index);
    let answer = lsm::judge(scratch, Op::Read, Place::from(start), number);
    // SAFETY: as above.
    unsafe { (*subject).outcome = answer as u32 };
    0
}

/// Judges reads of the first `args[0]` subjects, which end with their buffers, for the current task: decided, recorded with
/// the number `args[1]` and those that follow, and answered as an open is. The answer, 0 or an error, is the outcome.
#[raw_tracepoint]
pub fn flood(ctx: RawTracePointContext) -> i32 {
    if !scope::adopt(kernel::current()) {
        return 1;
    }
    let count: u64 = ctx.arg(0);
    let mut flood = Flood { first: ctx.arg(1) };
    // SAFETY: the callback takes what it is given.
    unsafe { h::bpf_loop(count as u32 & (2 * SUBJECTS as u32 - 1), judged as *mut c_void, (&raw mut flood).cast(), 0) };
    0
}
