//! EX: programs that must not run, by whatever way they are started.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, ensure};
use kernel_suite::CANARY;
use kernel_suite::denial::{Denial, denial};
use kernel_suite::need::{Found, GUARD, Need};
use kernel_suite::pack::{Decided, Pack};
use kernel_suite::report;
use kernel_suite::run::{self, Ran};
use kernel_suite::scene::{ALLOW_ALL, CORPUS_POLICY, Guarded, Scene};
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    let denials = [files(), nameless(), loaders(), races()].into_iter().flatten().map(Denial::test);
    denials
        .chain([
            recorded_argv(),
            handled_programs(),
            recorded_handler(),
            children_stay_in_the_policy(),
            names_decide_nothing(),
        ])
        .collect()
}

/// A program in W, put there beforehand: what the agent could have built or copied.
fn planted(scene: &Scene) -> anyhow::Result<()> {
    fs::copy(scene.path("{A}"), scene.path("{W}/mine"))?;
    Ok(())
}

fn files() -> Vec<Denial> {
    let run = |name: &str| denial(name).recorded("proc.exec", "{W}/mine", "endpoint_path_not_allowlisted");
    vec![
        run("EX-01 a copy in the workspace").runs(&["/bin/sh", "-c", "cp {A} mine; exec ./mine say"]).shows("it-ran"),
        run("EX-01 a program of the workspace by execve")
            .setup(planted)
            .calls(&["execve s:{W}/mine argv:mine,say argv:A=1"])
            .shows("it-ran"),
        run("EX-01 by execveat and a folder descriptor")
            .setup(planted)
            .calls(&["openat -100 s:{W} 0o200000", "execveat $1 s:mine argv:mine,say argv:A=1 0"])
            .shows("it-ran"),
        run("EX-01 by execveat of an open file")
            .setup(planted)
            .calls(&["openat -100 s:{W}/mine 0", "execveat $1 s: argv:mine,say argv:A=1 0x1000"])
            .shows("it-ran"),
        run("EX-03 by the descriptor link of procfs")
            .setup(planted)
            .calls(&["openat -100 s:{W}/mine 0", "execve s:/proc/self/fd/3 argv:mine,say argv:A=1"])
            .shows("it-ran"),
        run("EX-01 by the root link of procfs")
            .setup(planted)
            .calls(&["execve s:/proc/self/root{W}/mine argv:mine,say argv:A=1"])
            .shows("it-ran"),
        run("EX-02 by a symbolic link in a folder that may execute")
            .setup(|scene| {
                planted(scene)?;
                Ok(std::os::unix::fs::symlink(scene.path("{W}/mine"), scene.path("{R}/bin/innocent"))?)
            })
            .calls(&["execve s:{R}/bin/innocent argv:mine,say argv:A=1"])
            .shows("it-ran"),
        denial("EX-06 a script in the workspace")
            .setup(|scene| script(scene, "#!/bin/sh\necho ran"))
            .calls(&["execve s:{W}/script argv:script argv:A=1"])
            .shows("ran")
            .recorded("proc.exec", "{W}/script", "endpoint_path_not_allowlisted"),
        denial("EX-06 a script whose interpreter is denied")
            .setup(|scene| {
                planted(scene)?;
                let text = scene.expand("#!{W}/mine say\n");
                fs::write(scene.path("{R}/bin/script"), text)?;
                Ok(fs::set_permissions(scene.path("{R}/bin/script"), fs::Permissions::from_mode(0o755))?)
            })
            .calls(&["execve s:{R}/bin/script argv:script argv:A=1"])
            .errors(&[])
            .recorded("proc.exec", "{W}/mine", "endpoint_path_not_allowlisted")
            .shows("it-ran"),
        denial("EX-04 a denied program under a shell, find and env")
            .setup(planted)
            .runs(&["/bin/sh", "-c", "find {W}/mine -exec env {} say \\;"])
            .shows("it-ran")
            .recorded("proc.exec", "{W}/mine", "endpoint_path_not_allowlisted"),
        denial("EX-04 a denied program under python")
            .setup(planted)
            .runs(&["/usr/bin/python3", "-c", "import subprocess; subprocess.run(['{W}/mine', 'say'])"])
            .shows("it-ran")
            .recorded("proc.exec", "{W}/mine", "endpoint_path_not_allowlisted"),
        run("EX-05 a program that calls itself something else")
            .setup(planted)
            .calls(&["execve s:{W}/mine argv:/usr/bin/true,say argv:A=1"])
            .shows("it-ran"),
        run("EX-05 one program of many names, by a link that is named as an allowed one")
            .setup(|scene| {
                planted(scene)?;
                Ok(std::os::unix::fs::symlink("mine", scene.path("{W}/true"))?)
            })
            .runs(&["/bin/bash", "-c", "exec -a true {W}/true say"])
            .shows("it-ran"),
        run("EX-04 a denied program under awk and tar")
            .setup(planted)
            .runs(&[
                "/bin/sh",
                "-c",
                "awk 'BEGIN { system(\"./mine say\") }' || tar -cf - own | tar -xf - --to-command='./mine say'",
            ])
            .shows("it-ran"),
        run("EX-04 a denied program under git")
            .needs(&[Need::Program("git")])
            .setup(|scene| {
                planted(scene)?;
                let made = scene.bare(&["git", "init", "-q", "{W}"])?;
                ensure!(made.code == 0, "{made:?}");
                Ok(())
            })
            .runs(&["/bin/sh", "-c", "git -c alias.x='!{W}/mine say' x"])
            .shows("it-ran"),
        denial("EX-13 a child that shares its parent's memory")
            .runs(&[
                "/usr/bin/python3",
                "-c",
                "import os; os.waitpid(os.posix_spawn('/bin/cat', ['cat', '{S}/secret'], {}), 0)",
            ])
            .shows(CANARY)
            .recorded("fs.read", "{S}/secret", "endpoint_path_denied"),
        denial("EX-13 leaving for another control group")
            .needs(&[Need::Root, Need::File("/sys/fs/cgroup/cgroup.procs")])
            .policy(ALLOW_ALL)
            .calls(&["open s:/sys/fs/cgroup/cgroup.procs 1", "write $1 s:0 1"])
            .recorded("fs.write", "/sys/fs/cgroup/cgroup.procs", "guard_floor_privilege"),
        denial("EX-11 registering a handler for programs of one's own kind")
            .needs(&[Need::Root, Need::File("/proc/sys/fs/binfmt_misc/register")])
            .policy(ALLOW_ALL)
            .calls(&["open s:/proc/sys/fs/binfmt_misc/register 1"])
            .recorded("fs.write", "/proc/sys/fs/binfmt_misc/register", "guard_floor_privilege"),
        denial("EX-12 a denied program after a double fork and setsid")
            .setup(planted)
            .runs(&["/bin/sh", "-c", "(setsid sh -c './mine say >late' &) ; sleep 0.3; cat late"])
            .shows("it-ran")
            .recorded("proc.exec", "{W}/mine", "endpoint_path_not_allowlisted"),
    ]
}

