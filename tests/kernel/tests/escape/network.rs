//! NET: sockets that must not reach anybody, in every family and by every call.

use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use kernel_suite::denial::{Denial, denial};
use kernel_suite::need::{Found, GUARD, Need};
use kernel_suite::scene::{CORPUS_POLICY, Scene, with_rule};
use kernel_suite::suite::{Test, test};
use kernel_suite::{CANARY, run};

pub fn tests() -> Vec<Test> {
    let denials = [tcp(), datagrams(), families(), unix(), races()].into_iter().flatten().map(Denial::test);
    denials.chain([an_allowed_address_works(), the_server_is_not_reached(), socketpairs_work()]).collect()
}

/// A TCP server on 127.0.0.1 that counts who came, for as long as the suite runs.
pub struct Server {
    pub port: u16,
    accepted: AtomicUsize,
}

pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static STARTED: OnceLock<()> = OnceLock::new();
    let listener = TcpListener::bind("127.0.0.1:0");
    let server = SERVER.get_or_init(|| {
        let port = listener.as_ref().map(|l| l.local_addr().map_or(0, |a| a.port())).unwrap_or(0);
        Server { port, accepted: AtomicUsize::new(0) }
    });
    STARTED.get_or_init(|| {
        if let Ok(listener) = listener {
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    server.accepted.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.map(|mut stream| stream.write_all(b"welcome"));
                }
            });
        }
    });
    server
}

/// `struct sockaddr_in` of 127.0.0.1, in hexadecimal.
fn v4(port: u16) -> String {
    format!("0200{port:04x}7f000001{}", "00".repeat(8))
}

/// `struct sockaddr_in6`: family, port, flow, address, scope.
fn v6(port: u16, address: &str) -> String {
    format!("0a00{port:04x}00000000{address}00000000")
}

const MAPPED: &str = "00000000000000000000ffff7f000001";

fn tcp() -> Vec<Denial> {
    let port = server().port;
    let target = format!("127.0.0.1:{port}");
    let connect = |name: &str, socket: &str, address: String, length: usize| {
        denial(name)
            .calls(&[socket, &format!("connect $1 hex:{address} {length}"), "read $1 out:16 16"])
            .shows("welcome")
            .recorded("net.connect", &target, "default_block")
    };
    vec![
        connect("NET-01 TCP over IPv4", "socket 2 1 0", v4(port), 16),
        connect("NET-04 an IPv4 address in IPv6 clothes", "socket 10 1 0", v6(port, MAPPED), 28),
        connect("ABI-04 upper halves of integers", "socket 0x100000002 0x100000001 0x100000000", v4(port), 16),
        denial("NET-01 bind and listen")
            .calls(&["socket 2 1 0", &format!("bind $1 hex:{} 16", v4(0)), "listen $1 1"])
            .recorded("net.bind", "127.0.0.1:0", "default_block"),
        denial("NET-01 listen without bind").calls(&["socket 2 1 0", "listen $1 1"]).recorded(
            "net.bind",
            "*",
            "default_block",
        ),
        denial("NET-03 data with the connection")
            .calls(&[
                "socket 2 1 0",
                // MSG_FASTOPEN
                &format!("sendto $1 s:hello 5 0x20000000 hex:{} 16", v4(port)),
                "read $1 out:16 16",
            ])
            .shows("welcome")
            .recorded("net.connect", &target, "default_block"),
        denial("NET-02 MPTCP")
            .needs(&[Need::Kernel("mptcp")])
            .calls(&["socket 2 1 262", &format!("connect $1 hex:{} 16", v4(port)), "read $1 out:16 16"])
            .shows("welcome")
            .errors(&["EPERM", "EACCES", "EPROTONOSUPPORT"])
            .recorded("sys.socket", "socket:*", "guard_floor_unmediated"),
    ]
}

/// A UDP socket of the suite that attacks send to; whether something arrived is the effect.
fn datagrams() -> Vec<Denial> {
    static SINK: OnceLock<Option<UdpSocket>> = OnceLock::new();
    let sink = SINK.get_or_init(|| UdpSocket::bind("127.0.0.1:0").ok());
    let port = sink.as_ref().and_then(|sink| sink.local_addr().ok()).map_or(0, |address| address.port());
    let target = format!("127.0.0.1:{port}");
    let to = v4(port);
    vec![
        denial("NET-03 sendto").calls(&["socket 2 2 0", &format!("sendto $1 s:out 3 0 hex:{to} 16")]).recorded(
            "net.send",
            &target,
            "default_block",
        ),
        denial("NET-03 connect and write")
            .calls(&["socket 2 2 0", &format!("connect $1 hex:{to} 16"), "write $1 s:out 3"])
            .errors(&["EACCES", "EPERM", "EDESTADDRREQ"])
            .recorded("net.connect", &target, "default_block"),
        denial("NET-03 sendmsg").attack(&["send-message", &to]).recorded("net.send", &target, "default_block"),
        denial("NET-05 a name server")
            .calls(&["socket 2 2 0", &format!("sendto $1 s:out 3 0 hex:02000035{}{} 16", "7f000001", "00".repeat(8))])
            .recorded("net.send", "127.0.0.1:53", "default_block"),
    ]
}

