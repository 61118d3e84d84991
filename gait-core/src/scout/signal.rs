//! Which runs fail alike, and what to do about it (contract, artifacts 6).

use super::family::{Family, Issue, families, issues};
use super::reason::{Evidence, EvidenceError};
use super::{SCHEMA_VERSION, norm};
use crate::canonical::{CanonicalError, digest_of};
use crate::runpack::open::{OpenError, Runpack, Seen, open_file};
use crate::runpack::record::Receipt;
use crate::text::{lower, lower_trimmed};
use crate::time::Timestamp;
use serde::{Serialize, Serializer};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// A trace or regress result can't be used.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// A runpack can't be used.
    #[error("read runpack {path}: {source}")]
    Runpack {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// A runpack of no run.
    #[error("runpack {path} missing run_id")]
    NoRunId {
        /// The file.
        path: String,
    },
    /// A record without a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SignalReport {
    /// `gait.scout.signal_report`
    pub schema_id: &'static str,
    /// [`SCHEMA_VERSION`]
    pub schema_version: &'static str,
    /// Always 1980: the same runs give the same report.
    pub created_at: Timestamp,
    /// Whoever made it.
    pub producer_version: &'static str,
    /// Runpacks looked at.
    pub run_count: usize,
    /// Kinds of run found.
    pub family_count: usize,
    /// One per runpack, by run id and path.
    pub fingerprints: Vec<Fingerprint>,
    /// The kinds, worst first.
    pub families: Vec<Family>,
    /// The ten worst.
    pub top_issues: Vec<Issue>,
}

/// What one run is like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fingerprint {
    /// `gait.scout.run_fingerprint`
    pub schema_id: &'static str,
    /// [`SCHEMA_VERSION`]
    pub schema_version: &'static str,
    /// As in the report.
    pub created_at: Timestamp,
    /// As in the report.
    pub producer_version: &'static str,
    /// The run.
    pub run_id: String,
    /// Digest of the five lists.
    pub fingerprint: String,
    /// The tools called, in order, again and again.
    pub action_sequence: Actions,
    /// Kinds of tool.
    pub tool_classes: BTreeSet<&'static str>,
    /// Where it looked things up.
    pub target_systems: BTreeSet<String>,
    /// What went wrong.
    pub reason_code_vector: BTreeSet<String>,
    /// What it found there.
    pub ref_receipt_digests: BTreeSet<String>,
    /// The file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_runpack: String,
    /// Traces that belong to it.
    #[serde(skip_serializing_if = "is_zero")]
    pub trace_count: usize,
    /// Whether a regress result speaks of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub regress_evidence_seen: bool,
}

/// Names of tools in the order in which they were called, each name held once: four bytes a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actions {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    calls: Vec<u32>,
}

impl Actions {
    /// Adds a call; whether this tool was not called before.
    fn push(&mut self, name: &str) -> bool {
        if let Some(number) = self.numbers.get(name) {
            self.calls.push(*number);
            return false;
        }
        // More names than this do not fit into a member.
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_string());
        self.numbers.insert(name.to_string(), number);
        self.calls.push(number);
        true
    }

    /// The names, call by call.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().filter_map(|number| self.names.get(*number as usize)).map(String::as_str)
    }
}

impl Serialize for Actions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct FingerprintForm<'a> {
    action_sequence: &'a Actions,
    reason_code_vector: &'a BTreeSet<String>,
    ref_receipt_digests: &'a BTreeSet<String>,
    target_systems: &'a BTreeSet<String>,
    tool_classes: &'a BTreeSet<&'static str>,
}

