//! DEG-01: each feature missing in turn. A run is refused, or says in its signed receipt what it went without.

use anyhow::ensure;
use kernel_suite::CANARY;
use kernel_suite::need::{GUARD, Need};
use kernel_suite::run::{self, Ran};
use kernel_suite::scene::{CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    let mut all = Vec::new();
    for (call, what) in [("seccomp", "no seccomp"), ("landlock_create_ruleset", "no Landlock"), ("ptrace", "no ptrace")]
    {
        all.push(test(format!("DEG-01 {what}: refused, and the error names it"), GUARD, move || refused(call)));
    }
    for call in ["unshare", "mount", "pidfd_getfd", "open_tree", "userfaultfd", "memfd_create"] {
        let name = format!("DEG-01 without {call}: refused, or the boundary holds and the receipt is complete");
        all.push(test(name, GUARD, move || holds_or_refuses(call)));
    }
    all.push(test("DEG-01 without fsync: nothing acts before its evidence is on the disk", GUARD, || {
        let scene = Scene::new()?;
        // The key is made and kept by a run before, in a folder that is on the disk.
        let control = scene.guarded(CORPUS_POLICY, &AGENT)?;
        ensure!(control.ran.stdout == "started\n", "{:?}", control.ran);
        let ran = run_without(&scene, "fsync")?;
        ensure!(ran.code != 0 && !ran.stdout.contains("started"), "the agent was started: {ran:?}");
        ensure!(ran.stderr.contains("the journal can't be put on the disk"), "{ran:?}");
        Ok(())
    }));
    let needs = [Need::Kernel("seccomp-notify"), Need::Without("landlock")];
    all.push(test("DEG-01 on a kernel without Landlock: refused, and the error names it", needs, || {
        let scene = Scene::new()?;
        let ran = run::run(&mut scene.exec(CORPUS_POLICY, &[], &AGENT)?)?;
        is_refusal(&ran, "landlock")
    }));
    all.push(test("DEG-01 on a kernel without Landlock: doctor says so", needs, || {
        let scene = Scene::new()?;
        let ran = scene.bare(&[&*run::gait().to_string_lossy(), "doctor"])?;
        ensure!(ran.code != 0 && ran.stdout.to_lowercase().contains("landlock"), "{ran:?}");
        Ok(())
    }));
    all
}

const AGENT: [&str; 3] = ["/bin/sh", "-c", "echo started; cat {S}/secret"];

fn run_without(scene: &Scene, call: &str) -> anyhow::Result<Ran> {
    let mut words = vec!["{A}".to_owned(), "without".to_owned(), call.to_owned()];
    words.extend(scene.exec_words(CORPUS_POLICY, &[], &AGENT)?);
    run::run(&mut scene.command(&words))
}

fn refused(call: &str) -> anyhow::Result<()> {
    let ran = run_without(&Scene::new()?, call)?;
    is_refusal(&ran, call.split('_').next().unwrap_or(call))
}

fn is_refusal(ran: &Ran, layer: &str) -> anyhow::Result<()> {
    ensure!(ran.code == 7, "{ran:?}");
    ensure!(!ran.stdout.contains("started"), "the agent was started: {ran:?}");
    ensure!(ran.stderr.to_lowercase().contains(layer), "`{layer}` is not named: {ran:?}");
    Ok(())
}

fn holds_or_refuses(call: &str) -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let ran = run_without(&scene, call)?;
    ensure!(!ran.stdout.contains(CANARY), "{ran:?}");
    if ran.code != 0 && ran.stderr.contains("error:") && !ran.stdout.contains("started") {
        return Ok(());
    }
    let guarded = scene.finished(ran)?;
    ensure!(guarded.ran.stdout == "started\n", "{:?}", guarded.ran);
    let plan = &guarded.pack.json("guard.json")?["plan"];
    ensure!(plan["layers"].as_array().is_some_and(|layers| !layers.is_empty()), "{plan}");
    ensure!(plan["degraded"].is_array(), "{plan}");
    Ok(())
}
