//! The guard is killed: its whole tree dies at once, and what it wrote can be sealed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kernel_suite::need::GUARD;
use kernel_suite::run;
use kernel_suite::scene::{ALLOW_ALL, CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    vec![
        test("SUP-01 kill -9 of gait ends 500 children, half of them detached", GUARD, || killed(500)),
        test("SUP-01 the journal of a killed run becomes a runpack that says so", GUARD, sealed),
        test("SIGTERM to gait ends the agent and leaves its evidence", GUARD, || told_to_end("TERM")),
        test("SIGINT to gait ends the agent and leaves its evidence", GUARD, || told_to_end("INT")),
    ]
}

/// A guarded run that goes on by itself, and says `ready` when it does.
fn started(command: &mut Command) -> anyhow::Result<Child> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut line)?;
    if line != "ready\n" {
        child.kill()?;
        child.wait()?;
        anyhow::bail!("it said {line:?}");
    }
    Ok(child)
}

/// Living processes that run a program of this scene.
fn living(scene: &Scene) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let ours = String::from_utf8_lossy(&command).contains(&*scene.root().to_string_lossy());
        if ours && !status.contains("State:\tZ") && !status.contains("State:\tX") {
            count += 1;
        }
    }
    Ok(count)
}

/// How long it takes until nothing of the scene lives; an error after 5 seconds of an ordinary machine.
fn all_gone(scene: &Scene) -> anyhow::Result<Duration> {
    let start = Instant::now();
    while start.elapsed() < run::limit(Duration::from_secs(5)) {
        if living(scene)? == 0 {
            return Ok(start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    anyhow::bail!("{} processes live on", living(scene)?)
}

/// Kills the guard of `count` children with SIGKILL; all of them must be gone in no time.
pub fn kill_when_ready(scene: &Scene, command: &mut Command, count: usize) -> anyhow::Result<()> {
    let mut gait = started(command)?;
    let before = living(scene)?;
    ensure!(before > count, "only {before} processes were there to be killed");
    gait.kill()?;
    gait.wait()?;
    let took = all_gone(scene)?;
    ensure!(took < run::limit(Duration::from_secs(2)), "it took {took:?}");
    Ok(())
}

fn killed(count: usize) -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let mut command = scene.exec(CORPUS_POLICY, &[], &["{A}", "bomb", &count.to_string()])?;
    kill_when_ready(&scene, &mut command, count)
}

/// The innermost process that runs gait: launcher, watchdog, supervisor.
fn supervisor(gait: u32) -> anyhow::Result<u32> {
    let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let (own, mut found) = (program(gait), gait);
    loop {
        let children = fs::read_to_string(format!("/proc/{found}/task/{found}/children"))?;
        let mut guards =
            children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(|pid| program(*pid) == own);
        match guards.next() {
            Some(next) => found = next,
            None => return Ok(found),
        }
    }
}

fn sealed() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let script = "for n in 1 2 3; do cat own; done >/dev/null; cat {S}/secret 2>/dev/null; echo ready; sleep 100";
    let mut running = started(&mut scene.exec(CORPUS_POLICY, &[], &["/bin/sh", "-c", script])?)?;
    let gait = run::gait().to_string_lossy();
    let runs: Vec<_> = fs::read_dir(scene.path("{R}/home/.gait/runs"))?.flatten().map(|run| run.file_name()).collect();
    ensure!(runs.len() == 1, "{runs:?}");
    let run_id = runs[0].to_string_lossy().into_owned();
    let seal = [&*gait, "run", "seal", run_id.as_str(), "--out-dir", "{R}/out"];
    let early = scene.bare(&seal)?;
    ensure!(early.code == 6, "a run that goes on was sealed: {early:?}");
    let secret = scene.expand("{S}/secret");
    let folder = scene.path("{R}/home/.gait/runs").join(&run_id);
    let receipt: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("guard.json"))?)?;
    // What the supervisor decides is written down before it takes effect, what the kernel does a moment later.
    let is_late = receipt["plan"]["engine"] != "notify";
    let start = Instant::now();
    while !fs::read_to_string(folder.join("decisions/000001.jsonl"))?.contains(&secret) {
        let waits = is_late && start.elapsed() < run::limit(Duration::from_secs(10));
        ensure!(waits, "the denial is not written down");
        std::thread::sleep(Duration::from_millis(1));
    }
    // The one who writes the journal, so that nobody is left to end it properly.
    let supervisor = supervisor(running.id())?.to_string();
    let shot = scene.bare(&["/bin/kill", "-9", supervisor.as_str()])?;
    ensure!(shot.code == 0, "{shot:?}");
    let ended = running.wait()?;
    ensure!(!ended.success(), "gait says that all is well: {ended:?}");
    all_gone(&scene)?;
    // By its path: a copy elsewhere, what was left stays.
    let named = folder.to_string_lossy();
    let copied = scene.bare(&[&*gait, "run", "seal", &*named, "--out-dir", "{R}/copy", "--json"])?;
    let answer: serde_json::Value = serde_json::from_str(&copied.stdout)?;
    ensure!(copied.code == 0 && answer["complete"] == false && answer["run_id"] == *run_id, "{copied:?}");
    ensure!(folder.is_dir(), "a folder named by its path is gone");
    let late = scene.bare(&seal)?;
    ensure!(late.code == 0, "{late:?}");
    ensure!(!folder.exists(), "a run that is sealed stays");
    let path = scene.newest_pack()?;
    let said = scene.bare(&[&*gait, "verify", &*path.to_string_lossy()])?;
    ensure!(said.stdout.contains("guarded: incomplete"), "{said:?}");
    let strict = scene.bare(&[&*gait, "verify", "--profile", "strict", &*path.to_string_lossy()])?;
    ensure!(strict.code == 2, "an incomplete run is strict: {strict:?}");
    let pack = kernel_suite::pack::Pack::read(&path)?;
    ensure!(pack.denied().any(|denied| denied.value == secret), "the denial is lost: {:?}", pack.decided);
    Ok(())
}

fn told_to_end(signal: &str) -> anyhow::Result<()> {
    let scene = Scene::new()?;
    // Whoever started these tests in the background may have had interrupts ignored, which a shell can't undo.
    let agent = ["/usr/bin/env", "--default-signal=INT", "/bin/sh", "-c", "echo ready; cat own; sleep 100"];
    let mut gait = started(&mut scene.exec(ALLOW_ALL, &[], &agent)?)?;
    let sent = scene.bare(&["/bin/kill", &format!("-{signal}"), &gait.id().to_string()])?;
    ensure!(sent.code == 0, "{sent:?}");
    let start = Instant::now();
    while gait.try_wait()?.is_none() {
        if start.elapsed() > run::limit(Duration::from_secs(10)) {
            gait.kill()?;
            gait.wait()?;
            anyhow::bail!("it did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    all_gone(&scene)?;
    scene.newest_pack().context("no evidence")?;
    Ok(())
}
