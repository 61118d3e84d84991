//! `gait policy test`: what a policy says about one intent.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::render::{Form, Outcome};
use gait_core::digest::Sha256Hex;
use gait_core::file;
use gait_core::intent::IntentRequest;
use gait_core::policy::{Decision, Policy, PolicyError, Strictness, Verdict, evaluate};
use gait_core::time::Timestamp;
use serde::Serialize;
use std::ffi::OsStr;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["policy", "test"],
    label: "policy test",
    explain: "Evaluate one intent fixture against one policy and return a deterministic verdict with reason codes.",
    positionals: "<policy.yaml> <intent_fixture.json>",
    flags: &[JSON, LENIENT],
    order: Order::Interspersed,
    help: Help::UsageOnly,
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
    let policy = read_policy(policy, strictness, call.form)?;
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

/// Reads the policy file at `path`. In text form an error says where it is and what other readers do.
pub fn read_policy(path: &OsStr, strictness: Strictness, form: Form) -> Result<Policy, Failure> {
    let path = Path::new(path);
    let bytes = file::read(path).map_err(|error| Failure::invalid(format!("read policy: {error}")))?;
    let error = match Policy::parse_bytes(&bytes, strictness) {
        Ok(policy) => return Ok(policy),
        Err(error) => error,
    };
    let only_strict = strictness == Strictness::Strict && Policy::parse_bytes(&bytes, Strictness::Lenient).is_ok();
    let failure = Failure::invalid(&error);
    Err(match (only_strict, place(path, &error)) {
        (true, _) => failure.with_hint("correct the policy; --lenient reads it as other readers do"),
        (false, Some(place)) if form == Form::Text => failure.with_hint(format!("see {place}")),
        (false, _) => failure,
    })
}

fn place(path: &Path, error: &PolicyError) -> Option<String> {
    let at = error.position()?;
    Some(format!("{}:{}:{}", path.display(), at.line, at.column))
}

const fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Allow | Verdict::DryRun => Exit::Ok,
        Verdict::RequireApproval => Exit::ApprovalRequired,
        Verdict::Block => Exit::PolicyBlocked,
    }
}

/// One line of at most 240 bytes; what does not fit is counted at its end (control 7).
fn summary(decision: &Decision) -> String {
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
