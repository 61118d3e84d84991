//! The smallest run that still shows a fault (contract, artifacts 4.9).

use super::glance::LineRecord;
use super::id_key::IdKey;
use super::lines::LineError;
use super::open::{OpenError, Runpack};
use super::record::{IntentRecord, Object, Receipt, ResultRecord, SCHEMA_VERSION, parse};
use super::write::RunRecords;
use crate::text::lower_trimmed;
use crate::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use std::io::{Read, Seek};
use std::ops::ControlFlow;

/// What makes an intent a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// It has no result.
    MissingResult,
    /// It has a result whose status is neither `ok` nor `success`.
    NonOkStatus,
}

impl Predicate {
    /// Reads a name; none is [`Predicate::MissingResult`].
    ///
    /// # Errors
    /// [`ReduceError::Unsupported`]
    pub fn parse(text: &str) -> Result<Self, ReduceError> {
        match &*lower_trimmed(text) {
            "" | "missing_result" => Ok(Predicate::MissingResult),
            "non_ok_status" => Ok(Predicate::NonOkStatus),
            other => Err(ReduceError::Unsupported { name: other.into() }),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Predicate::MissingResult => "missing_result",
            Predicate::NonOkStatus => "non_ok_status",
        }
    }
}

/// Why a run can't be reduced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReduceError {
    /// Not an intact runpack.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No such predicate.
    #[error("unsupported predicate {name:?}")]
    Unsupported {
        /// What was asked for.
        name: String,
    },
    /// Nothing to select from.
    #[error("runpack has no intent IDs")]
    NoIntents,
    /// The run has no such fault.
    #[error("predicate {} not triggered by runpack", predicate.name())]
    NotTriggered {
        /// The fault looked for.
        predicate: Predicate,
    },
}

/// The report beside a reduced pack.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, artifacts 4.9")]
pub struct ReduceReport {
    pub schema_id: &'static str,
    pub schema_version: &'static str,
    pub created_at: Timestamp,
    pub producer_version: String,
    pub run_id: String,
    pub reduced_run_id: String,
    pub predicate: &'static str,
    pub selected_intent_id: String,
    pub original_intent_count: usize,
    pub reduced_intent_count: usize,
    pub original_result_count: usize,
    pub reduced_result_count: usize,
    pub original_ref_count: usize,
    pub reduced_ref_count: usize,
    pub still_failing: bool,
}

/// Keeps of the run in `pack` what shows one fault, and tells what that is. It remembers some 20 bytes for a result.
///
/// # Errors
/// [`ReduceError`]
pub fn reduce<R: Read + Seek>(
    pack: &mut Runpack<R>,
    predicate: Predicate,
) -> Result<(RunRecords, ReduceReport), ReduceError> {
    let seen = Seen::of(pack, predicate)?;
    let selected = select(pack, &seen.known, predicate)?;
    let reduced = keep(pack, predicate, selected)?;
    let id = reduced.intents.first().map(|intent| intent.intent_id.clone()).unwrap_or_default();
    let report = ReduceReport {
        schema_id: "gait.runpack.reduce_report",
        schema_version: SCHEMA_VERSION,
        created_at: reduced.run.created_at.to_utc(),
        producer_version: crate::PRODUCER_VERSION.into(),
        run_id: pack.run.run_id.clone(),
        reduced_run_id: reduced.run.run_id.clone(),
        predicate: predicate.name(),
        still_failing: holds_for(&reduced, predicate, &id),
        selected_intent_id: id,
        original_intent_count: seen.intents,
        reduced_intent_count: reduced.intents.len(),
        original_result_count: seen.results,
        reduced_result_count: reduced.results.len(),
        original_ref_count: seen.receipts,
        reduced_ref_count: reduced.refs.receipts.len(),
    };
    Ok((reduced, report))
}

/// What one pass over all records tells.
struct Seen {
    intents: usize,
    results: usize,
    receipts: usize,
    /// Ids of results: all, or those that are not ok.
    known: HashSet<IdKey>,
}