fn families() -> Vec<Denial> {
    let socket = |name: &str, needs: &[Need], call: &str| {
        denial(name)
            .needs(needs)
            .calls(&[call])
            .errors(&["EPERM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT"])
            .recorded("sys.socket", "socket:*", "guard_floor_unmediated")
    };
    vec![
        socket("NET-02 SCTP", &[Need::Kernel("sctp")], "socket 2 1 132"),
        socket("NET-02 UDP-Lite", &[], "socket 2 2 136"),
        socket("NET-10 raw IP", &[Need::Root, Need::Kernel("raw")], "socket 2 3 1"),
        socket("NET-10 packet", &[Need::Root, Need::Kernel("packet")], "socket 17 3 0"),
        socket("NET-10 vsock", &[Need::Kernel("vsock")], "socket 40 1 0"),
        socket("NET-10 the kernel's cryptography", &[Need::Kernel("alg")], "socket 38 5 0"),
        socket("NET-10 netlink of the audit log", &[], "socket 16 3 9"),
        socket("NET-10 netlink of device events", &[], "socket 16 3 15"),
        denial("NET-12 io_uring")
            .needs(&[Need::Kernel("io-uring")])
            .calls(&["io_uring_setup 4 buf:120"])
            .errors(&["ENOSYS"]),
    ]
}

fn unix() -> Vec<Denial> {
    vec![
        denial("NET-08 a socket file outside")
            .setup(|scene| listen(scene, "{R}/service"))
            .runs(&["/usr/bin/python3", "-c", CONNECT, "{R}/service"])
            .shows("connected")
            .recorded("net.unix", "{R}/service", "endpoint_path_not_allowlisted"),
        denial("NET-08 a socket file by a link in the workspace")
            .setup(|scene| {
                listen(scene, "{R}/service")?;
                Ok(std::os::unix::fs::symlink(scene.path("{R}/service"), scene.path("{W}/mine"))?)
            })
            .runs(&["/usr/bin/python3", "-c", CONNECT, "{W}/mine"])
            .shows("connected")
            .recorded("net.unix", "{R}/service", "endpoint_path_not_allowlisted"),
        denial("NET-08 a datagram to a socket file")
            .setup(|scene| {
                let socket = UnixDatagram::bind(scene.path("{R}/log"))?;
                std::mem::forget(socket);
                Ok(())
            })
            .runs(&["/usr/bin/python3", "-c", SEND, "{R}/log"])
            .shows("sent")
            .recorded("net.unix", "{R}/log", "endpoint_path_not_allowlisted"),
        denial("NET-09 an abstract name")
            .setup(|_| listen_abstract("gait-suite"))
            .runs(&["/usr/bin/python3", "-c", CONNECT, "\\0gait-suite"])
            .shows("connected")
            .recorded("net.unix", "unix:@gait-suite", "default_block"),
        denial("FS-17 a descriptor from an outside helper")
            .setup(hand_out_secret)
            .attack(&["receive", "{R}/helper"])
            .shows(CANARY)
            .recorded("net.unix", "{R}/helper", "endpoint_path_not_allowlisted"),
        denial("FS-17 a descriptor from a helper that the agent may talk to")
            .needs(&[RECEIVED])
            .policy(&with_rule("match: { tool_names: [net.unix] }"))
            .setup(hand_out_secret)
            .attack(&["receive", "{R}/helper"])
            .shows(CANARY)
            .errors(&[])
            .recorded("fs.read", "{S}/secret", "endpoint_path_denied"),
    ]
}

/// What arrives over a socket is judged.
const RECEIVED: Need = Need::Tried("an engine that judges received descriptors", || match run::engine().as_deref() {
    Some("lsm") => Found::Present,
    _ => Found::Absent("only the engine lsm has a hook where they arrive".into()),
});

const CONNECT: &str = "import socket, sys
name = sys.argv[1].replace('\\\\0', '\\0')
socket.socket(socket.AF_UNIX).connect(name)
print('connected')";

const SEND: &str = "import socket, sys
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'out', sys.argv[1])
print('sent')";

