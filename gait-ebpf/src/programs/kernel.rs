//! Reading the kernel's own structures: offsets that are set at load, and reads that the kernel checks.

use core::arch::asm;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::helpers::generated as h;

macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".rodata.immediate")]
            pub static $name: $type = $value;
        )*
    };
}

// Offsets: gait_ebpf::config says of what. Set at load.
constants! {
    O_FILE_PATH: u32 = 0;
    O_FILE_FLAGS: u32 = 0;
    O_FILE_MODE: u32 = 0;
    O_FILE_INODE: u32 = 0;
    O_PATH_DENTRY: u32 = 0;
    O_PATH_MNT: u32 = 0;
    O_DENTRY_PARENT: u32 = 0;
    O_DENTRY_NAME: u32 = 0;
    O_DENTRY_INODE: u32 = 0;
    O_INODE_MODE: u32 = 0;
    O_INODE_NLINK: u32 = 0;
    O_INODE_NUMBER: u32 = 0;
    O_INODE_SB: u32 = 0;
    O_SB_MAGIC: u32 = 0;
    O_MOUNT_MNT: u32 = 0;
    O_MOUNT_PARENT: u32 = 0;
    O_MOUNT_POINT: u32 = 0;
    O_MOUNT_NS: u32 = 0;
    O_VFSMOUNT_ROOT: u32 = 0;
    O_TASK_FILES: u32 = 0;
    O_TASK_MM: u32 = 0;
    O_TASK_NSPROXY: u32 = 0;
    O_NSPROXY_MNT: u32 = 0;
    O_TASK_LEADER: u32 = 0;
    O_TASK_START: u32 = 0;
    O_TASK_THREAD_PID: u32 = 0;
    O_PID_LEVEL: u32 = 0;
    O_PID_NUMBERS: u32 = 0;
    O_TASK_SIGNAL: u32 = 0;
    O_TASK_EXIT_CODE: u32 = 0;
    O_TASK_THREAD_STATUS: u32 = 0;
    O_SIGNAL_LIVE: u32 = 0;
    O_SIGNAL_GROUP_EXIT: u32 = 0;
    O_FILES_COUNT: u32 = 0;
    O_FILES_FDT: u32 = 0;
    O_FDT_FD: u32 = 0;
    O_FDT_MAX: u32 = 0;
    O_MM_ARG_START: u32 = 0;
    O_MM_ARG_END: u32 = 0;
    O_VMA_FLAGS: u32 = 0;
    O_VMA_FILE: u32 = 0;
    O_MSGHDR_NAME: u32 = 0;
    O_REGS_NR: u32 = 0;
    O_TASK_FS: u32 = 0;
    O_FS_PWD: u32 = 0;
    O_REGS_FIRST: u32 = 0;
    O_REGS_SECOND: u32 = 0;
    O_REGS_THIRD: u32 = 0;
    O_BPRM_FILE: u32 = 0;
    /// 1: what the policy denies is let through and recorded; the floor still holds.
    SIMULATE: u32 = 0;
}

/// The value of a constant. The instruction that loads its address becomes one that loads the value, when the programs are loaded
/// (gait-guard's `bpf/linked.rs`): no memory is read, and the verifier has half as much to follow. The compiler is not told, which would
/// take the value in the source.
#[inline(always)]
pub fn constant(of: &'static u32) -> u64 {
    opaque_word(ptr::from_ref(of) as u64)
}

/// The same number, of which the compiler knows nothing: it would make branches of what is calculated from it, and the verifier goes
/// both ways at each.
#[inline(always)]
pub fn opaque(mut value: u32) -> u32 {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {value} */", value = inout(wreg) value, options(pure, nomem, nostack)) };
    value
}

/// [`opaque`] for eight bytes.
#[inline(always)]
pub fn opaque_word(mut value: u64) -> u64 {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {value} */", value = inout(reg) value, options(pure, nomem, nostack)) };
    value
}

/// 0, of which the compiler knows nothing: it would write more than one by a loop over bytes, which the verifier goes round and round.
#[inline(always)]
pub fn zero() -> u64 {
    opaque_word(0)
}

/// 1 if a helper failed, else 0. No branch, as [`opaque`] says: what a helper returns is 0 or more, or the negative of an error.
#[inline(always)]
pub fn failed(result: i64) -> u64 {
    opaque_word(result as u64 >> 63)
}