fn script(scene: &Scene, text: &str) -> anyhow::Result<()> {
    fs::write(scene.path("{W}/script"), text)?;
    Ok(fs::set_permissions(scene.path("{W}/script"), fs::Permissions::from_mode(0o755))?)
}

fn nameless() -> Vec<Denial> {
    vec![
        denial("EX-03 a program that lies in memory only")
            .attack(&["memfd-exec", "{A}", "say"])
            .shows("it-ran")
            .recorded("proc.exec", "memfd:*", "default_block"),
        denial("EX-03 a file without a name").attack(&["tmpfile-exec", "{W}", "{A}", "say"]).shows("it-ran").recorded(
            "proc.exec",
            "*",
            "default_block",
        ),
        denial("EX-03 a program that was unlinked")
            .setup(planted)
            .calls(&["openat -100 s:{W}/mine 0", "unlink s:{W}/mine", "execveat $1 s: argv:mine,say argv:A=1 0x1000"])
            .shows("it-ran"),
    ]
}

fn loaders() -> Vec<Denial> {
    let mapped = |name: &str| denial(name).recorded("proc.exec", "{W}/mine", "endpoint_path_not_allowlisted");
    vec![
        mapped("EX-02 the dynamic loader as a launcher")
            .setup(planted)
            .runs(&["/lib64/ld-linux-x86-64.so.2", "{W}/mine", "say"])
            .shows("it-ran"),
        mapped("EX-02 an executable mapping of a file that may only be read")
            .setup(planted)
            .calls(&["openat -100 s:{W}/mine 0", "mmap 0 4096 5 2 $1 0"]),
        mapped("EX-02 a mapping made executable afterwards").setup(planted).calls(&[
            "openat -100 s:{W}/mine 0",
            "mmap 0 4096 1 2 $1 0",
            "mprotect $2 4096 5",
        ]),
        denial("EX-02 a personality that makes readable mappings executable")
            .calls(&["personality 0x400000"])
            .recorded("sys.personality", "*", "guard_floor_*"),
        denial("EX-08 a library of the workspace in LD_PRELOAD")
            .setup(|scene| {
                let source = "__attribute__((constructor)) void hello(void) { __builtin_puts(\"preloaded\"); }";
                fs::write(scene.path("{W}/evil.c"), source)?;
                let built = scene.bare(&["cc", "-shared", "-fPIC", "-o", "{W}/evil.so", "{W}/evil.c"])?;
                ensure!(built.code == 0, "{built:?}");
                Ok(())
            })
            .runs(&["/bin/sh", "-c", "LD_PRELOAD={W}/evil.so /bin/true"])
            .shows("preloaded")
            .recorded("proc.exec", "{W}/evil.so", "endpoint_path_not_allowlisted"),
    ]
}

