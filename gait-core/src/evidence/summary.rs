//! The files of a pack, made of the runpack and of records beside it.

use crate::canonical::{CanonicalError, canonical_bytes};
use crate::file::{self, PathError};
use crate::runpack::open::{OpenError, Runpack};
use crate::runpack::record::{self, or_zero};
use crate::scout::snapshot::Snapshot;
use crate::trace::{TraceReadError, TraceRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

/// A kind of record beside the runpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A trace.
    Trace,
    /// A regress result.
    Regress,
    /// An inventory snapshot.
    Inventory,
    /// A record of who approved.
    ApprovalAudit,
    /// A record of a credential that was handed out.
    CredentialEvidence,
}

impl Source {
    fn words(self) -> &'static str {
        match self {
            Source::Trace => "trace",
            Source::Regress => "regress result",
            Source::Inventory => "inventory snapshot",
            Source::ApprovalAudit => "approval audit",
            Source::CredentialEvidence => "credential evidence",
        }
    }
}

/// Why a pack was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The runpack is not intact.
    #[error(transparent)]
    Runpack(#[from] OpenError),
    /// A record can't be read.
    #[error("read {} {}: {source}", what.words(), path.display())]
    Read {
        /// What it should be.
        what: Source,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PathError,
    },
    /// A record is not JSON, or a member has the wrong type.
    #[error("parse {} {}: {source}", what.words(), path.display())]
    Parse {
        /// What it should be.
        what: Source,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A trace is none.
    #[error("parse trace {}: {}", path.display(), source.cause)]
    Trace {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TraceReadError,
    },
    /// A record without a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// A member of the pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EvidenceFile {
    pub path: String,
    pub kind: &'static str,
    pub bytes: Vec<u8>,
}

impl EvidenceFile {
    pub fn of(path: &str, kind: &'static str, content: &impl Serialize) -> Result<Self, CanonicalError> {
        Ok(EvidenceFile { path: path.into(), kind, bytes: canonical_bytes(content)? })
    }
}

/// `runpack_summary.json` and `referenced_runpacks.json`.
pub(super) fn of_runpack<R: Read + Seek>(pack: &mut Runpack<R>) -> Result<Vec<EvidenceFile>, EvidenceError> {
    let (mut intents, mut results) = (0u64, 0u64);
    for intent in pack.intents()? {
        intent?;
        intents += 1;
    }
    for result in pack.results()? {
        result?;
        results += 1;
    }
    let mut receipts = pack.refs()?.receipts;
    receipts.sort_by(|left, right| left.ref_id.cmp(&right.ref_id));
    let manifest = pack.manifest();
    let listed: Vec<Value> = receipts
        .iter()
        .map(|receipt| {
            json!({
                "ref_id": receipt.ref_id,
                "source_type": receipt.source_type,
                "source_locator": receipt.source_locator,
                "content_digest": receipt.content_digest,
                "retrieved_at": receipt.retrieved_at,
            })
        })
        .collect();
    let summary = json!({
        "run_id": pack.run.run_id,
        "manifest_digest": manifest.manifest_digest,
        "capture_mode": manifest.capture_mode,
        "intent_count": intents,
        "result_count": results,
        "receipt_count": receipts.len(),
    });
    let referenced = json!({"run_id": pack.run.run_id, "receipts": listed, "references": receipts.len()});
    Ok(vec![
        EvidenceFile::of("runpack_summary.json", "runpack", &summary)?,
        EvidenceFile::of("referenced_runpacks.json", "evidence", &referenced)?,
    ])
}

pub(super) fn read_traces(paths: &[PathBuf]) -> Result<Vec<TraceRecord>, EvidenceError> {
    let read = |path: &PathBuf| {
        let bytes = bytes(Source::Trace, path)?;
        TraceRecord::read(&bytes).map_err(|source| EvidenceError::Trace { path: path.clone(), source })
    };
    paths.iter().map(read).collect()
}

/// `trace_summary.json`
pub(super) fn of_traces(traces: &[TraceRecord]) -> Result<EvidenceFile, EvidenceError> {
    let mut sorted: Vec<&TraceRecord> = traces.iter().collect();
    sorted.sort_by(|left, right| left.trace_id.cmp(&right.trace_id));
    let listed: Vec<Value> = sorted
        .iter()
        .map(|trace| json!({"trace_id": trace.trace_id, "tool_name": trace.tool_name, "verdict": trace.verdict}))
        .collect();
    let counts = counted(sorted.iter().map(|trace| trace.verdict.as_str()));
    let summary = json!({"traces": listed, "verdict_counts": counts, "total": traces.len()});
    Ok(EvidenceFile::of("trace_summary.json", "trace", &summary)?)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Results {
    #[serde(deserialize_with = "or_zero")]
    fixture_set: String,
    #[serde(deserialize_with = "or_zero")]
    status: String,
    #[serde(deserialize_with = "or_zero")]
    graders: Vec<Value>,
}

/// `regress_summary.json`
pub(super) fn of_results(paths: &[PathBuf]) -> Result<EvidenceFile, EvidenceError> {
    let mut results: Vec<Results> = paths.iter().map(|path| parse(Source::Regress, path)).collect::<Result<_, _>>()?;
    results.sort_by(|left, right| (&left.fixture_set, &left.status).cmp(&(&right.fixture_set, &right.status)));
    let listed: Vec<Value> = results
        .iter()
        .map(|one| json!({"fixture_set": one.fixture_set, "status": one.status, "graders": one.graders.len()}))
        .collect();
    let counts = counted(results.iter().map(|one| one.status.as_str()));
    let summary = json!({"results": listed, "status_counts": counts, "total": results.len()});
    Ok(EvidenceFile::of("regress_summary.json", "report", &summary)?)
}

/// Records as they are, in canonical form, numbered in the order of their paths.
pub(super) fn numbered(what: Source, paths: &[PathBuf]) -> Result<Vec<EvidenceFile>, EvidenceError> {
    let prefix = match what {
        Source::ApprovalAudit => "approval_audit",
        Source::CredentialEvidence => "credential_evidence",
        _ => "inventory_snapshot",
    };
    let mut sorted: Vec<&PathBuf> = paths.iter().collect();
    sorted.sort();
    sorted.dedup();
    let one = |(number, path): (usize, &PathBuf)| {
        let name = format!("{prefix}_{number:02}.json");
        let file = match what {
            Source::Inventory => EvidenceFile::of(&name, "evidence", &parse::<Snapshot>(what, path)?),
            _ => EvidenceFile::of(&name, "evidence", &parse::<record::Object>(what, path)?),
        };
        Ok(file?)
    };
    (1..).zip(sorted).map(one).collect()
}

fn parse<T: serde::de::DeserializeOwned>(what: Source, path: &Path) -> Result<T, EvidenceError> {
    record::parse(&bytes(what, path)?).map_err(|source| EvidenceError::Parse { what, path: path.into(), source })
}

fn bytes(what: Source, path: &Path) -> Result<Vec<u8>, EvidenceError> {
    file::read(path).map_err(|source| EvidenceError::Read { what, path: path.into(), source })
}

fn counted<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    counts
}
