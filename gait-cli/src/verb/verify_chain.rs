//! `gait verify chain`: a runpack, a trace and an evidence pack, one verdict.

use super::guard_verify::{PackVerdict, verify as verify_pack};
use super::verify::{Demand, PROFILE, REQUIRE_SIGNATURE, Verdict, verify};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, VERIFY_KEYS};
use crate::locate;
use crate::render::Outcome;
use gait_core::file;
use gait_core::signature::PublicKey;
use gait_core::trace::TraceRecord;
use serde::Serialize;
use serde_json::json;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["verify", "chain"],
    label: "verify chain",
    explain: "Verify runpack, trace, and evidence pack artifacts together to produce one deterministic integrity verdict.",
    positionals: "",
    flags: &[
        Flag::value("run", "<run_id|path>", "the runpack").required(),
        Flag::value("trace", "<trace.json>", "a trace; needs a key"),
        Flag::value("pack", "<evidence_pack.zip>", "an evidence pack"),
        PROFILE,
        REQUIRE_SIGNATURE,
        VERIFY_KEYS[0],
        VERIFY_KEYS[1],
        VERIFY_KEYS[2],
        VERIFY_KEYS[3],
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[],
    run,
};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    ok: bool,
    run: &'a Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a TraceVerdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pack: Option<&'a PackVerdict>,
}

#[derive(Debug, Serialize)]
struct TraceVerdict {
    ok: bool,
    path: String,
    trace_id: String,
    verdict: String,
    signature_status: &'static str,
    key_id: String,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    // `run` is always there, also before the runpack was looked at.
    let unchecked = |failure: Failure| failure.with_field("run", json!({"ok": false}));
    if !call.args.positionals.is_empty() {
        return Err(unchecked(Failure::invalid("unexpected positional arguments")));
    }
    let input = call.args.trimmed("run").ok_or_else(|| unchecked(Failure::invalid("--run is required")))?;
    let demand = Demand::from_flags(&call.args).map_err(unchecked)?;
    let path = locate::runpack(input).map_err(unchecked)?;
    let run = verify(&path, &demand).map_err(unchecked)?;
    let checked = |failure: Failure| match serde_json::to_value(&run) {
        Ok(run) => failure.with_field("run", run),
        Err(_) => failure,
    };
    let key = demand.key.as_ref();
    let trace = call.args.trimmed("trace").map(|path| verify_trace(path, key)).transpose().map_err(checked)?;
    let pack = call.args.trimmed("pack").map(|path| verify_pack(path, &demand)).transpose().map_err(checked)?;

    let ok = run.ok && trace.as_ref().is_none_or(|trace| trace.ok) && pack.as_ref().is_none_or(|pack| pack.ok);
    let mut lines = vec![
        if ok { "verify chain: ok".into() } else { "verify chain failed".to_string() },
        format!("runpack: {}", run.path),
    ];
    lines.extend(trace.as_ref().map(|trace| format!("trace: {} ({})", trace.path, trace.signature_status)));
    lines.extend(pack.as_ref().map(|pack| format!("pack: {} ({})", pack.path, pack.signature_status.word())));
    let exit = if ok { Exit::Ok } else { Exit::VerificationFailed };
    Ok(Outcome::new(exit, &lines, &Answer { ok, run: &run, trace: trace.as_ref(), pack: pack.as_ref() }))
}

fn verify_trace(path: &str, key: Option<&PublicKey>) -> Result<TraceVerdict, Failure> {
    let key = key.ok_or_else(|| {
        Failure::invalid("trace verification requires --public-key/--public-key-env or private key source")
    })?;
    let bytes = file::read(Path::new(path)).map_err(|error| Failure::invalid(format!("read trace record: {error}")))?;
    let trace = TraceRecord::read(&bytes).map_err(Failure::invalid)?;
    let ok = trace.verify(key).is_ok();
    Ok(TraceVerdict {
        ok,
        path: path.into(),
        trace_id: trace.trace_id,
        verdict: trace.verdict,
        signature_status: if ok { "verified" } else { "failed" },
        key_id: key.id().to_string(),
    })
}
