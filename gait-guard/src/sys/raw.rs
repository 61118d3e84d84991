//! System calls as the kernel has them, for a process that runs within the memory of this one: nothing here touches `errno`
//! or anything else that belongs to a thread.

use std::arch::asm;
use std::ffi::c_long;
use std::ptr::{self, NonNull};

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::{self, Errno};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::process::Pid;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("calls are made, and the filter's tables are, for x86_64 only");

/// Flag of `clone3`; the C library's number, as `libc` has it, is cut to zero.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The last number that is an error and no value.
const LAST_ERROR: isize = -4095;

/// Makes a call of up to five arguments; an error is a number of `errno(3)`, which itself stays as it is.
///
/// # Safety
/// What the call reads or writes is there and of the type that it takes, and nobody relies on what it changes.
pub(super) unsafe fn call(nr: c_long, args: [usize; 5]) -> Result<usize, i32> {
    let result: isize;
    // SAFETY: the kernel changes rax, rcx and r11, and memory only as the caller answers for; it uses no stack of ours.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    outcome(result)
}

fn outcome(result: isize) -> Result<usize, i32> {
    if (LAST_ERROR..0).contains(&result) { Err(-result as i32) } else { Ok(result as usize) }
}

/// What a thread has blocked, as the kernel has it: signal 1 is the lowest bit.
pub(super) type Mask = u64;

/// Blocks all signals on the calling thread, those of the C library too; gives what was blocked before.
pub(super) fn block_all() -> io::Result<Mask> {
    set_mask(Mask::MAX)
}

/// Blocks exactly these on the calling thread; gives what was blocked before.
pub(super) fn set_mask(mask: Mask) -> io::Result<Mask> {
    let mut before: Mask = 0;
    let (new, old) = (ptr::from_ref(&mask) as usize, ptr::from_mut(&mut before) as usize);
    // SAFETY: the kernel reads one mask and writes another, both of the size that it is told.
    let result =
        unsafe { call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, new, old, size_of::<Mask>(), 0]) };
    result.map(|_| before).map_err(Errno::from_raw_os_error)
}

/// A stack for a process within this one, with a page below that nobody may touch: what runs over the end dies of it.
#[derive(Debug)]
pub(super) struct Stack(NonNull<u8>);

impl Stack {
    const GUARD: usize = 4 << 10;
    const SIZE: usize = 64 << 10;

    /// Of 64 KiB. Only pages that are used take memory.
    ///
    /// # Errors
    /// Those of `mmap(2)` and `mprotect(2)`.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel picks; nothing else refers to it.
        let first = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                Self::GUARD + Self::SIZE,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::STACK,
            )
        }?;
        let stack = Self(NonNull::new(first.cast()).ok_or(Errno::NOMEM)?);
        // SAFETY: all but the first page of the mapping that was just made, to which nothing refers.
        unsafe { mprotect(stack.bottom().cast(), Self::SIZE, MprotectFlags::READ | MprotectFlags::WRITE) }?;
        Ok(stack)
    }

    fn bottom(&self) -> *mut u8 {
        self.0.as_ptr().wrapping_add(Self::GUARD)
    }

    /// Where it begins, growing down: the end of a page, so it is aligned as calls demand.
    fn top(&self) -> *mut u8 {
        self.bottom().wrapping_add(Self::SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size; who drops it says that nobody runs on it.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), Self::GUARD + Self::SIZE) };
    }
}

