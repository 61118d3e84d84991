//! The engine `lsm`: decides opens, changes of names and attributes, and executable mappings in place, on the kernel's own
//! objects, and refuses the tree whatever only the supervisor does for it.

mod exec;
mod lock;
mod mapping;
mod names;
mod open;
mod receive;
mod scope;

use aya_ebpf::EbpfContext;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::LsmContext;
use aya_log_ebpf::{debug, info};
use gait_ebpf::op::Op;
use gait_ebpf::record::{counter, kind, switch};
use gait_ebpf::tables::{self, FLOOR_PATH, floor};

use crate::kernel::{SIMULATE, constant, word};
use crate::path::Place;
use crate::scope::Scratch;
use crate::{automaton, ring};

/// What the tree gets from the policy.
pub const EACCES: i32 = -13;
/// What it gets where nothing was decided.
pub const EPERM: i32 = -1;

/// Switches that user space sets, by [`switch`].
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
    matches!(SWITCHES.get(switch::MOVING), Some(1..))
}

/// Whether the tree may have rings of io_uring, through which it can ask for what the supervisor would be asked for else.
#[inline(always)]
pub fn has_rings() -> bool {
    matches!(SWITCHES.get(switch::RINGS), Some(1..))
}

/// Decides an operation on the path in `scratch`, records the decision, and only then gives it: 0 or an error.
#[inline(always)]
pub fn judge(scratch: &mut Scratch, op: Op, place: Place, extra: u64) -> i32 {
    let asked = match op {
        Op::Read | Op::List | Op::Map | Op::Watch => floor::LOOK,
        Op::Rmdir | Op::RenameFrom | Op::RenameTo => floor::MOVE,
        _ => floor::CHANGE,
    };
    if judge_path(scratch, op as u32 | asked << 16, place.0, extra) == 0 { 0 } else { EACCES }
}

/// [`judge`], a function of its own for the verifier, as [`automaton::decide_path`]. Above the number of the operation is the
/// floor's. 0: it may happen.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_path(scratch: *mut Scratch, op: u32, place: u32, extra: u64) -> u32 {
    // SAFETY: the verifier takes nothing but null or the whole structure.
    let Some(scratch) = (unsafe { scratch.as_mut() }) else { return 1 };
    let (asked, op) = (op >> 16, op & 0xffff);
    let outcome = automaton::decide_in(scratch, asked, op, Place(place));
    if outcome == FLOOR_PATH {
        return refuse_path(scratch, op, place, FLOOR_PATH, extra);
    }
    let passes = tables::allows(outcome) || constant(&SIMULATE) != 0;
    ring::head(scratch, kind::PATH, op, outcome, passes as u64, extra);
    // Else the reader may not have caught up with what came quietly.
    let is_quiet = passes && asked == floor::LOOK;
    if !ring::put_decided(scratch, Place(place), is_quiet) {
        ring::count(counter::NO_ROOM);
        return 1;
    }
    if passes {
        ring::count_each([counter::RECORDED, counter::ALLOWED]);
        return 0;
    }
    ring::count_each([counter::RECORDED, counter::DENIED]);
    info!(&(), "operation {} denied by outcome {}", op, tables::number(outcome));
    1
}

/// Records a denial that no policy can lift, and gives its error.
#[inline(always)]
pub fn refuse(scratch: &mut Scratch, op: Op, place: Place, outcome: u32, extra: u64) -> i32 {
    refuse_path(scratch, op as u32, place.0, outcome, extra);
    EACCES
}

/// [`refuse`], a function of its own for the verifier. 1.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refuse_path(scratch: *mut Scratch, op: u32, place: u32, outcome: u32, extra: u64) -> u32 {
    // SAFETY: as above.
    let Some(scratch) = (unsafe { scratch.as_mut() }) else { return 1 };
    ring::head(scratch, kind::PATH, op, outcome, 0, extra);
    debug!(&(), "operation {} denied by the floor", op);
    ring::count(if ring::put_path_urgently(scratch, Place(place)) { counter::DENIED } else { counter::NO_ROOM });
    1
}
