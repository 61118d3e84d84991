//! Everything in a guarded runpack that follows from its journal (contract guarded-run 2.3 to 2.6).
//!
//! The writer writes what is derived here, and the verifier derives it again and compares bytes: what
//! does not follow from the journal is not in the pack.

use serde_json::{Value, json};

use super::receipt::{Counters, JournalState, Receipt};
use crate::canonical::{CanonicalError, canonical_bytes, digest_of};
use crate::digest::Sha256Hex;
use crate::journal::{Chain, Ending, Enforced, Ledger, Tally};
use crate::policy::Verdict;
use crate::signature::Signature;
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

/// The canonical bytes of a trace without its signature.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsignedTrace(Vec<u8>);

impl UnsignedTrace {
    /// What is signed.
    pub fn digest(&self) -> Sha256Hex {
        Sha256Hex::of(&self.0)
    }

    /// The canonical line of the trace with this signature, and its newline.
    ///
    /// # Errors
    /// Never for a signature.
    pub fn line(&self, signature: &Signature) -> Result<Vec<u8>, CanonicalError> {
        let member = [b",\"signature\":", &*canonical_bytes(signature)?].concat();
        // The member that follows in the canonical order. Quotes inside of strings are escaped, so this is the name of a
        // member, and a trace has no other objects.
        let at = find(&self.0, NEXT_MEMBER).unwrap_or(self.0.len().saturating_sub(1));
        Ok([&self.0[..at], &member, &self.0[at..], b"\n"].concat())
    }

    /// Length of the line: every signature is equally long.
    fn line_length(&self) -> u64 {
        const SIGNATURE: usize =
            r#","signature":{"alg":"ed25519","key_id":"","sig":"","signed_digest":""}"#.len() + 64 + 88 + 64;
        (self.0.len() + SIGNATURE + 1) as u64
    }
}

const NEXT_MEMBER: &[u8] = b",\"tool_name\":";

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
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
            (&*intent.tool_name, &*intent.value, intent.digest.to_hex())
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
        std::iter::once_with(|| self.run_records()).chain(self.groups.iter().map(|group| self.group_records(group)))
    }

    fn run_records(&self) -> Result<Records, CanonicalError> {
        let intent = &self.ledger.open().intent;
        let digest = digest_of(intent)?;
        let result = match self.ledger.ending() {
            Some(Ending::Closed(close)) if self.complete() => {
                let signal = close.signal.unwrap_or(0);
                let status = if close.exit_code == 0 && signal == 0 { "ok" } else { "error" };
                let result = json!({"complete": true, "exit_code": close.exit_code, "signal": signal});
                Some(self.result_line(&digest, status, result)?)
            }
            _ => None,
        };
        Ok(Records { intent: self.intent_line(intent, &digest)?, result, ..Records::default() })
    }

    fn group_records(&self, group: &Group<'_>) -> Result<Records, CanonicalError> {
        let entry = &self.ledger.intents()[group.intent];
        let intent: Value = serde_json::from_slice(&entry.canonical).map_err(CanonicalError::from)?;
        let decisions = || group.tallies.iter().map(|tally| &self.ledger.decisions()[tally.decision]);
        let allowed = decisions().all(|decision| decision.enforced == Enforced::Allow);
        let list =
            decisions().map(serde_json::to_value).collect::<Result<Vec<_>, _>>().map_err(CanonicalError::from)?;
        let status = if allowed { "ok" } else { "error" };
        Ok(Records {
            intent: self.intent_line(&intent, &entry.digest)?,
            result: Some(self.result_line(&entry.digest, status, json!({"decisions": list}))?),
            count: Some(self.count_line(group, &entry.digest)?),
            traces: self.traces(group, &intent, &entry.digest)?,
        })
    }

    fn intent_line(&self, intent: &Value, digest: &Sha256Hex) -> Result<Vec<u8>, CanonicalError> {
        let mut args = intent.clone();
        let tool = args.as_object_mut().and_then(|members| members.remove("tool_name"));
        let args_digest = digest_of(&args)?;
        self.line(
            "gait.runpack.intent",
            json!({"intent_id": format!("intent_{digest}"), "tool_name": tool, "args_digest": args_digest, "args": args}),
        )
    }

    fn result_line(&self, intent: &Sha256Hex, status: &str, result: Value) -> Result<Vec<u8>, CanonicalError> {
        let result_digest = digest_of(&result)?;
        self.line(
            "gait.runpack.result",
            json!({"intent_id": format!("intent_{intent}"), "status": status, "result_digest": result_digest,
                   "result": result}),
        )
    }

    fn count_line(&self, group: &Group<'_>, intent: &Sha256Hex) -> Result<Vec<u8>, CanonicalError> {
        let counts: Vec<Value> = group
            .tallies
            .iter()
            .map(|tally| {
                let verdict = self.ledger.decisions()[tally.decision].verdict;
                json!({"count": tally.count, "first_seq": tally.first_seq, "last_seq": tally.last_seq,
                       "trace_id": self.trace_id(intent, verdict)})
            })
            .collect();
        self.line("gait.exec.count", json!({"intent_id": format!("intent_{intent}"), "counts": counts}))
    }

    /// Per final verdict, in the byte order of its word.
    fn traces(
        &self,
        group: &Group<'_>,
        intent: &Value,
        digest: &Sha256Hex,
    ) -> Result<Vec<UnsignedTrace>, CanonicalError> {
        let args_digest = digest_of(&intent["args"])?;
        let mut verdicts: Vec<Verdict> =
            group.tallies.iter().map(|tally| self.ledger.decisions()[tally.decision].verdict).collect();
        verdicts.sort_by_key(|verdict| verdict.as_str());
        verdicts.dedup();
        let trace = |verdict: Verdict| {
            let same =
                || group.tallies.iter().filter(|tally| self.ledger.decisions()[tally.decision].verdict == verdict);
            let violations = union(same().flat_map(|tally| &self.ledger.decisions()[tally.decision].violations));
            let approvals = union(same().flat_map(|tally| &tally.approvals));
            let mut trace = self.record(
                "gait.gate.trace",
                json!({"trace_id": self.trace_id(digest, verdict), "tool_name": intent["tool_name"],
                       "args_digest": args_digest, "intent_digest": digest,
                       "policy_digest": self.ledger.open().policy_digest, "verdict": verdict}),
            );
            // A trace names its run as `correlation_id`: other members would not be part of its signature.
            if let Some(members) = trace.as_object_mut()
                && let Some(run_id) = members.remove("run_id")
            {
                members.insert("correlation_id".into(), run_id);
            }
            if !violations.is_empty() {
                trace["violations"] = violations.into();
            }
            if !approvals.is_empty() {
                trace["approval_token_ref"] = approvals.join(",").into();
            }
            canonical_bytes(&trace).map(UnsignedTrace)
        };
        verdicts.into_iter().map(trace).collect()
    }

    /// Control 9: the first 24 hex digits of SHA-256 over policy, intent and final verdict.
    fn trace_id(&self, intent: &Sha256Hex, verdict: Verdict) -> String {
        let policy = &self.ledger.open().policy_digest;
        Sha256Hex::of(format!("{policy}:{intent}:{}", verdict.as_str())).short(24)
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

fn union<'s>(texts: impl Iterator<Item = &'s String>) -> Vec<String> {
    let mut all: Vec<String> = texts.cloned().collect();
    all.sort();
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
