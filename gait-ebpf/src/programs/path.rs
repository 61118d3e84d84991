//! The path of an object, from the mount tree: the same name that `readlink /proc/self/fd/N` gives, whatever root, working
//! directory or symlink the agent came by.
//!
//! `bpf_d_path` is no substitute: it is not lent to all hooks, and gives a name to what has none. Where it is lent it is a third of
//! the work and takes the kernel's lock on renames, so it goes first ([`of_file`]).

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::helpers::generated as h;
use gait_ebpf::tables::PATH_BYTES;

use crate::kernel::{
    O_DENTRY_NAME, O_DENTRY_PARENT, O_FILE_PATH, O_INODE_SB, O_MOUNT_MNT, O_MOUNT_NS, O_MOUNT_PARENT, O_MOUNT_POINT,
    O_NSPROXY_MNT, O_PATH_DENTRY, O_PATH_MNT, O_SB_MAGIC, O_TASK_NSPROXY, O_VFSMOUNT_ROOT, address_of, constant,
    current, member, process_number, typed_in, unless, word, zero,
};
use crate::scope::Scratch;

/// What became of a walk.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Found {
    /// A name from the root of the mount tree.
    Whole,
    /// The object hangs on no mount: a pipe, a socket, a memory file, something of a detached mount.
    Detached,
    /// Longer than the longest path, or not readable.
    Unknown,
}

/// Where a walk is. In the task's storage and not on the stack, so that the verifier follows none of it: a turn is one turn
/// to it, whatever the last one did.
#[repr(C)]
pub struct Walk {
    dentry: u64,
    mount: u64,
    root: u64,
    at: u32,
    done: u32,
    /// 1: all of it is on a procfs, whose numbers are replaced by words.
    is_proc: u32,
    /// The process whose folder of a procfs it is in.
    owner: u32,
    /// The process that asks.
    asker: u32,
}

#[repr(C)]
struct Turn {
    scratch: *mut Scratch,
}

/// `PROC_SUPER_MAGIC`
pub const PROC_MAGIC: u64 = 0x9fa0;
// One more than `Found` has them.
const WHOLE: u32 = 1;
const DETACHED: u32 = 2;
const BROKEN: u32 = 3;
const BYTES: u32 = PATH_BYTES as u32;

/// Puts one component, or the step to the parent mount, before what is there. `KNOWS_PROC`: what is on a procfs has words for its
/// numbers, if [`Walk::is_proc`]; without that the verifier has a third less to look at.
extern "C" fn component<const KNOWS_PROC: bool>(_: u32, turn: *mut Turn) -> i64 {
    // SAFETY: `bpf_loop` passes on what it was given.
    let Scratch { path, walk, .. } = unsafe { &mut *(*turn).scratch };
    let path = path.as_mut_ptr();
    if walk.dentry == walk.root {
        let parent = word(walk.mount + constant(&O_MOUNT_PARENT));
        if parent == walk.mount || parent == 0 {
            walk.done = if parent == 0 { BROKEN } else { WHOLE };
            return 1;
        }
        walk.is_proc = 0;
        walk.dentry = word(walk.mount + constant(&O_MOUNT_POINT));
        walk.mount = parent;
        walk.root = word(parent + constant(&O_MOUNT_MNT) + constant(&O_VFSMOUNT_ROOT));
        return 0;
    }
    let parent = word(walk.dentry + constant(&O_DENTRY_PARENT));
    if parent == walk.dentry || parent == 0 {
        walk.done = DETACHED;
        return 1;
    }
    // struct qstr { u32 hash; u32 len; char *name; }
    let mut name = MaybeUninit::<[u64; 2]>::uninit();
    let source = (walk.dentry + constant(&O_DENTRY_NAME)) as *const c_void;
    // SAFETY: the helper checks the address and writes sixteen bytes to the stack.
    if unsafe { h::bpf_probe_read_kernel(name.as_mut_ptr().cast(), 16, source) } != 0 {
        walk.done = BROKEN;
        return 1;
    }
    // SAFETY: written.
    let name = unsafe { name.assume_init() };
    let length = (name[0] >> 32) as u32;
    let end = walk.at;
    if length == 0 || length > 255 || end < length + 1 || end > BYTES {
        walk.done = BROKEN;
        return 1;
    }
    if KNOWS_PROC
        && walk.is_proc == 1
        && let Some((word, letters)) = stable(walk, parent, name[1], length)
    {
        return put_word(path, walk, parent, word, letters);
    }
    let start = (end - length) as usize & (PATH_BYTES - 1);
    // SAFETY: `slack` after the path takes what a start near its end and a length of 255 could exceed.
    if unsafe { h::bpf_probe_read_kernel(path.add(start).cast(), length & 255, name[1] as *const c_void) } != 0 {
        walk.done = BROKEN;
        return 1;
    }
    let slash = start.wrapping_sub(1) & (PATH_BYTES - 1);
    // SAFETY: masked.
    unsafe { ptr::write_volatile(path.add(slash), b'/') };
    walk.at = slash as u32;
    walk.dentry = parent;
    0
}

