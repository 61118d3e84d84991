//! Opens for reading that nobody held: decided and recorded when they return.
//!
//! The descriptor is there by then. So this is a record of what was opened and a backstop, no prevention: what may be
//! opened at all is bounded by Landlock. A process that opened what the policy denies is killed before it returns to its
//! own code; another thread of it can have read from the descriptor by then.

use core::ffi::c_void;

use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gait_ebpf::op::{HELD_FLAGS, Op};
use gait_ebpf::record::{ARGUMENT_BYTES, counter, kind, open};
use gait_ebpf::tables::{FLOOR_OUTSIDER, FLOOR_PATH, FLOOR_UNRESOLVED, PATH_BYTES, allows, floor};

use crate::automaton;
use crate::kernel::{
    self, O_FDT_FD, O_FDT_MAX, O_FILE_INODE, O_FILE_PATH, O_FILES_COUNT, O_FILES_FDT, O_FS_PWD, O_INODE_MODE,
    O_INODE_NLINK, O_REGS_FIRST, O_REGS_NR, O_REGS_SECOND, O_REGS_THIRD, O_TASK_FILES, O_TASK_FS, SIMULATE, address_of,
    constant, half, member, word,
};
use crate::path::{self, Found, Place};
use crate::ring;
use crate::scope::{self, Scratch};

const OPEN: u64 = 2;
const OPENAT: u64 = 257;
const EACCES: i64 = 13;
const AT_FDCWD: i32 = -100;
const TYPE_OF_MODE: u32 = 0xf000;
const FOLDER: u32 = 0x4000;
/// An empty path, at the end.
const NOTHING: Place = Place(PATH_BYTES as u32 | (PATH_BYTES as u32) << 16);

/// A system call returned.
#[btf_tracepoint(function = "sys_exit")]
pub fn on_open(ctx: BtfTracePointContext) -> i32 {
    let regs: *const c_void = ctx.arg(0);
    // SAFETY: the verifier knows the type of the argument.
    let call: u64 = unsafe { member(regs, &O_REGS_NR) };
    if call != OPEN && call != OPENAT {
        return 0;
    }
    let Some(scratch) = scope::mine() else { return 0 };
    // No argument register is changed by a call.
    // SAFETY: as above.
    let (first, second, third): (u64, u64, u64) =
        unsafe { (member(regs, &O_REGS_FIRST), member(regs, &O_REGS_SECOND), member(regs, &O_REGS_THIRD)) };
    let (folder, name, flags) = if call == OPEN { (AT_FDCWD, first, second) } else { (first as i32, second, third) };
    if flags as u32 & HELD_FLAGS != 0 {
        // The supervisor's: decided, recorded and opened by it.
        return 0;
    }
    let result: i64 = ctx.arg(1);
    if result == -EACCES {
        // Landlock or the mode of the file, which can't be told apart. A record that has no room is counted as lost, and
        // that ends the run: there is nothing to be undone.
        ring::count(counter::DENIED);
        refused(scratch, folder, name);
        return 0;
    }
    if result >= 0 && !opened(scratch, result as u32) {
        // SAFETY: a signal to the current process.
        unsafe { h::bpf_send_signal(9) };
    }
    0
}

/// Records what was called by `name`, from `folder` if it is relative.
#[inline(always)]
fn refused(scratch: &mut Scratch, folder: i32, name: u64) {
    ring::head(scratch, kind::SPELT, 0, 0, 0, 0);
    // SAFETY: the helper writes at most the whole of the path's place.
    let read = unsafe {
        h::bpf_probe_read_user_str((&raw mut scratch.path).cast(), ARGUMENT_BYTES as u32, name as *const c_void)
    };
    // With the NUL at its end; nothing where it can't be read.
    let bytes = kernel::unless(kernel::failed(read), read as u64);
    let is_recorded = bytes <= ARGUMENT_BYTES as u64 && ring::put_front(scratch, bytes, 0) == 0;
    ring::count(if is_recorded { counter::RECORDED } else { counter::NO_ROOM });
    let of_folder = if folder == AT_FDCWD {
        // SAFETY: the current task, whose type the verifier knows.
        let places: *const c_void = unsafe { member(kernel::current(), &O_TASK_FS) };
        if places.is_null() { 0 } else { address_of(places, &O_FS_PWD) as u64 }
    } else {
        let (file, _) = file(folder as u32);
        if file == 0 { 0 } else { file.wrapping_add(constant(&O_FILE_PATH)) }
    };
    let mut place = NOTHING;
    if of_folder != 0 {
        let resolved = path::of_path(scratch, of_folder, false);
        if resolved.found == Found::Whole {
            place = resolved.place;
        }
    }
    let about = open::REFUSED | if scratch.shares != 0 { open::SHARED } else { 0 };
    record(scratch, Op::Read as u32, FLOOR_UNRESOLVED, false, about, place);
}

