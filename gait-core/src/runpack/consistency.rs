//! Whether a manifest speaks of the run that its pack holds (contract, artifacts 12, A5 and A8).
//!
//! None of this keeps a pack from being opened: commands that work with records take what is there, and the regress
//! grader `schema_validation` exists to report odd schemas. It is `verify` that says so.

use super::container::{Container, MemberError};
use super::lines::{LineError, Lines};
use super::record::{IntentRecord, MANIFEST_SCHEMA, Manifest, Object, ResultRecord, Run, SCHEMA_VERSION, parse};
use crate::canonical::digest_of;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Seek};

/// `run.json` is held in memory.
const RUN_LIMIT_BYTES: u64 = super::container::MEMBER_LIMIT_BYTES;

/// Why records could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsistencyError {
    /// A member can't be read.
    #[error("read {name}: {source}")]
    Read {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: MemberError,
    },
    /// A line of `intents.jsonl` or `results.jsonl` is not what it should be.
    #[error("parse {name}: {source}")]
    Line {
        /// The member.
        name: &'static str,
        /// Which line and why.
        #[source]
        source: LineError,
    },
}

/// Where the manifest is of another schema, or names another run than `run.json`. A `run.json` that is not there or
/// can't be read contradicts nothing: that is found elsewhere.
pub fn contradictions<R: Read + Seek>(container: &mut Container<R>, manifest: &Manifest) -> Vec<String> {
    let mut found = Vec::new();
    if manifest.schema_id != MANIFEST_SCHEMA {
        found.push(format!("unsupported schema_id {:?}", manifest.schema_id));
    }
    if manifest.schema_version != SCHEMA_VERSION {
        found.push(format!("unsupported schema_version {:?}", manifest.schema_version));
    }
    let bytes = container.read_all("run.json", RUN_LIMIT_BYTES);
    if let Ok(Some(bytes)) = bytes
        && let Ok(run) = parse::<Run>(&bytes)
        && run.run_id != manifest.run_id
    {
        found.push(format!("run_id is {:?}, that of run.json is {:?}", manifest.run_id, run.run_id));
    }
    found
}

/// A record whose digest is not that of what it goes with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DigestMismatch {
    /// `intents.jsonl` or `results.jsonl`.
    pub path: &'static str,
    /// The record.
    pub intent_id: String,
    /// What it says.
    pub expected: String,
    /// What its arguments or its result give.
    pub actual: String,
}

/// Records whose `args_digest` or `result_digest` is not the canonical digest of their `args` or `result`, in the
/// order of the pack. Records without these are digests only, and can't be wrong.
///
/// # Errors
/// [`ConsistencyError`]
pub fn wrong_digests<R: Read + Seek>(container: &mut Container<R>) -> Result<Vec<DigestMismatch>, ConsistencyError> {
    let mut found = wrong_in(container, "intents.jsonl", |record: IntentRecord| {
        (record.intent_id, record.args_digest, record.args)
    })?;
    found.extend(wrong_in(container, "results.jsonl", |record: ResultRecord| {
        (record.intent_id, record.result_digest, record.result)
    })?);
    Ok(found)
}

fn wrong_in<R: Read + Seek, T: DeserializeOwned>(
    container: &mut Container<R>,
    path: &'static str,
    parts: impl Fn(T) -> (String, String, Object),
) -> Result<Vec<DigestMismatch>, ConsistencyError> {
    let bad_line = |source| ConsistencyError::Line { name: path, source };
    let reader = container.read(path).map_err(|source| ConsistencyError::Read { name: path, source })?;
    let Some(reader) = reader else { return Ok(Vec::new()) };
    let (mut lines, mut found) = (Lines::new(reader.buffered()), Vec::new());
    while let Some((number, line)) = lines.next_line().map_err(bad_line)? {
        let record = parse(line).map_err(|source| bad_line(LineError::Record { number, source }))?;
        let (intent_id, expected, content) = parts(record);
        // What was read from JSON has a canonical form.
        let Ok(actual) = digest_of(&content).map(|digest| digest.to_string()) else { continue };
        if !content.is_empty() && !expected.eq_ignore_ascii_case(&actual) {
            found.push(DigestMismatch { path, intent_id, expected, actual });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::demo;
    use crate::runpack::write::{RunRecords, write_pack};
    use std::io::Cursor;

    fn container(records: &RunRecords) -> Container<Cursor<Vec<u8>>> {
        let mut out = Vec::new();
        write_pack(&mut out, &records.facts(), &records.members().unwrap(), &[]).unwrap();
        Container::open(Cursor::new(out)).unwrap()
    }

    #[test]
    fn a_manifest_of_another_run_or_schema_is_told() {
        let records = demo::records().unwrap();
        let mut manifest =
            Manifest { schema_id: MANIFEST_SCHEMA.into(), schema_version: "1.0.0".into(), ..Manifest::default() };
        manifest.run_id = demo::RUN_ID.into();
        assert_eq!(contradictions(&mut container(&records), &manifest), Vec::<String>::new());
        manifest.schema_version = "2.0.0".into();
        manifest.run_id = "run_other".into();
        assert_eq!(
            contradictions(&mut container(&records), &manifest),
            ["unsupported schema_version \"2.0.0\"", "run_id is \"run_other\", that of run.json is \"run_demo\""]
        );
    }

    #[test]
    fn digests_are_those_of_arguments_and_results_where_these_are_there() {
        let mut records = demo::records().unwrap();
        assert_eq!(wrong_digests(&mut container(&records)).unwrap(), []);
        records.intents[0].args.clear();
        records.intents[1].args.insert("more".into(), 1.into());
        records.results[2].result_digest = "0".repeat(64);
        let wrong: Vec<_> =
            wrong_digests(&mut container(&records)).unwrap().into_iter().map(|one| (one.path, one.intent_id)).collect();
        assert_eq!(wrong, [("intents.jsonl", "intent_2".to_string()), ("results.jsonl", "intent_3".to_string())]);
    }
}
