//! A run that is too large to hold becomes a runpack: its records are read, filled and deflated one by one.

use super::container::{Deflater, MEMBER_LIMIT_BYTES, WriteError};
use super::glance::LineRecord;
use super::lines::LINE_LIMIT_BYTES;
use super::record::{IntentRecord, Refs, ResultRecord, Run, WholeRecord, parse, parse_whole};
use super::write::{Content, PackError, PackMember};
use crate::canonical::{CanonicalError, write_canonical};
use crate::parts::{Part, PartsError, for_each_part};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::fs::File;
use std::io::{BufRead, Write};
use std::sync::Arc;

/// No member of the input, and no record of it, is larger: it would not fit into a member of the runpack.
const PART_LIMIT_BYTES: usize = MEMBER_LIMIT_BYTES as usize;
const INTENTS: &str = "intents";
const RESULTS: &str = "results";

/// What the input of `run record` says besides intents and results (contract, artifacts 4.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunHead {
    /// `run`
    pub run: Run,
    /// `refs`
    pub refs: Refs,
    /// `capture_mode`
    pub capture_mode: String,
    /// How often there are `intents` and `results`: of repeated members the last counts.
    pub arrays: Arrays,
}

/// How often the arrays of records occur in an input.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arrays {
    intents: u64,
    results: u64,
}

impl Arrays {
    fn count(&mut self, name: &str) {
        match name {
            INTENTS => self.intents += 1,
            RESULTS => self.results += 1,
            _ => {}
        }
    }
}

