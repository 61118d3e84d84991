//! The engine `hybrid`: what it records, what it keeps closed, and what it does about the rest.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, ensure};
use kernel_suite::CANARY;
use kernel_suite::denial::KILLED;
use kernel_suite::need::Need;
use kernel_suite::report;
use kernel_suite::run;
use kernel_suite::scene::{ALLOW_ALL, CORPUS_POLICY, Guarded, Scene};
use kernel_suite::suite::{Test, test};

const NEEDS: [Need; 4] =
    [Need::Kernel("seccomp-notify"), Need::Landlock(1), Need::Kernel("bpf"), Need::File("/sys/kernel/btf/vmlinux")];
const FLAG: [&str; 2] = ["--engine", "hybrid"];

pub fn tests() -> Vec<Test> {
    vec![
        test("hybrid: reads have the intents that they have under notify", NEEDS, same_intents),
        test("hybrid: what is denied by its name is a kill, and a record", NEEDS, denied_name),
        test("hybrid: what is denied by its place can't be opened at all", NEEDS, denied_place),
        test("hybrid: the guard's folder can't be opened, whatever the policy allows", NEEDS, guards_folder),
        test(
            "hybrid: what is made later in a divided folder is refused, and not in the policy's name",
            NEEDS,
            made_later,
        ),
        test("hybrid: of processes only the agent's own are read, and no secrets of others", NEEDS, processes),
        test("hybrid: writes, changes, programs and the network are held as ever", NEEDS, held),
        test("hybrid: a second thread can win, and its records are marked", NEEDS, race),
        test("hybrid: --simulate lets what is denied through, and records it", NEEDS, simulated),
        test("hybrid: no decision of 100,000 opens is lost", NEEDS, volume),
        test("hybrid: a workspace that holds the guard's own folder is refused", NEEDS, guard_in_workspace),
    ]
}

fn guarded(scene: &Scene, policy: &str, flags: &[&str], words: &[&str]) -> anyhow::Result<Guarded> {
    let flags: Vec<&str> = FLAG.iter().chain(flags).copied().collect();
    scene.finished(run::run(&mut scene.exec(policy, &flags, words)?)?)
}

fn complete(guarded: &Guarded) -> anyhow::Result<()> {
    let receipt = guarded.pack.json("guard.json")?;
    ensure!(receipt["plan"]["engine"] == "hybrid", "{}", receipt["plan"]["engine"]);
    ensure!(receipt["run"]["complete"] == true, "not complete: {:?}", guarded.ran);
    ensure!(guarded.pack.lines("lost").count() == 0, "records were lost");
    Ok(())
}

/// Tool and value of what was read or listed and allowed.
fn reads(guarded: &Guarded) -> BTreeSet<(String, String)> {
    let is_read = |tool: &str| tool == "fs.read" || tool == "fs.list";
    let read = guarded.pack.decided.iter().filter(|decided| decided.allowed && is_read(&decided.tool));
    read.map(|decided| (decided.tool.clone(), decided.value.clone())).collect()
}

const READER: &str = "cat own sub/file link ../w/own; head -c1 /dev/zero >/dev/null; ls sub; cat < own; \
                      exec 9< sub/file; rm sub/file; cat /dev/fd/9; echo hi | cat /dev/stdin; cat none";

fn same_intents() -> anyhow::Result<()> {
    let words = ["/bin/bash", "-c", READER];
    let prepared = || -> anyhow::Result<Scene> {
        let scene = Scene::new()?;
        fs::create_dir(scene.path("{W}/sub"))?;
        fs::write(scene.path("{W}/sub/file"), "inside\n")?;
        std::os::unix::fs::symlink("own", scene.path("{W}/link"))?;
        Ok(scene)
    };
    let (one, other) = (prepared()?, prepared()?);
    let notify = one.guarded(CORPUS_POLICY, &words)?;
    let hybrid = guarded(&other, CORPUS_POLICY, &[], &words)?;
    complete(&hybrid)?;
    ensure!(notify.ran.stdout == hybrid.ran.stdout, "{:?}\n{:?}", notify.ran, hybrid.ran);
    let place = |scene: &Scene, reads: BTreeSet<(String, String)>| -> BTreeSet<(String, String)> {
        let root = scene.expand("{R}");
        let home = |value: String| value.replace(&root, "{R}");
        reads.into_iter().map(|(tool, value)| (tool, home(value))).collect()
    };
    let (notify, hybrid_reads) = (place(&one, reads(&notify)), place(&other, reads(&hybrid)));
    ensure!(notify.len() > 8, "{notify:?}");
    ensure!(
        notify == hybrid_reads,
        "only notify: {:?}; only hybrid: {:?}",
        notify.difference(&hybrid_reads).collect::<Vec<_>>(),
        hybrid_reads.difference(&notify).collect::<Vec<_>>()
    );
    let by_kernel = hybrid.pack.lines("define").filter(|line| line["engine"] == "hybrid").count();
    ensure!(by_kernel > 8, "{by_kernel} definitions of the kernel's");
    Ok(())
}

