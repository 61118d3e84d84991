//! The README's first command, and what it promises.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use kernel_suite::need::{GUARD, Need};
use kernel_suite::pack::Pack;
use kernel_suite::report;
use kernel_suite::run::{self, Ran};
use kernel_suite::scene::Scene;
use kernel_suite::suite::{Test, test};

pub fn tests() -> Vec<Test> {
    let needs = || GUARD.into_iter().chain([Need::Program("git"), Need::Program("python3")]);
    vec![
        test("README: the example works, its three misdeeds are refused and have no effect", needs(), example),
        test("README: the first command is the one that is tested here", [], command_in_readme),
        test("two runs of one agent are equal, and run diff says so", needs(), two_runs),
        test("a runpack with any byte changed does not verify", needs(), any_byte),
    ]
}

/// What stands in the README after `cargo run --release --`.
const EXAMPLE: [&str; 4] = ["exec", "--", "/usr/bin/python3", "examples/agent.py"];

/// A small repository with history in `{W}`, the example in it, and a key in the home folder.
fn repository() -> anyhow::Result<Scene> {
    let scene = Scene::new()?;
    let script = "set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
mkdir -p src examples; echo 'fn main() {}' >src/main.rs; printf 'gait-out\\ntarget\\n' >.gitignore
git init -q -b main .; git add .; git commit -qm first
mkdir -p $HOME/.ssh; echo private >$HOME/.ssh/id_ed25519; chmod 600 $HOME/.ssh/id_ed25519";
    let made = scene.bare(&["/bin/bash", "-c", script])?;
    ensure!(made.code == 0, "{made:?}");
    fs::copy(run::repository().join("examples/agent.py"), scene.path("{W}/examples/agent.py"))?;
    Ok(scene)
}

/// gait and its words, with the engine that the suite was told to ask for.
fn with_engine(gait: &str, words: &[&str]) -> Vec<String> {
    let flags = run::engine_flags();
    let (verb, rest) = words.split_at(1);
    [gait]
        .iter()
        .chain(verb)
        .map(|word| (*word).to_owned())
        .chain(flags)
        .chain(rest.iter().map(|word| (*word).to_owned()))
        .collect()
}

fn run_example(scene: &Scene) -> anyhow::Result<(Ran, PathBuf)> {
    let gait = run::gait().to_string_lossy();
    let ran = scene.bare(&with_engine(&gait, &EXAMPLE))?;
    let pack = newest(&scene.path("{W}/gait-out")).with_context(|| format!("no runpack: {ran:?}"))?;
    Ok((ran, pack))
}

/// The newest zip in a folder.
pub fn newest(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut packs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "zip") {
            packs.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    packs.sort();
    Ok(packs.pop().context("no zip")?.1)
}

fn example() -> anyhow::Result<()> {
    let control = repository()?;
    let bare = control.bare(&EXAMPLE[2..])?;
    ensure!(bare.stdout.contains("read a private key: done"), "control: {bare:?}");
    ensure!(bare.stdout.contains("plant a git hook: done"), "control: {bare:?}");
    let scene = repository()?;
    let before = files(&scene.path("{W}"))?;
    let (ran, pack) = run_example(&scene)?;
    ensure!(ran.code == 0, "{ran:?}");
    ensure!(ran.stdout.lines().filter(|line| line.contains(": refused (")).count() == 3, "{ran:?}");
    ensure!(ran.stdout.starts_with("report: target/example-agent/report.md, written\n"), "{ran:?}");
    let report = fs::read_to_string(scene.path("{W}/target/example-agent/report.md"))?;
    ensure!(report.contains("1 source files") && report.contains(" first"), "{report}");
    ensure!(!scene.path("{W}/.git/hooks/post-checkout").exists(), "the hook is there");
    let new: Vec<_> = files(&scene.path("{W}"))?.difference(&before).cloned().collect();
    let left = new.iter().filter(|path| !path.starts_with("gait-out/") && !path.starts_with("target/"));
    ensure!(left.clone().count() == 0, "left in the tree: {:?}", left.collect::<Vec<_>>());
    told(&ran, &pack)?;
    recorded(&scene, &pack)?;
    regress(&scene, &pack)
}

/// The end of `gait exec` says what was blocked, and how to check the bundle.
fn told(ran: &Ran, pack: &Path) -> anyhow::Result<()> {
    let run_id = run_id(pack)?;
    let footer = format!("GAIT run_id={run_id} manifest=sha256:");
    for fact in [run_id.as_str(), "id_ed25519", "post-checkout", "192.0.2.1:443", footer.as_str()] {
        ensure!(ran.stderr.contains(fact), "`{fact}` is not in the summary: {}", ran.stderr);
    }
    Ok(())
}

fn run_id(pack: &Path) -> anyhow::Result<String> {
    let run = Pack::read(pack)?.json("run.json")?;
    Ok(run["run_id"].as_str().context("run.json has no run_id")?.to_owned())
}

