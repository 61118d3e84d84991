//! The calls that nothing mediates, and the values of mediated ones that the filter refused: what
//! each was aimed at, in words of a closed list, and the error that programs expect.
//!
//! Everything here is decided by registers. A call that comes here is denied, whatever they say:
//! they only choose the words of the record.

use rustix::io::Errno;

use crate::event::SystemObject;
use crate::layer::seccomp::table::syscall;
use crate::session::Floor;

/// Whose a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The guard itself, or a process that it needs.
    Guard,
    /// One of the agent's own.
    Tree,
    /// Somebody else's.
    Outside,
    /// Nobody goes by that number.
    Nobody,
}

/// A refusal, before it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the call was aimed at.
    pub object: SystemObject,
    /// Why no policy can allow it.
    pub floor: Floor,
    /// What the agent is told.
    pub errno: Errno,
}

const fn refusal(class: &'static str, detail: &'static str, floor: Floor) -> Refusal {
    Refusal { object: SystemObject { class, detail }, floor, errno: Errno::PERM }
}

impl Refusal {
    const fn told(self, errno: Errno) -> Self {
        Self { errno, ..self }
    }
}

fn process(whose: Whose) -> Refusal {
    match whose {
        Whose::Guard => refusal("process", "guard", Floor::GuardAccess),
        Whose::Tree => refusal("process", "tree", Floor::Privilege),
        Whose::Outside => refusal("process", "outside", Floor::Outsider),
        Whose::Nobody => refusal("process", "none", Floor::Outsider),
    }
}

fn int(args: &[u64; 6], n: usize) -> i32 {
    args[n] as u32 as i32
}

/// The name of a call.
pub fn name(nr: i64) -> &'static str {
    syscall(nr).map_or("unknown", |known| known.name)
}

/// What the call `name` was aimed at. `whose` tells whose process a number in a register is.
pub fn refuse(name: &str, args: &[u64; 6], whose: impl Fn(i32) -> Whose) -> Refusal {
    match name {
        "ptrace" => ptrace(args, whose),
        "process_vm_readv" | "process_vm_writev" => process(whose(int(args, 0))),
        "kcmp" => match (whose(int(args, 0)), whose(int(args, 1))) {
            (Whose::Tree, other) | (other, _) => process(other),
        },
        "migrate_pages" | "move_pages" => match int(args, 0) {
            0 => process(Whose::Tree),
            pid => process(whose(pid)),
        },
        "process_madvise" | "process_mrelease" | "pidfd_getfd" => refusal("process", "pidfd", Floor::Outsider),
        "bpf" => refusal("bpf", bpf(int(args, 0)), Floor::Privilege),
        "socket" | "socketpair" => socket(args),
        "setsockopt" => refusal("socket", "option", Floor::Unmediated),
        "clone" | "unshare" => refusal("namespace", namespace(args[0]), Floor::Privilege),
        "clone3" => refusal("namespace", "any", Floor::Privilege).told(Errno::NOSYS),
        "setns" => refusal("namespace", namespace(args[1]), Floor::Privilege),
        "prctl" => prctl(int(args, 0)),
        "arch_prctl" => refusal("process", "arch", Floor::Unmediated),
        "personality" => refusal("process", "personality", Floor::Privilege),
        "seccomp" => refusal("seccomp", "listener", Floor::Privilege).told(Errno::BUSY),
        "fcntl" => refusal("process", "owner", Floor::Outsider),
        "ioctl" => ioctl(args[1] as u32),
        "mount" | "umount2" | "pivot_root" | "chroot" | "open_tree" | "open_tree_attr" | "move_mount" | "fsopen"
        | "fsconfig" | "fsmount" | "fspick" | "mount_setattr" => mount(name, args),
        _ => plain(name),
    }
}

fn ptrace(args: &[u64; 6], whose: impl Fn(i32) -> Whose) -> Refusal {
    match int(args, 0) {
        0 => refusal("process", "self", Floor::Privilege),
        _ => process(whose(int(args, 1))),
    }
}

fn bpf(command: i32) -> &'static str {
    match command {
        0 => "map_create",
        1..=4 | 21 | 24..=27 => "map_access",
        5 => "prog_load",
        6 | 7 => "pin",
        8 | 9 => "attach",
        10 => "test_run",
        18 => "btf_load",
        28..=30 => "link",
        _ => "other",
    }
}

