//! Everything in a guarded runpack that follows from its journal (contract guarded-run 2.3 to 2.6).
//!
//! The writer writes what is derived here, and the verifier derives it again and compares bytes: what
//! does not follow from the journal is not in the pack.

use serde_json::{Value, json};

use super::lines::{Lines, Results, UnsignedTrace};
use super::receipt::{Counters, JournalState, Receipt};
use super::threads::side_by_side;
use crate::canonical::{CanonicalError, canonical_bytes, digest_of};
use crate::journal::{Chain, Ending, Ledger, Tally};
use crate::policy::Verdict;
use crate::time::Timestamp;

/// No member of records is longer (contract 1).
const MEMBER_BYTES: u64 = 64 << 20;
/// No member of intents or results has more records.
const MEMBER_RECORDS: u64 = 100_000;

/// A journal and what follows from it.
pub struct Derivation<'a> {
    ledger: &'a Ledger,
    chain: &'a Chain,
    groups: Vec<Group<'a>>,
}

/// One intent and the ways in which it was decided, in the order of its result.
struct Group<'a> {
    intent: usize,
    tallies: Vec<&'a Tally>,
}

/// The records of one intent, each a canonical line with its newline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// Of `intents.jsonl`.
    pub intent: Vec<u8>,
    /// Of `results.jsonl`; none for the run itself if its record is not complete.
    pub result: Option<Vec<u8>>,
    /// Of `counts.jsonl`; none for the run itself.
    pub count: Option<Vec<u8>>,
    /// Of `traces.jsonl`, not yet signed.
    pub traces: Vec<UnsignedTrace>,
}

