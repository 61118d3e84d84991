//! `gait mcp serve` between the official Python client and a server from the registry, neither of which knows of gait.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use kernel_suite::need::Need;
use kernel_suite::run::{command, gait, python, repository, run};
use kernel_suite::suite::{self, Test, test};
use serde_json::Value;

const SDK: [Need; 2] = [Need::PythonModule("mcp"), Need::PythonModule("mcp_server_time")];

fn main() -> std::process::ExitCode {
    suite::main(tests())
}

fn tests() -> Vec<Test> {
    // The revisions with a handshake, the stateless one, and what a client does that is told neither.
    let modes = ["legacy", "2026-07-28", "auto"].map(|mode| {
        test(format!("the Python SDK works through gait and sees why a call was refused ({mode})"), SDK, move || {
            let folder = tempfile::tempdir()?;
            client(folder.path(), mode, "time")
        })
    });
    let more = [
        test("the example of docs/mcp.md starts the server of a client's configuration", SDK, || {
            let folder = tempfile::tempdir()?;
            client(folder.path(), "auto", "configured")
        }),
        test("sampling, progress and cancellation come through in both directions", SDK, || {
            let folder = tempfile::tempdir()?;
            client(folder.path(), "legacy", "chatty")
        }),
        test("a server that dies under the SDK's client is an error there and a whole record here", SDK, || {
            let folder = tempfile::tempdir()?;
            client(folder.path(), "legacy", "dying")
        }),
    ];
    modes.into_iter().chain(more).collect()
}

/// Runs a scene of client.py, which says what it saw, and verifies the runpack that gait left.
fn client(folder: &Path, mode: &str, scene: &str) -> anyhow::Result<()> {
    let scripts = repository().join("tests/kernel/tests/protocol");
    let mut script = command(python(), folder, folder);
    script.args([scripts.join("client.py").as_os_str(), mode.as_ref(), scene.as_ref()]);
    script.env("GAIT", gait()).env("REPOSITORY", repository()).env("SCRIPTS", &scripts);
    let ran = run(&mut script)?;
    ensure!(ran.code == 0, "client.py {mode} {scene}: {}{}", ran.stdout, ran.stderr);
    verify(folder, scene).with_context(|| format!("{}{}", ran.stdout, ran.stderr))
}

fn verify(folder: &Path, scene: &str) -> anyhow::Result<()> {
    let mut verifying: Command = command(gait(), folder, folder);
    let ran = run(verifying.args(["verify", "gait-out/runpack_run_sdk.zip", "--profile", "strict", "--json"]))?;
    ensure!(ran.code == 0, "{}", ran.stdout);
    let mut archive = zip::ZipArchive::new(std::fs::File::open(folder.join("gait-out/runpack_run_sdk.zip"))?)?;
    let results = std::io::read_to_string(archive.by_name("results.jsonl")?)?;
    let outcomes = results
        .lines()
        .map(|line| {
            Ok(serde_json::from_str::<Value>(line)?["result"]["outcome"].as_str().unwrap_or_default().to_owned())
        })
        .collect::<anyhow::Result<Vec<String>>>()?;
    let expected: &[&str] = match scene {
        "chatty" => &["answered", "answered"],
        "dying" => &["unanswered"],
        _ => &["answered", "refused", "refused"],
    };
    // A cancelled call has no answer, or a late one.
    let recorded = &outcomes[..expected.len().min(outcomes.len())];
    ensure!(recorded == expected, "{outcomes:?}");
    Ok(())
}
