//! The engine `lsm`: decides opens and executable mappings in place, on the kernel's own objects, and refuses the tree
//! whatever only the supervisor does for it.

mod lock;
mod mapping;
mod open;
mod scope;

use aya_ebpf::EbpfContext;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::LsmContext;
use aya_log_ebpf::{debug, info};
use gait_ebpf::op::Op;
use gait_ebpf::record::{counter, kind};
use gait_ebpf::tables::{self, FLOOR_PATH, floor};

use crate::kernel::{SIMULATE, constant, word};
use crate::scope::Scratch;
use crate::{automaton, ring};

/// What the tree gets from the policy.
pub const EACCES: i32 = -13;
/// What it gets where nothing was decided.
pub const EPERM: i32 = -1;

/// Switches that user space sets while a run goes on: entry 0 is 1 while the supervisor moves a folder.
#[btf_map]
static SWITCHES: Array<u32, 4> = Array::new();

/// An argument of a hook as a number and not as the pointer that it is: functions that the verifier looks at by themselves
/// take no other.
#[inline(always)]
pub fn address_in(ctx: &LsmContext, argument: u64) -> u64 {
    word((ctx.as_ptr() as u64).wrapping_add(argument * 8))
}

/// Whether the supervisor moves a folder.
#[inline(always)]
pub fn is_moving() -> bool {
    matches!(SWITCHES.get(0), Some(1..))
}

/// Decides an operation on the path in `scratch`, records the decision, and only then gives it: 0 or an error.
#[inline(always)]
pub fn judge(scratch: &mut Scratch, op: Op, start: u32, extra: u64) -> i32 {
    let asked = match op {
        Op::Read | Op::List | Op::Map | Op::Watch => floor::LOOK,
        _ => floor::CHANGE,
    };
    let refused = automaton::decide_path(scratch, asked, start);
    if !tables::allows(refused) {
        return refuse(scratch, op, start, FLOOR_PATH, extra);
    }
    let outcome = automaton::decide_path(scratch, op as u32, start);
    let passes = tables::allows(outcome) || constant(&SIMULATE) != 0;
    let mut header = ring::header(kind::PATH, op as u32, outcome);
    header.detail = passes as u64;
    header.extra = extra;
    if !ring::put_path(scratch, header, start) {
        ring::count(counter::NO_ROOM);
        return EACCES;
    }
    if passes {
        ring::count(counter::ALLOWED);
        0
    } else {
        ring::count(counter::DENIED);
        info!(&(), "operation {} denied by outcome {}", op as u32, tables::number(outcome));
        EACCES
    }
}

/// Records a denial that no policy can lift, and gives its error.
#[inline(always)]
pub fn refuse(scratch: &mut Scratch, op: Op, start: u32, outcome: u32, extra: u64) -> i32 {
    let mut header = ring::header(kind::PATH, op as u32, outcome);
    header.extra = extra;
    debug!(&(), "operation {} denied by the floor", op as u32);
    if ring::put_path(scratch, header, start) {
        ring::count(counter::DENIED);
    } else {
        ring::count(counter::NO_ROOM);
    }
    EACCES
}
