//! What root has in a container of Docker's making: its default capabilities and its default seccomp profile, without
//! the namespaces. For machines on which no container starts.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::{number, sys};

/// Capabilities that Docker leaves: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
/// net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
const LEFT: u64 = 0xa804_25fb;

/// Highest capability of any kernel so far.
const LAST_CAPABILITY: u64 = 40;

/// Calls that the default profile refuses to who has no more capabilities than these. `clone3` is not there, so that
/// the flags of `clone` can be looked at.
const REFUSED: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "clock_settime",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setns",
    "settimeofday",
    "sethostname",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
];

/// Runs `program` with them; returns only if that fails.
pub fn enter(program: &str, args: &[&str]) -> io::Result<bool> {
    drop_capabilities()?;
    let refused = REFUSED.iter().filter_map(|name| number::syscall(name)).map(|nr| (nr, libc::EPERM));
    install(refused.chain([(libc::SYS_clone3, libc::ENOSYS)]), Namespaces::Refused)?;
    Err(Command::new(program).args(args).exec())
}

/// Runs `program` on a kernel that lacks the calls in `names` (`landlock_create_ruleset,pidfd_open`).
pub fn without(names: &str, program: &str, args: &[&str]) -> io::Result<bool> {
    let missing: Option<Vec<i64>> = names.split(',').map(number::syscall).collect();
    let missing = missing.ok_or_else(|| io::Error::other("no such call"))?;
    install(missing.into_iter().map(|nr| (nr, libc::ENOSYS)), Namespaces::Left)?;
    Err(Command::new(program).args(args).exec())
}

/// Whether `clone` may make namespaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Namespaces {
    Left,
    Refused,
}

fn call(nr: i64, args: [u64; 6]) -> io::Result<i64> {
    // SAFETY: the callers pass numbers, or addresses of locals of the length that the call reads.
    unsafe { sys::syscall(nr, args) }.map_err(io::Error::from_raw_os_error)
}

fn drop_capabilities() -> io::Result<()> {
    for capability in (0..=LAST_CAPABILITY).filter(|capability| LEFT >> capability & 1 == 0) {
        call(libc::SYS_prctl, [libc::PR_CAPBSET_DROP as u64, capability, 0, 0, 0, 0])?;
    }
    // struct __user_cap_header_struct of version 3, and two __user_cap_data_struct: effective, permitted, inheritable.
    let header = [0x2008_0522_u32, 0];
    let data = [LEFT as u32, LEFT as u32, 0, 0, 0, 0];
    call(libc::SYS_capset, [header.as_ptr() as u64, data.as_ptr() as u64, 0, 0, 0, 0]).map(|_| ())
}

fn install(answers: impl Iterator<Item = (i64, i32)>, namespaces: Namespaces) -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let answer = |errno: i32| statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32);
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (nr, errno) in answers {
        let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        program.push(libc::sock_filter { code: equal, jt: 0, jf: 1, k: nr as u32 });
        program.push(answer(errno));
    }
    if namespaces == Namespaces::Refused {
        // By clone: any of these flags.
        let flags =
            libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC;
        let (set, not_clone) = ((libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16, 3);
        let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        program.push(libc::sock_filter { code: equal, jt: 0, jf: not_clone, k: libc::SYS_clone as u32 });
        program.push(statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 16));
        program.push(libc::sock_filter { code: set, jt: 0, jf: 1, k: flags as u32 });
        program.push(answer(libc::EPERM));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0, 0])?;
    let operation = u64::from(libc::SECCOMP_SET_MODE_FILTER);
    call(libc::SYS_seccomp, [operation, 0, (&raw const filter) as u64, 0, 0, 0]).map(|_| ())
}
