//! NET: names, spellings and proxies. gait judges the address that the kernel is given, so none of them decides anything.

use anyhow::ensure;
use kernel_suite::denial::{Denial, denial};
use kernel_suite::need::GUARD;
use kernel_suite::run;
use kernel_suite::scene::{CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};

use super::network::{listen_abstract, one_address, server};

pub fn tests() -> Vec<Test> {
    let denials = [spellings(), names()].into_iter().flatten().map(Denial::test);
    denials.chain([inherited()]).collect()
}

const CONNECT: &str = "import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(16))";

/// One server by the many names that a C library reads as its address.
fn spellings() -> Vec<Denial> {
    let port = server().port.to_string();
    let target = format!("127.0.0.1:{port}");
    let spelt = |name: &str, host: &str| {
        denial(name).runs(&["/usr/bin/python3", "-c", CONNECT, host, &port]).shows("welcome").recorded(
            "net.connect",
            &target,
            "default_block",
        )
    };
    vec![
        spelt("NET-04 an address in short", "127.1"),
        spelt("NET-04 an address as one number", "2130706433"),
        spelt("NET-04 an address in octal", "0177.0.0.01"),
        spelt("NET-04 an address in hexadecimal", "0x7f.0x0.0x0.0x1"),
        denial("NET-04 the address of nobody is this machine")
            .runs(&["/usr/bin/python3", "-c", CONNECT, "0.0.0.0", &port])
            .shows("welcome")
            .recorded("net.connect", &target, "default_block"),
    ]
}

fn names() -> Vec<Denial> {
    let port = server().port.to_string();
    let target = format!("127.0.0.1:{port}");
    let named = |host: &str| format!("{CORPUS_POLICY}{}", one_address(&format!("{host}:{port}")));
    let proxied = "import os, socket, sys
for name in list(os.environ):
    if 'proxy' in name.lower(): del os.environ[name]
os.environ['NO_PROXY'] = '*'
print(socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5).recv(16))";
    vec![
        // What a name is made to mean later, by a name server or a hosts file, is no business of the rule's.
        denial("NET-07 an allowed name that points at this machine")
            .policy(&named("allowed.example"))
            .runs(&["/usr/bin/python3", "-c", CONNECT, "127.0.0.1", &port])
            .shows("welcome")
            .recorded("net.connect", &target, "default_block"),
        denial("NET-06 a name with a zero byte that begins as an allowed one")
            .policy(&format!("{CORPUS_POLICY}{}", one_address("unix:@gait-allowed")))
            .setup(|_| listen_abstract("gait-allowed\0.evil"))
            .runs(&[
                "/usr/bin/python3",
                "-c",
                "import socket
socket.socket(socket.AF_UNIX).connect('\\0gait-allowed\\0.evil')
print('connected')",
            ])
            .shows("connected")
            .recorded("net.unix", "unix:@gait-allowed*", "default_block"),
        denial("NET-14 a program that forgets its proxy")
            .runs(&["/usr/bin/env", "HTTP_PROXY=http://127.0.0.1:9", "/usr/bin/python3", "-c", proxied, &port])
            .shows("welcome")
            .recorded("net.connect", &target, "default_block"),
    ]
}

fn inherited() -> Test {
    test("NET-11 a connection that gait was started with is not the agent's", GUARD, || {
        let shell = format!("exec 9<>/dev/tcp/127.0.0.1/{}; exec \"$@\"", server().port);
        let shell = ["/bin/bash", "-c", &shell, "bash"].map(str::to_owned);
        let agent = ["{A}", "calls", "read 9 out:16 16"].map(str::to_owned);
        let control = Scene::new()?.bare(&[&shell[..], &agent].concat())?;
        ensure!(control.stdout.contains("welcome"), "{control:?}");
        let scene = Scene::new()?;
        let exec = scene.exec_words(CORPUS_POLICY, &[], &agent)?;
        let guarded = scene.finished(run::run(&mut scene.command(&[&shell[..], &exec].concat()))?)?;
        ensure!(guarded.ran.code == 1 && guarded.ran.stdout == "read ! EBADF\n", "{:?}", guarded.ran);
        Ok(())
    })
}