/// Makes a process within the memory of this one, with the same table of descriptors, that calls `body` with `argument` on `stack`
/// while the calling thread goes on. It is a child of that thread, and in `group` from the start if there is one.
///
/// # Errors
/// Those of `clone(2)`; `clone3(2)` where there is a group, which containers may not have.
///
/// # Safety
/// - `stack` is nobody else's, and that and whatever `body` reads stay where they are, unchanged, until the process has memory of its own
///   (`execve(2)`) or has ended.
/// - `body` never returns, and does not unwind. It has the thread pointer of the calling thread, which goes on: it uses nothing of
///   a thread (`errno` is such a thing, so are locks, the allocator, and the dynamic linker when it binds late).
/// - All signals are blocked on the calling thread, so that the process starts so: handlers are copied, but would run in this memory.
pub(super) unsafe fn make_within<T>(
    stack: &Stack,
    group: Option<BorrowedFd<'_>>,
    body: extern "C" fn(*const T) -> !,
    argument: *const T,
) -> io::Result<Pid> {
    let flags = libc::CLONE_VM | libc::CLONE_FILES;
    // SAFETY: all fields are integers, for which zero is a value.
    let mut wanted: libc::clone_args = unsafe { std::mem::zeroed() };
    let (nr, first, second) = match group {
        // Every profile of a container lets a program have this one: it is what threads are made with.
        None => (libc::SYS_clone, (flags | libc::SIGCHLD) as usize, stack.top() as usize),
        Some(group) => {
            // A child that is moved afterwards would be one that was outside for a while.
            wanted.flags = flags as u64 | CLONE_INTO_CGROUP;
            wanted.exit_signal = libc::SIGCHLD as u64;
            wanted.stack = stack.bottom() as u64;
            wanted.stack_size = Stack::SIZE as u64;
            wanted.cgroup = group.as_raw_fd() as u64;
            (libc::SYS_clone3, ptr::from_ref(&wanted) as usize, size_of::<libc::clone_args>())
        }
    };
    let result: isize;
    // SAFETY: one call, which returns twice. To the caller as any other, with rax, rcx and r11 changed and the stack as it was. In the child
    // rax is 0 and rsp is the top of `stack`, 16-aligned as `call` wants it; it has copies of the other registers, touches no memory before
    // `body` and never comes back from there, so nothing that the compiler keeps in this frame is used twice. rbp is zero for who unwinds.
    // Flags are numbers; the further arguments of `clone` are null, unused by these flags; `wanted` outlives the call and has the size that is told.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") nr as isize => result,
            in("rdi") first, in("rsi") second, in("rdx") 0, in("r10") 0, in("r8") 0,
            in("r12") argument, in("r13") body,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    let pid = outcome(result).map_err(Errno::from_raw_os_error)?;
    Pid::from_raw(pid as i32).ok_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_from_values_without_errno() {
        // SAFETY: closes a number that no descriptor can have.
        let closed = unsafe { call(libc::SYS_close, [usize::MAX, 0, 0, 0, 0]) };
        assert_eq!(closed, Err(libc::EBADF));
        // SAFETY: takes nothing.
        let pid = unsafe { call(libc::SYS_getpid, [0; 5]) };
        assert_eq!(pid, Ok(std::process::id() as usize));
        assert_eq!((outcome(-4095), outcome(-4096)), (Err(4095), Ok(-4096_isize as usize)));
    }

    #[test]
    fn a_mask_is_set_and_given_back() {
        let before = block_all().unwrap();
        // The kernel lets nobody block SIGKILL and SIGSTOP.
        let all = Mask::MAX & !(1 << (libc::SIGKILL - 1)) & !(1 << (libc::SIGSTOP - 1));
        assert_eq!(set_mask(before), Ok(all));
        assert_eq!(set_mask(before), Ok(before));
    }

    #[test]
    fn a_stack_has_a_page_below_that_is_no_memory() {
        let stack = Stack::new().unwrap();
        let tid = crate::sys::thread::own_tid();
        let read = |address: *mut u8| crate::sys::memory::read(tid, address as u64, &mut [0; 8]);
        assert_eq!(stack.top() as usize % 16, 0);
        assert_eq!(read(stack.bottom()), Ok(8));
        assert_eq!(read(stack.top().wrapping_sub(8)), Ok(8));
        assert_eq!(read(stack.bottom().wrapping_sub(8)), Err(Errno::FAULT));
    }
}
