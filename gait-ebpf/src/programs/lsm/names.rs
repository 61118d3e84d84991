//! Changes of names and attributes: decided on the entry that the kernel looked up, under the lock of its directory.
//!
//! A folder is only moved by the supervisor, which looks through it before. What is made meanwhile could come to be in it
//! unseen, so it is refused.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use gait_ebpf::op::Op;
use gait_ebpf::record::lock;
use gait_ebpf::tables::{ENGINE_MOVING, FLOOR_PRIVILEGE, FLOOR_UNRESOLVED};

use super::lock::locked;
use super::open::{DIRECTORY, REGULAR, TYPE, sets_id, stopped};
use super::{EACCES, address_in, has_rings, is_moving, judge, refuse};
use crate::kernel::{O_DENTRY_INODE, O_INODE_MODE, O_INODE_NLINK, O_PATH_DENTRY, O_PATH_MNT, constant, half, word};
use crate::path::{self, Found};
use crate::scope::{self, Scratch};

const EXDEV: i32 = -18;
/// `RENAME_EXCHANGE`
const EXCHANGE: u32 = 2;

/// The mount of the `struct path` at an address.
#[inline(always)]
fn mount_of(path: u64) -> u64 {
    word(path.wrapping_add(constant(&O_PATH_MNT)))
}

/// Kind and permissions of what is at an entry, 0 for nothing.
#[inline(always)]
fn mode_of(dentry: u64) -> u32 {
    let inode = word(dentry.wrapping_add(constant(&O_DENTRY_INODE)));
    half(inode.wrapping_add(constant(&O_INODE_MODE))) & 0xffff
}

/// Decides an operation on an entry of a mount: 0 or an error.
#[inline(always)]
fn decide(scratch: &mut Scratch, op: Op, dentry: u64, mount: u64) -> i32 {
    if decide_entry(scratch, op as u32, dentry, mount) == 0 { 0 } else { EACCES }
}

/// [`decide`], a function of its own for the verifier. 0: it may happen.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn decide_entry(scratch: *mut Scratch, op: u32, dentry: u64, mount: u64) -> u32 {
    // SAFETY: the verifier takes nothing but null or the whole structure.
    let (Some(scratch), Some(op)) = (unsafe { scratch.as_mut() }, Op::of(op)) else { return 1 };
    let resolved = path::resolve(scratch, dentry, mount, 0, false);
    let answer = if matches!(resolved.found, Found::Detached) {
        // On a mount that hangs nowhere: at no path that could be judged.
        refuse(scratch, op, resolved.place, FLOOR_UNRESOLVED, 0)
    } else if let Some(answer) = stopped(scratch, op, resolved, 0) {
        answer
    } else if matches!(op, Op::Mkdir | Op::Symlink | Op::Link | Op::RenameTo) && is_moving() {
        refuse(scratch, op, resolved.place, ENGINE_MOVING, 0)
    } else {
        judge(scratch, op, resolved.place, 0)
    };
    (answer != 0) as u32
}

macro_rules! entries {
    ($($name:ident $hook:literal $op:ident;)*) => {
        $(
            #[lsm(hook = $hook)]
            pub fn $name(ctx: LsmContext) -> i32 {
                let Some(scratch) = scope::mine() else { return 0 };
                decide(scratch, Op::$op, address_in(&ctx, 1), mount_of(address_in(&ctx, 0)))
            }
        )*
    };
}

entries! {
    path_unlink "path_unlink" Delete;
    path_rmdir "path_rmdir" Rmdir;
    path_mkdir "path_mkdir" Mkdir;
    path_symlink "path_symlink" Symlink;
}

/// A second name for a file, under which it will be read and written: the file is judged as that too. Both are on one mount.
/// One that had no name before was judged when it was made.
#[lsm(hook = "path_link")]
pub fn path_link(ctx: LsmContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    let (old, new, mount) = (address_in(&ctx, 0), address_in(&ctx, 2), mount_of(address_in(&ctx, 1)));
    let inode = word(old.wrapping_add(constant(&O_DENTRY_INODE)));
    let had_name = half(inode.wrapping_add(constant(&O_INODE_NLINK))) != 0;
    if had_name && (decide(scratch, Op::Read, old, mount) != 0 || decide(scratch, Op::Link, old, mount) != 0) {
        return EACCES;
    }
    decide(scratch, Op::Link, new, mount)
}

/// A rename that nobody held came through a ring.
#[lsm(hook = "path_rename")]
pub fn path_rename(ctx: LsmContext) -> i32 {
    if !has_rings() {
        return locked(lock::PATH_RENAME);
    }
    let Some(scratch) = scope::mine() else { return 0 };
    let (from, to) = (address_in(&ctx, 1), address_in(&ctx, 3));
    let (old, new) = (mount_of(address_in(&ctx, 0)), mount_of(address_in(&ctx, 2)));
    let is_exchange = address_in(&ctx, 4) as u32 & EXCHANGE != 0;
    if mode_of(from) & TYPE == DIRECTORY || (is_exchange && mode_of(to) & TYPE == DIRECTORY) {
        let resolved = path::resolve(scratch, from, old, 0, false);
        refuse(scratch, Op::RenameFrom, resolved.place, ENGINE_MOVING, 0);
        // As between file systems: programs go on file by file.
        return EXDEV;
    }
    if moved(scratch, from, old, to, new) != 0 || (is_exchange && moved(scratch, to, new, from, old) != 0) {
        return EACCES;
    }
    0
}

/// The source is judged as deleted and as read, the destination as written.
#[inline(always)]
fn moved(scratch: &mut Scratch, from: u64, old: u64, to: u64, new: u64) -> i32 {
    if decide(scratch, Op::RenameFrom, from, old) != 0 || decide(scratch, Op::Read, from, old) != 0 {
        return EACCES;
    }
    decide(scratch, Op::RenameTo, to, new)
}

/// The inode of the `struct path` at an address.
#[inline(always)]
fn inode_of(of_path: u64) -> u64 {
    let dentry = word(of_path.wrapping_add(constant(&O_PATH_DENTRY)));
    word(dentry.wrapping_add(constant(&O_DENTRY_INODE)))
}

/// Decides an operation on the object at a `struct path`.
#[inline(always)]
fn of_object(scratch: &mut Scratch, op: Op, of_path: u64, extra: u64) -> i32 {
    let resolved = path::of_path(scratch, of_path, path::is_of_proc(inode_of(of_path)));
    if let Some(answer) = stopped(scratch, op, resolved, extra) {
        return answer;
    }
    if judge(scratch, op, resolved.place, extra) == 0 { 0 } else { EACCES }
}

/// `chmod` in all its forms.
#[lsm(hook = "path_chmod")]
pub fn path_chmod(ctx: LsmContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    let (of_path, mode) = (address_in(&ctx, 0), address_in(&ctx, 1) as u32 & 0o7777);
    let dentry = word(of_path.wrapping_add(constant(&O_PATH_DENTRY)));
    if sets_id(mode) && mode_of(dentry) & TYPE == REGULAR {
        let resolved = path::of_path(scratch, of_path, false);
        return refuse(scratch, Op::Chmod, resolved.place, FLOOR_PRIVILEGE, u64::from(mode));
    }
    of_object(scratch, Op::Chmod, of_path, u64::from(mode))
}

/// `chown` in all its forms.
#[lsm(hook = "path_chown")]
pub fn path_chown(ctx: LsmContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    of_object(scratch, Op::Chown, address_in(&ctx, 0), 0)
}