/// Why the input of `run record` can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Not one object, or no end of it.
    #[error(transparent)]
    Parts(PartsError<std::convert::Infallible>),
    /// A member or a record is not what it should be.
    #[error("{name}: {source}")]
    Record {
        /// The member.
        name: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A record can't be kept.
    #[error(transparent)]
    Keep(#[from] KeepError),
}

/// Why a record can't be written into its member.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// A record without a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// A record that no reader would take.
    #[error("a record of `{name}` is longer than {LINE_LIMIT_BYTES} bytes")]
    Long {
        /// The member.
        name: &'static str,
    },
    /// The member could not be written.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// Reads one input object and gives its head; records are skipped, and not even looked at.
///
/// # Errors
/// [`InputError`]
pub fn read_head(source: impl BufRead) -> Result<RunHead, InputError> {
    let mut head = RunHead::default();
    let mut seen = Arrays::default();
    in_parts(source, |part| match part {
        Part::Element(..) => Ok(()),
        Part::Array(name) => {
            seen.count(name);
            Ok(())
        }
        Part::Member("run", value) => set(&mut head.run, "run", value),
        Part::Member("refs", value) => set(&mut head.refs, "refs", value),
        Part::Member("capture_mode", value) => {
            head.capture_mode = read::<Option<String>>("capture_mode", value)?.unwrap_or_default();
            Ok(())
        }
        // Not an array: then it may only be absent.
        Part::Member(name @ (INTENTS | RESULTS), value) => {
            seen.count(name);
            read::<Option<Vec<IgnoredAny>>>(name, value).map(drop)
        }
        Part::Member(name, value) => read::<IgnoredAny>(name, value).map(drop),
    })?;
    Ok(RunHead { arrays: seen, ..head })
}

/// Reads the input object whose head said `arrays`, and gives its records in order.
///
/// # Errors
/// [`InputError`], also where a taker refuses a record.
pub fn read_records(
    source: impl BufRead,
    arrays: Arrays,
    mut intent: impl FnMut(IntentRecord) -> Result<(), KeepError>,
    mut result: impl FnMut(ResultRecord) -> Result<(), KeepError>,
) -> Result<(), InputError> {
    let mut seen = Arrays::default();
    in_parts(source, |part| match part {
        Part::Element(INTENTS, value) if seen.intents == arrays.intents => Ok(intent(record(INTENTS, value)?)?),
        Part::Element(RESULTS, value) if seen.results == arrays.results => Ok(result(record(RESULTS, value)?)?),
        Part::Element(name, value) => read::<IgnoredAny>(name, value).map(drop),
        Part::Array(name) | Part::Member(name, _) => {
            seen.count(name);
            Ok(())
        }
    })
}

fn in_parts(source: impl BufRead, take: impl FnMut(Part<'_>) -> Result<(), InputError>) -> Result<(), InputError> {
    for_each_part(source, &[INTENTS, RESULTS], PART_LIMIT_BYTES, take).map_err(|error| match error {
        PartsError::Refused(error) => error,
        PartsError::Io(error) => InputError::Parts(PartsError::Io(error)),
        PartsError::Syntax { expected, at } => InputError::Parts(PartsError::Syntax { expected, at }),
        PartsError::TooLong { limit_bytes } => InputError::Parts(PartsError::TooLong { limit_bytes }),
    })
}

fn record<T: DeserializeOwned>(name: &str, value: &[u8]) -> Result<T, InputError> {
    parse(value).map_err(|source| InputError::Record { name: name.into(), source })
}

/// A member that is a record, or `null`.
fn set<T: WholeRecord + Default>(to: &mut T, name: &str, value: &[u8]) -> Result<(), InputError> {
    let parsed = |value| parse_whole(value).map_err(|source| InputError::Record { name: name.into(), source });
    *to = if value == b"null" { T::default() } else { parsed(value)? };
    Ok(())
}

fn read<T: for<'de> Deserialize<'de>>(name: &str, value: &[u8]) -> Result<T, InputError> {
    crate::json::read(value).map_err(|source| InputError::Record { name: name.into(), source })
}

/// The member of one kind of record while it is written, deflated, into a file that nobody else has.
#[derive(Debug)]
pub struct RecordMember<T> {
    deflater: Deflater<File>,
    lines: Vec<u8>,
    kind: std::marker::PhantomData<T>,
}

/// Lines are deflated when there are this many bytes of them.
const BATCH_BYTES: usize = 1 << 16;

impl<T: LineRecord> RecordMember<T> {
    /// Writes to `file`, which is empty.
    pub fn new(file: File) -> Self {
        RecordMember { deflater: Deflater::new(file), lines: Vec::new(), kind: std::marker::PhantomData }
    }

    /// Adds one record.
    ///
    /// # Errors
    /// [`KeepError`]: also as soon as the member is larger than a reader accepts.
    pub fn push(&mut self, record: &T) -> Result<(), KeepError> {
        let start = self.lines.len();
        write_canonical(record, &mut self.lines)?;
        self.lines.push(b'\n');
        if self.lines.len() - start > LINE_LIMIT_BYTES {
            return Err(KeepError::Long { name: T::MEMBER });
        }
        if self.lines.len() >= BATCH_BYTES { self.deflate() } else { Ok(()) }
    }

    /// The member.
    ///
    /// # Errors
    /// [`KeepError`]
    pub fn finish(mut self) -> Result<PackMember, KeepError> {
        self.deflate()?;
        let (file, facts) = self.deflater.finish().map_err(failed::<T>)?;
        Ok(PackMember { name: T::MEMBER.into(), content: Content::Deflated(Arc::new(file), facts) })
    }

    fn deflate(&mut self) -> Result<(), KeepError> {
        self.deflater.write_all(&self.lines).map_err(failed::<T>)?;
        self.lines.clear();
        if self.deflater.size() > MEMBER_LIMIT_BYTES {
            return Err(PackError::from(WriteError::MemberTooLarge { name: T::MEMBER.into() }).into());
        }
        Ok(())
    }
}

fn failed<T: LineRecord>(source: std::io::Error) -> KeepError {
    PackError::from(WriteError::Io { name: T::MEMBER.into(), source }).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::open::Runpack;
    use crate::runpack::write::{RunRecords, write_pack};
    use crate::time::Timestamp;
    use std::io::Cursor;

    /// Ids of the intents and the results that are read from `text`.
    fn ids(text: &str) -> Result<(RunHead, Vec<String>, Vec<String>), InputError> {
        let head = read_head(text.as_bytes())?;
        let (mut intents, mut results) = (Vec::new(), Vec::new());
        let keep = |ids: &mut Vec<String>, id: String| {
            ids.push(id);
            Ok(())
        };
        read_records(
            text.as_bytes(),
            head.arrays,
            |intent| keep(&mut intents, intent.intent_id),
            |result| keep(&mut results, result.intent_id),
        )?;
        Ok((head, intents, results))
    }

    #[test]
    fn of_repeated_members_the_last_counts() {
        let text = r#"{"intents":[{"intent_id":"a"}],"results":[{"intent_id":"r"}],"capture_mode":"raw",
            "run":{"run_id":"x"},"run":null,"intents":[{"intent_id":"b"}],"results":null}"#;
        let (head, intents, results) = ids(text).unwrap();
        assert_eq!((head.run, head.capture_mode.as_str()), (Run::default(), "raw"));
        assert_eq!((intents, results), (vec!["b".to_string()], vec![]));
    }

    #[test]
    fn wrong_types_are_errors() {
        for text in [
            r#"{"intents":{}}"#,
            r#"{"intents":[1]}"#,
            r#"{"intents":[[]]}"#,
            r#"{"results":"x"}"#,
            r#"{"results":[{"status":1}]}"#,
            r#"{"run":[]}"#,
            r#"{"refs":1}"#,
            r#"{"capture_mode":1}"#,
            r#"{"other":[1,}"#,
            r#"{"run":{}} {}"#,
            "[]",
            "",
        ] {
            assert!(ids(text).is_err(), "{text}");
        }
        assert!(ids(r#"{"intents":null,"refs":null,"capture_mode":null,"other":[1]}"#).is_ok());
    }

    #[test]
    fn records_written_one_by_one_are_those_written_together() {
        let mut records = RunRecords::default();
        records.run.run_id = "run_x".into();
        records.intents =
            (0..5000).map(|n| IntentRecord { intent_id: format!("i{n}"), ..IntentRecord::default() }).collect();
        records.results =
            (0..10).map(|n| ResultRecord { intent_id: format!("i{n}"), ..ResultRecord::default() }).collect();
        records.fill(Timestamp::FALLBACK);
        let mut intents = RecordMember::new(tempfile::tempfile().unwrap());
        records.intents.iter().for_each(|intent| intents.push(intent).unwrap());
        let mut results = RecordMember::new(tempfile::tempfile().unwrap());
        records.results.iter().for_each(|result| results.push(result).unwrap());
        let mut members = records.members().unwrap();
        members.retain(|member| !member.name.ends_with(".jsonl"));
        members.extend([intents.finish().unwrap(), results.finish().unwrap()]);
        let mut out = Vec::new();
        write_pack(&mut out, &records.facts(), &members, &[]).unwrap();
        let mut pack = Runpack::open(Cursor::new(out)).unwrap();
        assert!(pack.container().inexact().is_none());
        assert_eq!(pack.load().unwrap(), records);
    }

    #[test]
    fn what_no_reader_takes_is_not_written() {
        let long = IntentRecord { tool_name: "x".repeat(LINE_LIMIT_BYTES), ..IntentRecord::default() };
        let mut member = RecordMember::new(tempfile::tempfile().unwrap());
        assert!(matches!(member.push(&long), Err(KeepError::Long { .. })));

        let mut member = RecordMember::new(tempfile::tempfile().unwrap());
        let large = IntentRecord { tool_name: "x".repeat(9 << 20), ..IntentRecord::default() };
        let refused = (0..12).map(|_| member.push(&large)).find(Result::is_err);
        assert!(matches!(refused, Some(Err(KeepError::Pack(PackError::Container(WriteError::MemberTooLarge { .. }))))));
    }
}
