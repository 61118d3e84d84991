//! Much of everything: nothing is lost, and the supervisor does not grow.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use kernel_suite::need::GUARD;
use kernel_suite::pack::Pack;
use kernel_suite::run;
use kernel_suite::scene::{CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    vec![
        test("200,000 opens: no decision lost, the journal verifies, memory stays flat", GUARD, opens),
        test("SUP-04 long argument lists and environments", GUARD, long_arguments),
    ]
}

const OPENS: u32 = 200_000;

/// How much the guard may grow between a tenth of the way and the end.
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
    // Sealing at the end is not the steady state: look at the middle of the run.
    let (early, late) = (sizes.get(sizes.len() / 10), sizes.get(sizes.len() * 8 / 10));
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
