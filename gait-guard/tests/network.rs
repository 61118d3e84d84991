//! Calls on sockets under the real supervisor.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use std::net::{TcpListener, UdpSocket};

use common::programs::program;
use common::{Guarded, Record};

/// Runs a program bare and guarded in a fresh folder each; gives both outputs.
fn bare_and_guarded(argv: &[&str]) -> (String, String) {
    let [one, two] = [(); 2].map(|()| tempfile::Builder::new().prefix("n").rand_bytes(3).tempdir().unwrap());
    let at = |folder: &tempfile::TempDir| format!("cd {} && exec {}", folder.path().display(), argv.join(" "));
    let bare = std::process::Command::new("sh").args(["-c", &at(&one)]).output().unwrap();
    let guarded = Guarded::sh(&at(&two)).run();
    assert_eq!(guarded.code, Some(0), "{}\n{}", guarded.stdout, guarded.stderr);
    (String::from_utf8_lossy(&bare.stdout).into_owned(), guarded.stdout)
}

fn python(script: &str) -> Guarded {
    Guarded::new(["python3", "-c", script])
}

#[test]
fn calls_on_sockets_give_the_same_bare_and_guarded() {
    let (bare, guarded) = bare_and_guarded(&[program("network").to_str().unwrap()]);
    assert!(bare.lines().count() > 100, "{bare}");
    for (bare, guarded) in bare.lines().zip(guarded.lines()) {
        assert_eq!(bare, guarded);
    }
    assert_eq!(bare.lines().count(), guarded.lines().count());
}

#[test]
fn no_denied_port_is_connected_to_however_it_is_flipped() {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [allowed, denied] = sockets.each_ref().map(|socket| socket.local_addr().unwrap().port());
    let race = program("connect_race");
    let run = Guarded::new([race.to_str().unwrap(), &allowed.to_string(), &denied.to_string(), "20000"]);
    let denied = format!("127.0.0.1:{denied}");
    let run = run.judge(move |action| {
        use gait_guard::session::Ruling;
        if common::describe(action).contains(&denied) { Ruling::Deny(rustix::io::Errno::ACCESS) } else { Ruling::Allow }
    });
    let run = run.run();
    let words: Vec<(&str, u64)> = run
        .stdout
        .split_whitespace()
        .map(|word| word.split_once('=').unwrap())
        .map(|(k, v)| (k, v.parse().unwrap()))
        .collect();
    assert_eq!(words[2], ("escaped", 0), "{}", run.stdout);
    assert!(words[0].1 > 0 && words[1].1 > 0, "no race: {}", run.stdout);
}

#[test]
fn addresses_are_judged_in_one_form() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "import socket\n\
         for family, host in [(socket.AF_INET, '127.0.0.1'), (socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::ffff:127.0.0.1'),\n\
         \x20                    (socket.AF_INET6, '::ffff:0.0.0.0')]:\n\
         \x20   s = socket.socket(family, socket.SOCK_STREAM)\n\
         \x20   try: s.connect((host, {port}))\n\
         \x20   except OSError as e: print(e.errno)\n\
         \x20   else: print('connected')\n"
    );
    assert_eq!(python(&script).run().stdout, "connected\n".repeat(4));
    let denied = python(&script).denying("V4(127.0.0.1");
    // SocketAddr's Debug is the address itself.
    let denied = denied.judge(|action| {
        use gait_guard::session::Ruling;
        if common::describe(action).contains("address: 127.0.0.1:") {
            Ruling::Deny(rustix::io::Errno::ACCESS)
        } else {
            Ruling::Allow
        }
    });
    assert_eq!(denied.run().stdout, "13\n".repeat(4));
}

#[test]
fn a_message_without_a_family_is_judged_where_it_goes() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let script = format!(
        "import ctypes, socket, struct\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         a = struct.pack('=H', 0) + struct.pack('>H', {}) + bytes([127, 0, 0, 1]) + bytes(8)\n\
         print(libc.sendto(s.fileno(), b'x', 1, 0, a, 16), ctypes.get_errno())\n",
        receiver.local_addr().unwrap().port()
    );
    let run = python(&script).denying("call: Send").run();
    assert_eq!(run.stdout, "-1 13\n", "{}", run.stderr);
    assert!(receiver.recv(&mut [0; 8]).is_err());
    assert_eq!(python(&script).run().stdout, "1 0\n");
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1, "the control");
}