impl Seen {
    fn of<R: Read + Seek>(pack: &mut Runpack<R>, predicate: Predicate) -> Result<Self, ReduceError> {
        let mut seen = Seen { intents: 0, results: 0, receipts: 0, known: HashSet::new() };
        let mut named = false;
        pack.glance_at::<IntentRecord>(|intent| {
            seen.intents += 1;
            named |= !intent.intent_id.is_empty();
        })?;
        pack.glance_at::<ResultRecord>(|result| {
            seen.results += 1;
            if predicate == Predicate::MissingResult || !is_ok(&result.word) {
                seen.known.insert(IdKey::of(&*result.intent_id));
            }
        })?;
        (_, seen.receipts) = pack.fold_refs(|count: &mut usize, _| *count += 1)?;
        if named { Ok(seen) } else { Err(ReduceError::NoIntents) }
    }
}

fn is_ok(status: &str) -> bool {
    matches!(&*lower_trimmed(status), "ok" | "success")
}

fn holds_for(records: &RunRecords, predicate: Predicate, id: &str) -> bool {
    let mut results = records.results.iter().filter(|result| result.intent_id == id);
    match predicate {
        Predicate::MissingResult => results.next().is_none(),
        Predicate::NonOkStatus => results.any(|result| !is_ok(&result.status)),
    }
}

/// The first intent of the smallest id for which the predicate holds.
fn select<R: Read + Seek>(
    pack: &mut Runpack<R>,
    known: &HashSet<IdKey>,
    predicate: Predicate,
) -> Result<IntentRecord, ReduceError> {
    let wanted = predicate == Predicate::NonOkStatus;
    let mut smallest: Option<(String, Vec<u8>)> = None;
    pack.lines_until::<IntentRecord>(|line, intent| {
        let id = &*intent.intent_id;
        let is_smaller = smallest.as_ref().is_none_or(|(smallest, _)| id < smallest.as_str());
        if !id.is_empty() && is_smaller && known.contains(&IdKey::of(id)) == wanted {
            smallest = Some((id.into(), line.to_vec()));
        }
        ControlFlow::Continue(())
    })?;
    let (_, line) = smallest.ok_or(ReduceError::NotTriggered { predicate })?;
    parsed(&line)
}

/// A line that was seen before.
fn parsed<T: LineRecord>(line: &[u8]) -> Result<T, ReduceError> {
    let source = |source| LineError::Record { number: 0, source };
    parse(line).map_err(|error| OpenError::Line { what: T::WHAT, source: source(error) }.into())
}

