//! `gait guard retain`: traces and packs that are too old are deleted, and a report says which.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order};
use crate::render::Outcome;
use crate::{clock, pack};
use gait_core::canonical::canonical_bytes;
use gait_core::duration;
use gait_core::evidence::retain::{Report, Rules, survey};
use serde_json::{Map, Value, json};
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["guard", "retain"],
    label: "guard retain",
    explain: "Build, verify, retain, and optionally encrypt evidence artifacts for audit and incident workflows.",
    positionals: "",
    flags: &[
        Flag::value("root", "<dir>", "where to look, in all folders below too").default("."),
        Flag::value("trace-ttl", "<duration>", "how long traces are kept; 0 for ever").default("168h"),
        Flag::value("pack-ttl", "<duration>", "how long evidence and incident packs are kept; 0 for ever")
            .default("720h"),
        Flag::switch("dry-run", "delete nothing, only say what would be"),
        Flag::value("report-out", "<path>", "where the report goes"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &[
        "note: files are known by their names: trace_*.json, and evidence_pack_* or incident_pack_* with .zip or .gaitenc. \
         Links are left alone.",
    ],
    run,
};

const HOUR_SECONDS: i64 = 3600;

fn run(call: &Call) -> Result<Outcome, Failure> {
    if !call.args.positionals.is_empty() {
        return Err(Failure::invalid("unexpected positional arguments"));
    }
    let rules = Rules {
        trace_ttl_seconds: ttl(&call.args, "trace-ttl", 168 * HOUR_SECONDS)?,
        pack_ttl_seconds: ttl(&call.args, "pack-ttl", 720 * HOUR_SECONDS)?,
    };
    let root = Path::new(call.args.trimmed("root").unwrap_or("."));
    let report = survey(root, rules, clock::now());
    let mut report = report.map_err(|error| Failure::invalid(format!("scan retention root: {error}")))?;
    let errors = if call.args.is_on("dry-run") { Vec::new() } else { report.carry_out() };
    if let Some(path) = call.args.trimmed("report-out") {
        let bytes = canonical_bytes(&report).map_err(|error| Failure::new(Exit::Internal, error))?;
        pack::write_file(Path::new(path), &bytes)?;
    }
    // What was deleted is in the report, also if not all could be.
    if let Some(error) = errors.first() {
        return Err(Failure::io(format!("delete expired artifact: {error}")));
    }
    let line = format!("guard retain ok: scanned={} deleted={}", report.scanned_files, report.deleted_files.len());
    Ok(Outcome::new(Exit::Ok, &[line], &members(&report)))
}

fn ttl(args: &Args, flag: &str, default: i64) -> Result<i64, Failure> {
    let Some(text) = args.trimmed(flag) else { return Ok(default) };
    let wrong = || Failure::invalid(format!("parse --{flag}: time: invalid duration {text:?}"));
    duration::parse(text).map(|nanos| nanos / 1_000_000_000).ok_or_else(wrong)
}

/// Members that are empty, zero or false are left out, as readers of the contract expect.
fn members(report: &Report) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("ok".into(), true.into());
    members.insert("root_path".into(), report.root_path.clone().into());
    let mut add = |name: &str, value: Value, is_there: bool| {
        if is_there {
            members.insert(name.into(), value);
        }
    };
    add("scanned_files", report.scanned_files.into(), report.scanned_files > 0);
    add("deleted_files", json!(report.deleted_files), !report.deleted_files.is_empty());
    add("kept_files", json!(report.kept_files), !report.kept_files.is_empty());
    add("dry_run", true.into(), report.dry_run);
    members
}
