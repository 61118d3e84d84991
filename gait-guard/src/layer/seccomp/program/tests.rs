use super::*;
use crate::layer::seccomp::Class;
use crate::layer::seccomp::table::{Syscall, syscall};

/// What `struct seccomp_data` holds.
struct Data {
    nr: u32,
    arch: u32,
    args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            NR => self.nr,
            ARCH => self.arch,
            _ => {
                let at = offset - ARGS;
                (self.args[(at / 8) as usize] >> (8 * (at % 8))) as u32
            }
        }
    }
}

/// Runs classic BPF as the kernel defines it; gives the action.
fn run(program: &[Instruction], data: &Data) -> u32 {
    let (mut at, mut a) = (0, 0u32);
    for _ in 0..program.len() {
        let i = &program[at];
        at += 1;
        match i.code {
            LOAD => a = data.word(i.k),
            AND => a &= i.k,
            JUMP => at += i.k as usize,
            JUMP_EQUAL => at += usize::from(if a == i.k { i.jt } else { i.jf }),
            JUMP_AT_LEAST => at += usize::from(if a >= i.k { i.jt } else { i.jf }),
            RETURN => return i.k,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
    panic!("does not end");
}

fn action(name: &str, args: [u64; 6]) -> u32 {
    let nr = TABLE.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name}")).nr;
    run(filter(Opens::Held), &Data { nr: nr.into(), arch: AUDIT_ARCH_X86_64, args })
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
const NOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

#[test]
fn every_number_is_classified_and_gets_the_answer_of_its_class() {
    let program = filter(Opens::Held);
    for nr in 0..=u32::from(LAST_KNOWN) {
        let got = run(program, &Data { nr, arch: AUDIT_ARCH_X86_64, args: [0; 6] });
        let expected = match syscall(nr.into()).map(|s: &Syscall| s.class) {
            Some(Class::Allow | Class::Meta) => ALLOW,
            Some(Class::Absent) => NOSYS,
            // Never given out.
            None if (337..=423).contains(&nr) => NOSYS,
            None => panic!("{nr} is not classified"),
            Some(Class::Map | Class::Static | Class::Pid | Class::Net) => continue,
            Some(_) => NOTIFY,
        };
        assert_eq!(got, expected, "{nr}");
    }
}

#[test]
fn the_classes_have_the_sizes_of_the_survey() {
    // Counted by the survey of the kernel's own table (6.18): see docs/decisions.
    let count = |class| TABLE.iter().filter(|s| s.class == class).count();
    let sizes =
        [Class::Open, Class::Mutate, Class::FdMutate, Class::Exec, Class::Map, Class::Net, Class::Watch].map(count);
    assert_eq!(sizes, [4, 32, 4, 2, 3, 6, 1]);
    let sizes = [Class::Pid, Class::Static, Class::Deny, Class::Absent, Class::Meta, Class::Allow].map(count);
    assert_eq!(sizes, [14, 11, 76, 20, 29, 181]);
    assert_eq!(TABLE.len(), 383);
}

#[test]
fn the_table_is_in_order() {
    assert!(TABLE.is_sorted_by(|a, b| a.nr < b.nr));
}

#[test]
fn numbers_above_the_last_known_do_not_exist() {
    for nr in [470, 471, 1000, 0x3fff_ffff] {
        assert_eq!(run(filter(Opens::Held), &Data { nr, arch: AUDIT_ARCH_X86_64, args: [0; 6] }), NOSYS);
    }
}

#[test]
fn foreign_abis_are_killed() {
    let kill = libc::SECCOMP_RET_KILL_PROCESS;
    for (nr, arch) in [(1, 0x4000_0003), (0x4000_0001, AUDIT_ARCH_X86_64), (u32::MAX, AUDIT_ARCH_X86_64)] {
        assert_eq!(run(filter(Opens::Held), &Data { nr, arch, args: [0; 6] }), kill, "{nr:#x}");
    }
}

#[test]
fn only_executable_mappings_of_files_are_held() {
    assert_eq!(action("mmap", [0, 4096, 1, 2, 3, 0]), ALLOW);
    assert_eq!(action("mmap", [0, 4096, 5, 2, 3, 0]), NOTIFY);
    assert_eq!(action("mmap", [0, 4096, 7, 0x22, 0, 0]), ALLOW);
    assert_eq!(action("mprotect", [0, 4096, 5, 0, 0, 0]), NOTIFY);
    assert_eq!(action("mprotect", [0, 4096, 3, 0, 0, 0]), ALLOW);
}

#[test]
fn only_known_sockets_are_made() {
    for allowed in [[1, 5, 0], [2, 1, 0], [2, 0x80801, 6], [10, 2, 17], [16, 3, 0], [0x1_0000_0002, 1, 0]] {
        let [a, b, c] = allowed;
        assert_eq!(action("socket", [a, b, c, 0, 0, 0]), ALLOW, "{allowed:?}");
    }
    // MPTCP, raw, SCTP, vsock, packet, netlink audit, AF_ALG; MPTCP behind upper bits.
    let held =
        [[2, 1, 262], [2, 3, 1], [2, 1, 132], [40, 1, 0], [17, 3, 0], [16, 3, 9], [38, 5, 0], [1 << 32 | 2, 1, 262]];
    for [a, b, c] in held {
        assert_eq!(action("socket", [a, b, c, 0, 0, 0]), NOTIFY, "{a} {b} {c}");
    }
}

#[test]
fn an_address_in_the_upper_half_is_still_an_address() {
    assert_eq!(action("sendto", [3, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(action("sendto", [3, 0, 0, 0, 0x7fff_0000_0000, 16]), NOTIFY);
    assert_eq!(action("sendto", [3, 0, 0, 0, 0x1000, 16]), NOTIFY);
}

#[test]
fn new_namespaces_are_held_and_threads_are_not() {
    assert_eq!(action("clone", [0x3d_0f00, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(action("clone", [17, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(action("clone", [0x1000_0011, 0, 0, 0, 0, 0]), NOTIFY);
    assert_eq!(action("clone", [0x2000_0011 | 1 << 40, 0, 0, 0, 0, 0]), NOTIFY);
    assert_eq!(action("clone3", [0; 6]), NOSYS);
}

#[test]
fn ioctls_that_reach_beyond_the_descriptor_are_held() {
    for held in [0x5412, 0x541c, 0x8902, 0x8914, 0x4c00, 0x1260, 0x5000_940e, 0x4008_6602, 1 << 32 | 0x5412] {
        assert_eq!(action("ioctl", [0, held, 0, 0, 0, 0]), NOTIFY, "{held:#x}");
    }
    for allowed in [0x5401, 0x5413, 0x541b, 0x8912, 0x8905, 0x4004_9409, 0x5421] {
        assert_eq!(action("ioctl", [0, allowed, 0, 0, 0, 0]), ALLOW, "{allowed:#x}");
    }
}

#[test]
fn a_process_may_name_itself() {
    assert_eq!(action("prlimit64", [0, 7, 0, 0, 0, 0]), ALLOW);
    assert_eq!(action("prlimit64", [1, 7, 0, 0, 0, 0]), NOTIFY);
    assert_eq!(action("kill", [0, 15, 0, 0, 0, 0]), ALLOW);
    assert_eq!(action("kill", [u64::MAX, 9, 0, 0, 0, 0]), NOTIFY);
    assert_eq!(action("prctl", [4, 0, 0, 0, 0, 0]), NOTIFY);
    assert_eq!(action("prctl", [4, 1, 0, 0, 0, 0]), ALLOW);
    assert_eq!(action("prctl", [15, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(action("personality", [0x040_0000, 0, 0, 0, 0, 0]), NOTIFY);
}

#[test]
fn where_the_kernel_decides_opens_only_handles_are_held() {
    let filter = filter(Opens::Decided);
    let action = |name: &str, args: [u64; 6]| {
        let nr = TABLE.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name}")).nr;
        run(filter, &Data { nr: nr.into(), arch: AUDIT_ARCH_X86_64, args })
    };
    let handle = libc::O_PATH as u64;
    assert_eq!(action("openat", [0, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(action("openat", [0, 0, handle, 0, 0, 0]), NOTIFY);
    assert_eq!(action("open", [0, handle | 0x8_0000, 0, 0, 0, 0]), NOTIFY);
    assert_eq!(action("openat2", [0; 6]), NOTIFY);
    assert_eq!(action("creat", [0; 6]), ALLOW);
    assert_eq!(action("mmap", [0, 0, 4, 2, 3, 0]), ALLOW);
    for free in ["unlink", "mkdirat", "symlink", "linkat", "fchmod", "lchown", "io_uring_enter"] {
        assert_eq!(action(free, [0; 6]), ALLOW, "{free}");
    }
    for still_held in [
        "rename",
        "mknod",
        "truncate",
        "utimensat",
        "setxattr",
        "connect",
        "execve",
        "io_uring_setup",
        "inotify_add_watch",
    ] {
        assert_eq!(action(still_held, [0; 6]), NOTIFY, "{still_held}");
    }
}

#[test]
fn only_plain_reads_run_by_themselves_and_only_where_asked_for() {
    let answer = |opens, nr: u32, args| run(filter(opens), &Data { nr, arch: AUDIT_ARCH_X86_64, args });
    let (held, runs) = (libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_RET_ALLOW);
    let at = |flags: i32| [0, 0, flags as u32 as u64, 0, 0, 0];
    let plain = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    assert_eq!(answer(Opens::Seen, 257, at(plain)), runs);
    assert_eq!(answer(Opens::Seen, 2, [0, plain as u64, 0, 0, 0, 0]), runs);
    assert_eq!(answer(Opens::Held, 257, at(plain)), held);
    // The kernel looks at the lower half only.
    assert_eq!(answer(Opens::Seen, 257, [0, 0, 1 << 32, 0, 0, 0]), runs);
    for flag in [
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_ACCMODE,
        libc::O_CREAT,
        libc::O_TRUNC,
        libc::O_PATH,
        libc::O_DIRECTORY,
        libc::O_TMPFILE,
        libc::O_TMPFILE & !libc::O_DIRECTORY,
    ] {
        assert_eq!(answer(Opens::Seen, 257, at(plain | flag)), held, "{flag:#x}");
        assert_eq!(answer(Opens::Seen, 2, [0, (plain | flag) as u64, 0, 0, 0, 0]), held, "{flag:#x}");
    }
    // creat, openat2
    assert_eq!(answer(Opens::Seen, 85, [0; 6]), held);
    assert_eq!(answer(Opens::Seen, 437, [0; 6]), held);
}
