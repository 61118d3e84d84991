//! A run of `gait exec`, read from its journal in one pass.

use std::io::{Read, Seek};

use serde::Serialize;

use super::action::{self, Actions, BlockGroup, Class, Rules};
use super::process::{self, Processes};
use super::timeline::{Activity, Events, Timeline, What};
use super::{InspectError, clipped, clipped_list, whole};
use crate::guarded::{EngineRejected, GUARD, PlanContext, Receipt};
use crate::journal::{Body, Close, Entry, LostOutcome, Seal};
use crate::policy::{Policy, Strictness};
use crate::runpack::container::Container;
use crate::runpack::lines::{LineError, Lines};

/// Longest `guard.json` and `policy.yaml` (contract guarded-run 1).
const SMALL_LIMIT: u64 = 1 << 20;
/// Words of a list of the receipt that are kept.
const WORD_LIMIT: usize = 64;

/// What a guarded run did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guarded {
    /// Whether its record is complete.
    pub complete: bool,
    /// How it ended.
    pub ending: Ending,
    /// Time of the last line of its journal, after the start.
    pub duration_ns: u64,
    /// The command.
    pub command: Command,
    /// Engine and layers, and what was missing.
    pub enforcement: Enforcement,
    /// The digest of the policy that was in force.
    pub policy_digest: String,
    /// What every intent of the run says of its surroundings.
    pub context: PlanContext,
    /// Decisions that were made.
    pub decisions: u64,
    /// Distinct actions among them.
    pub distinct: u64,
    /// The part of the decisions that was denied.
    pub denied: u64,
    /// Decisions without a record of their own.
    pub lost: u64,
    /// Lines of types that this version does not know.
    pub unknown_lines: u64,
    /// Who started whom.
    pub processes: Processes,
    /// Counts by class, by name.
    pub classes: Vec<Class>,
    /// The distinct decisions.
    pub actions: Actions,
    /// The denials by what denied them, the most frequent first.
    pub blocks: Vec<BlockGroup>,
    /// When.
    pub timeline: Timeline,
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Its program's name.
    pub program: String,
    /// Number of arguments, the program's name among them.
    pub argc: u64,
    /// The arguments, in raw mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
}

/// What enforced the decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Enforcement {
    /// The engine that was asked for.
    pub engine_requested: String,
    /// The engine in force.
    pub engine: String,
    /// Better engines that failed, best first.
    pub engine_rejected: Vec<EngineRejected>,
    /// Layers in force.
    pub layers: Vec<String>,
    /// Layers that were missing.
    pub degraded: Vec<String>,
    /// Release of the kernel.
    pub kernel: String,
}

/// How a journal ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// By the guard.
    Closed(Close),
    /// By somebody who sealed what a killed guard had left.
    Sealed(Seal),
}

/// Reads the run in `container`.
///
/// # Errors
/// [`InspectError`]: never for a pack that was verified.
pub fn read<R: Read + Seek>(container: &mut Container<R>) -> Result<Guarded, InspectError> {
    let receipt: Receipt = serde_json::from_slice(&whole(container, GUARD, SMALL_LIMIT)?)
        .map_err(|source| InspectError::Record { name: GUARD.into(), source })?;
    let policy = Policy::parse_bytes(&whole(container, "policy.yaml", SMALL_LIMIT)?, Strictness::Lenient)?;
    let rules = Rules { policy: &policy, variables: &receipt.plan.variables };
    let mut journal = Journal::default();
    let mut segments: Vec<String> = container.members().iter().map(|member| member.name.clone()).collect();
    segments.retain(|name| name.starts_with("decisions/"));
    segments.sort();
    for name in segments {
        let member = container.read(&name).map_err(|source| InspectError::Member { name: name.clone(), source })?;
        let reader = member.ok_or_else(|| InspectError::Missing { name: name.clone() })?.buffered();
        let mut lines = Lines::new(reader);
        let bad = |source| InspectError::Line { name: name.clone(), source };
        while let Some((number, line)) = lines.next_line().map_err(bad)? {
            let entry = Entry::parse(line).map_err(|source| bad(LineError::Record { number, source }))?;
            journal.take(entry, &rules)?;
        }
    }
    journal.finish(&receipt)
}

