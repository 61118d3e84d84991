//! The probes beside the supervisor: what they add to the journal, and that they don't end honest runs.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use kernel_suite::need::{GUARD, Need, UNPRIVILEGED};
use kernel_suite::pack::Pack;
use kernel_suite::run;
use kernel_suite::scene::{ALLOW_ALL, CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};
use serde_json::Value;

pub fn tests() -> Vec<Test> {
    let root = || GUARD.into_iter().chain([Need::Root]);
    vec![
        test("the receipt names the engine, the better one and why not, and the probes", root(), receipt),
        test("with probes every process of the run has its end in the journal", root(), ends),
        test("with probes an orphan's parent is the process that made it", root(), orphans),
        test("with probes honest loads of forks and execs are no disagreement", root(), loads),
        test("an engine that can't be had is refused by name", GUARD, refused_engine),
        test(
            "without capabilities the run goes on without probes, and says so",
            GUARD.into_iter().chain([UNPRIVILEGED, Need::Root, Need::Program("setpriv")]),
            without,
        ),
        test(
            "an ordinary user with CAP_BPF and CAP_PERFMON has the probes, one of them alone does not do",
            GUARD.into_iter().chain([UNPRIVILEGED, Need::Root, Need::Program("setpriv")]),
            two_capabilities,
        ),
        test("with --verbose the guard and its programs in the kernel tell what they do", root(), verbose),
    ]
}

fn plan(pack: &Pack) -> anyhow::Result<Value> {
    let receipt: Value = serde_json::from_slice(pack.members.get("guard.json").context("no guard.json")?)?;
    Ok(receipt["plan"].clone())
}

fn has_probes(pack: &Pack) -> anyhow::Result<bool> {
    let plan = plan(pack)?;
    Ok(plan["layers"].as_array().is_some_and(|layers| layers.iter().any(|layer| layer == "probes")))
}

fn receipt() -> anyhow::Result<()> {
    let ran = Scene::new()?.guarded(CORPUS_POLICY, &["/bin/true"])?;
    let plan = plan(&ran.pack)?;
    let asked = run::engine().unwrap_or_else(|| "auto".to_owned());
    let taken = plan["engine"].as_str().context("no engine")?;
    ensure!(plan["engine_requested"] == asked && (taken == asked || asked == "auto"), "{plan}");
    if taken == "lsm" || asked == "notify" {
        // None is better, or none was to be tried.
        ensure!(plan["engine_rejected"].as_array().is_some_and(Vec::is_empty), "{plan}");
        return Ok(());
    }
    let rejected = plan["engine_rejected"].as_array().context("nothing about better engines")?;
    let is_told = rejected.iter().all(|rejected| rejected["engine"] == "lsm" && rejected["reason"].is_string());
    // `hybrid` is taken where it is asked for, also where `lsm` would be had.
    ensure!(is_told && (asked == "hybrid" || !rejected.is_empty()), "{plan}");
    let programs = plan["bpf"]["programs"].as_array().context("no programs")?;
    let is_listed = |name: &str| programs.iter().any(|program| program["name"] == name);
    if has_probes(&ran.pack)? {
        ensure!(["on_fork", "on_exec", "on_exit"].into_iter().all(is_listed), "{programs:?}");
        ensure!(plan["bpf"]["object_digest"].as_str().is_some_and(|digest| digest.len() == 64), "{plan}");
    } else {
        ensure!(programs.is_empty(), "{programs:?}");
    }
    Ok(())
}

/// By process: its parent.
fn parents(pack: &Pack) -> BTreeMap<u64, u64> {
    pack.lines("fork").filter_map(|line| Some((line["proc"].as_u64()?, line["parent"].as_u64()?))).collect()
}

fn ends() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let script = "/bin/true; /bin/false; (exit 7); kill -9 $$";
    let ran = scene.guarded(CORPUS_POLICY, &["/bin/bash", "-c", script])?;
    if !has_probes(&ran.pack)? {
        return Ok(());
    }
    let forked = parents(&ran.pack);
    let mut codes: Vec<(u64, u64)> = Vec::new();
    for line in ran.pack.lines("exit") {
        ensure!(line["proc"].as_u64().is_some_and(|proc| forked.contains_key(&proc)), "{line}");
        codes.push((line["code"].as_u64().context("code")?, line["signal"].as_u64().context("signal")?));
    }
    codes.sort_unstable();
    ensure!(codes == [(0, 0), (0, 9), (1, 0), (7, 0)], "{codes:?}");
    ensure!(forked.len() == 4, "{forked:?}");
    Ok(())
}

