//! Descriptors that arrive over a socket: judged as if they were opened. Those that the supervisor installs were judged by it.

use core::ffi::c_void;

use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::{btf_map, lsm};
use aya_ebpf::programs::LsmContext;
use gait_ebpf::op::Op;
use gait_ebpf::record::path::RECEIVED;

use super::open::{DIRECTORY, TYPE, stopped};
use super::{EACCES, judge};
use crate::kernel::{
    self, O_FILE_FLAGS, O_FILE_INODE, O_FILE_MODE, O_FILE_PATH, O_INODE_MODE, O_INODE_NUMBER, address_of, constant,
    half, member, word,
};
use crate::{path, scope};

const ACCESS: u32 = 3;
/// `FMODE_READ`
const READ: u32 = 1;
/// `FMODE_WRITE`
const WRITE: u32 = 2;

/// By thread: the file that the supervisor is about to install in it, its inode's number and how it may be accessed. The same
/// file in the same way is what was judged, even if it comes from somebody else meanwhile.
#[btf_map]
static GIVEN: HashMap<u32, u64, 1024> = HashMap::new();

/// A descriptor is about to be installed in the table of the current task.
#[lsm(hook = "file_receive")]
pub fn file_receive(ctx: LsmContext) -> i32 {
    let Some(scratch) = scope::mine() else { return 0 };
    let file: *const c_void = ctx.arg(0);
    // SAFETY: the verifier knows the argument.
    let (flags, mode, inode): (u32, u32, u64) =
        unsafe { (member(file, &O_FILE_FLAGS), member(file, &O_FILE_MODE), member(file, &O_FILE_INODE)) };
    let number = word(inode.wrapping_add(constant(&O_INODE_NUMBER)));
    // SAFETY: only the supervisor changes the entry, and waits for this call.
    if let Some(given) = unsafe { GIVEN.get(kernel::number(kernel::current())) }
        && *given == number << 2 | u64::from(flags & ACCESS)
    {
        return 0;
    }
    let kind = half(inode.wrapping_add(constant(&O_INODE_MODE))) & TYPE;
    let look = if kind == DIRECTORY { Op::List } else { Op::Read };
    let op = if mode & WRITE != 0 { Op::Write } else { look };
    let resolved = path::of_path(scratch, address_of(file, &O_FILE_PATH) as u64, path::is_of_proc(inode));
    if let Some(answer) = stopped(scratch, op, resolved, RECEIVED) {
        return answer;
    }
    if mode & WRITE != 0 && judge(scratch, Op::Write, resolved.place, RECEIVED) != 0 {
        return EACCES;
    }
    if mode & READ != 0 && judge(scratch, look, resolved.place, RECEIVED) != 0 {
        return EACCES;
    }
    0
}
