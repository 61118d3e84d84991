//! ABI and PR-05: other doors into the kernel, and calls that nothing mediates.

use kernel_suite::denial::{Denial, denial};
use kernel_suite::need::{GUARD, Need};
use kernel_suite::scene::{ALLOW_ALL, CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};

use anyhow::ensure;
use kernel_suite::CANARY;

pub fn tests() -> Vec<Test> {
    let denials = [mounts(), privileged(), listeners()].into_iter().flatten().map(Denial::test);
    denials.chain([int80(), x32(), unknown_number(), own_filter()]).collect()
}

/// Killed by SIGSYS, which is exit code 128 + 31.
fn killed(name: &'static str, needs: &[Need], words: [&'static str; 2]) -> Test {
    test(name, GUARD.iter().chain(needs).copied(), move || {
        let scene = Scene::new()?;
        let guarded = scene.guarded(ALLOW_ALL, &words)?;
        ensure!(guarded.ran.code == 128 + 31, "{:?}", guarded.ran);
        ensure!(guarded.ran.stdout.is_empty(), "it went on: {:?}", guarded.ran);
        Ok(())
    })
}

fn int80() -> Test {
    killed("ABI-01 the 32-bit system call gate kills", &[Need::Kernel("ia32")], ["{A}", "int80"])
}

fn x32() -> Test {
    killed("ABI-02 x32 numbers kill", &[], ["{A}", "x32"])
}

fn unknown_number() -> Test {
    test("ABI-03 a number that the guard does not know is answered ENOSYS", GUARD, || {
        let scene = Scene::new()?;
        let guarded = scene.guarded(ALLOW_ALL, &["{A}", "calls", "#470", "#500", "#1000"])?;
        ensure!(guarded.ran.stdout == "#470 ! ENOSYS\n#500 ! ENOSYS\n#1000 ! ENOSYS\n", "{:?}", guarded.ran);
        Ok(())
    })
}

fn own_filter() -> Test {
    test("ABI-05 a filter of the agent's own weakens nothing", GUARD, || {
        let words = ["{A}", "filter-on-top", "{S}/secret"];
        let control = Scene::new()?.bare(&words)?;
        ensure!(control.stdout.contains("filter installed") && control.stdout.contains(CANARY), "{control:?}");
        let guarded = Scene::new()?.guarded(CORPUS_POLICY, &words)?;
        ensure!(!guarded.ran.stdout.contains(CANARY), "{:?}", guarded.ran);
        ensure!(guarded.ran.stdout.contains("filter installed"), "{:?}", guarded.ran);
        Ok(())
    })
}

/// Denied by the floor even where the policy allows everything.
fn floor(name: &str, needs: &[Need], tool: &str, calls: &[&str]) -> Denial {
    denial(name)
        .needs(needs)
        .policy(ALLOW_ALL)
        .calls(calls)
        .errors(&["EPERM", "EACCES", "ENOSYS", "EOPNOTSUPP"])
        .recorded(tool, "*", "guard_floor_*")
}

fn privilege(name: &str, needs: &[Need], tool: &str, calls: &[&str]) -> Denial {
    denial(name)
        .needs(needs)
        .policy(ALLOW_ALL)
        .calls(calls)
        .errors(&["EPERM", "EACCES", "ENOSYS", "EOPNOTSUPP"])
        .recorded(tool, "*", "guard_floor_*")
}

