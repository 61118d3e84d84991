//! `gait policy test`: what a policy says about one intent.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::policy_file::{self, at_place};
use crate::render::Outcome;
use gait_core::digest::Sha256Hex;
use gait_core::file;
use gait_core::intent::IntentRequest;
use gait_core::policy::inspect::broken_examples;
use gait_core::policy::{Decision, Strictness, Verdict, evaluate};
use gait_core::time::Timestamp;
use serde::Serialize;
use std::ffi::OsStr;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["policy", "test"],
    label: "policy test",
    explain: "Run deterministic policy validation workflows against intent fixtures.",
    positionals: "<policy.yaml> <intent_fixture.json>",
    flags: &[JSON, LENIENT],
    order: Order::Interspersed,
    help: Help::Reference,
    notes: &[],
    run,
};

pub const LENIENT: Flag =
    Flag::switch("lenient", "ignore keys that the policy language does not have, as other readers do").hidden();

#[derive(Serialize)]
struct Answer {
    ok: bool,
    schema_id: &'static str,
    schema_version: &'static str,
    created_at: Timestamp,
    policy_digest: Sha256Hex,
    intent_digest: Sha256Hex,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reason_codes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<String>,
    summary: String,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let [policy, fixture] = call.args.positionals.as_slice() else {
        return Err(Failure::invalid("expected <policy.yaml> <intent_fixture.json>"));
    };
    let strictness = if call.args.is_on("lenient") { Strictness::Lenient } else { Strictness::Strict };
    let text = policy_file::bytes(policy)?;
    let path = policy;
    let policy = policy_file::parse(path, &text, strictness, call.form)?;
    if strictness == Strictness::Strict {
        demand_examples(path, &text)?;
    }
    let bytes = file::read(Path::new(fixture)).map_err(|error| Failure::invalid(format!("read intent: {error}")))?;
    let request = IntentRequest::read(&bytes).map_err(Failure::invalid)?;
    let created_at = request.created_at.utc_or_fallback();
    let intent = request.normalize().map_err(|error| Failure::invalid(format!("normalize intent: {error}")))?;
    let decision = evaluate(&policy, &intent);
    let internal = |error| Failure::new(Exit::Internal, error);
    let summary = summary(&decision);
    let answer = Answer {
        ok: true,
        schema_id: "gait.policytest.result",
        schema_version: "1.0.0",
        created_at,
        policy_digest: policy.digest().map_err(internal)?,
        intent_digest: intent.digest().map_err(internal)?,
        verdict: decision.verdict,
        reason_codes: decision.reason_codes,
        violations: decision.violations,
        summary: summary.clone(),
    };
    Ok(Outcome::new(exit_of(answer.verdict), &[summary], &answer))
}

/// Fails if an example that a rule carries does not hold: what the policy says is then not what its author meant.
fn demand_examples(path: &OsStr, bytes: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(bytes);
    // Reading twice costs time, and most policies carry none.
    if !text.contains("examples") {
        return Ok(());
    }
    let broken = broken_examples(&text).map_err(Failure::invalid)?;
    let Some(first) = broken.first() else { return Ok(()) };
    let failure = Failure::invalid(&first.message);
    Err(failure.with_hint(format!("see {}; gait policy validate shows all", at_place(path, first.at))))
}

/// The exit code that tells a verdict.
pub const fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Allow | Verdict::DryRun => Exit::Ok,
        Verdict::RequireApproval => Exit::ApprovalRequired,
        Verdict::Block => Exit::PolicyBlocked,
    }
}

/// One line of at most 240 bytes; what does not fit is counted at its end (control 7).
pub fn summary(decision: &Decision) -> String {
    const LIMIT: usize = 240;
    let joined = |codes: &[String]| if codes.is_empty() { "none".to_string() } else { codes.join(",") };
    let line = format!(
        "policy test verdict={} reasons={} violations={}",
        decision.verdict,
        joined(&decision.reason_codes),
        joined(&decision.violations)
    );
    if line.len() <= LIMIT {
        return line;
    }
    let suffix = format!("...(+{})", line.len() - LIMIT);
    let cut = line.floor_char_boundary(LIMIT - suffix.len());
    format!("{}{suffix}", &line[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(reason: &str) -> Decision {
        Decision {
            verdict: Verdict::Block,
            reason_codes: vec![reason.to_string()],
            violations: Vec::new(),
            matched_rule: None,
            required_approvals: 0,
        }
    }

    #[test]
    fn a_long_summary_is_cut_between_characters_and_says_how_much_is_missing() {
        assert_eq!(summary(&decision("r")), "policy test verdict=block reasons=r violations=none");
        let long = summary(&decision(&"é".repeat(150)));
        assert!(long.len() <= 240 && long.len() >= 238);
        assert!(long.ends_with("é...(+110)"), "{long}");
    }
}
