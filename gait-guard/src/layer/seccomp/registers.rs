//! Which argument registers decide about a syscall.
//!
//! Arguments of type `int` are compared by their low half only, since the kernel ignores the upper one
//! (`socket(0x1_0000_0002, ..)` is AF_INET). Pointers are only compared with NULL, both halves.

use super::table::Syscall;
use super::{Class, Opens};

/// What the filter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The call runs.
    Allow,
    /// The call is held for the supervisor.
    Notify,
    /// The call does not exist.
    Absent,
    /// The process is killed.
    Kill,
}

/// A half of an argument register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Bits 0..32.
    Low,
    /// Bits 32..64.
    High,
}

/// `register & mask == value`.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// Argument number, from 0.
    pub arg: u8,
    /// Which half.
    pub half: Half,
    /// The bits that count.
    pub mask: u32,
    /// What they must be.
    pub value: u32,
}

/// All tests hold: this verdict.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Conditions, all of which must hold.
    pub all: Vec<Test>,
    /// The verdict then.
    pub then: Verdict,
}

/// The first rule that holds decides; else `otherwise`.
#[derive(Clone, Debug)]
pub struct Rules {
    /// In order.
    pub rules: Vec<Rule>,
    /// When none holds.
    pub otherwise: Verdict,
}

impl Rules {
    fn always(verdict: Verdict) -> Self {
        Self { rules: Vec::new(), otherwise: verdict }
    }

    fn allow_if(alternatives: impl IntoIterator<Item = Vec<Test>>) -> Self {
        let rules = alternatives.into_iter().map(|all| Rule { all, then: Verdict::Allow }).collect();
        Self { rules, otherwise: Verdict::Notify }
    }

    fn notify_if(alternatives: impl IntoIterator<Item = Vec<Test>>) -> Self {
        let rules = alternatives.into_iter().map(|all| Rule { all, then: Verdict::Notify }).collect();
        Self { rules, otherwise: Verdict::Allow }
    }

    fn then_allow(mut self, alternatives: impl IntoIterator<Item = Vec<Test>>) -> Self {
        let allowed = alternatives.into_iter().map(|all| Rule { all, then: Verdict::Allow });
        self.rules = allowed.chain(self.rules).collect();
        self
    }
}

fn is(arg: u8, value: u32) -> Test {
    masked(arg, u32::MAX, value)
}

fn masked(arg: u8, mask: u32, value: u32) -> Test {
    Test { arg, half: Half::Low, mask, value }
}

fn each(arg: u8, values: &[u32]) -> Vec<Vec<Test>> {
    values.iter().map(|&value| vec![is(arg, value)]).collect()
}

/// The verdicts for `call`.
pub fn rules(call: &Syscall, opens: Opens) -> Rules {
    match call.class {
        Class::Open if opens == Opens::Decided => handles(call),
        Class::Open if opens == Opens::Seen => all_but_reads(call),
        Class::Map if opens == Opens::Decided => Rules::always(Verdict::Allow),
        Class::Mutate | Class::FdMutate | Class::Deny
            if opens == Opens::Decided && DECIDED_BY_HOOKS.contains(&call.name) =>
        {
            Rules::always(Verdict::Allow)
        }
        Class::Meta | Class::Allow => Rules::always(Verdict::Allow),
        Class::Absent => Rules::always(Verdict::Absent),
        Class::Open | Class::Mutate | Class::FdMutate | Class::Exec | Class::Watch | Class::Deny => {
            Rules::always(Verdict::Notify)
        }
        Class::Map => executable_mapping(call),
        Class::Net => network(call),
        Class::Pid => named_process(call),
        Class::Static => by_registers(call),
    }
}

/// Changes of names and attributes that a hook decides by itself on the entry that the kernel looked up, and the calls on a ring
/// of io_uring that the tree was let have: what comes through it comes to the same hooks.
///
/// Not among them: `rename`, since a folder has to be looked through before it is moved; `mknod`; `truncate`, whose hook
/// kernels before 6.2 call for opens too; times and extended attributes, whose hooks are not told by which mount an object is
/// reached.
const DECIDED_BY_HOOKS: [&str; 19] = [
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "io_uring_enter",
    "io_uring_register",
];