fn mounts() -> Vec<Denial> {
    let root = [Need::Root];
    vec![
        privilege(
            "FS-18 a bind mount",
            &root,
            "sys.mount",
            &["unshare 0x20000", "mount s:none s:/ s:none 0x44000 0", "mount s:{S} s:{W} s:none 4096 0"],
        ),
        privilege("FS-18 a detached copy of a tree", &root, "sys.open_tree", &["open_tree -100 s:/ 1"]),
        privilege("FS-18 a new file system", &root, "sys.fsopen", &["fsopen s:tmpfs 0"]),
        privilege("FS-18 chroot", &root, "sys.chroot", &["chroot s:{S}"]),
        privilege("FS-19 a user namespace", &[Need::Kernel("userns")], "sys.unshare", &["unshare 0x10000000"]),
        privilege(
            "FS-19 a user namespace by clone",
            &[Need::Kernel("userns")],
            "sys.clone",
            &["clone 0x10000011 0 0 0 0"],
        ),
        denial("FS-19 clone3 has its flags in memory, so it is not there")
            .policy(ALLOW_ALL)
            .calls(&[&format!("clone3 hex:{}1100000000000000{} 64", "00".repeat(32), "00".repeat(24))])
            .errors(&["ENOSYS"]),
        privilege("FS-19 entering a namespace", &root, "sys.setns", &["open s:/proc/self/ns/uts 0", "setns $1 0"]),
    ]
}

fn privileged() -> Vec<Denial> {
    let root = [Need::Root];
    vec![
        privilege("PR-05 a BPF map", &root, "sys.bpf", &["bpf 0 hex:0200000004000000040000000100000000000000 20"]),
        privilege(
            "PR-06 looking for the maps of a guard",
            &root,
            "sys.bpf",
            &["bpf 0 hex:0200000004000000040000000100000000000000 20", "bpf 12 hex:000000000000000000000000 12"],
        ),
        denial("PR-06 changing what is pinned in the kernel's memory")
            .needs(&[Need::Root, Need::Mount("/sys/fs/bpf")])
            .policy(ALLOW_ALL)
            .calls(&["mkdir s:/sys/fs/bpf/gait-suite 0o755", "rmdir s:/sys/fs/bpf/gait-suite"])
            .recorded("fs.write", "/sys/fs/bpf/gait-suite", "guard_floor_privilege"),
        floor("PR-05 user fault handling", &[], "sys.userfaultfd", &["userfaultfd 1"]),
        floor("PR-05 the keyring", &[], "sys.keyctl", &["keyctl 0 -3 1 0 0"]),
        floor("PR-05 a new key", &[], "sys.add_key", &["add_key s:user s:suite s:value 5 -2"]),
        floor("PR-05 clearing swap accounting", &root, "sys.acct", &["acct 0"]),
        privilege("PR-05 a host name", &root, "sys.sethostname", &["unshare 0x4000000", "sethostname s:evil 4"]),
        floor("FS-22 System V shared memory", &[], "sys.shmget", &["shmget 0 4096 0o1600"]),
        floor("FS-22 a message queue", &[], "sys.msgget", &["msgget 0 0o1600"]),
        floor(
            "FS-22 a POSIX message queue",
            &[],
            "sys.mq_open",
            &["mq_open s:gait-suite 0o102 0o600 0", "mq_unlink s:gait-suite"],
        ),
        floor("FS-23 pushing input into a terminal", &[], "sys.ioctl", &["open s:/dev/ptmx 2", "ioctl $1 0x5412 s:x"])
            .errors(&["EPERM", "EACCES", "EIO"]),
    ]
}

fn listeners() -> Vec<Denial> {
    vec![
        floor(
            "ABI-05 a second listener",
            &[],
            "sys.seccomp",
            &[
                "prctl 38 1 0 0 0",
                // struct sock_fprog over one statement, RET ALLOW; the pointer comes from a mapping.
                "memfd_create s:f 0",
                "write $2 hex:060000000000ff7f 8",
                "mmap 0x20000000 4096 3 0x11 $2 0",
                "seccomp 1 8 hex:01000000000000000000002000000000",
            ],
        )
        .errors(&["EPERM", "EACCES", "EBUSY"]),
        floor(
            "PR-05 Landlock of the agent's own would be hollow",
            &[],
            "sys.landlock_create_ruleset",
            &["landlock_create_ruleset 0 0 1"],
        )
        .errors(&["EOPNOTSUPP", "ENOSYS", "EPERM"]),
        floor("PR-04 a process that nobody can look into", &[], "sys.prctl", &["prctl 4 0 0 0 0"]),
    ]
}