/// An ELF file of x86-64 that ends with exit code 0, and no byte more than the kernel asks for: no loader, no library. A race
/// that has it run a hundred thousand times is about the exec.
#[rustfmt::skip]
const EXITS: [u8; 127] = [
    // The header: 64 bits, little endian, this version; executable, x86-64; entry 0x400078; program headers from 64 on, no
    // sections; sizes of this header and of the one that follows, which is one.
    0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 0, 62, 0, 1, 0, 0, 0, 0x78, 0, 0x40, 0, 0, 0, 0, 0,
    64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    // The whole file is loaded to 0x400000, to be read and executed.
    1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
    127, 0, 0, 0, 0, 0, 0, 0, 127, 0, 0, 0, 0, 0, 0, 0,
    0, 0x10, 0, 0, 0, 0, 0, 0,
    // xor edi, edi; push 60; pop rax; syscall: exit(0).
    0x31, 0xff, 0x6a, 60, 0x58, 0x0f, 0x05,
];

/// A program that may run, and that does nothing.
fn idle(scene: &Scene) -> anyhow::Result<()> {
    let path = scene.path("{R}/bin/mine");
    if cfg!(target_arch = "x86_64") {
        fs::write(&path, EXITS)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    } else {
        fs::copy("/bin/true", path)?;
    }
    Ok(())
}

fn races() -> Vec<Denial> {
    let tries = run::race_tries(1_000).max(300).to_string();
    let race = |name, reason| {
        let words = |tries| ["race-exec", "{R}/bin//mine", "{R}/wwww/mine", tries];
        denial(name)
            .setup(|scene| {
                idle(scene)?;
                planted(scene)?;
                // Of one length: {R}/bin/mine and {R}/w/../w/mine differ, so link both under names that do not.
                fs::create_dir(scene.path("{R}/wwww"))?;
                Ok(fs::rename(scene.path("{W}/mine"), scene.path("{R}/wwww/mine"))?)
            })
            .attack(&words(&tries))
            .control(&words("300"))
            .errors(&[])
            .recorded("proc.exec", "{R}/wwww/mine", reason)
            .check(was_a_race)
    };
    // All of it is Landlock's to run, so that only the guard's second look tells the programs apart.
    let by_name = CORPUS_POLICY.replace("\"{R}/bin/**\"]", "\"{R}/**\"], path_denylist: [\"{R}/wwww/**\"]");
    vec![
        race("EX-07 path bytes that flip during execve", "endpoint_path_not_allowlisted"),
        race("EX-07 path bytes that flip during execve, between what Landlock lets run", "endpoint_path_denied")
            .policy(&by_name),
    ]
}