fn orphans() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    // The one in the middle is gone before its child does anything.
    let script = "(sleep 0.3; cat own >/dev/null) & exit";
    let words = ["/bin/bash", "-c", &format!("/bin/bash -c '{script}'; sleep 1")];
    let ran = scene.guarded(CORPUS_POLICY, &words)?;
    if !has_probes(&ran.pack)? {
        return Ok(());
    }
    let parents = parents(&ran.pack);
    ensure!(parents.get(&1) == Some(&0), "{parents:?}");
    let others = parents.iter().filter(|(proc, _)| **proc != 1);
    for (proc, parent) in others {
        ensure!(parent != proc && parents.contains_key(parent), "{parents:?}");
    }
    Ok(())
}

/// Many at once: pipelines, `vfork`, threads that exec, execs that fail, scripts, processes killed while they start.
const LOADS: &str = r#"
set -e
work() {
  for i in $(seq 40); do
    /bin/true; /bin/echo "$i" | /bin/cat | /usr/bin/wc -c >/dev/null
    /no/such/program 2>/dev/null || true
    ./script "$i" >/dev/null
  done
}
printf '#!/bin/sh\necho "$0" "$@"\n' > script; chmod +x script
for n in 1 2 3 4; do work & done; wait
for i in $(seq 60); do (exec /bin/sleep 5) & p=$!; kill -9 $p; wait $p || true; done 2>/dev/null
for i in $(seq 60); do timeout -s KILL 0.001 /bin/sleep 5 || true; done
"#;

const PYTHON: &str = "
import os, subprocess, threading
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda n: subprocess.run(['/bin/echo', str(n)], stdout=subprocess.DEVNULL, check=True), range(200)))
for n in range(20):
    if os.fork() == 0:
        # Threads that exec at once: one wins, the others die.
        for m in range(4):
            threading.Thread(target=lambda: os.execv('/bin/echo', ['echo', str(m), 'x' * 6000])).start()
        threading.Event().wait()
    os.wait()
";

fn loads() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let done = |words: &[&str]| -> anyhow::Result<()> {
        let ran = scene.guarded(ALLOW_ALL, words)?;
        ensure!(ran.ran.code == 0, "{:?}", ran.ran);
        ensure!(ran.pack.lines("disagreement").count() == 0 && ran.pack.lines("lost").count() == 0);
        let close = ran.pack.lines("close").last().context("no close")?;
        ensure!(close["complete"] == true, "{close}");
        if has_probes(&ran.pack)? {
            let (born, dead) = (ran.pack.lines("fork").count(), ran.pack.lines("exit").count());
            ensure!(born == dead, "{born} processes, {dead} ends");
        }
        Ok(())
    };
    done(&["/bin/bash", "-c", LOADS])?;
    done(&["/usr/bin/python3", "-c", PYTHON])
}

fn refused_engine() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    for engine in ["lsm", "hybrid"] {
        let plan = run::run(&mut scene.exec(CORPUS_POLICY, &["--engine", engine], &["/bin/true"])?)?;
        if plan.code == 0 {
            // It fires here.
            continue;
        }
        ensure!(
            plan.code == 7
                && ["can't be used here", "does not work here"]
                    .iter()
                    .any(|words| plan.stderr.contains(&format!("the engine `{engine}` {words}"))),
            "{plan:?}"
        );
    }
    let unknown = run::run(&mut scene.exec(CORPUS_POLICY, &["--engine", "magic"], &["/bin/true"])?)?;
    ensure!(unknown.code == 6, "{unknown:?}");
    Ok(())
}

