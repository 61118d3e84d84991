//! The graders: each looks at one fixture and passes or fails it, with reasons (contract, artifacts 5.2).

use super::config::ConfigFixture;
use super::fixture::Fixture;
use super::survey::Survey;
use crate::file::PathError;
use crate::runpack::diff::{DiffError, DiffSummary, Privacy, diff};
use crate::runpack::open::{OpenError, Runpack};
use crate::runpack::record::{MANIFEST_SCHEMA, Object, RUN_SCHEMA, SCHEMA_VERSION};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Passed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GradeStatus {
    /// Nothing to object to.
    Pass,
    /// Something is not as it was.
    Fail,
}

impl GradeStatus {
    /// The word in results.
    pub fn word(self) -> &'static str {
        match self {
            GradeStatus::Pass => "pass",
            GradeStatus::Fail => "fail",
        }
    }
}

/// What one grader says of one fixture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Graded {
    /// `<fixture>/<grader>`
    pub name: String,
    /// Passed or not.
    pub status: GradeStatus,
    /// Why not: sorted, unique; empty when passed.
    pub reason_codes: Vec<String>,
    /// What was looked at.
    pub details: Object,
}

/// A fixture while it is graded.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its entry in `gait.yaml`.
    pub entry: &'a ConfigFixture,
    /// Its `fixture.json`.
    pub fixture: &'a Fixture,
    /// Its folder.
    pub folder: &'a Path,
    /// The path of its runpack.
    pub runpack: &'a Path,
    /// Its runpack, which is intact.
    pub pack: &'a mut Runpack<BufReader<File>>,
    /// What there is to say of its records.
    pub survey: &'a Survey,
}

/// Reasons against a fixture and what was looked at.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    /// Empty if there is nothing to object to.
    pub reasons: BTreeSet<String>,
    /// Beside the name of the fixture and the run, which are always there.
    pub details: Object,
}

impl Finding {
    /// A finding with these details and no reasons.
    pub fn of(details: Value) -> Self {
        let details = match details {
            Value::Object(members) => members,
            _ => Object::new(),
        };
        Finding { reasons: BTreeSet::new(), details }
    }

    /// One reason, explained by an error.
    pub fn error(reason: &str, error: impl ToString) -> Self {
        Finding::of(json!({"error": error.to_string()})).because(reason, true)
    }

    /// The same with a reason more, if it holds.
    pub fn because(mut self, reason: &str, holds: bool) -> Self {
        if holds {
            self.reasons.insert(reason.into());
        }
        self
    }
}

/// Why a grader could not do its work; the fixture fails with `grader_error`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GradeError {
    /// The runpack can't be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Something only this grader knows.
    #[error("{0}")]
    Other(String),
}

/// A grader and its name.
pub type Grader = (&'static str, fn(&mut Subject<'_>) -> Result<Finding, GradeError>);

/// The graders of every fixture.
pub const STANDARD: [Grader; 3] =
    [("diff", grade_diff), ("expected_exit_code", grade_exit_code), ("schema_validation", grade_schema)];

/// Lets one grader judge one fixture.
pub fn grade((name, look): Grader, subject: &mut Subject<'_>) -> Graded {
    let finding = look(subject).unwrap_or_else(|error| Finding::error("grader_error", error));
    let mut details = finding.details;
    details.insert("fixture".into(), subject.fixture.name.clone().into());
    details.insert("run_id".into(), subject.fixture.run_id.clone().into());
    Graded {
        name: format!("{}/{name}", subject.fixture.name),
        status: if finding.reasons.is_empty() { GradeStatus::Pass } else { GradeStatus::Fail },
        reason_codes: finding.reasons.into_iter().collect(),
        details,
    }
}

/// The runpack that a fixture is compared with: its own if it names none.
pub fn candidate_path(subject: &Subject<'_>) -> PathBuf {
    match subject.fixture.candidate_runpack.trim() {
        "" => subject.runpack.to_path_buf(),
        candidate => crate::file::clean(&subject.folder.join(candidate)),
    }
}

fn grade_diff(subject: &mut Subject<'_>) -> Result<Finding, GradeError> {
    let path = candidate_path(subject);
    let allowed = subject.fixture.allowed_files();
    let changed = if path == subject.runpack {
        Vec::new()
    } else {
        if let Err(source) = fs::metadata(&path) {
            let error = PathError { op: "stat", path, source };
            return Ok(Finding::error("candidate_path_invalid", format!("candidate runpack not found: {error}")));
        }
        match compare(subject, &path) {
            Ok(summary) => changed_files(&summary),
            Err(error) => return Ok(Finding::error("diff_error", error)),
        }
    };
    let unexpected: Vec<&String> = changed.iter().filter(|file| !allowed.contains(file)).collect();
    let mut details = json!({
        "candidate_runpack": path.display().to_string(),
        "changed_files": changed,
        "allowed_files": allowed,
    });
    if !unexpected.is_empty() {
        details["unexpected_files"] = json!(unexpected);
    }
    Ok(Finding::of(details).because("unexpected_diff", !unexpected.is_empty()))
}

fn compare(subject: &mut Subject<'_>, candidate: &Path) -> Result<DiffSummary, DiffError> {
    diff(subject.pack, &mut Runpack::open_path(candidate)?, Privacy::Full)
}

/// The members in which two runs differ.
fn changed_files(summary: &DiffSummary) -> Vec<String> {
    let changed = [
        ("manifest.json", summary.manifest_changed),
        ("intents.jsonl", summary.intents_changed),
        ("results.jsonl", summary.results_changed),
        ("refs.json", summary.refs_changed),
    ];
    let named = changed.iter().filter(|(_, changed)| *changed).map(|(name, _)| (*name).to_string());
    let all: BTreeSet<String> = summary.files_changed.iter().cloned().chain(named).collect();
    all.into_iter().collect()
}

fn grade_exit_code(subject: &mut Subject<'_>) -> Result<Finding, GradeError> {
    let missing = match &subject.survey.replay {
        Ok(missing) => missing,
        Err(error) => return Ok(Finding::error("replay_error", error)),
    };
    let expected = subject.fixture.expected_replay_exit_code;
    let actual = if missing.is_empty() { 0 } else { 2 };
    let details = json!({
        "expected_exit_code": expected,
        "actual_exit_code": actual,
        "missing_results": missing,
    });
    Ok(Finding::of(details).because("unexpected_exit_code", expected != actual))
}

fn grade_schema(subject: &mut Subject<'_>) -> Result<Finding, GradeError> {
    let odd = |id: &str, version: &str, expected: &str| id != expected || version != SCHEMA_VERSION;
    let (pack, survey) = (&subject.pack, subject.survey);
    let manifest = odd(&pack.manifest().schema_id, &pack.manifest().schema_version, MANIFEST_SCHEMA);
    let run = odd(&pack.run.schema_id, &pack.run.schema_version, RUN_SCHEMA);
    let details = json!({
        // `null`, as readers of results know it; other graders have empty arrays (contract, artifacts 12, C9).
        "missing_files": null,
        "hash_mismatches": 0,
        "intent_records": survey.intents,
        "result_records": survey.results,
        "reference_receipts": survey.receipts,
    });
    Ok(Finding::of(details)
        .because("manifest_schema_invalid", manifest)
        .because("run_schema_invalid", run)
        .because("refs_schema_invalid", survey.odd_refs)
        .because("intent_schema_invalid", survey.odd_intents)
        .because("result_schema_invalid", survey.odd_results))
}