fn denied_name() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    fs::write(scene.path("{W}/.env"), CANARY)?;
    let words = ["{A}", "open-at-once", ".env"];
    let control = scene.bare(&words)?;
    ensure!(control.stdout.contains(CANARY), "{control:?}");
    let guarded = guarded(&scene, CORPUS_POLICY, &[], &words)?;
    complete(&guarded)?;
    ensure!(guarded.ran.code == 137 && !guarded.ran.stdout.contains(CANARY), "{:?}", guarded.ran);
    ensure!(guarded.ran.stderr.contains("reads run by themselves"), "nothing was said: {}", guarded.ran.stderr);
    let value = scene.expand("{W}/.env");
    let denial = guarded.pack.denied().find(|denied| denied.value == value).context("no record")?;
    ensure!(denial.source == "policy" && denial.tool == "fs.read" && denial.count == 1, "{denial:?}");
    let tests = guarded.pack.json("guard.json")?["run"]["self_test"].to_string();
    ensure!(tests.contains("is not prevented"), "{tests}");
    Ok(())
}

/// The open fails: nothing runs after it that could be raced. Recorded is what the caller called it, and by whom it was
/// denied.
fn cannot_open(scene: &Scene, policy: &str, path: &str, because: [&str; 2]) -> anyhow::Result<()> {
    let words = ["{A}", "open-at-once", path];
    let control = scene.bare(&words)?;
    ensure!(control.code == 0 && !control.stdout.trim().is_empty(), "{control:?}");
    let guarded = guarded(scene, policy, &[], &words)?;
    complete(&guarded)?;
    ensure!(guarded.ran.code == 1 && guarded.ran.stdout.contains("EACCES"), "{:?}", guarded.ran);
    let value = scene.expand(path);
    let refused = guarded.pack.denied().find(|denied| denied.value == value).context("no record")?;
    let is_told = because.iter().all(|code| refused.reasons.iter().any(|reason| reason == code));
    ensure!(is_told && refused.errno.as_deref() == Some("EACCES"), "{refused:?}");
    Ok(())
}

fn denied_place() -> anyhow::Result<()> {
    cannot_open(&Scene::new()?, CORPUS_POLICY, "{S}/secret", ["endpoint_path_denied", "guard_engine_as_spelt"])
}

fn guards_folder() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    // Makes the key.
    scene.guarded(ALLOW_ALL, &["/bin/true"])?;
    fs::remove_dir_all(scene.path("{R}/out"))?;
    fs::create_dir(scene.path("{R}/out"))?;
    let keys = scene.path("{R}/home/.gait/keys");
    let key = fs::read_dir(&keys)?.next().context("no key")??.path();
    let because = ["guard_floor_guard_access", "guard_engine_as_spelt"];
    cannot_open(&scene, ALLOW_ALL, &key.to_string_lossy(), because)
}

/// The boundary is narrower than the policy, and the record says that it was not the policy.
fn made_later() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let policy = CORPUS_POLICY.replace("[\"{W}/**\", /dev/null]", "[\"{W}/**\", \"{R}/later\", /dev/null]");
    let words = ["/bin/sh", "-c", "echo text >{R}/later; cat {R}/later; cat {W}/own"];
    let guarded = guarded(&scene, &policy, &[], &words)?;
    complete(&guarded)?;
    ensure!(guarded.ran.stdout == "own" && scene.path("{R}/later").exists(), "{:?}", guarded.ran);
    let value = scene.expand("{R}/later");
    let refused = guarded.pack.denied().find(|denied| denied.value == value).context("no record")?;
    ensure!(refused.source == "engine" && refused.reasons.contains(&"guard_engine_refused".to_owned()), "{refused:?}");
    Ok(())
}

fn processes() -> anyhow::Result<()> {
    let script = "head -1 /proc/self/status; (cat /proc/1/cmdline); cat /proc/1/environ; \
                  sleep 9 & head -c 5 /proc/$!/cmdline; kill $!; echo; echo end";
    let scene = Scene::new()?;
    let guarded = guarded(&scene, ALLOW_ALL, &[], &["/bin/bash", "-c", script])?;
    complete(&guarded)?;
    ensure!(
        guarded.ran.stdout.starts_with("Name:\thead\n") && guarded.ran.stdout.ends_with("\nend\n"),
        "{:?}",
        guarded.ran
    );
    let denied: Vec<_> =
        guarded.pack.denied().map(|denied| (denied.value.as_str(), denied.reasons.join(" "))).collect();
    let outsider = ("/proc/outside/cmdline", "guard_engine_killed guard_floor_outsider".to_owned());
    // Landlock keeps it closed, whoever the user is; whose it is can't be told any more.
    let environ = ("unresolved:refused", "guard_floor_unresolved".to_owned());
    ensure!(denied.contains(&outsider) && denied.contains(&environ) && denied.len() == 2, "{denied:?}");
    Ok(())
}

