//! Whether this kernel has something, by trying it in this process, which ends right after.
//!
//! Prints `present`, `present N` (a version), or `absent <syscall> <errno>`; anything unexpected is `broken ...`.

use std::io;

use crate::{number, sys};

/// Errors that say "not here": unknown to the kernel, or refused by whoever runs this machine.
const ABSENT: &[i32] = &[libc::ENOSYS, libc::EOPNOTSUPP, libc::EPERM, libc::EACCES, libc::EINVAL];

/// Probes one feature; whether it is there.
pub fn run(what: &str) -> io::Result<bool> {
    let (name, result) = match what {
        "landlock" => ("landlock_create_ruleset", landlock()),
        "seccomp-notify" => ("seccomp", listener()),
        "userns" => ("unshare", call(libc::SYS_unshare, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0])),
        "pidfd-getfd" => ("pidfd_getfd", duplicate_own()),
        "mptcp" => ("socket", socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)),
        "sctp" => ("socket", socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP)),
        "vsock" => ("socket", socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
        "alg" => ("socket", socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
        "packet" => ("socket", socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
        "raw" => ("socket", socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)),
        "fchmodat2" => ("fchmodat2", fchmodat2()),
        "io-uring" => ("io_uring_setup", io_uring()),
        "bpf" => ("bpf", bpf_map()),
        "ia32" => return crate::process::int80(),
        _ => return Err(io::Error::other("no such probe")),
    };
    match result {
        Ok(0) => println!("present"),
        Ok(version) => println!("present {version}"),
        Err(errno) if ABSENT.contains(&errno) || is_no_family(errno) => {
            println!("absent {name} {}", number::errno_name(errno));
        }
        Err(errno) => println!("broken {name} {}", number::errno_name(errno)),
    }
    Ok(result.is_ok())
}

fn is_no_family(errno: i32) -> bool {
    matches!(errno, libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT)
}

fn call(nr: i64, args: [u64; 6]) -> Result<i64, i32> {
    // SAFETY: the callers below pass addresses of locals of the length that the call reads.
    unsafe { sys::syscall(nr, args) }
}

/// Since Linux 6.6: of no file.
fn fchmodat2() -> Result<i64, i32> {
    match call(libc::SYS_fchmodat2, [u64::MAX, c"none".as_ptr() as u64, 0, 0, 0, 0]) {
        Err(libc::EBADF) => Ok(0),
        other => other,
    }
}

/// A map of one value, as all BPF programs need.
fn bpf_map() -> Result<i64, i32> {
    const MAP_CREATE: u64 = 0;
    const ARRAY: u32 = 2;
    let attributes: [u32; 4] = [ARRAY, 4, 8, 1];
    call(libc::SYS_bpf, [MAP_CREATE, attributes.as_ptr() as u64, 16, 0, 0, 0])
}

fn landlock() -> Result<i64, i32> {
    const VERSION: u64 = 1;
    call(libc::SYS_landlock_create_ruleset, [0, 0, VERSION, 0, 0, 0])
}

fn listener() -> Result<i64, i32> {
    // SAFETY: takes numbers only.
    unsafe { sys::syscall(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0, 0]) }?;
    let allow =
        libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let mut program = [allow];
    let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let operation = u64::from(libc::SECCOMP_SET_MODE_FILTER);
    call(libc::SYS_seccomp, [operation, flags, (&raw const filter) as u64, 0, 0, 0]).map(|_| 0)
}

fn duplicate_own() -> Result<i64, i32> {
    let own = call(libc::SYS_pidfd_open, [u64::from(std::process::id()), 0, 0, 0, 0, 0])?;
    call(libc::SYS_pidfd_getfd, [own as u64, 0, 0, 0, 0, 0]).map(|_| 0)
}

fn socket(family: i32, kind: i32, protocol: i32) -> Result<i64, i32> {
    call(libc::SYS_socket, [family as u64, kind as u64, protocol as u64, 0, 0, 0]).map(|_| 0)
}

fn io_uring() -> Result<i64, i32> {
    let params = [0_u8; 120];
    call(libc::SYS_io_uring_setup, [4, params.as_ptr() as u64, 0, 0, 0, 0]).map(|_| 0)
}
