//! A policy that was compiled before: the next run takes it, and nobody can tell by what is decided.

use std::fs;

use anyhow::{Context, ensure};
use kernel_suite::CANARY;
use kernel_suite::need::GUARD;
use kernel_suite::run;
use kernel_suite::scene::{CORPUS_POLICY, Guarded, Scene};
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    vec![test("E2E a policy is compiled once, and anew if what was kept is damaged", GUARD, compiled_once)]
}

const BEFORE: &str = "the policy was compiled before";

fn compiled_once() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let first = once(&scene)?;
    ensure!(first.ran.stderr.contains("not compiled before") && !first.ran.stderr.contains(BEFORE), "{:?}", first.ran);
    let second = once(&scene)?;
    ensure!(second.ran.stderr.contains(BEFORE) && !second.ran.stderr.contains("is compiled:"), "{:?}", second.ran);
    for entry in fs::read_dir(scene.path("{R}/home/.gait/compiled"))? {
        let path = entry?.path();
        let mut bytes = fs::read(&path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes)?;
    }
    let third = once(&scene)?;
    ensure!(third.ran.stderr.contains("damaged") && !third.ran.stderr.contains(BEFORE), "{:?}", third.ran);
    let plan = |guarded: &Guarded| anyhow::Ok(guarded.pack.json("guard.json")?["plan"]["policy"].clone());
    ensure!(plan(&first)? == plan(&second)? && plan(&first)? == plan(&third)?, "the plans differ");
    Ok(())
}

/// One run that tells everything, and whose denial is looked for.
fn once(scene: &Scene) -> anyhow::Result<Guarded> {
    fs::remove_dir_all(scene.path("{R}/out"))?;
    fs::create_dir(scene.path("{R}/out"))?;
    let words = ["/bin/sh", "-c", "cat {W}/own; cat {S}/secret"];
    let guarded = scene.finished(run::run(&mut scene.exec(CORPUS_POLICY, &["-v"], &words)?)?)?;
    let out = &guarded.ran.stdout;
    ensure!(out.starts_with("own") && !out.contains(CANARY), "{:?}", guarded.ran);
    let secret = scene.expand("{S}/secret");
    guarded.pack.denied().find(|denied| denied.value == secret).context("the denial is not recorded")?;
    Ok(guarded)
}