/// Opens that no hook of the kernel sees are held: those for handles.
fn handles(call: &Syscall) -> Rules {
    let handle = libc::O_PATH as u32;
    match call.name {
        "open" => Rules::notify_if([vec![masked(1, handle, handle)]]),
        "openat" => Rules::notify_if([vec![masked(2, handle, handle)]]),
        "creat" => Rules::always(Verdict::Allow),
        _ => Rules::always(Verdict::Notify),
    }
}

/// An open runs if it only reads what is there. The flags of `openat2` are in memory, so it is held.
fn all_but_reads(call: &Syscall) -> Rules {
    let flags = match call.name {
        "open" => 1,
        "openat" => 2,
        _ => return Rules::always(Verdict::Notify),
    };
    Rules::allow_if([vec![masked(flags, gait_ebpf::op::HELD_FLAGS, 0)]])
}

fn executable_mapping(call: &Syscall) -> Rules {
    let executable = masked(2, libc::PROT_EXEC as u32, libc::PROT_EXEC as u32);
    let anonymous = libc::MAP_ANONYMOUS as u32;
    Rules::notify_if([match call.name {
        "mmap" => vec![executable, masked(3, anonymous, 0)],
        _ => vec![executable],
    }])
}

fn network(call: &Syscall) -> Rules {
    match call.name {
        // Without an address the socket is connected: that was judged.
        "sendto" => Rules::allow_if([vec![is(4, 0), Test { arg: 4, half: Half::High, mask: u32::MAX, value: 0 }]]),
        _ => Rules::always(Verdict::Notify),
    }
}

/// 0 is the caller, or its own process group, which is of its session and so of its tree.
fn named_process(call: &Syscall) -> Rules {
    match call.name {
        "kill" | "prlimit64" | "sched_setscheduler" | "sched_setparam" | "sched_setattr" | "sched_setaffinity"
        | "setpgid" => Rules::allow_if([vec![is(0, 0)]]),
        // which = PRIO_PROCESS or PRIO_PGRP (IOPRIO_WHO_*: 1 and 2), who = 0
        "setpriority" => Rules::allow_if([vec![is(0, 0), is(1, 0)], vec![is(0, 1), is(1, 0)]]),
        "ioprio_set" => Rules::allow_if([vec![is(0, 1), is(1, 0)], vec![is(0, 2), is(1, 0)]]),
        _ => Rules::always(Verdict::Notify),
    }
}

fn by_registers(call: &Syscall) -> Rules {
    match call.name {
        // Its flags are in memory: libc falls back to clone, whose flags are in a register.
        "clone3" => Rules::always(Verdict::Absent),
        "clone" => Rules::notify_if(NEW_NAMESPACES.iter().map(|&flag| vec![masked(0, flag, flag)])),
        "socket" => socket(),
        "socketpair" => Rules::allow_if([vec![is(0, libc::AF_UNIX as u32)]]),
        "ioctl" => ioctl(),
        "prctl" => prctl(),
        // PER_LINUX, with or without randomised addresses, and the query; READ_IMPLIES_EXEC would walk past
        // the test for PROT_EXEC.
        "personality" => Rules::allow_if(each(0, &[0, 0x0004_0000, u32::MAX])),
        "seccomp" => {
            let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
            Rules::notify_if([vec![is(0, libc::SECCOMP_SET_MODE_FILTER), masked(1, listener, listener)]])
        }
        "fcntl" => Rules::notify_if(each(1, &[F_SETOWN, F_SETOWN_EX])),
        "setsockopt" => Rules::notify_if([vec![is(1, libc::IPPROTO_TCP as u32), is(2, libc::TCP_ULP as u32)]]),
        // FS/GS and cpuid, XSAVE components, shadow stack.
        "arch_prctl" => {
            let values = (0x1001..=0x1004).chain(0x1011..=0x1012).chain(0x1021..=0x1025).chain(0x5001..=0x5005);
            Rules::allow_if(values.map(|value| vec![is(0, value)]))
        }
        _ => Rules::always(Verdict::Notify),
    }
}