fn socket(args: &[u64; 6]) -> Refusal {
    let (family, kind, protocol) = (int(args, 0), int(args, 1) & 0xf, int(args, 2));
    let detail = match family {
        libc::AF_UNIX => "unix",
        libc::AF_INET | libc::AF_INET6 => internet(kind, protocol),
        libc::AF_NETLINK => "netlink",
        libc::AF_PACKET => "packet",
        libc::AF_VSOCK => "vsock",
        libc::AF_ALG => "alg",
        libc::AF_BLUETOOTH => "bluetooth",
        libc::AF_CAN => "can",
        libc::AF_TIPC => "tipc",
        libc::AF_RDS => "rds",
        libc::AF_KEY => "key",
        libc::AF_XDP => "xdp",
        // AF_SMC
        43 => "smc",
        _ => "other",
    };
    let refused = refusal("socket", detail, Floor::Unmediated);
    match detail {
        // What a kernel without the protocol says: programs that try have a way round.
        "mptcp" => refused.told(Errno::PROTONOSUPPORT),
        "unix" | "tcp" | "udp" | "raw" | "packet" => refused,
        "sctp" | "dccp" | "udplite" | "protocol" => refused.told(Errno::PROTONOSUPPORT),
        _ => refused.told(Errno::AFNOSUPPORT),
    }
}

fn internet(kind: i32, protocol: i32) -> &'static str {
    match (kind, protocol) {
        (libc::SOCK_RAW, _) => "raw",
        // SOCK_PACKET
        (10, _) => "packet",
        (_, libc::IPPROTO_MPTCP) => "mptcp",
        (_, libc::IPPROTO_SCTP) => "sctp",
        (_, libc::IPPROTO_DCCP) => "dccp",
        (_, libc::IPPROTO_UDPLITE) => "udplite",
        (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => "tcp",
        (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => "udp",
        _ => "protocol",
    }
}

fn namespace(flags: u64) -> &'static str {
    const KINDS: [(i32, &str); 8] = [
        (libc::CLONE_NEWUSER, "user"),
        (libc::CLONE_NEWNS, "mount"),
        (libc::CLONE_NEWPID, "pid"),
        (libc::CLONE_NEWNET, "net"),
        (libc::CLONE_NEWIPC, "ipc"),
        (libc::CLONE_NEWUTS, "uts"),
        (libc::CLONE_NEWCGROUP, "cgroup"),
        (libc::CLONE_NEWTIME, "time"),
    ];
    KINDS.iter().find(|(flag, _)| flags & u64::from(*flag as u32) != 0).map_or("any", |(_, name)| name)
}

fn prctl(option: i32) -> Refusal {
    let detail = match option {
        libc::PR_SET_DUMPABLE => "dumpable",
        libc::PR_SET_MM => "memory_map",
        libc::PR_SET_PTRACER => "tracer",
        libc::PR_SET_SECCOMP => "seccomp",
        _ => "prctl",
    };
    refusal("process", detail, Floor::GuardAccess)
}

fn ioctl(command: u32) -> Refusal {
    const TIOCSTI: u32 = 0x5412;
    const TIOCLINUX: u32 = 0x541c;
    const TIOCSETD: u32 = 0x5423;
    const TIOCCONS: u32 = 0x541d;
    const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
    const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
    let detail = match command {
        TIOCSTI => "tty_input",
        TIOCLINUX => "tty_linux",
        TIOCSETD => "tty_discipline",
        TIOCCONS => "tty_console",
        FS_IOC_SETFLAGS | FS_IOC_FSSETXATTR => "file_attributes",
        0x8900..=0x89ff => "socket",
        _ => "device",
    };
    match detail {
        // What file systems without attributes say: tools go on without.
        "file_attributes" => refusal("ioctl", detail, Floor::Unmediated).told(Errno::OPNOTSUPP),
        _ => refusal("ioctl", detail, Floor::Privilege),
    }
}

fn mount(name: &str, args: &[u64; 6]) -> Refusal {
    let detail = match name {
        "umount2" => "umount",
        "pivot_root" | "chroot" => "root",
        "move_mount" => "move",
        "open_tree" | "open_tree_attr" => "clone",
        "mount_setattr" => "attributes",
        "mount" if args[3] & libc::MS_BIND != 0 => "bind",
        "mount" if args[3] & libc::MS_REMOUNT != 0 => "remount",
        "mount" if args[3] & libc::MS_MOVE != 0 => "move",
        _ => "new",
    };
    refusal("mount", detail, Floor::Privilege)
}

