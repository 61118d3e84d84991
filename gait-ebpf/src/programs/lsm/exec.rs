//! Programs that are about to run: the supervisor judged each exec, with its arguments, by names that it looked up. Here the
//! kernel has the file that it will run, be it named by the call, by a `#!` line or by a handler of the machine. What the policy
//! denies about that file does not run, whatever was judged.

use core::ffi::c_void;

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use gait_ebpf::op::Op;
use gait_ebpf::record::{counter, kind};
use gait_ebpf::tables::{Effect, FLOOR_PATH, FLOOR_UNRESOLVED, floor};

use super::{EACCES, refuse};
use crate::kernel::{O_BPRM_FILE, O_FILE_PATH, SIMULATE, address_of, constant, member};
use crate::path::Found;
use crate::{automaton, path, ring, scope};

/// Called for the file of the call, and again for each that runs it.
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_security(ctx: LsmContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    let bprm: *const c_void = ctx.arg(0);
    // SAFETY: the verifier knows the argument.
    let file: *const c_void = unsafe { member(bprm, &O_BPRM_FILE) };
    let resolved = path::of_path(scratch, address_of(file, &O_FILE_PATH) as u64, false);
    match resolved.found {
        Found::Whole => {}
        // A memory file: the supervisor knows what it was called.
        Found::Detached => return 0,
        Found::Unknown => return refuse(scratch, Op::Exec, resolved.place, FLOOR_UNRESOLVED, 0),
    }
    let outcome = automaton::decide_path(scratch, floor::LOOK, Op::Exec as u32, resolved.place.0);
    if outcome == FLOOR_PATH {
        return refuse(scratch, Op::Exec, resolved.place, FLOOR_PATH, 0);
    }
    // What somebody has to be asked about was asked before.
    if outcome & 3 != Effect::Deny as u32 || constant(&SIMULATE) != 0 {
        return 0;
    }
    ring::head(scratch, kind::PATH, Op::Exec as u32, outcome, 0, 0);
    ring::count(if ring::put_path_urgently(scratch, resolved.place) { counter::DENIED } else { counter::NO_ROOM });
    EACCES
}
