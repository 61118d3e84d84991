//! What another policy would have changed over recorded runs.
//!
//! One run is looked at at a time, and what is kept of it does not grow with it: counts and a few samples for each
//! rule of the policy.

use std::collections::BTreeMap;

use serde::Serialize;

use super::derive::Derivation;
use super::redecide::{Again, expand, redecide};
use super::verify::Loaded;
use crate::policy::{Policy, Verdict};

/// Samples that are kept of each change.
const SAMPLES: usize = 3;

/// What would have changed, over all runs so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    runs: u64,
    actions: u64,
    changes: BTreeMap<Key, Tally>,
}

/// Changes are told apart by this: direction first, so that what is newly blocked comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    direction: Direction,
    rule: Option<String>,
    was: Verdict,
    now: Verdict,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    actions: u64,
    times: u64,
    samples: Vec<Sample>,
}

/// Which way a verdict changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It happened, and would not have.
    NewlyBlocked,
    /// It did not happen, and would have.
    NewlyAllowed,
    /// It happened or not, as before, with another verdict.
    Other,
}

impl Direction {
    fn of(was: Verdict, now: Verdict) -> Self {
        let happens = |verdict| matches!(verdict, Verdict::Allow | Verdict::DryRun);
        match (happens(was), happens(now)) {
            (true, false) => Self::NewlyBlocked,
            (false, true) => Self::NewlyAllowed,
            _ => Self::Other,
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NewlyBlocked => "newly blocked",
            Self::NewlyAllowed => "newly allowed",
            Self::Other => "otherwise",
        }
    }
}

/// One kind of change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which way.
    pub direction: Direction,
    /// The rule that decides now; none for the default and for `fail_closed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// As recorded.
    pub was: Verdict,
    /// As decided now.
    pub now: Verdict,
    /// How many distinct actions, counted in each run.
    pub actions: u64,
    /// How often they were decided.
    pub times: u64,
    /// Some of them.
    pub samples: Vec<Sample>,
}

/// An action that is decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The run it is of.
    pub run_id: String,
    /// Its tool.
    pub tool_name: String,
    /// Its target.
    pub value: String,
    /// The rule that had decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_was: Option<String>,
}

impl Simulation {
    /// Adds a run: decides all its actions again under `policy`, with the variables of the run. Gives how many
    /// distinct actions change.
    ///
    /// # Errors
    /// A variable that the run has not, or a record that is none.
    pub fn add(&mut self, run: &Loaded, policy: &Policy) -> Result<u64, String> {
        let policy = expand(policy, &run.receipt.plan)?;
        let derivation = Derivation::new(&run.ledger, &run.chain).map_err(|error| error.to_string())?;
        let (mut actions, mut changed) = (0, 0);
        let changes = &mut self.changes;
        redecide(&run.ledger, &derivation, &policy, |again| {
            actions += 1;
            if again.was() != again.now.verdict {
                changed += 1;
                count(changes, &run.receipt.run_id, again);
            }
        })?;
        self.runs += 1;
        self.actions += actions;
        Ok(changed)
    }

    /// How many runs were added.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// How many distinct actions they have, counted in each run.
    pub const fn actions(&self) -> u64 {
        self.actions
    }

    /// All changes: newly blocked ones first, by rule.
    pub fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        self.changes.iter().map(|(key, tally)| Change {
            direction: key.direction,
            rule: key.rule.clone(),
            was: key.was,
            now: key.now,
            actions: tally.actions,
            times: tally.times,
            samples: tally.samples.clone(),
        })
    }

    /// How many distinct actions change in that way.
    pub fn count(&self, direction: Direction) -> u64 {
        self.changes.iter().filter(|(key, _)| key.direction == direction).map(|(_, tally)| tally.actions).sum()
    }
}

fn count(changes: &mut BTreeMap<Key, Tally>, run_id: &str, again: Again<'_>) {
    let (was, now) = (again.was(), again.now.verdict);
    let key = Key { direction: Direction::of(was, now), rule: again.now.matched_rule, was, now };
    let tally = changes.entry(key).or_default();
    tally.actions += 1;
    tally.times = tally.times.saturating_add(again.count);
    if tally.samples.len() < SAMPLES {
        tally.samples.push(Sample {
            run_id: run_id.to_owned(),
            tool_name: again.intent.tool_name.to_string(),
            value: again.intent.value.to_string(),
            rule_was: again.recorded.matched_rule.clone(),
        });
    }
}