fn held() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let script = "echo a > new; cat new; mkdir d; mv new d/moved; cat d/moved; rm d/moved; ls d; \
                  echo x > {S}/made; {S}/program mark 1; cat < /dev/tcp/192.0.2.1/80; echo end";
    let guarded = guarded(&scene, CORPUS_POLICY, &[], &["/bin/bash", "-c", script])?;
    complete(&guarded)?;
    ensure!(guarded.ran.stdout == "a\na\nend\n", "{:?}", guarded.ran);
    ensure!(!scene.path("{S}/made").exists(), "written outside");
    for (tool, value) in [("fs.write", "{S}/made"), ("proc.exec", "{S}/program"), ("net.connect", "192.0.2.1:80")] {
        let value = scene.expand(value);
        let denied = guarded.pack.denied().any(|denied| denied.tool == tool && denied.value == value);
        ensure!(denied, "no denial of {tool} {value}: {:?}", guarded.pack.denied().collect::<Vec<_>>());
    }
    let defined = |tool: &str, engine: &str| {
        let is = |line: &&serde_json::Value| line["intent"]["tool_name"] == tool && line["engine"] == engine;
        guarded.pack.lines("define").filter(is).count()
    };
    for tool in ["fs.write", "fs.delete", "proc.exec", "net.connect"] {
        ensure!(defined(tool, "notify") > 0 && defined(tool, "hybrid") == 0, "{tool} was not held");
    }
    ensure!(defined("fs.list", "notify") > 0, "`ls` was not held");
    ensure!(defined("fs.read", "hybrid") > 0, "no read ran by itself");
    Ok(())
}

const TRIES: u64 = 200;

fn race() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    fs::write(scene.path("{W}/.env"), CANARY)?;
    let guarded = guarded(&scene, CORPUS_POLICY, &[], &["{A}", "race-read", ".env", &TRIES.to_string()])?;
    complete(&guarded)?;
    let said = &guarded.ran.stdout;
    // Every try is answered with a kill. How many were read before it is what docs/limits.md is about.
    ensure!(said.contains(&format!("killed {TRIES}\n")), "{:?}", guarded.ran);
    said.lines().filter(|line| line.starts_with("tries ")).for_each(report::note);
    let value = scene.expand("{W}/.env");
    let denial = guarded.pack.denied().find(|denied| denied.value == value).context("no record")?;
    ensure!(denial.count == TRIES && denial.reasons.iter().any(|reason| reason == KILLED), "{denial:?}");
    let marked = guarded.pack.lines("decision").filter(|line| line["attribution"] == "shared_fd_table").count() as u64;
    ensure!(marked >= TRIES, "{marked} records are marked");
    Ok(())
}

fn simulated() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    fs::write(scene.path("{W}/.env"), CANARY)?;
    let words = ["{A}", "open-at-once", ".env"];
    let guarded = guarded(&scene, CORPUS_POLICY, &["--simulate"], &words)?;
    complete(&guarded)?;
    ensure!(guarded.ran.code == 0 && guarded.ran.stdout.contains(CANARY), "{:?}", guarded.ran);
    let value = scene.expand("{W}/.env");
    let seen = guarded.pack.decided.iter().find(|decided| decided.value == value).context("no record")?;
    ensure!(seen.reasons.iter().any(|reason| reason == "simulated_block"), "{seen:?}");
    Ok(())
}

const OPENS: u64 = 100_000;

fn volume() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let guarded = guarded(&scene, CORPUS_POLICY, &[], &["{A}", "opens", "own", &OPENS.to_string()])?;
    complete(&guarded)?;
    let own = scene.expand("{W}/own");
    let read = guarded.pack.decided.iter().filter(|decided| decided.value == own && decided.tool == "fs.read");
    let count: u64 = read.map(|decided| decided.count).sum();
    ensure!(count == OPENS, "{count} decisions");
    Ok(())
}

fn guard_in_workspace() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let mut command = scene.exec(ALLOW_ALL, &["--engine", "hybrid", "--workspace", "{R}/home"], &["/bin/true"])?;
    let ran = run::run(&mut command)?;
    ensure!(ran.code == 6 && ran.stderr.contains("lies in the workspace"), "{ran:?}");
    ensure!(scene.newest_pack().is_err(), "a run was made");
    Ok(())
}