/// That the path changed between the guard's look and the kernel's, and not only between tries: what the guard let through
/// and did not run. Says how often.
fn was_a_race(ran: &Ran, pack: &Pack) -> anyhow::Result<()> {
    let mut words = ran.stdout.split_whitespace().skip_while(|word| *word != "ran");
    let seen_running: u64 = words.nth(1).context("the attacker does not say how many ran")?.parse()?;
    let is_it = |decided: &&Decided| decided.allowed && decided.value == "{R}/bin/mine";
    let let_through: u64 = pack.decided.iter().filter(is_it).map(|decided| decided.count).sum();
    ensure!(seen_running > 0, "no try ran the allowed program: {ran:?}");
    ensure!(
        let_through > seen_running,
        "{let_through} let through, {seen_running} ran: the path never changed in between"
    );
    let changed = let_through - seen_running;
    report::note(format!(
        "the guard let {let_through} through; under {changed} of them the path changed before the kernel read it"
    ));
    Ok(())
}

fn recorded_argv() -> Test {
    test("EX-07 the recorded argv is the one that ran, however it flips", GUARD, || {
        let scene = Scene::new()?;
        let flags = ["--capture-mode", "raw"];
        let tries = run::noted_tries(300);
        let words = ["{A}", "race-argv", "/bin/echo", &tries.to_string()];
        let ran = run::run(&mut scene.exec(CORPUS_POLICY, &flags, &words)?)?;
        let guarded = scene.finished(ran)?;
        let mut said: Vec<String> = guarded.ran.stdout.lines().map(str::to_owned).collect();
        let argvs = guarded.pack.lines("exec").filter_map(|line| line["argv"].as_array());
        let mut recorded: Vec<String> = argvs
            .filter(|argv| argv.first().is_some_and(|name| name == "/bin/echo"))
            .filter_map(|argv| argv.get(1).and_then(|word| word.as_str()).map(str::to_owned))
            .collect();
        said.sort();
        recorded.sort();
        ensure!(said.len() == tries as usize, "only {} echoes ran: {:?}", said.len(), guarded.ran.stderr);
        ensure!(said == recorded, "said {said:?}, recorded {recorded:?}");
        Ok(())
    })
}

/// What a machine must have for a handler of its own, as an emulator's.
const HANDLERS: [Need; 3] = [Need::Root, Need::Disposable, Need::File("/proc/sys/fs/binfmt_misc/register")];

/// Runs a file that a handler of the machine runs, which runs a program that the agent may not: without a guard, then with.
fn handled(policy: &str) -> anyhow::Result<(Scene, Guarded)> {
    let set_up = || {
        let scene = Scene::new()?;
        planted(&scene)?;
        fs::write(scene.path("{R}/bin/odd"), "SUITE-FORMAT say\n")?;
        fs::set_permissions(scene.path("{R}/bin/odd"), fs::Permissions::from_mode(0o755))?;
        let handler = scene.expand(":gait-suite:M::SUITE-FORMAT::{R}/wrap:");
        fs::write(scene.path("{R}/wrap"), scene.expand("#!/bin/sh\nexec {W}/mine say\n"))?;
        fs::set_permissions(scene.path("{R}/wrap"), fs::Permissions::from_mode(0o755))?;
        fs::write("/proc/sys/fs/binfmt_misc/register", handler)?;
        anyhow::Ok(scene)
    };
    let tear_down = || fs::write("/proc/sys/fs/binfmt_misc/gait-suite", "-1");
    let scene = set_up()?;
    let control = scene.bare(&["{R}/bin/odd"]);
    tear_down()?;
    let control = control?;
    ensure!(control.stdout.contains("it-ran"), "control: {control:?}");
    let scene = set_up()?;
    let guarded = scene.guarded(policy, &["/bin/sh", "-c", "{R}/bin/odd"]);
    tear_down()?;
    let guarded = guarded?;
    ensure!(!guarded.ran.stdout.contains("it-ran"), "{:?}", guarded.ran);
    Ok((scene, guarded))
}