/// A number where `excluded` is 0, and 0 where it is 1.
#[inline(always)]
pub fn unless(excluded: u64, number: u64) -> u64 {
    number & opaque_word(excluded.wrapping_sub(1))
}

/// The smaller of two numbers, the second a power of two. No branch, as [`opaque`] says; so the verifier learns no bound from it.
#[inline(always)]
pub fn at_most<const POWER: u64>(number: u64) -> u64 {
    let is_more = is_any(number >> POWER.trailing_zeros());
    unless(is_more, number) | is_more << POWER.trailing_zeros()
}

/// 1 if a number is not 0, else 0, without a branch: it or its negative is negative.
#[inline(always)]
pub fn is_any(number: u64) -> u64 {
    opaque_word((number | opaque_word(number.wrapping_neg())) >> 63)
}

/// A member of a structure that the verifier knows the type of: a plain load.
///
/// For what runs at each open. To take one such load, kernels since 6.4 search all their types by name, four times: half a
/// millisecond each. Elsewhere [`member`] does.
///
/// # Safety
/// `base` must be a pointer that the verifier tracks; else the program is refused at load.
#[inline(always)]
pub unsafe fn typed<T: Copy>(base: *const c_void, offset: &'static u32) -> T {
    // SAFETY: the verifier checks each such load against the BTF of the structure.
    unsafe { ptr::read_volatile(base.cast::<u8>().add(constant(offset) as usize).cast::<T>()) }
}

/// [`typed`] for a member of a structure that is itself a member.
///
/// # Safety
/// As [`typed`].
#[inline(always)]
pub unsafe fn typed_in<T: Copy>(base: *const c_void, outer: &'static u32, offset: &'static u32) -> T {
    // SAFETY: as the caller says.
    unsafe { typed(address_of(base, outer), offset) }
}

/// A member of a structure, zeros where nothing can be read.
///
/// # Safety
/// Zeros must be a `T`.
#[inline(always)]
pub unsafe fn member<T: Copy>(base: *const c_void, offset: &'static u32) -> T {
    // SAFETY: as the caller says.
    unsafe { read(address_of(base, offset)) }
}

/// What is at a kernel address, zeros where nothing can be read.
///
/// # Safety
/// Zeros must be a `T`.
#[inline(always)]
unsafe fn read<T: Copy>(address: *const c_void) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address and writes the whole value, or zeros.
    unsafe {
        h::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address);
        value.assume_init()
    }
}

/// The address of a member.
#[inline(always)]
pub fn address_of(base: *const c_void, offset: &'static u32) -> *const c_void {
    base.cast::<u8>().wrapping_add(constant(offset) as usize).cast()
}

/// Eight bytes at a kernel address; 0 where nothing can be read.
#[inline(always)]
pub fn word(address: u64) -> u64 {
    // SAFETY: zeros are a number.
    unsafe { read(address as *const c_void) }
}

/// Four bytes at a kernel address; 0 where nothing can be read.
#[inline(always)]
pub fn half(address: u64) -> u32 {
    // SAFETY: as above.
    unsafe { read(address as *const c_void) }
}

/// The task that runs.
#[inline(always)]
pub fn current() -> *mut c_void {
    // SAFETY: no arguments.
    unsafe { h::bpf_get_current_task_btf() as *mut c_void }
}

/// The number of a task in its own pid namespace, which is the guard's: the agent can't make another.
#[inline(always)]
pub fn number(task: *const c_void) -> u32 {
    // SAFETY: `task` is a task that the verifier knows.
    let pid: u64 = unsafe { member(task, &O_TASK_THREAD_PID) };
    let level = half(pid.wrapping_add(constant(&O_PID_LEVEL)));
    // struct upid { int nr; struct pid_namespace *ns; }
    half(pid.wrapping_add(constant(&O_PID_NUMBERS)).wrapping_add(u64::from(level & 31) * 16))
}

/// The number of the process that a task belongs to.
#[inline(always)]
pub fn process_number(task: *const c_void) -> u32 {
    number(leader(task))
}

/// The first thread of the process that a task belongs to: a task as well.
#[inline(always)]
pub fn leader(task: *const c_void) -> *const c_void {
    // SAFETY: as above.
    unsafe { member(task, &O_TASK_LEADER) }
}

/// When a process was started, of which this is the first thread: nanoseconds since boot.
#[inline(always)]
pub fn start(leader: *const c_void) -> u64 {
    // SAFETY: the leader has the type of a task.
    unsafe { member(leader, &O_TASK_START) }
}
