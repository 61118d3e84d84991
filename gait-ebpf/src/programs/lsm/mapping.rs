//! Files that become executable memory outside of an exec.

use core::ffi::c_void;

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use gait_ebpf::op::Op;
use gait_ebpf::record::counter;
use gait_ebpf::tables::FLOOR_UNRESOLVED;

use super::{judge, refuse};
use crate::kernel::{O_FILE_PATH, O_VMA_FILE, O_VMA_FLAGS, address_of, member};
use crate::path::Found;
use crate::{path, ring, scope};

const PROT_EXEC: u64 = 4;
const VM_EXEC: u64 = 4;

/// `mmap` of a file.
#[lsm(hook = "mmap_file")]
pub fn mmap_file(ctx: LsmContext) -> i32 {
    if ctx.arg::<u64>(2) & PROT_EXEC == 0 {
        return 0;
    }
    let file: *const c_void = ctx.arg(0);
    mapped(file)
}

/// `mprotect` of memory that is not executable yet.
#[lsm(hook = "file_mprotect")]
pub fn file_mprotect(ctx: LsmContext) -> i32 {
    if ctx.arg::<u64>(2) & PROT_EXEC == 0 {
        return 0;
    }
    let area: *const c_void = ctx.arg(0);
    // SAFETY: the verifier knows the argument.
    let flags: u64 = unsafe { member(area, &O_VMA_FLAGS) };
    if flags & VM_EXEC != 0 {
        return 0;
    }
    // SAFETY: as above.
    let file: *const c_void = unsafe { member(area, &O_VMA_FILE) };
    mapped(file)
}

#[inline(always)]
fn mapped(file: *const c_void) -> i32 {
    if file.is_null() {
        return 0;
    }
    let Some(scratch) = scope::mine() else { return 0 };
    // The kernel maps the program that it executes.
    if scratch.state == 1 {
        return 0;
    }
    let resolved = path::of_path(scratch, address_of(file, &O_FILE_PATH) as u64, false);
    match resolved.found {
        // Memory files, and what a tree shares: as its own memory.
        Found::Detached => 0,
        Found::Unknown => {
            ring::count(counter::UNRESOLVED);
            refuse(scratch, Op::Map, resolved.place, FLOOR_UNRESOLVED, 0)
        }
        Found::Whole => judge(scratch, Op::Map, resolved.place, 0),
    }
}
