//! The raw calls, one each, for a program that wants to reach the kernel without a library in between.

use std::ffi::{c_int, c_void};
use std::io;

/// Any syscall. `Err` holds the errno.
///
/// # Safety
/// What the registers mean is up to the call: the caller answers for every address in `args`, and for calls that
/// change this process behind Rust's back.
pub unsafe fn syscall(nr: i64, args: [u64; 6]) -> Result<i64, i32> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: passed on to the caller by this function's contract.
    let value = unsafe { libc::syscall(nr, a, b, c, d, e, f) };
    if value == -1 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(value) }
}

/// A child that is a copy of this process; `None` in the child.
pub fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the callers are single-threaded here, or the child only execs, writes and exits.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// A child that runs `body` in the memory of this process, which stands still until the child has executed a program or
/// ended: nothing is copied, so it costs a fraction of [`fork`]. What `body` returns is its exit code.
///
/// # Safety
/// `body` only makes calls on what `given` leads to: it has `stack` to itself, all else is this process's.
pub unsafe fn child_in_our_memory(
    stack: &mut [u128],
    body: extern "C" fn(*mut c_void) -> c_int,
    given: *mut c_void,
) -> io::Result<i32> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from its end, which is aligned, and is borrowed until the child is gone from it; the
    // rest by this function's contract.
    match unsafe { libc::clone(body, stack.as_mut_ptr_range().end.cast(), flags, given) } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// Ends the process at once.
pub fn exit(code: i32) -> ! {
    // SAFETY: takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}

/// Waits for `pid` (-1: any child); gives the pid and the raw status, `None` when there is no child left.
pub fn wait(pid: i32) -> Option<(i32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a local that outlives the call.
        let got = unsafe { libc::waitpid(pid, &mut status, 0) };
        match got {
            -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            -1 => return None,
            got => return Some((got, status)),
        }
    }
}

/// `len` bytes that stay shared with children made by `fork`.
pub fn shared_memory(len: usize) -> io::Result<&'static mut [u8]> {
    // SAFETY: a new anonymous mapping; no address is asked for.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is `len` bytes, zeroed, never unmapped, and this is its only slice.
    Ok(unsafe { std::slice::from_raw_parts_mut(at.cast(), len) })
}
