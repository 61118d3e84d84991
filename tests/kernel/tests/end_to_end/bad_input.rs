//! What people get wrong, and what machines do: each has a clear error, the right exit code, and starts nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::ensure;
use kernel_suite::need::{GUARD, Need};
use kernel_suite::pack::Pack;
use kernel_suite::run::{self, Ran};
use kernel_suite::scene::{ALLOW_ALL, Scene};
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    let mut all = vec![
        test("a full disk ends the run, and says so", GUARD.into_iter().chain([Need::Root]), full_disk),
        test(
            "no room for the runpack either: the evidence stays, and is sealed elsewhere",
            GUARD.into_iter().chain([Need::Root]),
            full_disk_for_the_runpack,
        ),
        test("an agent that closes its standard streams works on", GUARD, closed_streams),
        test("the agent's exit code and signal are gait's", GUARD, exit_codes),
        test("--fail-on-block gives 3 when something was blocked, and only then", GUARD, fail_on_block),
        test("--simulate denies nothing but the floor, and records what would have been", GUARD, simulate),
        test("--timeout ends an agent that does not", GUARD, timeout),
        test("--json gives one object with every fact of the summary", GUARD, json),
        test("doctor says what this machine has", [], doctor),
    ];
    all.extend(REFUSED.iter().map(|case| test(format!("bad input: {}", case.name), [], || refused(case))));
    all
}

/// A command line that must start nothing.
struct Case {
    name: &'static str,
    words: &'static [&'static str],
    code: i32,
    /// What the error must name.
    says: &'static [&'static str],
}

/// The agent in all of them leaves a file, if it is started.
const AGENT: [&str; 3] = ["/bin/sh", "-c", "echo started >{W}/started"];

const REFUSED: &[Case] = &[
    Case {
        name: "a policy that is not there",
        words: &["exec", "--policy", "{W}/nowhere.yaml", "--"],
        code: 6,
        says: &["nowhere.yaml", "No such file"],
    },
    Case {
        name: "a policy that is not YAML",
        words: &["exec", "--policy", "{W}/broken.yaml", "--"],
        code: 6,
        says: &["broken.yaml", "3"],
    },
    Case {
        name: "a policy with a key nobody knows",
        words: &["exec", "--policy", "{W}/unknown.yaml", "--"],
        code: 6,
        says: &["defualt_verdict"],
    },
    Case { name: "an unknown flag", words: &["exec", "--polcy", "x", "--"], code: 6, says: &["polcy"] },
    Case {
        name: "a workspace that is not there",
        words: &["exec", "--workspace", "{W}/nowhere", "--"],
        code: 6,
        says: &["nowhere"],
    },
    Case {
        name: "an output folder that is a file",
        words: &["exec", "--out-dir", "{W}/own", "--"],
        code: 6,
        says: &["own"],
    },
    Case {
        name: "an unknown capture mode",
        words: &["exec", "--capture-mode", "everything", "--"],
        code: 6,
        says: &["everything"],
    },
    Case {
        name: "a layer that this kernel does not have, required",
        words: &["exec", "--require", "bpf-lsm-of-next-year", "--"],
        code: 6,
        says: &["bpf-lsm-of-next-year"],
    },
    Case {
        name: "a private key that is not there",
        words: &["exec", "--private-key", "{W}/nowhere.key", "--"],
        code: 6,
        says: &["nowhere.key"],
    },
];

fn gait(scene: &Scene, words: &[&str]) -> anyhow::Result<Ran> {
    let gait = run::gait().to_string_lossy();
    scene.bare(&[&[&*gait], words].concat())
}

