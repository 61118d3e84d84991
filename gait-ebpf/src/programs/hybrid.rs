//! Opens for reading that nobody held: decided and recorded when they return.
//!
//! The descriptor is there by then. So this is a record of what was opened and a backstop, no prevention: what may be
//! opened at all is bounded by Landlock. A process that opened what the policy denies is killed before it returns to its
//! own code; another thread of it can have read from the descriptor by then.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gait_ebpf::op::{HELD_FLAGS, Op};
use gait_ebpf::record::{counter, kind, open};
use gait_ebpf::tables::{FLOOR_OUTSIDER, FLOOR_PATH, FLOOR_UNRESOLVED, PATH_BYTES, allows, floor};

use crate::automaton;
use crate::kernel::{
    self, O_FDT_FD, O_FDT_MAX, O_FILE_INODE, O_FILE_PATH, O_FILES_COUNT, O_FILES_FDT, O_INODE_MODE, O_INODE_NLINK,
    O_INODE_SB, O_REGS_NR, O_REGS_SECOND, O_REGS_THIRD, O_SB_MAGIC, O_TASK_FILES, SIMULATE, constant, half, member,
    word,
};
use crate::path::{self, Found};
use crate::ring;
use crate::scope::{self, Scratch};

const OPEN: u64 = 2;
const OPENAT: u64 = 257;
const EACCES: i64 = 13;
const PROC_MAGIC: u64 = 0x9fa0;
const TYPE_OF_MODE: u32 = 0xf000;
const FOLDER: u32 = 0x4000;
/// Where an empty path starts, nearly: nothing is walked.
const NOTHING: u32 = PATH_BYTES as u32 - 1;

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
    // SAFETY: as above. No argument register is changed by a call.
    let flags: u64 = unsafe { if call == OPEN { member(regs, &O_REGS_SECOND) } else { member(regs, &O_REGS_THIRD) } };
    if flags as u32 & HELD_FLAGS != 0 {
        // The supervisor's: decided, recorded and opened by it.
        return 0;
    }
    let result: i64 = ctx.arg(1);
    if result == -EACCES {
        // Landlock or the mode of the file, which can't be told apart. A record that has no room is counted as lost, and
        // that ends the run: there is nothing to be undone.
        ring::count(counter::DENIED);
        record(scratch, Op::Read as u32, FLOOR_UNRESOLVED, false, open::REFUSED, NOTHING);
        return 0;
    }
    if result >= 0 && !opened(scratch, result as u32) {
        // SAFETY: a signal to the current process.
        unsafe { h::bpf_send_signal(9) };
    }
    0
}

/// Decides about the file behind a new descriptor and records that. False: it must not be used.
#[inline(always)]
fn opened(scratch: &mut Scratch, number: u32) -> bool {
    let (file, mut about) = file(number);
    if scratch.shares != 0 {
        about |= open::SHARED;
    }
    let (start, found) = if file == 0 {
        (NOTHING, Found::Unknown)
    } else {
        let resolved = path::of_path::<false>(scratch, file.wrapping_add(offset(&O_FILE_PATH)), false);
        (resolved.start, resolved.found)
    };
    if found == Found::Detached && about & open::SHARED == 0 {
        // A pipe, a socket or a memory file of its own, by way of /proc/self/fd: nothing that a policy names.
        return true;
    }
    let inode = word(file.wrapping_add(offset(&O_FILE_INODE)));
    let mode = half(inode.wrapping_add(offset(&O_INODE_MODE))) & 0xffff;
    if half(inode.wrapping_add(offset(&O_INODE_NLINK))) == 0 {
        about |= open::UNLINKED;
    }
    let op = if mode & TYPE_OF_MODE == FOLDER { Op::List } else { Op::Read } as u32;
    let bytes = (&raw const scratch.path).cast::<u8>();
    let end = PATH_BYTES as u32;
    let mut passes = false;
    let mut outcome = FLOOR_PATH;
    if found != Found::Whole {
        ring::count(counter::UNRESOLVED);
        outcome = FLOOR_UNRESOLVED;
    } else if is_of_process(bytes, start, inode) {
        outcome = FLOOR_OUTSIDER;
    } else if allows(automaton::decide(floor::LOOK, bytes, start, end)) {
        outcome = automaton::decide(op, bytes, start, end);
        passes = allows(outcome) || constant(&SIMULATE) != 0;
    }
    let start = if found == Found::Whole { start } else { NOTHING };
    ring::count(if passes { counter::ALLOWED } else { counter::DENIED });
    record(scratch, op, outcome, passes, about, start) && passes
}

/// False: there is no room, and nothing can be let through.
#[inline(always)]
fn record(scratch: &mut Scratch, op: u32, outcome: u32, passes: bool, about: u64, start: u32) -> bool {
    let mut header = ring::header(kind::OPEN, op, outcome);
    header.detail = u64::from(passes);
    header.extra = about;
    let is_recorded = ring::put_path_quietly(scratch, header, start);
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

/// Whether the object is in procfs and of a process, or in a procfs that is not `/proc`: whose process it is can't be told
/// here. Landlock keeps those of `/proc` closed already.
#[inline(always)]
fn is_of_process(bytes: *const u8, start: u32, inode: u64) -> bool {
    let of = word(inode.wrapping_add(offset(&O_INODE_SB)));
    if word(of.wrapping_add(offset(&O_SB_MAGIC))) != PROC_MAGIC {
        return false;
    }
    let at = |index: u32| {
        // SAFETY: masked to the size of the array.
        unsafe { ptr::read_volatile(bytes.add((start + index) as usize & (PATH_BYTES - 1))) }
    };
    let length = PATH_BYTES as u32 - start;
    let is_below = at(1) == b'p' && at(2) == b'r' && at(3) == b'o' && at(4) == b'c';
    if length == 5 && is_below {
        return false;
    }
    !(length > 6 && is_below && at(5) == b'/' && !at(6).is_ascii_digit())
}

#[inline(always)]
fn offset(of: &'static u32) -> u64 {
    u64::from(constant(of))
}
