//! Which tasks are the agent's, and the memory that each has for decisions.
//!
//! Membership is task storage, inherited when a task is made and never given up: a cgroup or a namespace could be left.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_map;
use gait_ebpf::record::Header;
use gait_ebpf::tables::PATH_BYTES;

use crate::kernel::{self, O_TASK_FILES, member};
use crate::path;

/// What a task of the tree has.
///
/// A path that is walked is built from its end: its last byte is the last of `path`, and a record's header is written just before
/// the bytes of the path that it takes along, which for the longest is `header`. One that the kernel writes is at the start of `path`.
#[repr(C)]
pub struct Scratch {
    /// 1: of the tree.
    pub member: u32,
    /// 1: between the point of no return of an exec and its end, when the kernel itself maps the program.
    pub state: u32,
    /// The number under which the task is noted in [`NUMBERS`], 0 for none.
    pub number: u32,
    /// 1: shared its descriptor table with another task at some time since it began to run its program.
    pub shares: u32,
    /// Numbers of the process and the thread, 0 until they are asked for; an exec changes them.
    pub tgid: u32,
    /// See `tgid`.
    pub tid: u32,
    /// Records of it that did not wake the reader.
    pub quiet: u32,
    /// Nothing.
    pub reserved: u32,
    /// The address of the task's mount namespace, which it can't change; 0 until it is asked for.
    pub namespace: u64,
    /// The header of a record that is being written.
    pub header: Header,
    /// The path.
    pub path: [u8; PATH_BYTES],
    /// Written past the end of a component that is copied with a bound of 255; and looked at as the last block of a path.
    pub slack: [u8; 256],
    /// Where the walk of a path is.
    pub walk: path::Walk,
}

/// A map of one value a task; aya-ebpf has no type for it.
#[repr(C)]
pub struct TaskStorage<T> {
    r#type: *const [i32; 29],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; 1],
}

// SAFETY: only the kernel looks into it.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    #[inline(always)]
    fn get(&self, task: *mut c_void, create: bool) -> Option<&'static mut T> {
        let map = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the verifier checks the type of `task`; the value lives as long as the task, which runs or is being made.
        unsafe { (h::bpf_task_storage_get(map, task.cast(), ptr::null_mut(), create as u64) as *mut T).as_mut() }
    }
}

#[btf_map]
static TASKS: TaskStorage<Scratch> = TaskStorage::new();

/// Threads whose children are members: only the one that makes the agent, only while it does.
#[btf_map]
static SEED: HashMap<u32, u32, 4> = HashMap::new();

/// Numbers of the tree's tasks, for what names a task by number. A task that found no room in it is taken for an outsider.
#[btf_map]
static NUMBERS: HashMap<u32, u32, 65536> = HashMap::new();

/// Whether a number is that of a task of the tree.
#[inline(always)]
pub fn has_number(number: u32) -> bool {
    // SAFETY: the value is only looked at for being there.
    unsafe { NUMBERS.get(number) }.is_some()
}

/// Notes the number of a task of the tree, which may have had another one: an exec by a thread takes over that of its
/// process.
#[inline(always)]
pub fn note(scratch: &mut Scratch, number: u32) {
    if scratch.number == number {
        return;
    }
    forget(scratch);
    note_first(scratch, number);
}

/// [`note`] for a task that has none yet.
#[inline(always)]
pub fn note_first(scratch: &mut Scratch, number: u32) {
    let value = 1u32;
    let numbers = (&raw const NUMBERS).cast_mut().cast();
    // SAFETY: a key and a value of the map's sizes.
    let result = unsafe { h::bpf_map_update_elem(numbers, (&raw const number).cast(), (&raw const value).cast(), 0) };
    scratch.number = kernel::unless(kernel::failed(result), u64::from(number)) as u32;
}

/// Forgets the number of the current task.
#[inline(always)]
pub fn forget(scratch: &mut Scratch) {
    // None has the number 0.
    let _ = NUMBERS.remove(scratch.number);
    scratch.number = 0;
}

/// Whether a task is of the tree.
#[inline(always)]
pub fn holds(task: *mut c_void) -> bool {
    matches!(TASKS.get(task, false), Some(scratch) if scratch.member != 0)
}

/// The memory of the current task, if it is of the tree.
#[inline(always)]
pub fn mine() -> Option<&'static mut Scratch> {
    let scratch = TASKS.get(kernel::current(), false)?;
    if scratch.member == 0 { None } else { Some(scratch) }
}

/// Whether a task that `parent` makes belongs to the tree.
#[inline(always)]
pub fn is_heir(parent: *mut c_void) -> bool {
    if let Some(scratch) = TASKS.get(parent, false)
        && scratch.member != 0
    {
        return true;
    }
    let number = kernel::number(parent);
    // SAFETY: the value is only looked at for being there.
    unsafe { SEED.get(number) }.is_some()
}

/// [`is_heir`] for a parent whose number is known; and whether it shares its descriptor table with its child is remembered of it:
/// looked at later, the other could have ended.
#[inline(always)]
pub fn is_heir_that_shares(parent: *mut c_void, number: u32, shares: u32) -> bool {
    if let Some(scratch) = TASKS.get(parent, false)
        && scratch.member != 0
    {
        scratch.shares |= shares;
        return true;
    }
    // SAFETY: as above.
    unsafe { SEED.get(number) }.is_some()
}

/// 1 if a task that was just made has the descriptor table of the one that made it, else 0.
#[inline(always)]
pub fn is_sharing(parent: *mut c_void, child: *mut c_void) -> u32 {
    // SAFETY: arguments of the tracepoint, whose type the verifier knows.
    let (one, other): (u64, u64) = unsafe { (member(parent, &O_TASK_FILES), member(child, &O_TASK_FILES)) };
    kernel::is_any(one ^ other) as u32 ^ 1
}

/// Makes `child` a member; false if there is no memory for it.
#[inline(always)]
pub fn adopt(child: *mut c_void) -> bool {
    adopted(child).is_some()
}

/// Makes `child` a member, whose memory this is; nothing if there is none for it.
#[inline(always)]
pub fn adopted(child: *mut c_void) -> Option<&'static mut Scratch> {
    let scratch = TASKS.get(child, true)?;
    scratch.member = 1;
    Some(scratch)
}
