//! Runs that are alike: how bad, why, what to do (contract, artifacts 6.3 and 6.4).

use super::signal::Fingerprint;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Runs with the same fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Family {
    /// `fam_` and the start of the fingerprint.
    pub family_id: String,
    /// What they have in common.
    pub fingerprint: String,
    /// How many runpacks.
    pub count: usize,
    /// Their runs.
    pub run_ids: BTreeSet<String>,
    /// The first of these.
    pub canonical_run_id: String,
    /// The first of the reasons; absent when there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub top_failure_reason: String,
    /// Why, in general terms.
    pub drivers: BTreeSet<&'static str>,
    /// How bad.
    pub severity_score: usize,
    /// The same in words.
    pub severity_level: &'static str,
    /// The files.
    pub artifact_pointers: BTreeSet<String>,
    /// What to do, one per driver.
    pub suggestions: Vec<Suggestion>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// The kind of change.
    pub kind: &'static str,
    /// The change.
    pub summary: &'static str,
    /// Where.
    pub likely_scope: &'static str,
}

/// One of the worst families.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Issue {
    pub rank: usize,
    pub family_id: String,
    pub fingerprint: String,
    pub count: usize,
    pub canonical_run_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub top_failure_reason: String,
    pub drivers: BTreeSet<&'static str>,
    pub severity_score: usize,
    pub severity_level: &'static str,
    pub suggestions: Vec<Suggestion>,
}

/// The families of these runs, worst first.
pub(super) fn families(fingerprints: &[Fingerprint]) -> Vec<Family> {
    let mut groups: BTreeMap<&str, Vec<&Fingerprint>> = BTreeMap::new();
    for one in fingerprints {
        groups.entry(&one.fingerprint).or_default().push(one);
    }
    let mut families: Vec<Family> = groups.into_iter().map(|(print, members)| family(print, &members)).collect();
    families.sort_by(|left, right| {
        let key = |family: &Family| (usize::MAX - family.severity_score, usize::MAX - family.count);
        key(left).cmp(&key(right)).then_with(|| left.family_id.cmp(&right.family_id))
    });
    families
}

fn family(fingerprint: &str, members: &[&Fingerprint]) -> Family {
    let run_ids: BTreeSet<String> = members.iter().map(|member| member.run_id.clone()).collect();
    let reasons: BTreeSet<&String> = members.iter().flat_map(|member| &member.reason_code_vector).collect();
    let worst = members.iter().map(|member| severity(member)).max().unwrap_or(0);
    let score = worst + members.len().min(10);
    let drivers = drivers(&reasons);
    Family {
        family_id: format!("fam_{}", fingerprint.get(..12).unwrap_or(fingerprint)),
        fingerprint: fingerprint.into(),
        count: members.len(),
        canonical_run_id: run_ids.first().cloned().unwrap_or_default(),
        run_ids,
        top_failure_reason: reasons.first().map(|reason| (*reason).clone()).unwrap_or_default(),
        suggestions: drivers.iter().filter_map(|driver| suggestion(driver)).collect(),
        drivers,
        severity_score: score,
        severity_level: match score {
            150.. => "critical",
            110.. => "high",
            70.. => "medium",
            _ => "low",
        },
        artifact_pointers: members.iter().map(|member| member.source_runpack.clone()).collect(),
    }
}

/// The first ten families.
pub(super) fn issues(families: &[Family]) -> Vec<Issue> {
    let issue = |(rank, family): (usize, &Family)| Issue {
        rank,
        family_id: family.family_id.clone(),
        fingerprint: family.fingerprint.clone(),
        count: family.count,
        canonical_run_id: family.canonical_run_id.clone(),
        top_failure_reason: family.top_failure_reason.clone(),
        drivers: family.drivers.clone(),
        severity_score: family.severity_score,
        severity_level: family.severity_level,
        suggestions: family.suggestions.clone(),
    };
    (1..).zip(families.iter().take(10)).map(issue).collect()
}

fn severity(run: &Fingerprint) -> usize {
    let contains = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    let class = |class: &&str| match *class {
        "destructive" => 4,
        "write" => 3,
        "execute" => 2,
        _ => 1,
    };
    let target = |target: &String| {
        if contains(target, &["prod", "payment", "finance", "customer", "pii", "db"]) {
            3
        } else if contains(target, &["internal", "staging", "queue"]) {
            2
        } else {
            1
        }
    };
    let policy = |reason: &String| contains(reason, &["policy", "approval", "blocked", "credential"]);
    let privilege = run.tool_classes.iter().map(class).max().unwrap_or(1);
    let sensitivity = run.target_systems.iter().map(target).max().unwrap_or(1);
    let posture = if run.reason_code_vector.iter().any(policy) { 2 } else { 0 };
    30 * privilege + 15 * sensitivity + 10 * posture + run.reason_code_vector.len().min(9)
}

/// Drivers and the words of a reason that speak of them; the first row that matches counts.
const DRIVERS: [(&str, &[&str]); 4] = [
    ("policy_change", &["policy", "approval", "blocked", "credential", "violation"]),
    ("tool_result_shape_change", &["diff", "schema", "result_status", "grader", "unexpected_exit_code"]),
    ("reference_set_change", &["ref", "receipt", "retrieval", "source"]),
    ("configuration_change", &["config", "nondeterministic", "runtime", "timeout"]),
];

fn drivers(reasons: &BTreeSet<&String>) -> BTreeSet<&'static str> {
    let driver = |reason: &&String| {
        let reason = crate::text::lower(reason);
        DRIVERS.iter().find(|(_, words)| words.iter().any(|word| reason.contains(word))).map(|(driver, _)| *driver)
    };
    let mut found: BTreeSet<&'static str> = reasons.iter().filter_map(driver).collect();
    if found.is_empty() {
        found.insert("configuration_change");
    }
    found
}

fn suggestion(driver: &str) -> Option<Suggestion> {
    let (kind, summary, likely_scope) = match driver {
        "configuration_change" => (
            "configuration",
            "Pin runtime/model/tool configuration and rerun the incident-to-regress bootstrap path.",
            "wrapper runtime config + CI env",
        ),
        "policy_change" => (
            "policy_fixture",
            "Add or tighten a policy fixture and verify with `gait policy test <policy.yaml> <intent.json> --json`.",
            "policy/*.yaml + examples/policy/intents",
        ),
        "reference_set_change" => (
            "regress_fixture",
            "Pin retrieval filters/receipt set and capture a fresh runpack before re-running regress.",
            "run input + refs receipts",
        ),
        "tool_result_shape_change" => (
            "regress_fixture",
            "Add or update a regress fixture, then run `gait regress run --json`.",
            "fixtures/* + gait.yaml",
        ),
        _ => return None,
    };
    Some(Suggestion { kind, summary, likely_scope })
}