const F_SETOWN: u32 = 8;
const F_SETOWN_EX: u32 = 15;

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. (CLONE_NEWTIME shares its bit with the
/// exit signal here and only exists for `unshare` and `clone3`.)
const NEW_NAMESPACES: [u32; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];

fn socket() -> Rules {
    let family = |value: i32| is(0, value as u32);
    // The type without SOCK_NONBLOCK and SOCK_CLOEXEC.
    let kind = |value: i32| masked(1, 0xf, value as u32);
    let protocol = |value: i32| is(2, value as u32);
    let mut allowed = vec![
        vec![family(libc::AF_UNIX)],
        // getaddrinfo and getifaddrs ask the kernel for its addresses and routes.
        vec![family(libc::AF_NETLINK), protocol(libc::NETLINK_ROUTE)],
    ];
    for inet in [libc::AF_INET, libc::AF_INET6] {
        for tcp in [0, libc::IPPROTO_TCP] {
            allowed.push(vec![family(inet), kind(libc::SOCK_STREAM), protocol(tcp)]);
        }
        for udp in [0, libc::IPPROTO_UDP, libc::IPPROTO_ICMP, libc::IPPROTO_ICMPV6] {
            allowed.push(vec![family(inet), kind(libc::SOCK_DGRAM), protocol(udp)]);
        }
    }
    Rules::allow_if(allowed)
}

fn ioctl() -> Rules {
    let group = |byte: u32| vec![masked(1, 0xff00, byte << 8)];
    let mut refused = each(
        1,
        &[
            // Terminals: push input, the console's own calls, change the discipline, take the console.
            libc::TIOCSTI as u32,
            libc::TIOCLINUX as u32,
            0x5423, // TIOCSETD
            0x541d, // TIOCCONS
            // Attributes of files, by a descriptor that may be open for reading only.
            0x4008_6602, // FS_IOC_SETFLAGS
            0x4004_6602, // FS_IOC32_SETFLAGS
            0x401c_5820, // FS_IOC_FSSETXATTR
            0x4008_7602, // FS_IOC_SETVERSION
            0x4100_9432, // FS_IOC_SETFSLABEL
            0x4080_6685, // FS_IOC_ENABLE_VERITY
            // fscrypt: set a policy, add or remove keys.
            0x800c_6613,
            0xc050_6617,
            0xc040_6618,
            0xc040_6619,
            // Freeze, thaw, trim a whole file system.
            0xc004_5877,
            0xc004_5878,
            0xc018_5879,
            0x4004_54ca, // TUNSETIFF
        ],
    );
    // Block devices, loop devices, kvm; sockets (setters); btrfs (subvolumes are made and destroyed by
    // a directory that is open for reading).
    refused.extend([0x12, 0x4c, 0xae, 0x89, 0x94].map(group));
    Rules::notify_if(refused).then_allow(each(1, &SOCKET_QUERIES).into_iter().chain(each(1, &CLONE_RANGE)))
}

/// `SIOCG*` and their like of group 0x89; `FIOSETOWN` and `SIOCSPGRP` (0x8901, 0x8902) name a process.
const SOCKET_QUERIES: [u32; 20] = [
    0x8903, 0x8904, 0x8905, 0x8906, 0x8907, 0x8910, 0x8912, 0x8913, 0x8915, 0x8917, 0x8919, 0x891b, 0x891d, 0x8921,
    0x8927, 0x8933, 0x8935, 0x8938, 0x8942, 0x8970,
];

/// FICLONE, FICLONERANGE, FIDEDUPERANGE: need a destination that is open for writing.
const CLONE_RANGE: [u32; 3] = [0x4004_9409, 0x4020_940d, 0xc018_9436];

fn prctl() -> Rules {
    let set_dumpable = libc::PR_SET_DUMPABLE as u32;
    Rules::notify_if([vec![is(0, set_dumpable)], vec![is(0, libc::PR_SET_MM as u32)], vec![is(0, 0x5961_6d61)]])
        .then_allow([vec![is(0, set_dumpable), is(1, 1)]])
}
