//! What the lines of a journal add up to: memory for definitions and intents, none for decisions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::line::{Body, Close, Decided, DecisionLine, LostOutcome, Open, Seal};
use crate::digest::Sha256Hex;
use crate::policy::Verdict;

/// How often one intent was decided in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Index of the intent.
    pub intent: usize,
    /// Index of the decision.
    pub decision: usize,
    /// How often.
    pub count: u64,
    /// `seq` of the first decision line.
    pub first_seq: u64,
    /// `seq` of the last.
    pub last_seq: u64,
    /// Approvals that were used.
    pub approvals: BTreeSet<String>,
}

/// How a journal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By the guard.
    Closed(Close),
    /// By somebody who sealed what a killed guard had left.
    Sealed(Seal),
}

/// An intent as the definitions give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerIntent {
    /// Its digest.
    pub digest: Sha256Hex,
    /// Its canonical bytes.
    pub canonical: Box<[u8]>,
    /// Its tool.
    pub tool_name: Box<str>,
    /// The value of its one target.
    pub value: Box<str>,
}

/// A decision that a ledger knows.
#[derive(Clone)]
pub(super) struct Interned {
    place: usize,
    verdict: Verdict,
    approval: Option<Box<str>>,
}

#[derive(Clone)]
struct Definition {
    tally: usize,
    verdict: Verdict,
    approval: Option<Box<str>>,
}

/// The sum of a journal, from which every other record of the run is derived.
#[derive(Clone)]
pub struct Ledger {
    open: Open,
    intents: Vec<LedgerIntent>,
    intent_index: HashMap<Sha256Hex, usize>,
    decisions: Vec<Decided>,
    decision_index: HashMap<Decided, usize>,
    definitions: Vec<Definition>,
    tallies: Vec<Tally>,
    tally_index: HashMap<(usize, usize), usize>,
    ending: Option<Ending>,
    processes: HashSet<u64>,
    holds: u64,
    disagreements: u64,
    denied_unrecorded: u64,
    unknown: BTreeMap<String, u64>,
    last_t: u64,
}

impl Ledger {
    pub(super) fn new(open: Open) -> Self {
        Self {
            open,
            intents: Vec::new(),
            intent_index: HashMap::new(),
            decisions: Vec::new(),
            decision_index: HashMap::new(),
            definitions: Vec::new(),
            tallies: Vec::new(),
            tally_index: HashMap::new(),
            ending: None,
            processes: HashSet::new(),
            holds: 0,
            disagreements: 0,
            denied_unrecorded: 0,
            unknown: BTreeMap::new(),
            last_t: 0,
        }
    }

    /// Takes in a decision that definitions make, apart from any intent.
    pub(super) fn intern(&mut self, decision: Decided) -> Interned {
        let verdict = decision.verdict;
        let mut bare = decision;
        let approval = bare.approval_ref.take().map(String::into_boxed_str);
        let decisions = &mut self.decisions;
        let place = *self.decision_index.entry(bare).or_insert_with_key(|bare| {
            decisions.push(bare.clone());
            decisions.len() - 1
        });
        Interned { place, verdict, approval }
    }

    /// Takes in the next definition.
    pub(super) fn define(&mut self, decision: &Interned, intent: LedgerIntent) {
        let intents = &mut self.intents;
        let intent = *self.intent_index.entry(intent.digest).or_insert_with(|| {
            intents.push(intent);
            intents.len() - 1
        });
        let tallies = &mut self.tallies;
        let place = decision.place;
        let tally = *self.tally_index.entry((intent, place)).or_insert_with(|| {
            let tally =
                Tally { intent, decision: place, count: 0, first_seq: 0, last_seq: 0, approvals: BTreeSet::new() };
            tallies.push(tally);
            tallies.len() - 1
        });
        self.definitions.push(Definition { tally, verdict: decision.verdict, approval: decision.approval.clone() });
    }

    /// Takes in a decision; `None` if its definition is unknown.
    pub(super) fn decide(&mut self, line: &DecisionLine, seq: u64) -> Option<Verdict> {
        let definition = self.definitions.get(usize::try_from(line.def.checked_sub(1)?).ok()?)?;
        let tally = &mut self.tallies[definition.tally];
        if tally.count == 0 {
            tally.first_seq = seq;
        }
        tally.count += 1;
        tally.last_seq = seq;
        if let Some(approval) = &definition.approval
            && !tally.approvals.contains(&**approval)
        {
            tally.approvals.insert(approval.to_string());
        }
        Some(definition.verdict)
    }

    /// Takes in a line that needs no more than to be counted.
    pub(super) fn note(&mut self, body: &Body) {
        match body {
            Body::Fork(fork) => {
                self.processes.insert(fork.proc);
            }
            Body::Hold(_) => self.holds += 1,
            Body::Disagreement(_) => self.disagreements += 1,
            Body::Lost(lost) if lost.enforced == LostOutcome::Deny => {
                self.denied_unrecorded = self.denied_unrecorded.saturating_add(lost.count);
            }
            Body::Close(close) => self.ending = Some(Ending::Closed(*close)),
            Body::Seal(seal) => self.ending = Some(Ending::Sealed(seal.clone())),
            Body::Unknown(kind) => *self.unknown.entry(kind.clone()).or_default() += 1,
            _ => {}
        }
    }

    pub(super) fn set_time(&mut self, t: u64) {
        self.last_t = t;
    }

    /// The first line.
    pub fn open(&self) -> &Open {
        &self.open
    }

    /// How the journal ended, if it did.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Intents in the order of their definition.
    pub fn intents(&self) -> &[LedgerIntent] {
        &self.intents
    }

    /// Distinct decisions, without approvals, in the order of their definition.
    pub fn decisions(&self) -> &[Decided] {
        &self.decisions
    }

    /// Tallies that have a decision line.
    pub fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.iter().filter(|tally| tally.count > 0)
    }

    /// Number of definitions.
    pub fn definitions(&self) -> u64 {
        self.definitions.len() as u64
    }

    /// Number of processes.
    pub fn processes(&self) -> u64 {
        self.processes.len() as u64
    }

    /// Whether a process was written down.
    pub fn has_process(&self, number: u64) -> bool {
        self.processes.contains(&number)
    }

    /// Number of holds.
    pub fn holds(&self) -> u64 {
        self.holds
    }

    /// Number of disagreements.
    pub fn disagreements(&self) -> u64 {
        self.disagreements
    }

    /// Decisions that were denied without a record.
    pub fn denied_unrecorded(&self) -> u64 {
        self.denied_unrecorded
    }

    /// Line types that this version does not know, with the number of lines.
    pub fn unknown(&self) -> &BTreeMap<String, u64> {
        &self.unknown
    }

    /// Time of the last line.
    pub fn last_t(&self) -> u64 {
        self.last_t
    }
}
