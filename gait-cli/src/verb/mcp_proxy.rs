//! `gait mcp proxy`: one tool call in the form of a framework, judged, traced and exported.

use super::policy_test::{LENIENT, exit_of};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, SIGNING_KEYS};
use crate::gate::write_record;
use crate::key_mode::{self, KEY_MODE};
use crate::mcp::export::append;
use crate::render::Outcome;
use crate::{pack, policy_file};
use gait_core::PRODUCER_VERSION;
use gait_core::digest::Sha256Hex;
use gait_core::file::os_text;
use gait_core::intent::Intent;
use gait_core::mcp::adapter::Adapter;
use gait_core::mcp::call::{ToolCall, run_id};
use gait_core::mcp::export::Decided;
use gait_core::mcp::judge::{NoControls, Question, judge};
use gait_core::mcp::record::proxy_run;
use gait_core::policy::{Decision, Strictness, Verdict};
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;
use gait_core::trace::{TraceFacts, TraceRecord};
use serde::Serialize;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub static VERB: Verb = called(&["mcp", "proxy"]);

/// The verb under one of its names.
pub(super) const fn called(path: &'static [&'static str]) -> Verb {
    Verb { path, ..PROXY }
}

const PROXY: Verb = Verb {
    path: &[],
    label: "mcp proxy",
    explain: "Proxy tool-call protocol payloads through Gate policy evaluation and emit signed traces with optional \
              exports.",
    positionals: "",
    flags: FLAGS,
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &[
        "Nothing is called: who makes the call acts on the verdict. gait mcp serve stands between a client and a server \
         and enforces it.",
        "Calls are not counted here and no credentials are issued, so a rule with rate_limit or \
         require_broker_credential lets nothing through.",
    ],
    run,
};

const FLAGS: &[Flag] = &[
    Flag::value("policy", "<policy.yaml>", "what is allowed; may also be the first word without a flag").required(),
    Flag::value("call", "<tool_call.json|->", "the call, - for standard input; may also be the next word").required(),
    Flag::value("adapter", "mcp|openai|anthropic|langchain", "in whose form the call is").default("mcp"),
    Flag::value("trace-out", "trace.json", "where the signed trace goes").default("trace_<trace_id>.json").in_group(),
    Flag::value("run-id", "run_...", "the run that the call belongs to, whatever the call says").in_group(),
    Flag::value("runpack-out", "runpack.zip", "also write a runpack of this call").in_group(),
    Flag::value("export-log-out", "events.jsonl", "append the decision to this log").in_group(),
    Flag::value("export-otel-out", "otel.jsonl", "append the decision in the form of collectors of telemetry")
        .in_group(),
    KEY_MODE.on_page(),
    SIGNING_KEYS[0].on_page(),
    SIGNING_KEYS[1].on_page(),
    LENIENT,
    JSON,
];

/// Longest call that is read.
const MAX_CALL_BYTES: u64 = 64 << 20;

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    adapter: &'static str,
    run_id: &'a str,
    verdict: Verdict,
    reason_codes: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    violations: &'a [String],
    policy_digest: Sha256Hex,
    intent_digest: Sha256Hex,
    trace_id: &'a str,
    trace_path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    runpack_path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    log_export: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    otel_export: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [&'static str],
}

/// A call that was judged.
struct Judged {
    intent: Intent,
    created_at: Timestamp,
    decision: Decision,
    policy_digest: Sha256Hex,
    intent_digest: Sha256Hex,
}