/// The derived facts about a run, and where they come from.
impl<'a> Derivation<'a> {
    /// Puts a journal in the canonical order of its intents.
    ///
    /// # Errors
    /// Never for a journal that was checked.
    pub fn new(ledger: &'a Ledger, chain: &'a Chain) -> Result<Self, CanonicalError> {
        let mut by_intent: Vec<Vec<&Tally>> = vec![Vec::new(); ledger.intents().len()];
        for tally in ledger.tallies() {
            by_intent[tally.intent].push(tally);
        }
        let spelt = ledger.decisions().iter().map(canonical_bytes).collect::<Result<Vec<_>, _>>()?;
        let mut groups: Vec<Group<'a>> = by_intent
            .into_iter()
            .enumerate()
            .filter(|(_, tallies)| !tallies.is_empty())
            .map(|(intent, tallies)| Group { intent, tallies })
            .collect();
        for group in &mut groups {
            group.tallies.sort_by(|a, b| spelt[a.decision].cmp(&spelt[b.decision]));
        }
        let key = |group: &Group<'_>| {
            let intent = &ledger.intents()[group.intent];
            (&*intent.tool_name, &*intent.value, intent.digest)
        };
        groups.sort_by(|a, b| key(a).cmp(&key(b)));
        Ok(Self { ledger, chain, groups })
    }

    /// How often each intent was decided in each way, in the order of the records.
    pub fn tallies(&self) -> impl Iterator<Item = &'a Tally> + '_ {
        self.groups.iter().flat_map(|group| group.tallies.iter().copied())
    }

    /// Number of distinct intents that were decided.
    pub fn distinct(&self) -> u64 {
        self.groups.len() as u64
    }

    /// Whether the record of the run is complete (contract 3.4).
    pub fn complete(&self) -> bool {
        self.ledger.complete(self.chain)
    }

    /// Whether somebody else than the guard ended the journal.
    pub fn sealed(&self) -> bool {
        matches!(self.ledger.ending(), Some(Ending::Sealed(_)))
    }

    /// Last line that the guard itself attested, and the number of lines after it that it did not.
    pub fn attested(&self) -> (u64, u64) {
        match self.ledger.ending() {
            Some(Ending::Sealed(seal)) => (seal.attested, seal.unattested),
            _ => (self.chain.seq(), 0),
        }
    }

    /// `counters` of `guard.json`.
    pub fn counters(&self) -> Counters {
        let verdicts = self.chain.verdicts();
        Counters {
            decisions: self.chain.decisions(),
            verdicts: Verdict::ALL
                .iter()
                .filter(|verdict| verdicts.of(**verdict) > 0)
                .map(|verdict| (verdict.as_str().to_owned(), verdicts.of(*verdict)))
                .collect(),
            distinct: self.distinct(),
            lost: self.chain.lost(),
            denied_unrecorded: self.ledger.denied_unrecorded(),
            disagreements: self.ledger.disagreements(),
            processes: self.ledger.processes(),
        }
    }

    /// `journal` of `guard.json`.
    pub fn journal(&self, segments: u64) -> JournalState {
        JournalState {
            segments,
            bytes: self.chain.bytes(),
            lines: self.chain.seq(),
            head: self.chain.head().to_string(),
        }
    }

    /// `guard.json` as it stands in the pack, from the one that was written before the start.
    ///
    /// The end of a closed run is its start plus the time of its last line: no clock that could have
    /// been set meanwhile.
    pub fn receipt(&self, initial: &Receipt, segments: u64) -> Receipt {
        let mut receipt = initial.clone();
        receipt.run.complete = Some(self.complete());
        receipt.run.sealed = Some(self.sealed());
        receipt.run.finished_at = Some(if self.sealed() { String::new() } else { self.finished_at() });
        receipt.run.journal = Some(self.journal(segments));
        receipt.run.counters = Some(self.counters());
        receipt
    }

    fn finished_at(&self) -> String {
        let started = Timestamp::parse(&self.ledger.open().started_at).unwrap_or(Timestamp::ZERO);
        let t = self.ledger.last_t();
        let nanos = u64::from(started.nanos()) + t % 1_000_000_000;
        let seconds = (t / 1_000_000_000 + nanos / 1_000_000_000).cast_signed();
        let nanos = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
        Timestamp::from_unix(started.unix_seconds().saturating_add(seconds), nanos).unwrap_or(started).to_string()
    }

    /// `run.json`: `finished_at` is that of the receipt, `arch` in the spelling of Go.
    ///
    /// # Errors
    /// Never for text.
    pub fn run_json(&self, finished_at: &str, os: &str, arch: &str) -> Result<Vec<u8>, CanonicalError> {
        let started_at = &self.ledger.open().started_at;
        let (event, ts) = match self.ledger.ending() {
            Some(Ending::Sealed(seal)) => ("sealed", seal.sealed_at.as_str()),
            _ => ("finish", finished_at),
        };
        canonical_bytes(&self.record(
            "gait.runpack.run",
            json!({"env": {"os": os, "arch": arch, "runtime": super::RUNTIME},
                   "timeline": [{"event": "start", "ts": started_at}, {"event": event, "ts": ts}]}),
        ))
    }

    /// `refs.json`.
    ///
    /// # Errors
    /// Never for text.
    pub fn refs_json(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical_bytes(&self.record("gait.runpack.refs", json!({"receipts": []})))
    }

    /// The records of the run itself, then of each intent, in order.
    pub fn records(&self) -> impl Iterator<Item = Result<Records, CanonicalError>> + '_ {
        let (lines, mut results) = (Lines::new(self.ledger.open()), Results::default());
        let groups = self.groups.iter().map(move |group| self.group_records(&lines, &mut results, group));
        std::iter::once_with(|| self.run_records()).chain(groups)
    }

    /// The same, those of a large run made side by side.
    ///
    /// # Errors
    /// As [`Derivation::records`].
    pub(super) fn all_records(&self) -> Result<Vec<Records>, CanonicalError> {
        let make = |groups: &[Group<'a>]| -> Result<Vec<Records>, CanonicalError> {
            let (lines, mut results) = (Lines::new(self.ledger.open()), Results::default());
            groups.iter().map(|group| self.group_records(&lines, &mut results, group)).collect()
        };
        let mut all = vec![self.run_records()?];
        for made in side_by_side(&self.groups, make) {
            all.append(&mut made?);
        }
        Ok(all)
    }

    fn run_records(&self) -> Result<Records, CanonicalError> {
        // `open` is not checked for the shape of an intent: its line is written from what is there.
        let intent = &self.ledger.open().intent;
        let digest = digest_of(intent)?;
        let mut args = intent.clone();
        let tool = args.as_object_mut().and_then(|members| members.remove("tool_name"));
        let args_digest = digest_of(&args)?;
        let id = format!("intent_{digest}");
        let intent = self.line(
            "gait.runpack.intent",
            json!({"intent_id": id, "tool_name": tool, "args_digest": args_digest, "args": args}),
        )?;
        let result = match self.ledger.ending() {
            Some(Ending::Closed(close)) if self.complete() => {
                let signal = close.signal.unwrap_or(0);
                let status = if close.exit_code == 0 && signal == 0 { "ok" } else { "error" };
                let result = json!({"complete": true, "exit_code": close.exit_code, "signal": signal});
                let members = json!({"intent_id": id, "status": status, "result_digest": digest_of(&result)?,
                                     "result": result});
                Some(self.line("gait.runpack.result", members)?)
            }
            _ => None,
        };
        Ok(Records { intent, result, ..Records::default() })
    }

    fn group_records(
        &self,
        lines: &Lines,
        results: &mut Results,
        group: &Group<'_>,
    ) -> Result<Records, CanonicalError> {
        let entry = &self.ledger.intents()[group.intent];
        let verdict = |tally: &Tally| self.ledger.decisions()[tally.decision].verdict;
        let which = group.tallies.iter().map(|tally| tally.decision).collect();
        Ok(Records {
            intent: lines.intent(entry)?,
            result: Some(lines.result(&entry.digest, which, self.ledger.decisions(), results)?),
            count: Some(lines.count(&entry.digest, group.tallies.iter().map(|tally| (*tally, verdict(tally))))),
            traces: self.traces(lines, group)?,
        })
    }

    /// Per final verdict, in the byte order of its word.
    fn traces(&self, lines: &Lines, group: &Group<'_>) -> Result<Vec<UnsignedTrace>, CanonicalError> {
        let decided = |tally: &Tally| &self.ledger.decisions()[tally.decision];
        let mut verdicts: Vec<Verdict> = group.tallies.iter().map(|tally| decided(tally).verdict).collect();
        verdicts.sort_by_key(|verdict| verdict.as_str());
        verdicts.dedup();
        let trace = |verdict: Verdict| {
            let same = || group.tallies.iter().filter(|tally| decided(tally).verdict == verdict);
            let violations = union(same().flat_map(|tally| &decided(tally).violations));
            let approvals = union(same().flat_map(|tally| &tally.approvals));
            lines.trace(&self.ledger.intents()[group.intent], verdict, &violations, &approvals)
        };
        verdicts.into_iter().map(trace).collect()
    }

    fn line(&self, schema: &str, members: Value) -> Result<Vec<u8>, CanonicalError> {
        let mut line = canonical_bytes(&self.record(schema, members))?;
        line.push(b'\n');
        Ok(line)
    }

    /// The five common fields and `members`.
    fn record(&self, schema: &str, mut members: Value) -> Value {
        let open = self.ledger.open();
        members["schema_id"] = schema.into();
        members["schema_version"] = "1.0.0".into();
        members["created_at"] = open.started_at.as_str().into();
        members["producer_version"] = open.producer_version.as_str().into();
        members["run_id"] = open.run_id.as_str().into();
        members
    }
}