fn without() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let all = scene.exec_words(CORPUS_POLICY, &[], &["/bin/true"])?;
    let bare: Vec<String> =
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all"].into_iter().map(str::to_owned).chain(all).collect();
    let ran = scene.finished(run::run(&mut scene.command(&bare))?)?;
    ensure!(ran.ran.code == 0 && !has_probes(&ran.pack)?, "{:?}", ran.ran);
    let receipt: Value = serde_json::from_slice(&ran.pack.members["guard.json"])?;
    let test = receipt["run"]["self_test"].as_array().context("no self-tests")?;
    let probes = test.iter().find(|test| test["layer"] == "probes").context("probes are not told of")?;
    ensure!(probes["result"] == "skipped" && probes["detail"].as_str().is_some_and(|why| why.contains("CAP_BPF")));
    let demanded = scene.exec_words(CORPUS_POLICY, &["--require", "probes"], &["/bin/true"])?;
    let words: Vec<String> = bare[..3].iter().cloned().chain(demanded).collect();
    let refused = run::run(&mut scene.command(&words))?;
    ensure!(refused.code == 7 && refused.stderr.contains("`probes`"), "{refused:?}");
    Ok(())
}

/// What becomes of the layer `probes` for an ordinary user with these capabilities.
fn self_test(capabilities: &str) -> anyhow::Result<(Value, bool)> {
    let scene = super::identity::scene(&super::identity::USER)?;
    let (inherited, ambient) = (format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}"));
    let shoes = [&super::identity::USER[..], &[&inherited, &ambient]].concat();
    let ran =
        super::identity::guarded(&scene, &shoes, CORPUS_POLICY, &["/bin/bash", "-c", "cat {S}/secret; /bin/true"])?;
    // Whoever may watch: the decisions are the same.
    ensure!(ran.pack.denied().any(|denied| denied.tool == "fs.read"), "{:?}", ran.ran);
    let receipt: Value = serde_json::from_slice(&ran.pack.members["guard.json"])?;
    let tests = receipt["run"]["self_test"].as_array().context("no self-tests")?;
    let probes = tests.iter().find(|test| test["layer"] == "probes").context("probes are not told of")?;
    let ended = ran.pack.lines("exit").count() == ran.pack.lines("fork").count();
    Ok((probes.clone(), ended && has_probes(&ran.pack)?))
}

fn two_capabilities() -> anyhow::Result<()> {
    let (root, _) = has_probes_as_root()?;
    let (both, watched) = self_test("-all,+bpf,+perfmon")?;
    ensure!(both["result"] == root, "root: {root}, with both capabilities: {both}");
    ensure!(watched == (root == "fired"), "{both}");
    for one in ["-all,+bpf", "-all,+perfmon"] {
        let (probes, watched) = self_test(one)?;
        ensure!(!watched && probes["result"] == "skipped", "{one}: {probes}");
        ensure!(probes["detail"].as_str().is_some_and(|why| why.contains("CAP_PERFMON")), "{one}: {probes}");
    }
    Ok(())
}

/// What root gets here: the control.
fn has_probes_as_root() -> anyhow::Result<(Value, Pack)> {
    let ran = Scene::new()?.guarded(CORPUS_POLICY, &["/bin/true"])?;
    let receipt: Value = serde_json::from_slice(&ran.pack.members["guard.json"])?;
    let tests = receipt["run"]["self_test"].as_array().context("no self-tests")?;
    let probes = tests.iter().find(|test| test["layer"] == "probes").context("probes are not told of")?;
    Ok((probes["result"].clone(), ran.pack))
}

fn verbose() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let run =
        |flags: &[&str]| run::run(&mut scene.exec(CORPUS_POLICY, flags, &["/bin/bash", "-c", "/bin/true; exit 3"])?);
    for flag in ["--verbose", "-v"] {
        let told = run(&[flag])?;
        ensure!(told.code == 3 && told.stderr.contains("gait_guard::exec: the run begins"), "{told:?}");
        // Of the programs in the kernel, where there are any.
        if has_probes_as_root()?.0 == "fired" {
            for line in ["gait_ebpf::process: task", "runs another program", "ended with status 768"] {
                ensure!(told.stderr.contains(line), "no {line:?} in {}", told.stderr);
            }
        }
    }
    let quiet = run(&[])?;
    ensure!(
        quiet.code == 3 && !quiet.stderr.contains("gait_guard") && !quiet.stderr.contains("gait_ebpf"),
        "{quiet:?}"
    );
    Ok(())
}
