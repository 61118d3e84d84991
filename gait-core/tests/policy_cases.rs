//! The policy cases of `tests/policy/cases`: a policy, an intent, and what another implementation made
//! of them (recorded verdicts and digests) or what the contract says.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::fs;
use std::path::Path;

use gait_core::canonical::CanonicalError;
use gait_core::digest::Sha256Hex;
use gait_core::intent::IntentRequest;
use gait_core::policy::{Policy, Strictness, evaluate};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    note: String,
    policy: String,
    intent: String,
    #[serde(default)]
    lenient: bool,
    expect: Expected,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Expected {
    error: Option<String>,
    policy_digest: Option<String>,
    intent_digest: Option<String>,
    verdict: Option<String>,
    rule: Option<String>,
    approvals: Option<u64>,
    reasons: Vec<String>,
    violations: Vec<String>,
}

fn outcome(case: &Case) -> Result<Expected, String> {
    let strictness = if case.lenient { Strictness::Lenient } else { Strictness::Strict };
    let policy = Policy::parse(&case.policy, strictness).map_err(|error| error.to_string())?;
    let request = IntentRequest::read(case.intent.as_bytes()).map_err(|error| error.to_string())?;
    let intent = request.normalize().map_err(|error| format!("normalize intent: {error}"))?;
    let decision = evaluate(&policy, &intent);
    let digest =
        |digest: Result<Sha256Hex, _>| digest.map_or_else(|error: CanonicalError| error.to_string(), |d| d.to_string());
    let asked = |wanted: bool, value: String| wanted.then_some(value);
    Ok(Expected {
        error: None,
        policy_digest: asked(case.expect.policy_digest.is_some(), digest(policy.digest())),
        intent_digest: asked(case.expect.intent_digest.is_some(), digest(intent.digest())),
        verdict: Some(decision.verdict.to_string()),
        rule: case.expect.rule.is_some().then_some(decision.matched_rule).flatten(),
        approvals: case.expect.approvals.is_some().then_some(decision.required_approvals),
        reasons: decision.reason_codes,
        violations: decision.violations,
    })
}

#[test]
fn every_case_gets_its_verdict_and_its_digests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/cases");
    let mut run = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let cases: Vec<Case> = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for case in &cases {
            run += 1;
            let found = outcome(case).unwrap_or_else(|error| Expected { error: Some(error), ..Expected::default() });
            if found != case.expect {
                wrong.push(format!("{}: {}\n  want {:?}\n  have {found:?}", path.display(), case.note, case.expect));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(run >= 60, "only {run} cases were found");
}