/// Judges one call and writes everything that was asked for.
///
/// # Errors
/// A call, policy or key that can't be used: exit 6. A file that can't be written: exit 1.
fn run(call: &Call) -> Result<Outcome, Failure> {
    let args = &call.args;
    let (policy, path) = inputs(call)?;
    let payload = read_call(path)?;
    let adapter = Adapter::parse(args.text("adapter")).map_err(Failure::invalid)?;
    let tool_call = adapter.read(&payload).map_err(Failure::invalid)?;
    let own_run_id = tool_call.context.run_id.clone();
    let judged = judged(call, policy, tool_call)?;
    let (key, warnings) = key_mode::signing_key(args)?;

    let trace = trace(&judged, &key)?;
    let trace_path = match args.raw("trace-out").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(format!("trace_{}.json", trace.trace_id)),
    };
    let text = trace.to_file_text().map_err(internal)?;
    write_record(&trace_path, &text, "trace record")?;
    let trace_path = trace_path.to_string_lossy();

    let run_id = run_id([args.text("run-id"), &own_run_id], &judged.intent_digest);
    let runpack = args.raw("runpack-out").filter(|path| !path.is_empty()).map(Path::new);
    if let Some(path) = runpack {
        let run = proxy_run(&run_id, judged.created_at, &judged.intent, &judged.decision, &trace.trace_id);
        pack::write_records(path, &run.map_err(internal)?, &[]).map_err(|failure| failure.within("write runpack"))?;
    }
    let decided = Decided {
        created_at: judged.created_at,
        producer_version: PRODUCER_VERSION,
        run_id: &run_id,
        trace_id: &trace.trace_id,
        trace_path: &trace_path,
        tool_name: judged.intent.tool_name(),
        verdict: judged.decision.verdict,
        reason_codes: &judged.decision.reason_codes,
        policy_digest: judged.policy_digest,
        intent_digest: judged.intent_digest,
    };
    append(args.raw("export-log-out"), "write log export", || decided.log_line())?;
    append(args.raw("export-otel-out"), "write otel export", || decided.otel_line())?;

    let runpack_path = runpack.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let answer = Answer {
        ok: true,
        adapter: adapter.as_str(),
        run_id: &run_id,
        verdict: judged.decision.verdict,
        reason_codes: &judged.decision.reason_codes,
        violations: &judged.decision.violations,
        policy_digest: judged.policy_digest,
        intent_digest: judged.intent_digest,
        trace_id: &trace.trace_id,
        trace_path: &trace_path,
        runpack_path: &runpack_path,
        log_export: args.text("export-log-out"),
        otel_export: args.text("export-otel-out"),
        warnings: &warnings,
    };
    let mut lines = vec![format!("mcp proxy: verdict={}", answer.verdict), format!("trace: {trace_path}")];
    lines.extend((!runpack_path.is_empty()).then(|| format!("runpack: {runpack_path}")));
    Ok(Outcome::new(exit_of(answer.verdict), &lines, &answer))
}

/// The policy and the call, by flag or by place.
fn inputs(call: &Call) -> Result<(&OsStr, &OsStr), Failure> {
    let given = |name| call.args.raw(name).filter(|value| !value.is_empty());
    let mut words = call.args.positionals.iter().map(|word| word.as_os_str());
    let policy = given("policy").or_else(|| words.next());
    let payload = given("call").or_else(|| words.next());
    match (policy, payload, words.next()) {
        (Some(policy), Some(payload), None) => Ok((policy, payload)),
        _ => Err(Failure::invalid("expected --policy <policy.yaml> and --call <tool_call.json|->")),
    }
}

fn read_call(path: &OsStr) -> Result<Vec<u8>, Failure> {
    if path == "-" {
        return read_all(io::stdin().lock())
            .map_err(|error| Failure::invalid(format!("read stdin payload: {}", os_text(&error))));
    }
    let shown = Path::new(path).display();
    let failed =
        |op: &str, error: &io::Error| Failure::invalid(format!("read call payload: {op} {shown}: {}", os_text(error)));
    let file = std::fs::File::open(path).map_err(|error| failed("open", &error))?;
    read_all(file).map_err(|error| failed("read", &error))
}

fn read_all(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_CALL_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CALL_BYTES {
        return Err(io::Error::other(format!("more than {MAX_CALL_BYTES} bytes")));
    }
    Ok(bytes)
}

fn judged(call: &Call, policy: &OsStr, tool_call: ToolCall) -> Result<Judged, Failure> {
    let strictness = if call.args.is_on("lenient") { Strictness::Lenient } else { Strictness::Strict };
    let policy = policy_file::read(policy, strictness, call.form)?;
    let spelt = tool_call.into_request();
    let created_at = spelt.created_at.utc_or_fallback();
    let intent = spelt.clone().normalize().map_err(Failure::invalid)?;
    let (policy_digest, intent_digest) = (policy.digest().map_err(internal)?, intent.digest().map_err(internal)?);
    let question = Question { intent: &intent, spelt: &spelt, intent_digest, policy_digest };
    let (decision, _) = judge(&policy, &question, &mut NoControls);
    Ok(Judged { intent, created_at, decision, policy_digest, intent_digest })
}

fn trace(judged: &Judged, key: &PrivateKey) -> Result<TraceRecord, Failure> {
    let trace = TraceRecord::new(TraceFacts {
        created_at: judged.created_at,
        producer_version: PRODUCER_VERSION,
        correlation_id: "",
        tool_name: judged.intent.tool_name(),
        args_digest: judged.intent.args_digest().map_err(internal)?,
        intent_digest: judged.intent_digest,
        policy_digest: judged.policy_digest,
        verdict: judged.decision.verdict,
        violations: judged.decision.violations.clone(),
        approval_token_ref: "",
        skill_provenance: None,
    });
    trace.signed(key).map_err(internal)
}

fn internal(error: impl Display) -> Failure {
    Failure::new(Exit::Internal, error)
}
