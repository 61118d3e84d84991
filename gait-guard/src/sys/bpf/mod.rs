//! `bpf(2)`: what is made with it, one operation per function.
//!
//! ```text
//! map      maps, their contents, the types of an object
//! program  programs: loaded, attached, run once, described
//! ```

pub mod map;
pub mod program;

use std::os::fd::FromRawFd;
use std::ptr;

use rustix::fd::OwnedFd;
use rustix::io;

/// The commands (`enum bpf_cmd`).
#[derive(Clone, Copy)]
#[repr(i32)]
enum Command {
    MapCreate = 0,
    MapUpdate = 2,
    ProgramLoad = 5,
    Pin = 6,
    TestRun = 10,
    Info = 15,
    RawTracepointOpen = 17,
    BtfLoad = 18,
    MapFreeze = 22,
    LinkCreate = 28,
}

/// Makes the call.
///
/// # Safety
/// `A` is `repr(C)`, has no padding, and its members are those of `union bpf_attr` for the command, up to the last one that is
/// set. Each pointer in it is to memory that is as long as the member beside it says, and which the kernel may use as the
/// command does until the call returns.
unsafe fn call<A>(command: Command, attr: &mut A) -> io::Result<i32> {
    // SAFETY: see above; the kernel takes a shorter union as one whose other members are 0.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command as i32, ptr::from_mut(attr), size_of::<A>()) };
    i32::try_from(rc).ok().filter(|number| *number >= 0).ok_or_else(super::last_errno)
}

/// Makes a call that gives a descriptor.
///
/// # Safety
/// As for [`call`]; and the command gives a new descriptor.
unsafe fn open<A>(command: Command, attr: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: see above.
    let number = unsafe { call(command, attr) }?;
    // SAFETY: the kernel made this descriptor just now, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The names of maps and programs: 15 bytes at most, then a zero.
fn name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    for (to, byte) in name[..15].iter_mut().zip(text.bytes()) {
        // The kernel takes letters, digits, `_` and `.`.
        *to = if byte.is_ascii_alphanumeric() || byte == b'.' { byte } else { b'_' };
    }
    name
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_what_the_kernel_takes() {
        assert_eq!(super::name(".rodata"), *b".rodata\0\0\0\0\0\0\0\0\0");
        assert_eq!(super::name("bprm_committing_creds"), *b"bprm_committing\0");
        assert_eq!(super::name("a-b"), *b"a_b\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }
}
