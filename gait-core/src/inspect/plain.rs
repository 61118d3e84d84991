//! A run that something else than `gait exec` recorded: intents, results, references and a time line, as far as
//! they are there.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{InspectError, clipped, whole};
use crate::digest::Sha256Hex;
use crate::runpack::container::{Container, MEMBER_LIMIT_BYTES};
use crate::runpack::lines::{LineError, Lines};
use crate::runpack::record::{IntentRecord, Object, Refs, ResultRecord, Run, parse};

/// Intents that are kept, the first ones; references and events of the time line likewise.
pub const ROW_LIMIT: usize = 3000;
/// Tools that are told apart; what comes later is in one more.
const TOOL_LIMIT: usize = 200;
/// Kinds of status that are told apart, of one tool.
const STATUS_LIMIT: usize = 12;
/// What stands for the rest.
const OTHER: &str = "(other)";

/// What a run did, as far as its records say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plain {
    /// From the first event of its time line to the last, if it has both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// Number of intents.
    pub intents: u64,
    /// Number of results.
    pub results: u64,
    /// Intents without a result.
    pub missing: u64,
    /// Results without an intent.
    pub orphans: u64,
    /// Counts by tool, by name.
    pub tools: Vec<ToolCount>,
    /// The intents, in order.
    pub rows: Vec<Row>,
    /// Intents that are not in the list.
    pub rows_cut: u64,
    /// What was looked up.
    pub references: Vec<Reference>,
    /// References that are not in the list.
    pub references_cut: u64,
    /// What happened when.
    pub events: Vec<Happened>,
    /// Events that are not in the list.
    pub events_cut: u64,
}

/// The calls of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ToolCount {
    /// The tool.
    pub tool_name: String,
    /// How often it was to be called.
    pub intents: u64,
    /// Results by status.
    pub statuses: BTreeMap<String, u64>,
    /// Calls without a result.
    pub missing: u64,
}

/// One intent and its result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The intent.
    pub intent_id: String,
    /// Its tool.
    pub tool_name: String,
    /// Its arguments as JSON, in raw capture.
    pub args: String,
    /// The status of its result, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Its result as JSON, in raw capture.
    pub result: String,
}

/// What was looked up where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// Its name.
    pub ref_id: String,
    /// The kind of source.
    pub source_type: String,
    /// Where in the source.
    pub source_locator: String,
    /// How sensitive it is.
    pub sensitivity_label: String,
}

/// An event of the time line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// When.
    pub ts: String,
    /// Its name.
    pub event: String,
    /// What it refers to.
    pub reference: String,
}

/// Reads the records in `container`, whose `run.json` is `run`.
///
/// # Errors
/// [`InspectError`] for a record that is not what it should be.
pub fn read<R: Read + Seek>(container: &mut Container<R>, run: &Run) -> Result<Plain, InspectError> {
    let mut records = Records::default();
    each(container, "intents.jsonl", |intent: IntentRecord| records.intent(&intent))?;
    each(container, "results.jsonl", |result: ResultRecord| records.result(&result))?;
    let mut plain = records.finish();
    let name = "refs.json";
    let refs: Refs = parse(&whole(container, name, MEMBER_LIMIT_BYTES)?)
        .map_err(|source| InspectError::Record { name: name.into(), source })?;
    plain.references_cut = beyond(refs.receipts.len());
    plain.references = refs.receipts.iter().take(ROW_LIMIT).map(Reference::of).collect();
    plain.events_cut = beyond(run.timeline.len());
    plain.events = run.timeline.iter().take(ROW_LIMIT).map(Happened::of).collect();
    plain.duration_ns = duration(run);
    Ok(plain)
}

fn beyond(length: usize) -> u64 {
    length.saturating_sub(ROW_LIMIT) as u64
}

impl Reference {
    fn of(receipt: &crate::runpack::record::Receipt) -> Self {
        Self {
            ref_id: clipped(&receipt.ref_id),
            source_type: clipped(&receipt.source_type),
            source_locator: clipped(&receipt.source_locator),
            sensitivity_label: clipped(&receipt.sensitivity_label),
        }
    }
}

impl Happened {
    fn of(event: &crate::runpack::record::TimelineEvent) -> Self {
        Self { ts: event.ts.to_string(), event: clipped(&event.event), reference: clipped(&event.reference) }
    }
}

fn duration(run: &Run) -> Option<u64> {
    let nanos = |event: &crate::runpack::record::TimelineEvent| {
        (!event.ts.is_zero())
            .then(|| i128::from(event.ts.unix_seconds()) * 1_000_000_000 + i128::from(event.ts.nanos()))
    };
    let (first, last) = (run.timeline.iter().find_map(nanos)?, run.timeline.iter().rev().find_map(nanos)?);
    (run.timeline.len() > 1).then(|| u64::try_from(last - first).ok()).flatten()
}

fn each<R: Read + Seek, T: DeserializeOwned>(
    container: &mut Container<R>,
    name: &'static str,
    mut take: impl FnMut(T),
) -> Result<(), InspectError> {
    let member = container.read(name).map_err(|source| InspectError::Member { name: name.into(), source })?;
    let mut lines = Lines::new(member.ok_or_else(|| InspectError::Missing { name: name.into() })?.buffered());
    let bad = |source| InspectError::Line { name: name.into(), source };
    while let Some((number, line)) = lines.next_line().map_err(bad)? {
        take(parse(line).map_err(|source| bad(LineError::Record { number, source }))?);
    }
    Ok(())
}

