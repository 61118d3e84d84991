//! What went wrong in a run, from its traces and regress results (contract, artifacts 6.2).

use super::norm;
use crate::file::{self, PathError};
use crate::runpack::record::{self, Object, list_or_zero, or_zero};
use crate::text::lower_trimmed;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Why evidence can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// A trace can't be read.
    #[error("read trace {path}: {source}")]
    ReadTrace {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// A trace is not JSON, or a member has the wrong type.
    #[error("parse trace {path}: {source}")]
    ParseTrace {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A result can't be read.
    #[error("read regress result {path}: {source}")]
    ReadRegress {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// A result is not JSON, or a member has the wrong type.
    #[error("parse regress result {path}: {source}")]
    ParseRegress {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Trace {
    #[serde(deserialize_with = "or_zero")]
    trace_id: String,
    #[serde(deserialize_with = "or_zero")]
    correlation_id: String,
    #[serde(deserialize_with = "or_zero")]
    verdict: String,
    #[serde(deserialize_with = "or_zero")]
    violations: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Results {
    #[serde(deserialize_with = "list_or_zero")]
    graders: Vec<Grade>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Grade {
    #[serde(deserialize_with = "or_zero")]
    name: String,
    #[serde(deserialize_with = "or_zero")]
    status: String,
    #[serde(deserialize_with = "or_zero")]
    reason_codes: Vec<String>,
    #[serde(deserialize_with = "or_zero")]
    details: Object,
}

/// What is known of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RunEvidence {
    pub reasons: BTreeSet<String>,
    pub traces: usize,
    pub regress: bool,
}

/// What is known of all runs, by run id.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence(BTreeMap<String, RunEvidence>);

impl Evidence {
    /// Reads traces and regress results.
    pub fn read(traces: &[String], results: &[String]) -> Result<Self, EvidenceError> {
        let mut evidence = Evidence::default();
        for path in traces {
            let named = || path.clone();
            let bytes =
                file::read(Path::new(path)).map_err(|source| EvidenceError::ReadTrace { path: named(), source })?;
            let trace = record::parse(&bytes).map_err(|source| EvidenceError::ParseTrace { path: named(), source })?;
            evidence.add_trace(&trace);
        }
        for path in results {
            let named = || path.clone();
            let bytes =
                file::read(Path::new(path)).map_err(|source| EvidenceError::ReadRegress { path: named(), source })?;
            let results: Results =
                record::parse(&bytes).map_err(|source| EvidenceError::ParseRegress { path: named(), source })?;
            results.graders.iter().for_each(|grade| evidence.add_grade(grade));
        }
        Ok(evidence)
    }

    /// What is known of the run `run_id`.
    pub fn of(&self, run_id: &str) -> RunEvidence {
        self.0.get(run_id).cloned().unwrap_or_default()
    }

    fn add_trace(&mut self, trace: &Trace) {
        let Some(run_id) = run_id_in(trace.correlation_id.trim()).or_else(|| run_id_in(trace.trace_id.trim())) else {
            return;
        };
        let known = self.0.entry(run_id.to_string()).or_default();
        known.traces += 1;
        let verdict = lower_trimmed(&trace.verdict);
        if verdict != "allow" {
            known.reasons.insert(format!("trace_verdict_{}", norm(&verdict)));
        }
        let violations = trace.violations.iter().map(|one| format!("violation_{}", norm(&lower_trimmed(one))));
        known.reasons.extend(violations);
    }

    fn add_grade(&mut self, grade: &Grade) {
        if lower_trimmed(&grade.status) == "pass" {
            return;
        }
        let named = grade.details.get("run_id").and_then(|id| id.as_str()).map(str::trim).unwrap_or_default();
        let prefix = grade.name.trim().split('/').next().unwrap_or_default().trim();
        let run_id = if named.is_empty() { prefix } else { named };
        if run_id.is_empty() {
            return;
        }
        let known = self.0.entry(run_id.to_string()).or_default();
        known.regress = true;
        known.reasons.extend(grade.reason_codes.iter().map(|code| norm(&lower_trimmed(code))));
        if grade.reason_codes.is_empty() {
            known.reasons.insert("regress_failure".into());
        }
    }
}

/// The first `run_[A-Za-z0-9_-]+` in `text`.
fn run_id_in(text: &str) -> Option<&str> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-';
    text.match_indices("run_").find_map(|(at, prefix)| {
        let tail = text.get(at + prefix.len()..)?;
        let length = tail.bytes().take_while(|byte| is_part(byte)).count();
        (length > 0).then(|| text.get(at..at + prefix.len() + length))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_found_in_a_trace_id() {
        for (text, found) in [
            ("trace_run_demo", Some("run_demo")),
            ("corr run_gamma x", Some("run_gamma")),
            ("run_ run_a", Some("run_a")),
            ("run_", None),
            ("prun_x", Some("run_x")),
        ] {
            assert_eq!(run_id_in(text), found, "{text}");
        }
    }
}