fn refused(case: &Case) -> anyhow::Result<()> {
    let scene = Scene::new()?;
    fs::write(scene.path("{W}/broken.yaml"), "schema_id: gait.gate.policy\nrules:\n  - name: [\n")?;
    fs::write(scene.path("{W}/unknown.yaml"), "schema_id: gait.gate.policy\ndefualt_verdict: allow\n")?;
    let ran = gait(&scene, &[case.words, &AGENT].concat())?;
    ensure!(ran.code == case.code, "exit code {} instead of {}: {ran:?}", ran.code, case.code);
    ensure!(!scene.path("{W}/started").exists(), "the agent was started: {ran:?}");
    for word in case.says {
        ensure!(ran.stderr.contains(word) || ran.stdout.contains(word), "`{word}` is not in the error: {ran:?}");
    }
    Ok(())
}

/// Runs an agent that does a lot with a small disk as gait's home, then seals what is left at `{R}/sealed`.
fn on_a_full_disk(scene: &Scene, out: &str) -> anyhow::Result<Ran> {
    let flags = ["--run-id", "run_full"];
    let words =
        scene.exec_words(kernel_suite::scene::CORPUS_POLICY, &flags, &["{A}", "create-names", "{S}", "50000"])?;
    let (usual, out) = (scene.expand("{R}/out"), scene.expand(out));
    let quoted: Vec<String> =
        words.iter().map(|word| format!("'{}'", if *word == usual { &out } else { word })).collect();
    // In a mount namespace of its own, so that the small disk goes away with it.
    let script = format!(
        "mount -t tmpfs -o size=300k none {{R}}/home && mkdir {{R}}/home/out && {}; code=$?
        '{}' run seal run_full --out-dir {{R}}/sealed >&2; exit $code",
        quoted.join(" "),
        run::gait().to_string_lossy(),
    );
    scene.bare(&["/usr/bin/unshare", "-m", "/bin/bash", "-c", &scene.expand(&script)])
}

/// The agent's end, and a pack that holds and says that it is not all.
fn ended_with(scene: &Scene, ran: &Ran, pack: &str) -> anyhow::Result<()> {
    ensure!(ran.code == 1, "{ran:?}");
    ensure!(!ran.stdout.contains("refused 50000"), "the agent went on without records: {ran:?}");
    ensure!(ran.stderr.to_lowercase().contains("no space"), "{ran:?}");
    let pack = scene.path(pack);
    // The local key went away with the small disk: whose run it is can't be told, that it holds can.
    let said = gait(scene, &["verify", &pack.to_string_lossy()])?;
    ensure!(said.code == 0 && said.stdout.contains("guarded: incomplete"), "{said:?} after {ran:?}");
    ensure!(Pack::read(&pack)?.denied().count() > 0, "the evidence is empty");
    Ok(())
}

fn full_disk() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let ran = on_a_full_disk(&scene, "{R}/out")?;
    ended_with(&scene, &ran, "{R}/out/runpack_run_full.zip")
}

fn full_disk_for_the_runpack() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let ran = on_a_full_disk(&scene, "{R}/home/out")?;
    ensure!(ran.stderr.contains("gait run seal run_full"), "nothing says what to do: {ran:?}");
    ended_with(&scene, &ran, "{R}/sealed/runpack_run_full.zip")
}

fn closed_streams() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let guarded = scene.guarded(ALLOW_ALL, &["{A}", "close-all"])?;
    ensure!(guarded.ran.code == 0, "{:?}", guarded.ran);
    ensure!(fs::read_to_string(scene.path("{W}/closed-all"))? == "worked on", "no file");
    // And with none to inherit.
    let scene = Scene::new()?;
    let words = scene.exec_words(ALLOW_ALL, &[], &["{A}", "close-all"])?;
    let shell = ["/bin/sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"].map(str::to_owned);
    let ran = scene.bare(&[&shell[..], &words].concat())?;
    ensure!(ran.code == 0, "{ran:?}");
    scene.newest_pack()?;
    Ok(())
}