#[test]
fn sockets_that_nothing_judges_are_not_made() {
    let script = "import ctypes\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        for args in [(2, 1, 262), (10, 1, 262), (2, 3, 1), (16, 3, 9), (17, 3, 0), (40, 1, 0), (38, 5, 0), (2, 1, 132), (43, 1, 0),\n\
        \x20            (0x100000002, 0x100000001, 0x100000106)]:\n\
        \x20   ctypes.set_errno(0)\n\
        \x20   print(libc.syscall(41, *map(ctypes.c_long, args)))\n";
    let run = python(script).run();
    assert_eq!(run.stdout, "-1\n".repeat(10), "{}", run.stderr);
    let denied = |name: &str| {
        let said = format!("detail: \"{name}\"");
        run.records.iter().filter(|r| matches!(r, Record::Denied(action, _) if action.contains(&said))).count()
    };
    for (name, times) in
        [("mptcp", 3), ("raw", 1), ("netlink", 1), ("packet", 1), ("vsock", 1), ("alg", 1), ("sctp", 1), ("smc", 1)]
    {
        assert_eq!(denied(name), times, "{name}: {:?}", run.records);
    }
}

#[test]
fn unix_sockets_are_judged_by_file_and_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let link = folder.path().join("harmless");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let script = format!(
        "import socket\n\
         for name in ['{}', '{}', '\\0gait-nobody']:\n\
         \x20   s = socket.socket(socket.AF_UNIX)\n\
         \x20   try: s.connect(name)\n\
         \x20   except OSError as e: print(e.errno)\n\
         \x20   else: print('connected')\n",
        path.display(),
        link.display()
    );
    assert_eq!(python(&script).run().stdout, "connected\nconnected\n111\n");
    let denied = python(&script).denying("agent.sock)").run();
    assert_eq!(denied.stdout, "13\n13\n111\n");
    assert_eq!(python(&script).denying("Abstract(gait-nobody)").run().stdout, "connected\nconnected\n13\n");
}

#[test]
fn sending_by_way_of_another_host_is_refused() {
    let script = "import socket, struct\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        route = bytes([131, 7, 4, 8, 8, 8, 8, 0])\n\
        try: s.sendmsg([b'x'], [(socket.IPPROTO_IP, 7, route)], 0, ('127.0.0.1', 9))\n\
        except OSError as e: print(e.errno)\n\
        try: s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, route)\n\
        except OSError as e: print(e.errno)\n";
    let run = python(script).run();
    assert_eq!(run.stdout, "1\n1\n", "{:?}", run.stderr);
}

#[test]
fn asyncio_and_multiprocessing_work() {
    let script = "import asyncio, multiprocessing, os\n\
        async def serve(reader, writer):\n\
        \x20   writer.write(await reader.readline()); await writer.drain(); writer.close()\n\
        async def ask(port, n):\n\
        \x20   r, w = await asyncio.open_connection('127.0.0.1', port)\n\
        \x20   w.write(b'%d\\n' % n); await w.drain()\n\
        \x20   line = await r.readline(); w.close(); return int(line)\n\
        async def main():\n\
        \x20   server = await asyncio.start_server(serve, '127.0.0.1', 0)\n\
        \x20   port = server.sockets[0].getsockname()[1]\n\
        \x20   print(sum(await asyncio.gather(*[ask(port, n) for n in range(50)])))\n\
        \x20   p = await asyncio.create_subprocess_exec('sh', '-c', 'read x; echo got $x', stdin=-1, stdout=-1)\n\
        \x20   print((await p.communicate(b'it\\n'))[0])\n\
        asyncio.run(main())\n\
        def square(n): return n * n\n\
        if __name__ == '__main__':\n\
        \x20   for method in ['fork', 'forkserver', 'spawn'][:1]:\n\
        \x20       with multiprocessing.get_context(method).Pool(4) as pool:\n\
        \x20           print(pool.map(square, range(6)))\n";
    let run = python(script).run();
    assert_eq!(run.stdout, "1225\nb'got it\\n'\n[0, 1, 4, 9, 16, 25]\n", "{}", run.stderr);
}