fn union<'s>(texts: impl Iterator<Item = &'s String>) -> Vec<&'s str> {
    let mut all: Vec<&str> = texts.map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Says in which part of the record members each intent's records go: all four are cut at the same
/// intent, as soon as one is full (contract 1, spill).
#[derive(Clone, Debug)]
pub(super) struct Spill {
    part: u64,
    bytes: [u64; 4],
    records: [u64; 2],
    limit_bytes: u64,
    limit_records: u64,
}

impl Default for Spill {
    fn default() -> Self {
        Self { part: 1, bytes: [0; 4], records: [0; 2], limit_bytes: MEMBER_BYTES, limit_records: MEMBER_RECORDS }
    }
}

impl Spill {
    /// A spill with other limits, for tests.
    #[cfg(test)]
    pub(super) fn at(limit_bytes: u64, limit_records: u64) -> Self {
        Self { limit_bytes, limit_records, ..Self::default() }
    }

    /// The part of the next records.
    pub(super) fn place(&mut self, records: &Records) -> u64 {
        let len = |line: &Option<Vec<u8>>| line.as_ref().map_or(0, |line| line.len() as u64);
        let traces = records.traces.iter().map(UnsignedTrace::line_length).sum();
        let bytes = [records.intent.len() as u64, len(&records.result), len(&records.count), traces];
        let counts = [1, u64::from(records.result.is_some())];
        let full = self.bytes.iter().zip(bytes).any(|(have, more)| have + more > self.limit_bytes)
            || self.records.iter().zip(counts).any(|(have, more)| have + more > self.limit_records);
        if full && self.records[0] > 0 {
            *self = Self { part: self.part + 1, bytes: [0; 4], records: [0; 2], ..*self };
        }
        self.bytes.iter_mut().zip(bytes).for_each(|(have, more)| *have += more);
        self.records.iter_mut().zip(counts).for_each(|(have, more)| *have += more);
        self.part
    }
}

/// Name of a part of a record member: `intents.jsonl`, `intents/000002.jsonl`, ...
pub(super) fn part_name(member: &str, part: u64) -> String {
    if part == 1 { format!("{member}.jsonl") } else { format!("{member}/{part:06}.jsonl") }
}