/// Looks at these runpacks, with what traces and regress results say of their runs.
///
/// Each list is trimmed, without blanks, sorted and unique as text.
///
/// # Errors
/// [`SignalError`] for the first file that can't be used: traces, results, then runpacks.
pub fn signal(runpacks: &[String], traces: &[String], results: &[String]) -> Result<SignalReport, SignalError> {
    let set = |list: &[String]| crate::text::set(list);
    let evidence = Evidence::read(&set(traces), &set(results))?;
    let mut fingerprints = set(runpacks).iter().map(|path| observe(path, &evidence)).collect::<Result<Vec<_>, _>>()?;
    fingerprints
        .sort_by(|left, right| (&left.run_id, &left.source_runpack).cmp(&(&right.run_id, &right.source_runpack)));
    let families = families(&fingerprints);
    Ok(SignalReport {
        schema_id: "gait.scout.signal_report",
        schema_version: SCHEMA_VERSION,
        created_at: Timestamp::FALLBACK,
        producer_version: crate::PRODUCER_VERSION,
        run_count: fingerprints.len(),
        family_count: families.len(),
        top_issues: issues(&families),
        fingerprints,
        families,
    })
}

fn observe(path: &str, evidence: &Evidence) -> Result<Fingerprint, SignalError> {
    let unusable = |source| SignalError::Runpack { path: path.into(), source };
    let source = open_file(Path::new(path)).map_err(OpenError::from).map_err(unusable)?;
    let (mut action_sequence, mut tool_classes) = (Actions::default(), BTreeSet::new());
    // Statuses are few.
    let mut statuses: HashSet<String> = HashSet::new();
    let mut pack = Runpack::open_looking(source, &mut |seen| match seen {
        Seen::Intent(intent) => {
            let tool = intent.word.trim();
            if !tool.is_empty() && action_sequence.push(tool) {
                tool_classes.insert(tool_class(tool));
            }
        }
        Seen::Result(result) => {
            if !statuses.contains(&*result.word) {
                statuses.insert(result.word.into_owned());
            }
        }
    })
    .map_err(unusable)?;
    let run_id = pack.run.run_id.clone();
    if run_id.is_empty() {
        return Err(SignalError::NoRunId { path: path.into() });
    }
    let (_, receipts) = pack.fold_refs(Receipts::add).map_err(unusable)?;
    let known = evidence.of(&run_id);
    let statuses = statuses.iter().map(|status| norm(&lower_trimmed(status)));
    let bad = statuses.filter(|status| !matches!(status.as_str(), "ok" | "success"));
    let mut seen = Fingerprint {
        schema_id: "gait.scout.run_fingerprint",
        schema_version: SCHEMA_VERSION,
        created_at: Timestamp::FALLBACK,
        producer_version: crate::PRODUCER_VERSION,
        run_id,
        fingerprint: String::new(),
        action_sequence,
        tool_classes,
        target_systems: receipts.targets,
        reason_code_vector: bad.map(|status| format!("result_status_{status}")).chain(known.reasons).collect(),
        ref_receipt_digests: receipts.digests,
        source_runpack: path.into(),
        trace_count: known.traces,
        regress_evidence_seen: known.regress,
    };
    seen.fingerprint = digest_of(&FingerprintForm {
        action_sequence: &seen.action_sequence,
        reason_code_vector: &seen.reason_code_vector,
        ref_receipt_digests: &seen.ref_receipt_digests,
        target_systems: &seen.target_systems,
        tool_classes: &seen.tool_classes,
    })?
    .to_string();
    Ok(seen)
}

/// What the receipts of a run say.
#[derive(Default)]
struct Receipts {
    targets: BTreeSet<String>,
    digests: BTreeSet<String>,
}

impl Receipts {
    fn add(&mut self, receipt: Receipt) {
        let mut locator = norm(&lower_trimmed(&receipt.source_locator));
        locator.truncate(48);
        self.targets.insert(format!("{}:{locator}", norm(&lower_trimmed(&receipt.source_type))));
        let digest = lower_trimmed(&receipt.content_digest);
        if digest.len() == 64 {
            self.digests.insert(digest.into_owned());
        }
    }
}

/// The kind of a tool, by the first group of words that its name contains.
fn tool_class(tool: &str) -> &'static str {
    const GROUPS: [(&str, &[&str]); 3] = [
        ("destructive", &["delete", "drop", "destroy", "remove", "purge"]),
        ("write", &["write", "update", "save", "send", "export", "create"]),
        ("read", &["read", "list", "get", "search", "fetch"]),
    ];
    let name = lower(tool);
    let found = GROUPS.iter().find(|(_, words)| words.iter().any(|word| name.contains(word)));
    found.map_or("execute", |(class, _)| class)
}