/// Four letters as a number, the first in the lowest byte.
const fn letters(word: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*word)
}

const NO_NUMBER: u32 = u32::MAX;

/// The number that a name of so many bytes is, of up to seven digits; else [`NO_NUMBER`].
///
/// A function of its own for the verifier, as [`crate::automaton::decide_path`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn decimal(name: u64, length: u32) -> u32 {
    let mut digits = [0u8; 8];
    if length > 7 {
        return NO_NUMBER;
    }
    // A constant size: the bound that was just checked is one that the compiler takes for known and the verifier does not.
    // SAFETY: eight bytes to the stack; what follows the name is not looked at.
    if unsafe { h::bpf_probe_read_kernel(digits.as_mut_ptr().cast(), 8, name as *const c_void) } != 0 {
        return NO_NUMBER;
    }
    let mut number = 0u32;
    for index in 0..7 {
        if index >= length {
            break;
        }
        let digit = digits[index as usize];
        if !digit.is_ascii_digit() {
            return NO_NUMBER;
        }
        number = number * 10 + u32::from(digit - b'0');
    }
    number
}

/// The word that stands for a component of a procfs that differs between runs (as gait-guard's `stable_proc_path`):
/// `self` or `pid` for a process, `tid` for a thread, `n` for a descriptor.
#[inline(always)]
fn stable(walk: &mut Walk, parent: u64, name: u64, length: u32) -> Option<(u32, u32)> {
    let number = decimal(name, length);
    if number == NO_NUMBER {
        return None;
    }
    if parent == walk.root {
        walk.owner = number;
        return Some(if number == walk.asker { (letters(b"self"), 4) } else { (letters(b"pid\0"), 3) });
    }
    let above = word(parent + constant(&O_DENTRY_NAME) + 8);
    let mut beginning = [0u8; 8];
    // SAFETY: eight bytes to the stack.
    unsafe { h::bpf_probe_read_kernel_str(beginning.as_mut_ptr().cast(), 8, above as *const c_void) };
    match &beginning {
        b"task\0\0\0\0" => Some((letters(b"tid\0"), 3)),
        b"fd\0\0\0\0\0\0" | b"fdinfo\0\0" => Some((letters(b"n\0\0\0"), 1)),
        _ => None,
    }
}

/// Puts a word of up to four letters before what is there.
#[inline(always)]
fn put_word(path: *mut u8, walk: &mut Walk, parent: u64, word: u32, letters: u32) -> i64 {
    let end = walk.at;
    if end < letters + 1 || end > BYTES {
        walk.done = BROKEN;
        return 1;
    }
    let start = end - letters - 1;
    let put = |at: u32, byte: u8| {
        // SAFETY: masked; `slack` follows.
        unsafe { ptr::write_volatile(path.add(at as usize & (PATH_BYTES - 1)), byte) };
    };
    put(start, b'/');
    for index in 0..4 {
        if index >= letters {
            break;
        }
        put(start + 1 + index, (word >> (8 * index)) as u8);
    }
    walk.at = start;
    walk.dentry = parent;
    0
}

/// Where a path is in the scratch memory's place for paths. One number, as functions that the verifier looks at by themselves
/// take it.
#[derive(Clone, Copy)]
pub struct Place(pub u32);

