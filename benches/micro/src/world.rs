//! What several operations work on: a run, its signed runpack, the records around it.

use anyhow::{Context, Result, ensure};
use gait_core::canonical::digest_of;
use gait_core::digest::Sha256Hex;
use gait_core::runpack::demo;
use gait_core::runpack::write::{RunRecords, write_pack};
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The key that signs here; nothing is kept under it.
pub fn key() -> PrivateKey {
    PrivateKey::from_seed([7; 32])
}

/// The run of `gait demo` under another name: three calls, their results and receipts.
pub fn run(run_id: &str) -> Result<RunRecords> {
    let mut records = demo::records()?;
    records.run.run_id = run_id.to_owned();
    records.refs.run_id = run_id.to_owned();
    records.intents.iter_mut().for_each(|intent| intent.run_id = run_id.to_owned());
    records.results.iter_mut().for_each(|result| result.run_id = run_id.to_owned());
    Ok(records)
}

/// The same run where one call and its result came out differently.
pub fn other_run(run_id: &str) -> Result<RunRecords> {
    let mut records = run(run_id)?;
    let intent = records.intents.get_mut(1).context("the demo has three calls")?;
    intent.args = json!({"url": "https://example.local/other"}).as_object().cloned().unwrap_or_default();
    intent.args_digest = digest_of(&intent.args)?.to_string();
    let result = records.results.get_mut(1).context("the demo has three results")?;
    result.result = json!({"ok": false, "message": "not found"}).as_object().cloned().unwrap_or_default();
    result.result_digest = digest_of(&result.result)?.to_string();
    Ok(records)
}

/// Writes the signed runpack of `records`.
pub fn runpack(folder: &Path, records: &RunRecords) -> Result<PathBuf> {
    let path = folder.join(format!("runpack_{}.zip", records.run.run_id));
    let mut out = BufWriter::new(File::create(&path)?);
    write_pack(&mut out, &records.facts(), &records.members()?, &[&key()])?;
    out.flush()?;
    Ok(path)
}

/// A folder with a runpack, and a trace and a regress result from around its time: what an incident pack collects.
pub struct Incident {
    pub runpack: PathBuf,
    pub trace: PathBuf,
    pub result: PathBuf,
}

impl Incident {
    pub fn new(folder: &Path, run_id: &str) -> Result<Self> {
        let folder = folder.join(run_id);
        fs::create_dir(&folder)?;
        let records = run(run_id)?;
        let started = records.run.created_at;
        let minutes = |minutes: i64| Timestamp::from_unix(started.unix_seconds() + 60 * minutes, 0);
        let (trace, result) = (folder.join("trace_bench.json"), folder.join("regress_result.json"));
        fs::write(
            &trace,
            json!({
                "schema_id": "gait.gate.trace",
                "schema_version": "1.0.0",
                "created_at": minutes(15)?,
                "producer_version": "0.0.0-bench",
                "trace_id": "trace_bench",
                "tool_name": "tool.write",
                "args_digest": Sha256Hex::of("args"),
                "intent_digest": Sha256Hex::of("intent"),
                "policy_digest": Sha256Hex::of("policy"),
                "verdict": "allow",
            })
            .to_string(),
        )?;
        fs::write(
            &result,
            json!({
                "schema_id": "gait.regress.result",
                "schema_version": "1.0.0",
                "created_at": minutes(10)?,
                "producer_version": "0.0.0-bench",
                "fixture_set": run_id,
                "status": "pass",
                "graders": [],
            })
            .to_string(),
        )?;
        let incident = Self { runpack: runpack(&folder, &records)?, trace, result };
        ensure!(incident.runpack.is_file(), "no runpack");
        Ok(incident)
    }
}
