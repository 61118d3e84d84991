//! PR: other processes, which the agent must not look into, signal, or change.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::ensure;
use kernel_suite::CANARY;
use kernel_suite::denial::{Denial, KILLED, denial};
use kernel_suite::need::{GUARD, Need};
use kernel_suite::run;
use kernel_suite::scene::{ALLOW_ALL, Scene};
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    let denials = reach().into_iter().chain(settings()).map(Denial::test);
    denials.chain([nobody_outside(), own_children_are_its_own(), no_privilege()]).collect()
}

/// A process of nobody's business with a secret in its environment. It ends when the suite does.
fn outsider() -> u32 {
    static PID: OnceLock<u32> = OnceLock::new();
    *PID.get_or_init(|| {
        let script = format!("while kill -0 {} 2>/dev/null; do sleep 1; done", std::process::id());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).env("SUITE_SECRET", CANARY);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_or(0, |child| child.id())
    })
}

/// Not found (in a pid namespace of its own) is as good as refused.
const REFUSED: [&str; 5] = ["EPERM", "EACCES", "ESRCH", "ENOENT", "ENOSYS"];

fn reach() -> Vec<Denial> {
    let pid = outsider();
    let reach = |name: &str, calls: &[&str]| denial(name).policy(ALLOW_ALL).calls(calls).errors(&REFUSED);
    vec![
        reach("PR-01 ptrace of an outsider", &[&format!("ptrace 0x4206 {pid} 0 0")]),
        reach("PR-01 an outsider's memory by procfs", &[&format!("open s:/proc/{pid}/mem 2")]),
        reach(
            "PR-01 reading an outsider's memory",
            &[
                // One iovec over nothing in particular: EFAULT would mean that it was tried, so copy an empty range.
                &format!("process_vm_readv {pid} iov: 1 iov: 1 0"),
            ],
        ),
        reach("PR-01 a descriptor of an outsider", &[&format!("pidfd_open {pid} 0"), "pidfd_getfd $1 0 0"])
            .needs(&[Need::Kernel("pidfd-getfd")]),
        reach("PR-01 comparing with an outsider", &[&format!("kcmp {pid} {pid} 1 0 0")]),
        reach("PR-03 an outsider's environment", &[&format!("open s:/proc/{pid}/environ 0"), "read $1 out:9000 9000"])
            .shows(CANARY),
        reach("PR-03 an outsider's command line", &[&format!("open s:/proc/{pid}/cmdline 0"), "read $1 out:900 900"])
            .shows("kill -0")
            .hybrid_kills(),
        reach("PR-03 an outsider's descriptors", &[&format!("open s:/proc/{pid}/fd/0 0")]),
        reach("PR-03 an outsider's memory map", &[&format!("open s:/proc/{pid}/maps 0"), "read $1 out:900 900"])
            .shows("/bin"),
        reach("FS-07 an outsider's root", &[&format!("open s:/proc/{pid}/root/etc/passwd 0")]),
        reach("PR-02 a signal to an outsider", &[&format!("kill {pid} 0")]),
        reach("PR-02 tgkill of an outsider", &[&format!("pidfd_open {pid} 0"), "pidfd_send_signal $1 0 0 0"]),
    ]
}

fn settings() -> Vec<Denial> {
    let pid = outsider();
    let set = |name: &str, calls: &[&str]| denial(name).policy(ALLOW_ALL).calls(calls).errors(&REFUSED);
    vec![
        set("PR-04 limits of an outsider", &[&format!("prlimit64 {pid} 7 0 buf:16")]),
        set("PR-04 priority of an outsider", &[&format!("setpriority 0 {pid} 5")]),
        set("PR-04 scheduling of an outsider", &[&format!("sched_setaffinity {pid} 8 hex:ffffffffffffffff")]),
        set("PR-04 who dies first of memory", &[&format!("open s:/proc/{pid}/oom_score_adj 1"), "write $1 s:1000 4"])
            .needs(&[Need::Root]),
        set("PR-04 the owner of an outsider's file", &[&format!("chown s:/proc/{pid}/comm 0 0")])
            .needs(&[Need::Root])
            .recorded("fs.write", "/proc/outside/comm", "guard_floor_outsider"),
    ]
}

/// Looks at every process number, guard and parent included.
const LOOK_AROUND: &str = "
import os
own = os.getpid()
for pid in sorted({int(n) for n in os.listdir('/proc') if n.isdigit()} | set(range(1, 2000)) | {os.getppid()}):
    if pid == own or pid == 0:
        continue
    for what in ('environ', 'cmdline', 'mem', 'maps', 'fd/0', 'cwd/.', 'root/.', 'task'):
        try:
            path = f'/proc/{pid}/{what}'
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            if what not in ('environ', 'cmdline', 'maps') or os.read(fd, 1):
                print('looked into', pid, what)
            os.close(fd)
        except OSError:
            pass
    try:
        os.kill(pid, 0)
        print('signalled', pid)
    except OSError:
        pass
";

fn nobody_outside() -> Test {
    test("SUP-02 no process but the agent's own can be looked into or signalled, the guard least of all", GUARD, || {
        let pid = outsider();
        let words = ["/usr/bin/python3", "-c", LOOK_AROUND];
        let control = Scene::new()?.bare(&words)?;
        ensure!(control.stdout.contains(&format!("looked into {pid} environ")), "{control:?}");
        ensure!(control.stdout.contains(&format!("signalled {pid}\n")), "{control:?}");
        let guarded = Scene::new()?.guarded(ALLOW_ALL, &words)?;
        // What everybody may read of others is answered with a kill where the agent opens files itself.
        let is_hybrid = run::engine().as_deref() == Some("hybrid");
        ensure!(guarded.ran.code == if is_hybrid { 128 + libc::SIGKILL } else { 0 }, "{:?}", guarded.ran);
        let kills = guarded.pack.denied().filter(|denied| denied.reasons.iter().any(|reason| reason == KILLED));
        ensure!(kills.count() == usize::from(is_hybrid), "{:?}", guarded.pack.denied().collect::<Vec<_>>());
        ensure!(guarded.ran.stdout.is_empty(), "reached: {}", guarded.ran.stdout);
        Ok(())
    })
}

fn own_children_are_its_own() -> Test {
    test("PR-02 the agent's own children can be signalled and looked at", GUARD, || {
        let program = "import os, subprocess
child = subprocess.Popen(['/bin/sleep', '100'])
# An exec closes what tells its parent of it before it has its new arguments.
while not (words := open(f'/proc/{child.pid}/cmdline').read()): pass
print(words.split('\\0')[0])
child.terminate()
print(child.wait(), open('/proc/self/stat').read().split()[0] == str(os.getpid()))";
        let words = ["/usr/bin/python3", "-c", program];
        let bare = Scene::new()?.bare(&words)?;
        let guarded = Scene::new()?.guarded(ALLOW_ALL, &words)?;
        ensure!(bare.stdout == "/bin/sleep\n-15 True\n", "{bare:?}");
        ensure!(guarded.ran.stdout == bare.stdout, "{:?}", guarded.ran);
        Ok(())
    })
}

fn no_privilege() -> Test {
    test("EX-09 the agent has no capability and can't gain one", GUARD, || {
        let guarded = Scene::new()?.guarded(ALLOW_ALL, &["/bin/cat", "/proc/self/status"])?;
        for line in
            ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"]
        {
            ensure!(guarded.ran.stdout.contains(line), "not `{line}` in {}", guarded.ran.stdout);
        }
        Ok(())
    })
}