fn recorded_handler() -> Test {
    let by_hook = Need::Tried("an engine that sees each file that is run", || match run::engine().as_deref() {
        Some("lsm") => Found::Present,
        _ => Found::Absent("only the engine lsm has a hook there".into()),
    });
    let needs = GUARD.into_iter().chain(HANDLERS).chain([by_hook]);
    test("EX-11 a handler that the policy denies is refused and recorded", needs, || {
        // All below is Landlock's to run, so that it is the hook that refuses.
        let policy = CORPUS_POLICY.replace("\"{R}/bin/**\"]", "\"{R}/**\"], path_denylist: [\"{R}/wrap\"]");
        ensure!(policy != CORPUS_POLICY, "the policy was not changed");
        let (scene, guarded) = handled(&policy)?;
        let wrap = scene.expand("{R}/wrap");
        let is_it = |denied: &&Decided| denied.tool == "proc.exec" && denied.value == wrap;
        let denied = guarded.pack.denied().find(is_it).context("it is in no record")?;
        ensure!(denied.reasons.iter().any(|reason| reason == "endpoint_path_denied"), "{denied:?}");
        Ok(())
    })
}

fn handled_programs() -> Test {
    test("EX-11 a program that a handler would run does not run", GUARD.into_iter().chain(HANDLERS), || {
        let (scene, guarded) = handled(CORPUS_POLICY)?;
        // That the handler was refused is in no record (docs/limits.md).
        let odd = scene.expand("{R}/bin/odd");
        ensure!(guarded.pack.decided.iter().any(|d| d.tool == "proc.exec" && d.value == odd), "not recorded: {odd}");
        report::note("contained, but the runpack does not say who refused the handler");
        Ok(())
    })
}

fn children_stay_in_the_policy() -> Test {
    test("EX-12 detached children are judged to the end, and end with the run", GUARD, || {
        let scene = Scene::new()?;
        let policy = CORPUS_POLICY.replace("\"**/.env\",", "\"**/late-*\", \"**/.env\",");
        ensure!(policy != CORPUS_POLICY, "the policy was not changed");
        let guarded = scene.guarded(&policy, &["/bin/sh", "-c", "{A} detached 5; sleep 1"])?;
        let denied = guarded.pack.denied().filter(|denied| denied.value.contains("/late-")).count();
        ensure!(denied == 5, "{denied} of 5 were judged: {:?}", guarded.ran);
        ensure!(!scene.path("{W}/late-0").exists(), "a detached child wrote its file");
        Ok(())
    })
}

fn names_decide_nothing() -> Test {
    test("EX-10 a process that calls itself apt-get gets no more than others", GUARD, || {
        let scene = Scene::new()?;
        let calls = ["{A}", "calls", "prctl 15 s:apt-get", "open s:{S}/secret 0", "read $2 out:64 64"];
        let control = Scene::new()?.bare(&["/bin/true"])?;
        ensure!(control.code == 0, "{control:?}");
        let guarded = scene.guarded(CORPUS_POLICY, &calls)?;
        ensure!(guarded.ran.stdout.contains("prctl = 0"), "the name could not be set: {:?}", guarded.ran);
        ensure!(guarded.ran.stdout.contains("open ! EACCES"), "{:?}", guarded.ran);
        ensure!(!guarded.ran.stdout.contains(CANARY), "{:?}", guarded.ran);
        Ok(())
    })
}