/// Decides about the file behind a new descriptor and records that. False: it must not be used.
#[inline(always)]
fn opened(scratch: &mut Scratch, number: u32) -> bool {
    let (file, mut about) = file(number);
    if scratch.shares != 0 {
        about |= open::SHARED;
    }
    let inode = word(file.wrapping_add(constant(&O_FILE_INODE)));
    let resolved = path::of_path(scratch, file.wrapping_add(constant(&O_FILE_PATH)), path::is_of_proc(inode));
    let (place, owner) = (resolved.place, resolved.owner);
    let found = if file == 0 { Found::Unknown } else { resolved.found };
    if found == Found::Detached {
        // A pipe, a socket, a memory file or a namespace of its own, by way of /proc/self/fd and the like: nothing that a
        // policy names. Where somebody else could have put it into the place of what was opened, that is a record.
        return about & open::SHARED == 0 || record(scratch, Op::Read as u32, FLOOR_UNRESOLVED, true, about, NOTHING);
    }
    let mode = half(inode.wrapping_add(constant(&O_INODE_MODE))) & 0xffff;
    if half(inode.wrapping_add(constant(&O_INODE_NLINK))) == 0 {
        about |= open::UNLINKED;
    }
    let op = if mode & TYPE_OF_MODE == FOLDER { Op::List } else { Op::Read } as u32;
    let mut passes = false;
    let outcome;
    if found != Found::Whole {
        ring::count(counter::UNRESOLVED);
        outcome = FLOOR_UNRESOLVED;
    } else if owner != 0 && !scope::has_number(owner) {
        outcome = FLOOR_OUTSIDER;
    } else {
        outcome = automaton::decide_path(scratch, floor::LOOK, op, place.0);
        passes = outcome != FLOOR_PATH && (allows(outcome) || constant(&SIMULATE) != 0);
    }
    let place = if found == Found::Whole { place } else { NOTHING };
    ring::count(if passes { counter::ALLOWED } else { counter::DENIED });
    record(scratch, op, outcome, passes, about, place) && passes
}

/// False: there is no room, and nothing can be let through.
#[inline(always)]
fn record(scratch: &mut Scratch, op: u32, outcome: u32, passes: bool, about: u64, place: Place) -> bool {
    ring::head(scratch, kind::OPEN, op, outcome, u64::from(passes), about);
    let is_recorded =
        if passes { ring::put_path_quietly(scratch, place) } else { ring::put_path_urgently(scratch, place) };
    if !is_recorded {
        ring::count(counter::NO_ROOM);
    }
    is_recorded
}

/// The file of a descriptor of the current task, 0 if there is none any more; and whether others share the table.
#[inline(always)]
fn file(number: u32) -> (u64, u64) {
    // SAFETY: the current task, whose type the verifier knows.
    let files: *const c_void = unsafe { member(kernel::current(), &O_TASK_FILES) };
    if files.is_null() {
        return (0, open::SHARED);
    }
    // SAFETY: typed as the member is.
    let users: u32 = unsafe { member(files, &O_FILES_COUNT) };
    let about = if users > 1 { open::SHARED } else { 0 };
    // SAFETY: as above.
    let table: *const c_void = unsafe { member(files, &O_FILES_FDT) };
    if table.is_null() {
        return (0, about);
    }
    // SAFETY: as above.
    let (most, first): (u32, u64) = unsafe { (member(table, &O_FDT_MAX), member(table, &O_FDT_FD)) };
    if number >= most {
        return (0, about);
    }
    (word(first.wrapping_add(u64::from(number) * 8)), about)
}