/// What is known of a journal that is being read.
#[derive(Default)]
struct Journal {
    processes: process::Table,
    actions: action::Table,
    activity: Activity,
    events: Events,
    opened: Option<String>,
    ending: Option<Ending>,
    decisions: u64,
    denied: u64,
    lost: u64,
    unknown: u64,
    last_ns: u64,
}

impl Journal {
    fn take(&mut self, entry: Entry, rules: &Rules<'_>) -> Result<(), InspectError> {
        let Entry { seq, t, body } = entry;
        // Lines of several processors may be out of order.
        self.last_ns = self.last_ns.max(t);
        match body {
            Body::Open(open) => self.opened = Some(open.policy_digest.to_string()),
            Body::Fork(fork) => self.processes.fork(t, fork),
            Body::Exec(exec) => {
                self.events.push(t, Some(exec.proc), What::Exec { file: clipped(&exec.file) });
                self.processes.exec(t, &exec);
            }
            Body::Exit(exit) => {
                self.events.push(t, Some(exit.proc), What::Exit { code: exit.code, signal: exit.signal });
                self.processes.exit(t, exit);
            }
            Body::Define(define) => self.actions.define(&define, rules),
            Body::Decision(line) => {
                let def = line.def;
                let counted = self.actions.decide(def, line.proc, t).ok_or(InspectError::Dangling { seq, def })?;
                self.decisions += 1;
                self.denied += u64::from(counted.denied);
                self.activity.add(t, counted.denied);
                self.processes.decision(line.proc, counted.denied);
                if let Some(action) = counted.first_denial {
                    self.events.push(t, Some(line.proc), What::Denied { action });
                }
            }
            Body::Hold(hold) => self.events.push(t, Some(hold.proc), What::Hold),
            Body::Disagreement(_) => self.events.push(t, None, What::Disagreement),
            Body::Lost(lost) => {
                self.lost = self.lost.saturating_add(lost.count);
                let allowed = lost.enforced == LostOutcome::Allow;
                self.events.push(t, None, What::Lost { count: lost.count, allowed, place: clipped(&lost.place) });
            }
            Body::Close(close) => {
                self.events.push(t, None, What::Closed);
                self.ending = Some(Ending::Closed(close));
            }
            Body::Seal(seal) => {
                self.events.push(t, None, What::Sealed);
                self.ending = Some(Ending::Sealed(seal));
            }
            Body::Checkpoint(_) => {}
            Body::Unknown(_) => self.unknown += 1,
        }
        Ok(())
    }

    fn finish(self, receipt: &Receipt) -> Result<Guarded, InspectError> {
        let ending = self.ending.ok_or(InspectError::Incomplete { what: "close" })?;
        let complete = matches!(&ending, Ending::Closed(close) if close.complete) && self.lost == 0;
        let (actions, classes, blocks) = self.actions.finish();
        let plan = &receipt.plan;
        Ok(Guarded {
            complete,
            ending,
            duration_ns: self.last_ns,
            command: Command {
                program: clipped(&plan.command.program),
                argc: plan.command.argc,
                argv: plan.command.argv.as_ref().map(|argv| clipped_list(argv, WORD_LIMIT)),
            },
            enforcement: Enforcement {
                engine_requested: clipped(&plan.engine_requested),
                engine: clipped(&plan.engine),
                engine_rejected: plan.engine_rejected.iter().take(WORD_LIMIT).cloned().collect(),
                layers: clipped_list(&plan.layers, WORD_LIMIT),
                degraded: clipped_list(&plan.degraded, WORD_LIMIT),
                kernel: clipped(&receipt.host.kernel),
            },
            policy_digest: self.opened.ok_or(InspectError::Incomplete { what: "open" })?,
            context: plan.context.clone(),
            decisions: self.decisions,
            distinct: classes.iter().map(|class| class.distinct).sum(),
            denied: self.denied,
            lost: self.lost,
            unknown_lines: self.unknown,
            processes: self.processes.finish(),
            classes,
            actions,
            blocks,
            timeline: Timeline::of(self.activity, self.events),
        })
    }
}
