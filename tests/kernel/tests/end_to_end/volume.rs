//! Much of everything: nothing is lost, and the supervisor does not grow.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use kernel_suite::need::{Found, GUARD, Need};
use kernel_suite::pack::Pack;
use kernel_suite::run;
use kernel_suite::scene::{CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    vec![
        test("200,000 opens: no decision lost, the journal verifies, memory stays flat", GUARD, opens),
        test("SUP-04 long argument lists and environments", GUARD, long_arguments),
        test(
            "SUP-03 a ring too small for a flood of opens denies, says so and fails the run",
            GUARD.into_iter().chain([LSM]),
            small_ring,
        ),
    ]
}

const OPENS: u32 = 200_000;

/// The engine `lsm` fires here.
const LSM: Need = Need::Tried("lsm", lsm);

fn lsm() -> Found {
    let told = std::process::Command::new(run::gait()).args(["doctor", "--json"]).output();
    let told = told.ok().and_then(|told| serde_json::from_slice::<serde_json::Value>(&told.stdout).ok());
    let engine =
        told.as_ref().and_then(|told| told["engines"].as_array()?.iter().find(|engine| engine["name"] == "lsm"));
    match engine {
        Some(engine) if engine["state"] == "present" => Found::Present,
        Some(engine) => Found::Absent(format!("lsm {} {}", engine["stage"], engine["detail"])),
        None => Found::Broken("gait doctor does not tell".to_owned()),
    }
}

/// Processes that each open their own file as fast as they can; how often they were let and not, to standard output.
const FLOOD: &str = "
import os
pids = []
for n in range(4):
    pid = os.fork()
    if pid == 0:
        done = [0, 0]
        for _ in range(20000):
            try:
                os.close(os.open('own', os.O_RDONLY)); done[0] += 1
            except PermissionError:
                done[1] += 1
        os.write(1, ('%d %d\\n' % tuple(done)).encode())
        os._exit(0)
    pids.append(pid)
for pid in pids: os.waitpid(pid, 0)
";

/// Whatever was let through is in the journal; whatever had no room was denied, and is counted.
fn small_ring() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let flags = ["--engine", "lsm", "--ring-bytes", "65536"];
    let ran =
        scene.finished(run::run(&mut scene.exec(CORPUS_POLICY, &flags, &["/usr/bin/python3", "-c", FLOOD])?)?)?;
    let (mut let_through, mut refused) = (0, 0);
    for line in ran.ran.stdout.lines() {
        let (done, not) = line.split_once(' ').with_context(|| format!("{:?}", ran.ran))?;
        let_through += done.parse::<u64>()?;
        refused += not.parse::<u64>()?;
    }
    ensure!(let_through + refused == 4 * 20_000, "{:?}", ran.ran);
    let own = scene.expand("{W}/own");
    let recorded: u64 =
        ran.pack.decided.iter().filter(|d| d.value == own && d.tool == "fs.read").map(|d| d.count).sum();
    ensure!(recorded == let_through, "{let_through} let through, {recorded} recorded");
    let lost: u64 = ran.pack.lines("lost").filter_map(|line| line["count"].as_u64()).sum();
    let receipt = ran.pack.json("guard.json")?;
    ensure!(receipt["run"]["counters"]["lost"] == lost, "{lost} lost, receipt {}", receipt["run"]["counters"]);
    if refused == 0 {
        ensure!(ran.ran.code == 0 && lost == 0, "nothing was refused: {:?}", ran.ran);
        anyhow::bail!("the ring was never full: no flood");
    }
    // Other opens of the run may have had no room too.
    ensure!(lost >= refused, "{refused} refused, {lost} counted");
    ensure!(ran.ran.code == 1 && ran.ran.stderr.contains("--ring-bytes"), "{:?}", ran.ran);
    let close = ran.pack.lines("close").last().context("no close")?;
    ensure!(close["reason"] == "lost" && close["complete"] == false, "{close}");
    Ok(())
}

/// How much the guard may grow in the second half of its run.
const GROWTH_KIB: u64 = 4096;

/// The ring of engines that decide in the kernel, 16 MiB which are mapped twice: pages count once they were read. And what
/// waits to be written down, at most 4,096 records.
const RING_KIB: u64 = 2 * (16 << 10) + 6 * 1024;

fn opens() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let opens = run::noted_tries(OPENS);
    let mut command = scene.exec(CORPUS_POLICY, &[], &["{A}", "opens", "own", &opens.to_string()])?;
    let mut gait = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut sizes = Vec::new();
    let status = loop {
        if let Some(status) = gait.try_wait()? {
            break status;
        }
        sizes.extend(guard_kib(gait.id()));
        std::thread::sleep(Duration::from_millis(50));
    };
    ensure!(status.success(), "{status:?}");
    let pack = Pack::read(&scene.newest_pack()?)?;
    let own = scene.expand("{W}/own");
    let counted: u64 = pack.decided.iter().filter(|d| d.value == own && d.tool == "fs.read").map(|d| d.count).sum();
    ensure!(counted == u64::from(opens), "{counted} decisions");
    ensure!(pack.lines("lost").count() == 0, "decisions were lost");
    let last = pack.lines("checkpoint").last().context("no checkpoint")?;
    ensure!(last["decisions"].as_u64().is_some_and(|all| all >= u64::from(opens)), "{last}");
    // Neither the start, which is long on a slow machine, nor sealing at the end is the steady state.
    let (early, late) = (sizes.get(sizes.len() * 4 / 10), sizes.get(sizes.len() * 8 / 10));
    let (early, late) = early.zip(late).context("too quick to be looked at")?;
    let is_in_kernel = run::engine().is_some_and(|engine| engine != "notify");
    let growth = GROWTH_KIB + if is_in_kernel { RING_KIB } else { 0 };
    ensure!(*late <= early + growth, "grew from {early} to {late} KiB: {sizes:?}");
    Ok(())
}

/// Resident memory of gait and the helpers that it forked, without the agent.
fn guard_kib(pid: u32) -> Option<u64> {
    let own = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let mut total = 0;
    let mut todo = vec![pid];
    while let Some(pid) = todo.pop() {
        if fs::read_link(format!("/proc/{pid}/exe")).ok().as_ref() != Some(&own) {
            continue;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        total += resident.split_whitespace().next()?.parse::<u64>().ok()?;
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            todo.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    Some(total)
}

fn long_arguments() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let script =
        "/bin/true $(seq 1 20000) && /usr/bin/env A=$(head -c 100000 /dev/zero | tr '\\0' a) /bin/true && echo done";
    let words = ["/bin/bash", "-c", script];
    let control = scene.bare(&words)?;
    ensure!(control.stdout == "done\n", "{control:?}");
    let ran = run::run(&mut scene.exec(CORPUS_POLICY, &["--capture-mode", "raw"], &words)?)?;
    let guarded = scene.finished(ran)?;
    ensure!(guarded.ran.stdout == "done\n", "{:?}", guarded.ran);
    let many = guarded.pack.lines("exec").filter_map(|line| line["argc"].as_u64()).max();
    ensure!(many == Some(20_001), "argc {many:?}");
    Ok(())
}