impl Place {
    /// From `start` to `end`, both of 16 bits.
    #[inline(always)]
    pub fn of(start: u32, end: u32) -> Self {
        Self(start & 0xffff | end << 16)
    }

    /// From `start` to the end: what was walked, from its end.
    #[inline(always)]
    pub fn from(start: u32) -> Self {
        Self(start | BYTES << 16)
    }

    /// The first `length` bytes: what the kernel wrote.
    #[inline(always)]
    fn first(length: u32) -> Self {
        Self(length << 16)
    }

    /// Its first byte.
    #[inline(always)]
    pub fn start(self) -> u32 {
        self.0 & 0xffff
    }

    /// The end of it.
    #[inline(always)]
    pub fn end(self) -> u32 {
        self.0 >> 16
    }

    /// Bytes of it.
    #[inline(always)]
    pub fn length(self) -> u32 {
        self.end().wrapping_sub(self.start())
    }
}

/// A path that was looked for.
#[derive(Clone, Copy)]
pub struct Resolved {
    /// Where it is.
    pub place: Place,
    /// What became of it.
    pub found: Found,
    /// On a procfs: the process whose folder it is in, 0 for none.
    pub owner: u32,
}

/// Builds the path of (`dentry`, `vfsmount`) in `scratch`, before the `tail` bytes that are at its end already.
///
/// Both are addresses: nothing about their types is assumed. `is_proc`: they are of a procfs.
#[inline(always)]
pub fn resolve(scratch: &mut Scratch, dentry: u64, vfsmount: u64, tail: u32, is_proc: bool) -> Resolved {
    resolved(resolve_path(scratch, dentry, vfsmount, tail, u32::from(is_proc)))
}

#[inline(always)]
fn resolved(packed: u64) -> Resolved {
    let found = match (packed >> 16) as u8 {
        0 => Found::Whole,
        1 => Found::Detached,
        _ => Found::Unknown,
    };
    Resolved { place: Place::from(packed as u32 & (BYTES - 1)), found, owner: (packed >> 32) as u32 }
}

/// A function of its own for the verifier, as [`crate::automaton::decide_path`]: [`Resolved`], `start` in the low bytes,
/// `found` in the third, `owner` in the high half.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn resolve_path(scratch: *mut Scratch, dentry: u64, vfsmount: u64, tail: u32, is_proc: u32) -> u64 {
    // SAFETY: the verifier takes nothing but null or the whole structure.
    let Some(scratch) = (unsafe { scratch.as_mut() }) else { return (Found::Unknown as u64) << 16 };
    walk::<true>(scratch, dentry, vfsmount, tail, is_proc)
}

/// [`resolve_path`] in place.
#[inline(always)]
fn walk<const KNOWS_PROC: bool>(scratch: &mut Scratch, dentry: u64, vfsmount: u64, tail: u32, is_proc: u32) -> u64 {
    let root = word(vfsmount.wrapping_add(constant(&O_VFSMOUNT_ROOT)));
    let mount = vfsmount.wrapping_sub(constant(&O_MOUNT_MNT));
    scratch.walk = Walk {
        dentry,
        mount,
        root,
        at: BYTES.wrapping_sub(tail),
        // Until it comes to an end.
        done: BROKEN,
        is_proc,
        owner: zero() as u32,
        asker: if KNOWS_PROC && is_proc == 1 { process_number(current()) } else { zero() as u32 },
    };
    let mut turn = Turn { scratch };
    // As many turns as a path can have components and mounts.
    // SAFETY: the callback takes what it is given.
    unsafe { h::bpf_loop(BYTES, component::<KNOWS_PROC> as *mut c_void, (&raw mut turn).cast(), 0) };
    let walk = &scratch.walk;
    // 1: nothing was put there, so it is the root itself. No branch, at which the verifier would go both ways.
    let is_root = u64::from(walk.at >> BYTES.trailing_zeros());
    let last = &mut scratch.path[PATH_BYTES - 1];
    *last = (unless(is_root, u64::from(*last)) | (is_root * u64::from(b'/'))) as u8;
    let at = u64::from(walk.at).wrapping_sub(is_root) & u64::from(BYTES - 1);
    at | u64::from(walk.done.wrapping_sub(1) & 3) << 16 | u64::from(walk.owner) << 32
}

