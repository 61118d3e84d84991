//! The probes on the real kernel: what is in force, what it sees, and what it refuses.
//!
//! A process with one thread, which the test harness is not: so the tests are functions of one `main`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here fails the test"
)]

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use gait_guard::bpf::btf::{Types, Wanted};
use gait_guard::bpf::cgroup::ControlGroup;
use gait_guard::bpf::probes::{Probes, RING_BYTES, WATCHING, load};
use gait_guard::bpf::watch::{Seen, Watch};
use gait_guard::bpf::{BpfError, Options, Purpose};
use gait_guard::event::InetCall;
use gait_guard::hybrid;
use gait_guard::sys::bpf::program::load_consent;
use gait_guard::sys::process::{Fork, exit_now, fork};
use gait_guard::sys::socket;
use rustix::process::{Pid, WaitOptions, waitpid};

fn main() -> ExitCode {
    maps_are_as_large_as_the_engine_needs();
    hybrid_is_checked_with_what_it_needs();
    let found = load(WATCHING);
    println!("tracepoints: {:?}\nsocket hooks: {:?}", found.tracepoints, found.sockets);
    let Some(mut probes) = found.probes else {
        println!("skipped: no probes here");
        return ExitCode::SUCCESS;
    };
    a_program_of_two_instructions_is_taken_as_the_canary_is(&found.lsm);
    let mut watch = probes.take_watch().expect("the first to ask");
    the_tree_and_the_arguments_are_seen(&mut probes, &mut watch);
    others_are_not_seen(&mut watch);
    if let Some((group, _)) = probes.group() {
        let path = group.path().to_owned();
        only_announced_calls_pass(&probes, &mut watch);
        raw_sockets_are_refused(&probes, &mut watch);
        drop(probes);
        assert!(!path.exists(), "the group is gone with the probes");
        abandoned_groups_are_removed();
    }
    println!("passed");
    ExitCode::SUCCESS
}

fn a_program_of_two_instructions_is_taken_as_the_canary_is(canary: &Result<(), BpfError>) {
    let hook =
        Types::of_kernel(Wanted::default()).unwrap().hooks().function("file_open").expect("the kernel has the hook");
    let taken = load_consent(hook);
    match canary {
        Err(error @ BpfError::Program { stage: "load", .. }) => assert_eq!(taken.err(), error.errno(), "{error}"),
        // Taken, whether it was called or not.
        Ok(()) | Err(BpfError::Silent { .. } | BpfError::Program { stage: "attach", .. }) => assert_eq!(taken, Ok(())),
        Err(other) => panic!("{other}"),
    }
}

/// As `gait doctor` does it. Also before and apart from the rest.
fn hybrid_is_checked_with_what_it_needs() {
    let Some(mut probes) = load(hybrid::CHECKING).probes else { return };
    hybrid::check(&mut probes).expect("the engine works where the probes do");
}

/// What a run with the engine `auto` has, before and apart from the rest: two groups of one process have the same name.
fn maps_are_as_large_as_the_engine_needs() {
    const LARGE: u32 = 2 * RING_BYTES;
    let found = load(Options { ring_bytes: LARGE, simulate: false, purpose: Purpose::DecideOrWatch });
    let Some(probes) = found.probes else { return };
    match found.lsm {
        Ok(()) => assert_eq!((probes.ring_bytes(), probes.group().is_some()), (LARGE, false)),
        // Loaded and not called: it may have been expected to be, and then the ring is large for nothing.
        Err(BpfError::Silent { .. }) => assert_eq!(probes.group().is_some(), found.sockets.is_present()),
        Err(_) => assert_eq!((probes.ring_bytes(), probes.group().is_some()), (RING_BYTES, found.sockets.is_present())),
    }
}

fn collect(child: Pid) -> i32 {
    waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap().1.exit_status().unwrap_or(-1)
}

fn the_tree_and_the_arguments_are_seen(probes: &mut Probes, watch: &mut Watch) {
    let command = || std::process::Command::new("/bin/sh").args(["-c", "/bin/echo one two >/dev/null; exit 3"]).spawn();
    let mut child = probes.seeded(command).unwrap().unwrap();
    let shell = child.id() as i32;
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let seen: Vec<Seen> = watch.collect();
    let forks: Vec<i32> = seen
        .iter()
        .filter_map(|s| matches!(s, Seen::Fork { parent, .. } if *parent == shell).then_some(shell))
        .collect();
    assert!(!forks.is_empty(), "{seen:?}");
    let echo = seen.iter().find_map(|s| match s {
        Seen::Exec(image) if image.path.as_deref().is_some_and(|path| path.ends_with(b"/echo")) => Some(image),
        _ => None,
    });
    let echo = echo.unwrap_or_else(|| panic!("{seen:?}"));
    let arguments = echo.arguments.as_ref().unwrap();
    assert_eq!(arguments.bytes, b"/bin/echo\0one\0two\0");
    assert_eq!(arguments.whole, 18);
    let file = std::fs::metadata("/bin/echo").unwrap();
    assert_eq!(echo.inode, std::os::unix::fs::MetadataExt::ino(&file));
    assert!(seen.contains(&Seen::Exit { tgid: shell, code: 3 << 8 }), "{seen:?}");
}

fn others_are_not_seen(watch: &mut Watch) {
    assert!(std::process::Command::new("/bin/true").status().unwrap().success());
    assert_eq!(watch.next(), None);
}

