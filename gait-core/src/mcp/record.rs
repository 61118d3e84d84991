//! Tool calls and what came of them as the records of a runpack.

use serde_json::{Value, json};

use crate::canonical::{CanonicalError, digest_of};
use crate::digest::Sha256Hex;
use crate::intent::{Args, Intent};
use crate::policy::{Decision, Verdict};
use crate::runpack::record::{Env, IntentRecord, Object, ResultRecord, Run, TimelineEvent};
use crate::runpack::write::RunRecords;
use crate::time::Timestamp;

/// `env.runtime` of the run of a session.
pub const RUNTIME: &str = "gait-mcp";

/// Which parts of a call are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Digests of arguments and answers.
    Reference,
    /// Arguments and answers too.
    Raw,
}

impl Capture {
    /// Its word in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Raw => "raw",
        }
    }
}

/// The run of one call that was judged and nothing else: `mcp proxy` (control 13).
///
/// # Errors
/// [`CanonicalError`] never for an intent that was read.
pub fn proxy_run(
    run_id: &str,
    created_at: Timestamp,
    intent: &Intent,
    decision: &Decision,
    trace_id: &str,
) -> Result<RunRecords, CanonicalError> {
    let event = |event: &str| TimelineEvent { event: event.to_owned(), ts: created_at, ..TimelineEvent::default() };
    let run = Run {
        run_id: run_id.to_owned(),
        created_at,
        timeline: vec![event("proxy_eval_start"), event("proxy_eval_finish")],
        ..Run::default()
    };
    let result = object(verdict_of(decision, trace_id));
    let refused = matches!(decision.verdict, Verdict::Block | Verdict::RequireApproval);
    let mut records = RunRecords {
        run,
        intents: vec![intent_record(1, intent, intent.args_digest()?, Some(intent.args()))],
        results: vec![result_record(1, if refused { "error" } else { "ok" }, result)?],
        ..RunRecords::default()
    };
    records.fill(created_at);
    Ok(records)
}

/// `run.json` of a session, not yet ended.
pub fn session_run(run_id: &str, started_at: Timestamp, producer_version: &str) -> Run {
    let mut run = Run {
        run_id: run_id.to_owned(),
        created_at: started_at,
        producer_version: producer_version.to_owned(),
        env: Env { runtime: RUNTIME.to_owned(), ..Env::default() },
        timeline: vec![TimelineEvent { event: "session_start".into(), ts: started_at, ..TimelineEvent::default() }],
        ..Run::default()
    };
    run.fill(started_at);
    run
}

/// The intent of the call with this number.
pub fn intent_record(number: u64, intent: &Intent, args_digest: Sha256Hex, args: Option<&Args>) -> IntentRecord {
    IntentRecord {
        intent_id: format!("intent_{number}"),
        tool_name: intent.tool_name().to_owned(),
        args_digest: args_digest.to_string(),
        args: args.cloned().unwrap_or_default(),
        ..IntentRecord::default()
    }
}

/// What came of the call with this number.
///
/// # Errors
/// [`CanonicalError`] never.
pub fn result_record(number: u64, status: &str, result: Object) -> Result<ResultRecord, CanonicalError> {
    Ok(ResultRecord {
        intent_id: format!("intent_{number}"),
        status: status.to_owned(),
        result_digest: digest_of(&result)?.to_string(),
        result,
        ..ResultRecord::default()
    })
}

/// The members of a result that tell the verdict.
pub fn verdict_of(decision: &Decision, trace_id: &str) -> Value {
    json!({
        "verdict": decision.verdict,
        "reason_codes": decision.reason_codes,
        "violations": decision.violations,
        "trace_id": trace_id,
    })
}

/// The members of an object; none of anything else.
pub fn object(value: Value) -> Object {
    match value {
        Value::Object(members) => members,
        _ => Object::new(),
    }
}
