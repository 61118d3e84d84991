//! What a decision of the gate costs: in process beside other engines, and as a whole process beside `/bin/true`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::peak::{Peak, Watch};
use crate::statistics::percentile;

/// What the other implementation of the contract takes for a decision, where `/bin/true` takes [`THEIR_TRUE_MS`].
const THEIR_MS: f64 = 10.2;
const THEIR_TRUE_MS: f64 = 0.93;
const THEIR_MB: f64 = 9.0;
/// The shares of those that are wanted.
const WALL_SHARE: f64 = 0.3;
const MEMORY_SHARE: f64 = 0.5;

const POLICY: &str = "default_verdict: block\nrules:\n- name: reads\n  priority: 10\n  effect: allow\n  match:\n    \
                      tool_names: [tool.read]\n    risk_classes: [high]\n";
const INTENT: &str = r#"{"schema_id":"gait.gate.intent_request","schema_version":"1.0.0","created_at":"2026-02-05T00:00:00Z","producer_version":"bench","tool_name":"tool.read","args":{"path":"/tmp/a"},"targets":[{"kind":"path","value":"/tmp/a","operation":"read"}],"context":{"identity":"bench","workspace":"/tmp","risk_class":"high"}}"#;

/// Runs the bench and prints its tables on standard output.
pub fn run(args: &[&str]) -> Result<()> {
    let (mut rounds, mut words) = (None, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--rounds" => rounds = Some(args.next().context("--rounds needs a number")?.parse::<usize>()?),
            flag if flag.starts_with('-') => bail!("unknown flag `{flag}`"),
            word => words.push(word),
        }
    }
    ensure!(rounds != Some(0), "at least one round");
    let wants = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    if wants("process") {
        process(rounds.unwrap_or(200))?;
    }
    if wants("decision") {
        decision(rounds.unwrap_or(20))?;
    }
    Ok(())
}

/// The bench of decisions has other engines as dependencies, so it is a package outside of the workspace.
fn decision(rounds: usize) -> Result<()> {
    let root = crate::places::root();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "--quiet", "--locked", "--manifest-path"]);
    command.arg(root.join("benches/gate/Cargo.toml")).arg("--").arg(rounds.to_string());
    let status = command.env("CARGO_TARGET_DIR", target).current_dir(root).status()?;
    ensure!(status.success(), "benches/gate: {status}");
    Ok(())
}

/// How often memory is looked at: it differs little from run to run.
const LOOKS: usize = 11;

fn process(rounds: usize) -> Result<()> {
    let gait = crate::places::gait_binary()?;
    let folder = TempDir::with_prefix("gait-gate-")?;
    fs::write(folder.path().join("policy.yaml"), POLICY)?;
    fs::write(folder.path().join("intent.json"), INTENT)?;
    let words = ["gate", "eval", "--policy", "policy.yaml", "--intent", "intent.json", "--json"];
    let bare = Path::new("/bin/true");
    let (mut bare_ms, mut gate_ms) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare_ms.push(once(bare, &[], folder.path())?);
        gate_ms.push(once(&gait, &words, folder.path())?);
    }
    let answer = fs::read_to_string(folder.path().join("answer"))?;
    ensure!(answer.contains(r#""verdict":"allow""#), "the verdict is not the policy's: {answer}");
    let watch = Watch::new()?;
    let (mut bare_peaks, mut gate_peaks) = (Vec::new(), Vec::new());
    for _ in 0..LOOKS {
        bare_peaks.push(watch.peak(bare, &[], folder.path())?);
        gate_peaks.push(watch.peak(&gait, &words, folder.path())?);
    }

    let [bare_ms, gate_ms] = [&bare_ms, &gate_ms].map(|samples| percentile(samples, 50.0));
    let ratio = gate_ms / bare_ms;
    let wanted = WALL_SHARE * THEIR_MS / THEIR_TRUE_MS;
    let met = |found: f64, goal: f64| if found <= goal { "met" } else { "MISSED" };
    println!("gait gate eval beside /bin/true, medians of {rounds} interleaved runs");
    println!(
        "  wall: {gate_ms:.2} ms / {bare_ms:.2} ms = {ratio:.2}   (goal: {wanted:.2}, which is {WALL_SHARE} of the other's: {})",
        met(ratio, wanted)
    );
    let (bare, gate) = (Peak::median(&bare_peaks), Peak::median(&gate_peaks));
    println!(
        "  peak memory: {:.1} MB (/bin/true: {:.1})   (goal: {:.1}: {})",
        gate.total_mb,
        bare.total_mb,
        MEMORY_SHARE * THEIR_MB,
        met(gate.total_mb, MEMORY_SHARE * THEIR_MB)
    );
    println!("  of that: {gate}\n");
    Ok(())
}

/// Milliseconds of one run.
fn once(program: &Path, words: &[&str], folder: &Path) -> Result<f64> {
    let mut command = Command::new(program);
    command.args(words).current_dir(folder).env_clear().env("HOME", folder);
    command.stdin(Stdio::null()).stdout(File::create(folder.join("answer"))?).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().with_context(|| format!("{command:?}"))?;
    let wall = start.elapsed();
    ensure!(status.success(), "{command:?}: {status}");
    Ok(wall.as_secs_f64() * 1e3)
}