/// Joins intents and results: a few bytes for each intent, and rows for the first.
#[derive(Default)]
struct Records {
    plain: Plain,
    tools: HashMap<String, usize>,
    by_id: HashMap<u64, Waiting>,
}

/// An intent whose result may still come.
struct Waiting {
    tool: usize,
    row: Option<usize>,
    answered: bool,
}

impl Records {
    fn intent(&mut self, intent: &IntentRecord) {
        let plain = &mut self.plain;
        plain.intents += 1;
        let mut name = clipped(&intent.tool_name);
        if !self.tools.contains_key(&name) && plain.tools.len() >= TOOL_LIMIT {
            OTHER.clone_into(&mut name);
        }
        let tools = &mut plain.tools;
        let tool = *self.tools.entry(name).or_insert_with_key(|name| {
            tools.push(ToolCount { tool_name: name.clone(), ..ToolCount::default() });
            tools.len() - 1
        });
        plain.tools[tool].intents += 1;
        let row = (plain.rows.len() < ROW_LIMIT).then_some(plain.rows.len());
        if row.is_some() {
            plain.rows.push(Row {
                intent_id: clipped(&intent.intent_id),
                tool_name: clipped(&intent.tool_name),
                args: shown(&intent.args),
                ..Row::default()
            });
        } else {
            plain.rows_cut += 1;
        }
        self.by_id.insert(key(&intent.intent_id), Waiting { tool, row, answered: false });
    }

    fn result(&mut self, result: &ResultRecord) {
        let plain = &mut self.plain;
        plain.results += 1;
        let Some(waiting) = self.by_id.get_mut(&key(&result.intent_id)) else {
            plain.orphans += 1;
            return;
        };
        waiting.answered = true;
        let statuses = &mut plain.tools[waiting.tool].statuses;
        let mut status = clipped(&result.status);
        if !statuses.contains_key(&status) && statuses.len() >= STATUS_LIMIT {
            OTHER.clone_into(&mut status);
        }
        *statuses.entry(status).or_default() += 1;
        if let Some(row) = waiting.row {
            plain.rows[row].status = Some(clipped(&result.status));
            plain.rows[row].result = shown(&result.result);
        }
    }

    fn finish(mut self) -> Plain {
        for waiting in self.by_id.values().filter(|waiting| !waiting.answered) {
            self.plain.missing += 1;
            self.plain.tools[waiting.tool].missing += 1;
        }
        self.plain.tools.sort_by(|a, b| a.tool_name.cmp(&b.tool_name));
        self.plain
    }
}

/// What an intent is known by, in few bytes: 64 bits of a digest, so that nobody can make two of them meet by design
/// for less than it is worth, which is a wrong count on a page.
fn key(intent_id: &str) -> u64 {
    let digest = Sha256Hex::of(intent_id);
    digest.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn shown(object: &Object) -> String {
    if object.is_empty() {
        return String::new();
    }
    clipped(&Value::Object(object.clone()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::record::TimelineEvent;
    use crate::time::Timestamp;

    fn intent(id: &str, tool: &str) -> IntentRecord {
        IntentRecord { intent_id: id.into(), tool_name: tool.into(), ..IntentRecord::default() }
    }

    fn result(id: &str, status: &str) -> ResultRecord {
        ResultRecord { intent_id: id.into(), status: status.into(), ..ResultRecord::default() }
    }

    #[test]
    fn intents_and_results_are_joined_and_what_has_no_counterpart_is_counted() {
        let mut records = Records::default();
        for (id, tool) in [("a", "tool.write"), ("b", "tool.read"), ("c", "tool.read")] {
            records.intent(&intent(id, tool));
        }
        for (id, status) in [("b", "ok"), ("a", "error"), ("nobody", "ok")] {
            records.result(&result(id, status));
        }
        let plain = records.finish();
        assert_eq!((plain.intents, plain.results, plain.missing, plain.orphans), (3, 3, 1, 1));
        let read = &plain.tools[0];
        assert_eq!((read.tool_name.as_str(), read.intents, read.missing), ("tool.read", 2, 1));
        assert_eq!(read.statuses, BTreeMap::from([("ok".to_owned(), 1)]));
        let statuses: Vec<Option<&str>> = plain.rows.iter().map(|row| row.status.as_deref()).collect();
        assert_eq!(statuses, [Some("error"), Some("ok"), None]);
    }

    #[test]
    fn what_is_beyond_the_limits_is_counted() {
        let mut records = Records::default();
        (0..ROW_LIMIT + 7).for_each(|n| records.intent(&intent(&n.to_string(), &format!("tool.{n}"))));
        (0..ROW_LIMIT).for_each(|n| records.result(&result("0", &format!("status {n}"))));
        let plain = records.finish();
        assert_eq!((plain.rows.len(), plain.rows_cut), (ROW_LIMIT, 7));
        assert_eq!(plain.tools.len(), TOOL_LIMIT + 1);
        assert!(plain.tools.iter().all(|tool| tool.statuses.len() <= STATUS_LIMIT + 1));
        assert_eq!(plain.tools.iter().map(|tool| tool.intents).sum::<u64>(), plain.intents);
    }

    #[test]
    fn the_duration_is_that_of_the_time_line() {
        let at = |seconds| TimelineEvent { ts: Timestamp::from_unix(seconds, 0).unwrap(), ..TimelineEvent::default() };
        let run = |timeline| duration(&Run { timeline, ..Run::default() });
        assert_eq!(run(vec![at(10), at(11), at(14)]), Some(4_000_000_000));
        assert_eq!(run(vec![at(10)]), None);
        assert_eq!(run(vec![at(10), at(9)]), None);
        assert_eq!(run(vec![]), None);
    }
}