fn recorded(scene: &Scene, path: &Path) -> anyhow::Result<()> {
    let pack = Pack::read(path)?;
    for (tool, value) in [
        ("fs.read", "{R}/home/.ssh/id_ed25519"),
        ("fs.write", "{W}/.git/hooks/post-checkout"),
        ("net.connect", "192.0.2.1:443"),
    ] {
        let value = scene.expand(value);
        let found =
            pack.denied().any(|denied| denied.tool == tool && denied.value == value && denied.source == "policy");
        ensure!(found, "no record of {tool} {value}: {:?}", pack.denied().collect::<Vec<_>>());
    }
    let gait = run::gait().to_string_lossy();
    let verified = scene.bare(&[&*gait, "verify", &*path.to_string_lossy()])?;
    ensure!(verified.code == 0, "{verified:?}");
    let strict = scene.bare(&[&*gait, "verify", "--profile", "strict", &*path.to_string_lossy()])?;
    ensure!(strict.code == 0, "on the machine that signed it: {strict:?}");
    Ok(())
}

fn regress(scene: &Scene, pack: &Path) -> anyhow::Result<()> {
    let gait = run::gait().to_string_lossy();
    let folder = scene.path("{R}/regress");
    fs::create_dir(&folder)?;
    let words = ["regress", "bootstrap", "--from", &*pack.to_string_lossy()].map(str::to_owned);
    let mut command = run::command(&*gait, &folder, &scene.path("{R}/home"));
    let ran = run::run(command.args(words))?;
    ensure!(ran.code == 0, "{ran:?}");
    Ok(())
}

/// Relative names of all files below `root`.
fn files(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root)?.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}

fn command_in_readme() -> anyhow::Result<()> {
    let readme = fs::read_to_string(run::repository().join("README.md"))?;
    let first = readme.lines().find(|line| line.starts_with("cargo ")).context("no command in the README")?;
    let tested = format!("cargo run --release -- {}", EXAMPLE.join(" "));
    ensure!(first == tested, "the README says `{first}`, tested is `{tested}`");
    Ok(())
}

fn two_runs() -> anyhow::Result<()> {
    let scene = repository()?;
    // The first run makes what later ones find: its report, python's caches.
    run_example(&scene)?;
    let (_, first) = run_example(&scene)?;
    let kept = scene.path("{R}/first.zip");
    fs::rename(&first, &kept)?;
    let (_, second) = run_example(&scene)?;
    ensure!(Pack::read(&kept)?.intents() == Pack::read(&second)?.intents(), "other intents");
    let gait = run::gait().to_string_lossy();
    let same = scene.bare(&[&*gait, "run", "diff", &*kept.to_string_lossy(), &*second.to_string_lossy()])?;
    ensure!(same.code == 0, "{same:?}");
    // And it can tell: a run that does something else.
    let other = scene.bare(&with_engine(&gait, &["exec", "--", "/bin/true"]))?;
    let third = newest(&scene.path("{W}/gait-out"))?;
    let changed = scene.bare(&[&*gait, "run", "diff", &*kept.to_string_lossy(), &*third.to_string_lossy()])?;
    ensure!(changed.code == 2, "{other:?} {changed:?}");
    Ok(())
}

fn any_byte() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    scene.guarded("schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: allow\n", &["/bin/true"])?;
    let good = fs::read(scene.newest_pack()?)?;
    // Each is a run of gait: on a slow machine every so many bytes.
    let step = run::slow().pow(2) as usize;
    if step > 1 {
        report::note(format!("every {step}th byte instead of each, since this machine is slow"));
    }
    let failures = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|half| {
                scope.spawn({
                    let (scene, good) = (&scene, &good);
                    move || accepted(scene, good, half, step)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| anyhow::bail!("panicked")))
            .collect::<Vec<_>>()
    });
    let mut accepted = Vec::new();
    for found in failures {
        accepted.extend(found?);
    }
    // Another deflate token that gives the very same member changes nothing that was signed: 2 of 17,340 compressed
    // bytes of the format's sample. A change of a member's bytes would show in what is unpacked.
    let honest = |at: &usize| {
        let mut bytes = good.clone();
        bytes[*at] = bytes[*at].wrapping_add(1);
        let path = scene.path("{R}/same.zip");
        fs::write(&path, bytes).is_ok()
            && Pack::read(&path).is_ok_and(|same| {
                scene.newest_pack().and_then(|path| Pack::read(&path)).is_ok_and(|pack| pack.members == same.members)
            })
    };
    accepted.retain(|at| !honest(at));
    ensure!(accepted.is_empty(), "changed bytes that verify: {accepted:?} of {}", good.len());
    Ok(())
}

/// Offsets, every second step from `half`, whose change `gait verify` accepts.
fn accepted(scene: &Scene, good: &[u8], half: usize, step: usize) -> anyhow::Result<Vec<usize>> {
    let path = scene.path(&format!("{{R}}/changed-{half}.zip"));
    let gait = run::gait().to_string_lossy();
    let mut found = Vec::new();
    for at in (half * step..good.len()).step_by(2 * step) {
        let mut bytes = good.to_vec();
        bytes[at] = bytes[at].wrapping_add(1);
        fs::write(&path, bytes)?;
        if scene.bare(&[&*gait, "verify", &*path.to_string_lossy()])?.code == 0 {
            found.push(at);
        }
    }
    Ok(found)
}
