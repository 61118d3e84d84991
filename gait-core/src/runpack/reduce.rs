//! The smallest run that still shows a fault (contract, artifacts 4.9).

use super::record::{IntentRecord, Object, ResultRecord, SCHEMA_VERSION};
use super::write::RunRecords;
use crate::text::lower_trimmed;
use crate::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReduceError {
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

/// Keeps of `records` what shows one fault, and tells what that is.
///
/// # Errors
/// [`ReduceError`]
pub fn reduce(records: RunRecords, predicate: Predicate) -> Result<(RunRecords, ReduceReport), ReduceError> {
    let counts = (records.intents.len(), records.results.len(), records.refs.receipts.len());
    let run_id = records.run.run_id.clone();
    let selected = select(&records, predicate)?;
    let reduced = keep(records, predicate, &selected);
    let report = ReduceReport {
        schema_id: "gait.runpack.reduce_report",
        schema_version: SCHEMA_VERSION,
        created_at: reduced.run.created_at.to_utc(),
        producer_version: crate::PRODUCER_VERSION.into(),
        run_id,
        reduced_run_id: reduced.run.run_id.clone(),
        predicate: predicate.name(),
        still_failing: holds_for(&reduced, predicate, &selected),
        selected_intent_id: selected,
        original_intent_count: counts.0,
        reduced_intent_count: reduced.intents.len(),
        original_result_count: counts.1,
        reduced_result_count: reduced.results.len(),
        original_ref_count: counts.2,
        reduced_ref_count: reduced.refs.receipts.len(),
    };
    Ok((reduced, report))
}

fn is_ok(result: &ResultRecord) -> bool {
    matches!(&*lower_trimmed(&result.status), "ok" | "success")
}

fn holds_for(records: &RunRecords, predicate: Predicate, id: &str) -> bool {
    let mut results = records.results.iter().filter(|result| result.intent_id == id);
    match predicate {
        Predicate::MissingResult => results.next().is_none(),
        Predicate::NonOkStatus => results.any(|result| !is_ok(result)),
    }
}

/// The smallest id for which the predicate holds.
fn select(records: &RunRecords, predicate: Predicate) -> Result<String, ReduceError> {
    let ids: BTreeSet<&str> =
        records.intents.iter().map(|intent| intent.intent_id.as_str()).filter(|id| !id.is_empty()).collect();
    if ids.is_empty() {
        return Err(ReduceError::NoIntents);
    }
    let results = records.results.iter().filter(|result| predicate == Predicate::MissingResult || !is_ok(result));
    let known: HashSet<&str> = results.map(|result| result.intent_id.as_str()).collect();
    let wanted = predicate == Predicate::NonOkStatus;
    let first = ids.into_iter().find(|id| known.contains(id) == wanted);
    first.map(str::to_string).ok_or(ReduceError::NotTriggered { predicate })
}

fn keep(mut records: RunRecords, predicate: Predicate, id: &str) -> RunRecords {
    let run_id = reduced_run_id(&records.run.run_id, predicate);
    let intent = records.intents.into_iter().find(|intent| intent.intent_id == id);
    let is_kept =
        |result: &ResultRecord| predicate == Predicate::NonOkStatus && result.intent_id == id && !is_ok(result);
    let result = records.results.into_iter().find(is_kept);
    let mut referenced = BTreeSet::new();
    let empty = Object::new();
    collect_object(intent.as_ref().map_or(&empty, |intent| &intent.args), &mut referenced);
    collect_object(result.as_ref().map_or(&empty, |result| &result.result), &mut referenced);

    records.refs.receipts.retain(|receipt| referenced.contains(&receipt.ref_id));
    records.refs.receipts.sort_by(|left, right| left.ref_id.cmp(&right.ref_id));
    records.run.timeline.retain(|event| event.reference.is_empty() || event.reference == id);
    records.intents = intent.into_iter().map(|intent| IntentRecord { run_id: run_id.clone(), ..intent }).collect();
    records.results = result.into_iter().map(|result| ResultRecord { run_id: run_id.clone(), ..result }).collect();
    records.refs.run_id.clone_from(&run_id);
    records.run.run_id = run_id;
    records
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
    use crate::runpack::record::Receipt;
    use serde_json::json;

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
        let (reduced, report) = reduce(records, Predicate::MissingResult).unwrap();
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
        let records = RunRecords {
            intents: ["b", "", "B", "a"].map(intent).to_vec(),
            results: vec![result("a", " OK "), result("b", "failed"), result("b", "success")],
            ..RunRecords::default()
        };
        assert_eq!(select(&records, Predicate::MissingResult).unwrap(), "B");
        assert_eq!(select(&records, Predicate::NonOkStatus).unwrap(), "b");
    }
}
