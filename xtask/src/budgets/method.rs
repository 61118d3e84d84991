//! What is run for each key, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

/// Every command that has a budget, in the order of the report.
pub const KEYS: [&str; 9] = [
    "verify",
    "regress_run",
    "guard_pack",
    "gate_eval_fs_read",
    "gate_eval_fs_write",
    "gate_eval_fs_delete",
    "gate_eval_proc_exec",
    "gate_eval_net_http",
    "gate_eval_net_dns",
];

/// One call of the gate per class at the boundary.
const CALLS: [(&str, &str, &str, &str, &str, bool); 6] = [
    ("gate_eval_fs_read", "tool.read", "path", "/tmp/gait/in.txt", "read", false),
    ("gate_eval_fs_write", "tool.write", "path", "/tmp/gait/out.txt", "write", false),
    ("gate_eval_fs_delete", "tool.delete", "path", "/tmp/gait/old.txt", "delete", true),
    ("gate_eval_proc_exec", "tool.exec", "other", "make test", "exec", true),
    ("gate_eval_net_http", "tool.http", "url", "https://api.example.com/v1/items", "get", false),
    ("gate_eval_net_dns", "tool.dns", "host", "api.example.com", "dns", false),
];

/// What came of running one command many times.
#[derive(Debug, Default)]
pub struct Runs {
    /// Wall time of those that ended with exit code 0.
    pub samples_ms: Vec<f64>,
    pub attempts: usize,
}

/// The folder in which everything runs.
pub struct Place {
    folder: TempDir,
    binary: PathBuf,
}

impl Place {
    /// A folder with the demo's runpack, a fixture of it, a policy that allows six tools and an intent for each.
    pub fn new(binary: &Path) -> Result<Self> {
        let place = Self { folder: TempDir::with_prefix("gait-budgets-")?, binary: binary.to_path_buf() };
        for words in [&["demo", "--json"][..], &["regress", "init", "--from", "run_demo", "--json"]] {
            let output = place.command(words).output().with_context(|| format!("{words:?}"))?;
            let said = String::from_utf8_lossy(&output.stdout);
            ensure!(output.status.success(), "gait {}: {}: {said}", words.join(" "), output.status);
        }
        let tools: Vec<&str> = CALLS.iter().map(|call| call.1).collect();
        let rule = json!({"name": "bench", "priority": 1, "effect": "allow", "match": {"tool_names": tools}});
        place.write("policy.yaml", &json!({"default_verdict": "block", "rules": [rule]}).to_string())?;
        for (key, tool, kind, value, operation, destructive) in CALLS {
            let class = key.trim_start_matches("gate_eval_").replacen('_', ".", 1);
            let intent = json!({
                "schema_id": "gait.gate.intent_request",
                "schema_version": "1.0.0",
                "created_at": "2026-02-05T00:00:00Z",
                "producer_version": "bench",
                "tool_name": tool,
                "args": {"target": value},
                "targets": [{
                    "kind": kind, "value": value, "operation": operation, "endpoint_class": class,
                    "destructive": destructive,
                }],
                "context": {"identity": "bench", "workspace": "/tmp/gait", "risk_class": "high"},
            });
            place.write(&format!("{key}.json"), &intent.to_string())?;
        }
        Ok(place)
    }

    /// Runs the command of `key` once and adds what it took; only exit code 0 counts.
    pub fn run(&self, key: &str, runs: &mut Runs) -> Result<()> {
        let intent = format!("{key}.json");
        let words: &[&str] = match key {
            "verify" => &["verify", "run_demo", "--json"],
            "regress_run" => &["regress", "run", "--json"],
            "guard_pack" => &["guard", "pack", "--run", "run_demo", "--out", "guard_pack.zip", "--json"],
            _ => &["gate", "eval", "--policy", "policy.yaml", "--intent", &intent, "--json"],
        };
        let mut command = self.command(words);
        command.stdout(Stdio::null());
        let start = Instant::now();
        let status = command.status().with_context(|| format!("{command:?}"))?;
        let wall = start.elapsed();
        runs.attempts += 1;
        if status.success() {
            runs.samples_ms.push(wall.as_secs_f64() * 1e3);
        }
        Ok(())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).current_dir(self.folder.path()).env_clear().env("HOME", self.folder.path());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.folder.path().join(name), text)?)
    }
}