/// Listens until the suite ends.
fn listen(scene: &Scene, path: &str) -> anyhow::Result<()> {
    std::mem::forget(UnixListener::bind(scene.path(path))?);
    Ok(())
}

/// Listens on an abstract name until the suite ends; the second time, it does so already.
pub fn listen_abstract(name: &str) -> anyhow::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    match UnixListener::bind_addr(&address) {
        Ok(listener) => std::mem::forget(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A helper outside that opens the secret and passes the descriptor to the first who asks.
fn hand_out_secret(scene: &Scene) -> anyhow::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let listener = UnixListener::bind(scene.path("{R}/helper"))?;
    let secret = std::fs::File::open(scene.path("{S}/secret"))?;
    std::thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = [secret.as_fd()];
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            let _ = rustix::net::sendmsg(&stream, &[std::io::IoSlice::new(b"x")], &mut control, SendFlags::empty());
        }
    });
    Ok(())
}

fn races() -> Vec<Denial> {
    // Ports nobody listens on: a UDP connect needs no answer.
    let policy = format!("{CORPUS_POLICY}{}", one_address("127.0.0.1:40001"));
    vec![
        denial("NET-13 an address that flips while it is read")
            .policy(&policy)
            .attack(&["race-connect", "40001", "40002", &run::race_tries(20_000).max(10_000).to_string()])
            .errors(&[]),
    ]
}

pub fn one_address(address: &str) -> String {
    format!(
        "  - name: one-address\n    priority: 40\n    effect: allow\n    match: {{ target_values: [\"{address}\"] }}\n\
         \x20 - name: any-port\n    priority: 41\n    effect: allow\n    match: {{ target_values: [\"0.0.0.0:0\", \"127.0.0.1:0\"] }}\n"
    )
}

fn an_allowed_address_works() -> Test {
    test("NET-01 an address that the policy allows is reached, its neighbour is not", GUARD, || {
        let port = server().port;
        let scene = Scene::new()?;
        let policy = format!("{CORPUS_POLICY}{}", one_address(&format!("127.0.0.1:{port}")));
        let open = format!("connect $1 hex:{} 16", v4(port));
        let shut = format!("connect $4 hex:{} 16", v4(port.wrapping_add(1)));
        let calls = ["{A}", "calls", "socket 2 1 0", &open, "read $1 out:16 16", "socket 2 1 0", &shut];
        let guarded = scene.guarded(&policy, &calls)?;
        ensure!(guarded.ran.stdout.contains("welcome"), "{:?}", guarded.ran);
        ensure!(
            guarded.ran.stdout.contains("connect ! EACCES") || guarded.ran.stdout.contains("connect ! EPERM"),
            "{:?}",
            guarded.ran
        );
        let allowed = guarded.pack.decided.iter().find(|d| d.allowed && d.tool == "net.connect");
        let allowed = allowed.with_context(|| format!("no record of the allowed one: {:?}", guarded.ran))?;
        ensure!(allowed.value == format!("127.0.0.1:{port}"), "{allowed:?}");
        ensure!(allowed.rule.as_deref() == Some("one-address"), "{allowed:?}");
        Ok(())
    })
}

fn the_server_is_not_reached() -> Test {
    test("NET-01 only the control reaches the server", GUARD, || {
        let server = server();
        let calls =
            ["{A}", "calls", "socket 2 1 0", &format!("connect $1 hex:{} 16", v4(server.port)), "read $1 out:9 9"];
        let before = server.accepted.load(Ordering::SeqCst);
        let control = Scene::new()?.bare(&calls)?;
        ensure!(control.stdout.contains("welcome"), "{control:?}");
        let scene = Scene::new()?;
        scene.guarded(CORPUS_POLICY, &calls)?;
        let came = server.accepted.load(Ordering::SeqCst) - before;
        ensure!(came == 1, "{came} connections");
        Ok(())
    })
}

fn socketpairs_work() -> Test {
    test("users 7 socket pairs and pipes of an event loop keep working", GUARD, || {
        let scene = Scene::new()?;
        let program = "import asyncio, socket
async def main():
    a, b = socket.socketpair()
    a.send(b'x')
    print(b.recv(1), await asyncio.to_thread(lambda: 7))
asyncio.run(main())";
        let words = ["/usr/bin/python3", "-c", program];
        let bare = scene.bare(&words)?;
        let guarded = run::run(&mut scene.exec(CORPUS_POLICY, &[], &words)?)?;
        ensure!(bare.stdout == guarded.stdout && bare.code == guarded.code, "{bare:?} {guarded:?}");
        Ok(())
    })
}
