//! Opens: decided where the kernel has the file and has not given it yet; what is created, before it is made.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use gait_ebpf::op::Op;
use gait_ebpf::record::{counter, kind, lock};
use gait_ebpf::tables::{ENGINE_MOVING, FLOOR_OUTSIDER, FLOOR_PRIVILEGE, FLOOR_UNRESOLVED, PATH_BYTES};

use super::{EACCES, address_in, judge, refuse};
use crate::kernel::{
    O_DENTRY_PARENT, O_FILE_FLAGS, O_FILE_INODE, O_FILE_MODE, O_FILE_PATH, O_INODE_MODE, O_INODE_SB, O_PATH_DENTRY,
    O_PATH_MNT, O_SB_MAGIC, address_of, constant, typed, word,
};
use crate::path::{Found, Resolved};
use crate::scope::Scratch;
use crate::{path, ring, scope};

const ACCESS: u32 = 3;
const WRITE_ONLY: u32 = 1;
/// `__FMODE_EXEC`: the open of a program by `execve`, which is judged as such.
const FOR_EXEC: u32 = 0x20;
const TRUNCATE: u32 = 0o1000;
/// `__O_TMPFILE`
const TEMPORARY: u32 = 0o20_000_000;
/// `FMODE_CREATED`: this open made the file, which was judged.
const CREATED: u32 = 1 << 20;
/// `FMODE_BACKING` and `FMODE_NOACCOUNT`: a file system (overlayfs) opens what lies behind a file that was judged.
const BEHIND: u32 = 1 << 25 | 1 << 29;
pub const DIRECTORY: u32 = 0o040_000;
pub const REGULAR: u32 = 0o100_000;
pub const TYPE: u32 = 0o170_000;
/// Under this name files without one are judged, in their folder.
const UNNAMED: &[u8; 9] = b"/#tmpfile";

/// Whether an inode is on a procfs.
#[inline(always)]
fn is_of_proc(inode: *const c_void) -> bool {
    // SAFETY: an inode that the verifier knows.
    let block: *const c_void = unsafe { typed(inode, &O_INODE_SB) };
    // SAFETY: its super block.
    !block.is_null() && unsafe { typed::<u64>(block, &O_SB_MAGIC) } == path::PROC_MAGIC
}

/// What stops an object before any policy is asked: `None` if nothing does.
#[inline(always)]
pub fn stopped(scratch: &mut Scratch, op: Op, resolved: Resolved, extra: u64) -> Option<i32> {
    match resolved.found {
        // Whoever holds it was given it by its own tree.
        Found::Detached => Some(0),
        Found::Unknown => {
            ring::count(counter::UNRESOLVED);
            Some(refuse(scratch, op, resolved.place, FLOOR_UNRESOLVED, extra))
        }
        Found::Whole if resolved.owner != 0 && !scope::has_number(resolved.owner) => {
            Some(refuse(scratch, op, resolved.place, FLOOR_OUTSIDER, extra))
        }
        Found::Whole => None,
    }
}

/// Every open of a file that is there by now.
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    let file: *const c_void = ctx.arg(0);
    // SAFETY: the verifier knows the argument.
    let flags: u32 = unsafe { typed(file, &O_FILE_FLAGS) };
    if flags & FOR_EXEC != 0 {
        return 0;
    }
    // SAFETY: as above.
    let mode: u32 = unsafe { typed(file, &O_FILE_MODE) };
    if mode & BEHIND != 0 {
        return 0;
    }
    // SAFETY: as above.
    let inode: *const c_void = unsafe { typed(file, &O_FILE_INODE) };
    // SAFETY: the inode of the file.
    let kind: u16 = unsafe { typed(inode, &O_INODE_MODE) };
    let is_dir = u32::from(kind) & TYPE == DIRECTORY;
    let reads = flags & ACCESS != WRITE_ONLY;
    if flags & TEMPORARY != 0 {
        return temporary(scratch, address_of(file, &O_FILE_PATH) as u64, reads);
    }
    let look = if is_dir { Op::List } else { Op::Read };
    let change = if flags & (TRUNCATE | ACCESS) == 0 || mode & CREATED != 0 {
        None
    } else if flags & TRUNCATE != 0 {
        Some(Op::Truncate)
    } else {
        Some(Op::Write)
    };
    let resolved = path::of_file(scratch, file, is_of_proc(inode));
    if let Some(answer) = stopped(scratch, change.unwrap_or(look), resolved, 0) {
        return answer;
    }
    if let Some(op) = change
        && judge(scratch, op, resolved.place, 0) != 0
    {
        return EACCES;
    }
    if reads && judge(scratch, look, resolved.place, 0) != 0 {
        return EACCES;
    }
    0
}

/// A file without a name is judged as a creation in its folder.
#[inline(always)]
fn temporary(scratch: &mut Scratch, of_path: u64, reads: bool) -> i32 {
    let tail = UNNAMED.len();
    for (index, byte) in UNNAMED.iter().enumerate() {
        // SAFETY: the last bytes of the path.
        unsafe { ptr::write_volatile(scratch.path.as_mut_ptr().add(PATH_BYTES - tail + index), *byte) };
    }
    let dentry = word(of_path + constant(&O_PATH_DENTRY));
    let folder = word(dentry + constant(&O_DENTRY_PARENT));
    let mount = word(of_path + constant(&O_PATH_MNT));
    let resolved = path::resolve(scratch, folder, mount, tail as u32, false);
    if let Some(answer) = stopped(scratch, Op::Create, resolved, 0) {
        return answer;
    }
    if judge(scratch, Op::Create, resolved.place, 0) != 0 {
        return EACCES;
    }
    if reads && judge(scratch, Op::Read, resolved.place, 0) != 0 {
        return EACCES;
    }
    0
}

/// Whether a mode is set-user-id, or set-group-id of a program: it would run with rights that its maker has not.
#[inline(always)]
pub fn sets_id(mode: u32) -> bool {
    mode & 0o4000 != 0 || mode & 0o2010 == 0o2010
}

/// A file is about to be made by an open. Other nodes are made by the supervisor.
#[lsm(hook = "path_mknod")]
pub fn path_mknod(ctx: LsmContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    let mode: u32 = ctx.arg::<u64>(2) as u32 & 0xffff;
    if mode & TYPE != 0 && mode & TYPE != REGULAR {
        let header = ring::header(kind::LOCK, lock::PATH_MKNOD, 0);
        if !ring::put_urgently(&header) {
            ring::count(counter::NO_ROOM);
        }
        return super::EPERM;
    }
    let folder: *const c_void = ctx.arg(0);
    let dentry = address_in(&ctx, 1);
    let mount = word(folder as u64 + constant(&O_PATH_MNT));
    let resolved = path::resolve(scratch, dentry, mount, 0, false);
    let extra = u64::from(mode);
    if matches!(resolved.found, Found::Detached) {
        // On a mount that hangs nowhere: it would be at no path that could be judged.
        return refuse(scratch, Op::Create, resolved.place, FLOOR_UNRESOLVED, extra);
    }
    if let Some(answer) = stopped(scratch, Op::Create, resolved, extra) {
        return answer;
    }
    if sets_id(mode) {
        return refuse(scratch, Op::Create, resolved.place, FLOOR_PRIVILEGE, extra);
    }
    if super::is_moving() {
        return refuse(scratch, Op::Create, resolved.place, ENGINE_MOVING, extra);
    }
    judge(scratch, Op::Create, resolved.place, extra)
}