/// [`resolve`] for the `struct path` at an address.
#[inline(always)]
pub fn of_path(scratch: &mut Scratch, path: u64, is_proc: bool) -> Resolved {
    let dentry = word(path.wrapping_add(constant(&O_PATH_DENTRY)));
    let mount = word(path.wrapping_add(constant(&O_PATH_MNT)));
    resolve(scratch, dentry, mount, 0, is_proc)
}

/// [`of_path`] for what is named as it is, on a procfs too: its bytes, which are at the front, and its [`Found`] as a number.
///
/// What is walked is moved there. A record of it is one call then, of exactly its size: the verifier does not follow a start and a length
/// that vary together. For what comes rarely.
#[inline(always)]
pub fn of_plain_path(scratch: &mut Scratch, path: u64) -> (u64, u64) {
    let dentry = word(path.wrapping_add(constant(&O_PATH_DENTRY)));
    let mount = word(path.wrapping_add(constant(&O_PATH_MNT)));
    let packed = walk::<false>(scratch, dentry, mount, 0, 0);
    let start = packed & u64::from(BYTES - 1);
    let bytes = u64::from(BYTES) - start;
    let path = scratch.path.as_mut_ptr();
    // SAFETY: the helper writes at most the whole of the path's place. It copies from the first byte on, so that what overlaps is
    // read before it is written.
    unsafe { h::bpf_probe_read_kernel(path.cast(), bytes as u32, path.wrapping_add(start as usize).cast()) };
    (bytes, packed >> 16 & 3)
}

/// Most bytes of a path that the kernel writes, with its NUL.
pub const SHORT: usize = 256;

/// The path of a file that is being opened, in a hook that `bpf_d_path` is lent to.
///
/// `file` is what the verifier knows as one. What is on a mount of the task's own namespace has the name that the kernel gives it, from
/// the task's root, which is the guard's: the tree can't change it, and the self-test has shown that both ways agree about it. All else is
/// walked: what hangs on no mount, what has no name any more, long paths, and procfs for its numbers.
#[inline(always)]
pub fn of_file(scratch: &mut Scratch, file: *const c_void, is_proc: bool) -> Resolved {
    let of_path = address_of(file, &O_FILE_PATH);
    if !is_proc && let Some(place) = written(scratch, file, of_path) {
        return Resolved { place, found: Found::Whole, owner: 0 };
    }
    self::of_path(scratch, of_path as u64, is_proc)
}

/// Has the kernel write a path, to where it is judged and recorded from.
#[inline(always)]
fn written(scratch: &mut Scratch, file: *const c_void, of_path: *const c_void) -> Option<Place> {
    if scratch.namespace == 0 {
        // SAFETY: the current task, whose type the verifier knows.
        let namespaces: u64 = unsafe { member(current(), &O_TASK_NSPROXY) };
        scratch.namespace = word(namespaces.wrapping_add(constant(&O_NSPROXY_MNT)));
    }
    // SAFETY: the mount of a file that the verifier knows.
    let mount = unsafe { typed_in::<u64>(file, &O_FILE_PATH, &O_PATH_MNT) }.wrapping_sub(constant(&O_MOUNT_MNT));
    if word(mount.wrapping_add(constant(&O_MOUNT_NS))) != scratch.namespace {
        return None;
    }
    // SAFETY: the helper takes a path of an open file, and writes at most as many bytes as there are.
    let length = unsafe { h::bpf_d_path(of_path.cast_mut().cast(), scratch.path.as_mut_ptr().cast(), SHORT as u32) };
    if length < 2 || length > SHORT as i64 {
        return None;
    }
    let bytes = length as u32 - 1;
    // What was removed meanwhile is called so (`(deleted)`), which is no part of its name.
    let last = scratch.path[bytes.wrapping_sub(1) as usize & (SHORT - 1)];
    if last == b')' { None } else { Some(Place::first(bytes)) }
}

/// Whether the inode at an address is on a procfs.
#[inline(always)]
pub fn is_of_proc(inode: u64) -> bool {
    let block = word(inode.wrapping_add(constant(&O_INODE_SB)));
    word(block.wrapping_add(constant(&O_SB_MAGIC))) == PROC_MAGIC
}