fn exit_codes() -> anyhow::Result<()> {
    for (script, code) in [("exit 0", 0), ("exit 1", 1), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143)] {
        let scene = Scene::new()?;
        let guarded = scene.guarded(ALLOW_ALL, &["/bin/sh", "-c", script])?;
        ensure!(guarded.ran.code == code, "{script}: {:?}", guarded.ran);
        let result = guarded.pack.lines("close").next().cloned().unwrap_or_default();
        ensure!(result["complete"] == true, "{script}: {result}");
    }
    let scene = Scene::new()?;
    let missing = run::run(&mut scene.exec(ALLOW_ALL, &[], &["/nowhere/agent"])?)?;
    ensure!(missing.code == 6 || missing.code == 127, "{missing:?}");
    ensure!(missing.stderr.contains("/nowhere/agent"), "{missing:?}");
    fs::write(scene.path("{W}/plain"), "not a program")?;
    fs::set_permissions(scene.path("{W}/plain"), fs::Permissions::from_mode(0o644))?;
    let plain = run::run(&mut scene.exec(ALLOW_ALL, &[], &["{W}/plain"])?)?;
    ensure!(plain.code == 6 || plain.code == 126, "{plain:?}");
    Ok(())
}

fn fail_on_block() -> anyhow::Result<()> {
    let blocked = ["/bin/sh", "-c", "cat {S}/secret 2>/dev/null; exit 0"];
    for (words, code) in [(&blocked[..], 3), (&["/bin/true"], 0)] {
        let scene = Scene::new()?;
        let ran = run::run(&mut scene.exec(kernel_suite::scene::CORPUS_POLICY, &["--fail-on-block"], words)?)?;
        ensure!(ran.code == code, "{words:?}: {ran:?}");
        scene.newest_pack()?;
    }
    Ok(())
}

fn simulate() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let script = "cat {S}/secret; cat {R}/home/.gait/keys/*";
    let words = ["/bin/sh", "-c", script];
    let ran = run::run(&mut scene.exec(kernel_suite::scene::CORPUS_POLICY, &["--simulate"], &words)?)?;
    let guarded = scene.finished(ran)?;
    ensure!(guarded.ran.stdout == kernel_suite::CANARY, "{:?}", guarded.ran);
    let secret = scene.expand("{S}/secret");
    let read = guarded.pack.decided.iter().find(|decided| decided.value == secret);
    ensure!(
        read.is_some_and(|read| read.allowed && read.reasons.iter().any(|r| r == "endpoint_path_denied")),
        "{read:?}"
    );
    Ok(())
}

fn timeout() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let start = std::time::Instant::now();
    let ran = run::run(&mut scene.exec(ALLOW_ALL, &["--timeout", "1s"], &["/bin/sleep", "60"])?)?;
    ensure!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    ensure!(ran.code != 0, "{ran:?}");
    scene.newest_pack()?;
    Ok(())
}

fn json() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let words = ["/bin/sh", "-c", "cat {S}/secret 2>/dev/null; true"];
    let ran = run::run(&mut scene.exec(kernel_suite::scene::CORPUS_POLICY, &["--json"], &words)?)?;
    let lines: Vec<&str> = ran.stdout.lines().collect();
    ensure!(lines.len() == 1, "not one line: {ran:?}");
    let facts: serde_json::Value = serde_json::from_str(lines[0])?;
    for name in ["ok", "run_id", "bundle"] {
        ensure!(!facts[name].is_null(), "no `{name}`: {facts}");
    }
    ensure!(lines[0].contains(&scene.expand("{S}/secret")), "the block is not in it: {facts}");
    Ok(())
}

fn doctor() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let ran = gait(&scene, &["doctor", "--json"])?;
    ensure!(ran.code == 0 || ran.code == 7, "{ran:?}");
    for layer in ["landlock", "seccomp", "pid namespace", "watchdog"] {
        let spelt = [layer.to_owned(), layer.replace(' ', "_"), layer.replace(' ', "-")];
        ensure!(spelt.iter().any(|name| ran.stdout.contains(name.as_str())), "nothing about {layer}: {ran:?}");
    }
    Ok(())
}