/// The first result of `id` that is not ok.
fn fault<R: Read + Seek>(pack: &mut Runpack<R>, id: &str) -> Result<Option<ResultRecord>, ReduceError> {
    let mut found = None;
    pack.lines_until::<ResultRecord>(|line, result| {
        if result.intent_id == id && !is_ok(&result.word) {
            found = Some(line.to_vec());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    found.map(|line| parsed(&line)).transpose()
}

fn keep<R: Read + Seek>(
    pack: &mut Runpack<R>,
    predicate: Predicate,
    intent: IntentRecord,
) -> Result<RunRecords, ReduceError> {
    let id = intent.intent_id.clone();
    let result = match predicate {
        Predicate::MissingResult => None,
        Predicate::NonOkStatus => fault(pack, &id)?,
    };
    let mut referenced = BTreeSet::new();
    collect_object(&intent.args, &mut referenced);
    result.iter().for_each(|result| collect_object(&result.result, &mut referenced));

    let (mut refs, mut receipts) = pack.fold_refs(|kept: &mut Vec<Receipt>, receipt| {
        if referenced.contains(&receipt.ref_id) {
            kept.push(receipt);
        }
    })?;
    receipts.sort_by(|left, right| left.ref_id.cmp(&right.ref_id));
    let mut run = pack.run.clone();
    run.timeline.retain(|event| event.reference.is_empty() || event.reference == id);
    let run_id = reduced_run_id(&run.run_id, predicate);
    run.run_id.clone_from(&run_id);
    refs.run_id.clone_from(&run_id);
    refs.receipts = receipts;
    Ok(RunRecords {
        run,
        intents: vec![IntentRecord { run_id: run_id.clone(), ..intent }],
        results: result.into_iter().map(|result| ResultRecord { run_id: run_id.clone(), ..result }).collect(),
        refs,
        capture_mode: pack.manifest().capture_mode.clone(),
    })
}

fn reduced_run_id(run_id: &str, predicate: Predicate) -> String {
    let prefix = if run_id.starts_with("run_") { "" } else { "run_" };
    format!("{prefix}{run_id}_reduced_{}", predicate.name().replace('_', ""))
}

/// Names of receipts that a value refers to: strings of members whose name speaks of a reference, and any `ref_...`.
fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.starts_with("ref_") => {
            found.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => collect_object(members, found),
        _ => {}
    }
}

fn collect_object(members: &Object, found: &mut BTreeSet<String>) {
    for (name, value) in members {
        if let Value::String(text) = value
            && lower_trimmed(name).contains("ref")
            && !text.trim().is_empty()
        {
            found.insert(text.trim().to_string());
        }
        collect(value, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::write::write_pack;
    use serde_json::json;
    use std::io::Cursor;

    fn pack(records: &RunRecords) -> Runpack<Cursor<Vec<u8>>> {
        let mut out = Vec::new();
        write_pack(&mut out, &records.facts(), &records.members().unwrap(), &[]).unwrap();
        Runpack::open(Cursor::new(out)).unwrap()
    }

    #[test]
    fn receipts_are_kept_that_the_intent_refers_to() {
        let args = json!({"input_ref": " a ", "deep": [{"x": "ref_b"}], "other": "c", " REFS ": ["d"], "n": 1});
        let receipt = |id: &str| Receipt { ref_id: id.into(), ..Receipt::default() };
        let mut records = RunRecords::default();
        records.run.run_id = "mine".into();
        records.refs.receipts = ["ref_b", "d", "c", "a"].map(receipt).to_vec();
        records.intents = vec![IntentRecord {
            intent_id: "i".into(),
            args: args.as_object().cloned().unwrap(),
            ..IntentRecord::default()
        }];
        let (reduced, report) = reduce(&mut pack(&records), Predicate::MissingResult).unwrap();
        let ids: Vec<&str> = reduced.refs.receipts.iter().map(|receipt| receipt.ref_id.as_str()).collect();
        assert_eq!(ids, ["a", "ref_b"]);
        assert_eq!(report.reduced_run_id, "run_mine_reduced_missingresult");
        assert!(report.still_failing);
    }

    #[test]
    fn the_smallest_id_in_byte_order_is_selected() {
        let intent = |id: &str| IntentRecord { intent_id: id.into(), ..IntentRecord::default() };
        let result = |id: &str, status: &str| ResultRecord {
            intent_id: id.into(),
            status: status.into(),
            ..ResultRecord::default()
        };
        let mut records = RunRecords {
            intents: ["b", "", "B", "a"].map(intent).to_vec(),
            results: vec![result("a", " OK "), result("b", "success"), result("b", "failed"), result("b", "late")],
            ..RunRecords::default()
        };
        records.run.run_id = "run_x".into();
        let reduced = |predicate| reduce(&mut pack(&records), predicate).unwrap();
        assert_eq!(reduced(Predicate::MissingResult).1.selected_intent_id, "B");
        let (kept, report) = reduced(Predicate::NonOkStatus);
        assert_eq!((report.selected_intent_id.as_str(), report.original_result_count), ("b", 4));
        // The first that is not ok.
        assert_eq!(kept.results.iter().map(|result| result.status.as_str()).collect::<Vec<_>>(), ["failed"]);
        assert!(report.still_failing);
    }

    #[test]
    fn a_run_without_the_fault_or_without_ids_is_not_reduced() {
        let mut records = RunRecords::default();
        records.run.run_id = "run_x".into();
        let told = |records: &RunRecords| reduce(&mut pack(records), Predicate::MissingResult).unwrap_err();
        assert!(matches!(told(&records), ReduceError::NoIntents));
        records.intents = vec![IntentRecord::default()];
        assert!(matches!(told(&records), ReduceError::NoIntents));
        records.intents = vec![IntentRecord { intent_id: "a".into(), ..IntentRecord::default() }];
        records.results = vec![ResultRecord { intent_id: "a".into(), ..ResultRecord::default() }];
        assert!(matches!(told(&records), ReduceError::NotTriggered { .. }));
    }
}