/// A socket made by a process in `group`, which keeps it open until the other end is closed.
fn made_in(group: &ControlGroup, kind: i32, protocol: i32) -> Result<OwnedFd, rustix::io::Errno> {
    let (mine, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let procs = group.path().join("cgroup.procs");
    match fork().unwrap() {
        Fork::Child => {
            drop(mine);
            std::fs::write(procs, "0").unwrap();
            let code = match socket::create(libc::AF_INET, kind, protocol) {
                Err(errno) => errno.raw_os_error() as u8,
                Ok(made) => {
                    let number = made.as_raw_fd().to_ne_bytes();
                    std::io::Write::write_all(&mut &theirs, &number).unwrap();
                    std::io::Read::read(&mut &theirs, &mut [0]).unwrap();
                    0
                }
            };
            exit_now(code)
        }
        Fork::Parent { child } => {
            drop(theirs);
            let mut number = [0; 4];
            if std::io::Read::read_exact(&mut &mine, &mut number).is_err() {
                return Err(rustix::io::Errno::from_raw_os_error(collect(child)));
            }
            let pidfd = rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty()).unwrap();
            let duplicate = socket::duplicate(pidfd.as_fd(), i32::from_ne_bytes(number)).unwrap();
            drop(mine);
            collect(child);
            Ok(duplicate)
        }
    }
}

fn bytes_of(address: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(four) = address else { panic!("{address}") };
    let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
    bytes.extend(four.port().to_be_bytes());
    bytes.extend(four.ip().octets());
    bytes.extend([0; 8]);
    bytes
}

fn only_announced_calls_pass(probes: &Probes, watch: &mut Watch) {
    let (group, lock) = probes.group().unwrap();
    let listeners: Vec<TcpListener> = (0..2).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let [judged, other] = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap());
    let connect = |fd: &OwnedFd, to| socket::connect(fd, &bytes_of(to));
    let tcp = || made_in(group, libc::SOCK_STREAM, 0).unwrap();
    let refused = Err(rustix::io::Errno::PERM);

    // Control: a socket of nobody's tree connects wherever it wants.
    connect(&socket::create(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap(), other).unwrap();
    assert_eq!(watch.next(), None);

    assert_eq!(connect(&tcp(), other), refused, "nobody announced it");
    assert_eq!(lock.announce(InetCall::Connect, judged, || connect(&tcp(), other)), refused, "another port");
    let elsewhere = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), other.port()));
    assert_eq!(lock.announce(InetCall::Connect, elsewhere, || connect(&tcp(), other)), refused, "another address");
    assert_eq!(lock.announce(InetCall::Bind, other, || connect(&tcp(), other)), refused, "another call");
    let seen: Vec<Seen> = watch.collect();
    let tries = seen.iter().filter(
        |s| matches!(s, Seen::Socket { address: Some((InetCall::Connect, _, address)), .. } if *address == other),
    );
    assert_eq!((tries.count(), seen.len()), (4, 4), "{seen:?}");

    lock.announce(InetCall::Connect, judged, || connect(&tcp(), judged)).unwrap();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    assert_eq!(socket::bind(tcp(), &bytes_of(free)), refused);
    lock.announce(InetCall::Bind, free, || socket::bind(tcp(), &bytes_of(free))).unwrap();

    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = receiver.local_addr().unwrap();
    let datagram = |fd: &OwnedFd| {
        let address = bytes_of(to);
        socket::send(fd, socket::Message { address: Some(&address), data: b"x", control: &[], flags: 0 })
    };
    let udp = made_in(group, libc::SOCK_DGRAM, 0).unwrap();
    assert_eq!(datagram(&udp), Err(rustix::io::Errno::PERM));
    assert_eq!(lock.announce(InetCall::Send, to, || datagram(&udp)), Ok(1));
    assert_eq!(watch.count(), 2, "a bind and a datagram");
}

fn raw_sockets_are_refused(probes: &Probes, watch: &mut Watch) {
    let (group, _) = probes.group().unwrap();
    // Control: this process may make one.
    socket::create(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP).unwrap();
    assert_eq!(watch.next(), None);
    let refused = made_in(group, libc::SOCK_RAW, libc::IPPROTO_UDP).unwrap_err();
    assert_eq!(refused, rustix::io::Errno::PERM);
    assert!(matches!(watch.next(), Some(Seen::Socket { address: None, .. })));
}

/// A guard that was killed leaves its group; the next one removes it.
fn abandoned_groups_are_removed() {
    let (mine, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let left = match fork().unwrap() {
        Fork::Child => {
            let group = ControlGroup::make().unwrap();
            let path = group.path().to_str().unwrap().to_owned();
            std::io::Write::write_all(&mut &theirs, path.as_bytes()).unwrap();
            // Without destructors, as if it was killed.
            exit_now(0)
        }
        Fork::Parent { child } => {
            drop(theirs);
            let mut path = String::new();
            std::io::Read::read_to_string(&mut &mine, &mut path).unwrap();
            collect(child);
            std::path::PathBuf::from(OsString::from(path))
        }
    };
    assert!(left.exists());
    let own = ControlGroup::make().unwrap();
    assert!(!left.exists() && own.path().exists());
    // And leaves alone those of a guard that lives.
    let other = fork().unwrap();
    match other {
        Fork::Child => {
            let _second = ControlGroup::make().unwrap();
            exit_now(u8::from(!own.path().exists()))
        }
        Fork::Parent { child } => assert_eq!(collect(child), 0),
    }
}