/// Calls whose registers say nothing worth a word.
fn plain(name: &str) -> Refusal {
    match name {
        "io_uring_setup" | "io_uring_enter" | "io_uring_register" => {
            refusal("io_uring", "any", Floor::Unmediated).told(Errno::NOSYS)
        }
        "open_by_handle_at" => refusal("file", "handle", Floor::Privilege),
        "landlock_create_ruleset" | "landlock_add_rule" | "landlock_restrict_self" => {
            refusal("landlock", "nested", Floor::Unmediated).told(Errno::OPNOTSUPP)
        }
        "lsm_set_self_attr" => refusal("lsm", "attribute", Floor::Privilege),
        "perf_event_open" => refusal("perf", "event", Floor::Privilege),
        "keyctl" | "add_key" | "request_key" => refusal("keyring", "any", Floor::Privilege),
        "userfaultfd" => refusal("memory", "fault", Floor::GuardAccess),
        "memfd_secret" => refusal("memory", "secret", Floor::GuardAccess).told(Errno::NOSYS),
        "init_module" | "finit_module" | "delete_module" => refusal("kernel", "module", Floor::Privilege),
        "kexec_load" | "kexec_file_load" | "reboot" => refusal("kernel", "boot", Floor::Privilege),
        "syslog" => refusal("kernel", "log", Floor::Privilege),
        "acct" | "swapon" | "swapoff" | "quotactl" | "quotactl_fd" => refusal("kernel", "storage", Floor::Privilege),
        "fanotify_init" | "fanotify_mark" => refusal("fanotify", "any", Floor::Privilege),
        "iopl" | "ioperm" | "modify_ldt" => refusal("kernel", "hardware", Floor::Privilege),
        "settimeofday" | "clock_settime" | "adjtimex" | "clock_adjtime" => refusal("kernel", "clock", Floor::Privilege),
        "sethostname" | "setdomainname" => refusal("kernel", "name", Floor::Privilege),
        "vhangup" => refusal("terminal", "hangup", Floor::Privilege),
        "mq_open" | "mq_unlink" => refusal("ipc", "queue", Floor::Unmediated),
        "shmget" | "shmat" | "shmctl" => refusal("ipc", "memory", Floor::Unmediated),
        "msgget" | "msgsnd" | "msgrcv" | "msgctl" => refusal("ipc", "message", Floor::Unmediated),
        "semget" | "semop" | "semctl" | "semtimedop" => refusal("ipc", "semaphore", Floor::Unmediated),
        _ => refusal("syscall", "unmediated", Floor::Unmediated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aimed(name: &str, args: [u64; 6]) -> (String, Floor, Errno) {
        let whose = |pid| match pid {
            1 => Whose::Guard,
            2 => Whose::Tree,
            3 => Whose::Outside,
            _ => Whose::Nobody,
        };
        let refused = refuse(name, &args, whose);
        (format!("{}:{}", refused.object.class, refused.object.detail), refused.floor, refused.errno)
    }

    #[test]
    fn tracing_the_guard_is_named_so() {
        let attach = 16;
        assert_eq!(aimed("ptrace", [attach, 1, 0, 0, 0, 0]).0, "process:guard");
        assert_eq!(aimed("ptrace", [attach, 1, 0, 0, 0, 0]).1, Floor::GuardAccess);
        assert_eq!(aimed("ptrace", [attach, 3, 0, 0, 0, 0]).1, Floor::Outsider);
        assert_eq!(aimed("ptrace", [0; 6]).0, "process:self");
    }

    #[test]
    fn the_upper_half_of_a_register_means_nothing() {
        let high = 0xdead_0000_0000_0000;
        assert_eq!(aimed("socket", [high | 10, high | 1, high | 262, 0, 0, 0]).0, "socket:mptcp");
        assert_eq!(aimed("process_vm_readv", [high | 1, 0, 0, 0, 0, 0]).0, "process:guard");
    }

    #[test]
    fn socket_families_have_names() {
        let family =
            |f: i32, kind: i32, protocol: i32| aimed("socket", [f as u64, kind as u64, protocol as u64, 0, 0, 0]);
        assert_eq!(family(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 1).0, "socket:raw");
        assert_eq!(family(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP).0, "socket:sctp");
        assert_eq!(
            family(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
            ("socket:vsock".into(), Floor::Unmediated, Errno::AFNOSUPPORT)
        );
        assert_eq!(family(77, 0, 0).0, "socket:other");
    }

    #[test]
    fn programs_that_have_a_way_round_are_told_what_they_expect() {
        assert_eq!(aimed("io_uring_setup", [0; 6]).2, Errno::NOSYS);
        assert_eq!(aimed("landlock_create_ruleset", [0; 6]).2, Errno::OPNOTSUPP);
        assert_eq!(aimed("seccomp", [1, 8, 0, 0, 0, 0]).2, Errno::BUSY);
        assert_eq!(aimed("clone3", [0; 6]).2, Errno::NOSYS);
    }

    #[test]
    fn namespaces_and_mounts_are_told_apart() {
        assert_eq!(aimed("unshare", [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]).0, "namespace:user");
        assert_eq!(aimed("clone", [libc::CLONE_NEWNET as u64 | 17, 0, 0, 0, 0, 0]).0, "namespace:net");
        assert_eq!(aimed("mount", [0, 0, 0, libc::MS_BIND, 0, 0]).0, "mount:bind");
        assert_eq!(aimed("bpf", [5, 0, 0, 0, 0, 0]).0, "bpf:prog_load");
    }
}
