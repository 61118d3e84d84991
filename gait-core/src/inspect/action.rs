//! What was tried and what was decided: one row per distinct decision, and counts by class.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use super::remedy::{Remedy, remedy};
use super::{clipped, clipped_list};
use crate::guarded::{Variables, redecide};
use crate::journal::{Define, Enforced, EngineName, Source, Totals};
use crate::policy::{Policy, Verdict};

/// Distinct denied decisions that are kept, the first ones.
pub const DENIED_LIMIT: usize = 2000;
/// Distinct allowed decisions that are kept, the first ones.
pub const ALLOWED_LIMIT: usize = 3000;
/// Processes of one decision that are kept.
pub const PROCESSES_OF_ACTION: usize = 16;
/// Reason codes of one decision that are kept.
const REASON_LIMIT: usize = 12;
/// Classes that are told apart; what comes later is in one more.
const CLASS_LIMIT: usize = 200;

/// The distinct decisions of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Actions {
    /// In the order in which they were first defined.
    pub rows: Vec<Action>,
    /// Distinct decisions that are not in the list, allowed and denied.
    pub cut: [u64; 2],
}

/// One distinct decision: an action, the verdict and its reasons, who enforced it and with which error.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Action {
    /// `fs.read`, ...
    pub tool_name: String,
    /// `net.http`, ...
    pub endpoint_class: String,
    /// What was done to the target.
    pub operation: String,
    /// The target.
    pub value: String,
    /// The arguments: `mode=0755`.
    pub detail: String,
    /// The final verdict.
    pub verdict: Verdict,
    /// Whether it happened.
    pub enforced: Enforced,
    /// Who decided.
    pub source: Source,
    /// Why.
    pub reason_codes: Vec<String>,
    /// The rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_rule: Option<String>,
    /// What the policy said, where the final verdict differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_verdict: Option<Verdict>,
    /// Who enforced it.
    pub engine: EngineName,
    /// The error that the agent got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// How often.
    pub count: u64,
    /// The first time, in nanoseconds after the start of the run.
    pub first_ns: u64,
    /// The last time.
    pub last_ns: u64,
    /// The processes that did it, in the order of their first time.
    pub procs: Vec<u64>,
    /// Whether there were more processes than are kept.
    pub more_procs: bool,
    /// What would have allowed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

impl Action {
    /// Whether it was denied.
    pub fn denied(&self) -> bool {
        self.enforced == Enforced::Deny
    }
}

/// Decisions on one class of actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Class {
    /// `fs.read`, ...
    pub tool_name: String,
    /// `net.http`, ...
    pub endpoint_class: String,
    /// Distinct actions.
    pub distinct: u64,
    /// Decisions by verdict.
    pub verdicts: Totals,
    /// The part of them that was denied.
    pub denied: u64,
}

/// Denials for one reason: the same rule or the same other cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockGroup {
    /// Who decided.
    pub source: Source,
    /// The final verdict.
    pub verdict: Verdict,
    /// The rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_rule: Option<String>,
    /// Why.
    pub reason_codes: Vec<String>,
    /// How often, over all its actions.
    pub count: u64,
    /// Indices in the list of actions.
    pub actions: Vec<usize>,
}

/// What is needed to say how a denied action could be allowed.
pub(super) struct Rules<'a> {
    pub policy: &'a Policy,
    pub variables: &'a Variables,
}

/// A definition while its decisions are counted.
#[derive(Clone, Copy)]
struct Defined {
    class: usize,
    row: Option<usize>,
    /// The first 8 bytes of the digest of its intent.
    intent: u64,
    verdict: Verdict,
    denied: bool,
    used: bool,
}

/// What a decision line came to.
pub(super) struct Counted {
    pub denied: bool,
    /// The row, if it is a denial that is kept and this is its first time.
    pub first_denial: Option<usize>,
}

/// Collects definitions and their decisions while a journal is read.
#[derive(Default)]
pub(super) struct Table {
    defined: Vec<Defined>,
    rows: Vec<Action>,
    kept: [usize; 2],
    cut: [u64; 2],
    classes: Vec<Class>,
    class_index: HashMap<(String, String), usize>,
    intents: HashSet<(usize, u64)>,
}

impl Table {
    pub(super) fn define(&mut self, define: &Define, rules: &Rules<'_>) {
        let target = &define.intent["targets"][0];
        let tool_name = text(&define.intent["tool_name"]);
        let denied = define.decision.enforced == Enforced::Deny;
        let class = self.class_of(&tool_name, &text(&target["endpoint_class"]));
        let limit = if denied { DENIED_LIMIT } else { ALLOWED_LIMIT };
        let row = (self.kept[usize::from(denied)] < limit).then_some(self.rows.len());
        if row.is_some() {
            self.kept[usize::from(denied)] += 1;
            self.rows.push(action(define, tool_name, target, rules));
        }
        let bytes = define.intent_digest.as_bytes();
        let intent = bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        let verdict = define.decision.verdict;
        self.defined.push(Defined { class, row, intent, verdict, denied, used: false });
    }

    /// Counts a decision; `None` if its definition is not there.
    pub(super) fn decide(&mut self, def: u64, proc: u64, t_ns: u64) -> Option<Counted> {
        let defined = self.defined.get_mut(usize::try_from(def.checked_sub(1)?).ok()?)?;
        let first = !std::mem::replace(&mut defined.used, true);
        let class = &mut self.classes[defined.class];
        class.verdicts.add(defined.verdict);
        class.denied += u64::from(defined.denied);
        if first {
            class.distinct += u64::from(self.intents.insert((defined.class, defined.intent)));
            if defined.row.is_none() {
                self.cut[usize::from(defined.denied)] += 1;
            }
        }
        if let Some(row) = defined.row.and_then(|row| self.rows.get_mut(row)) {
            if first {
                row.first_ns = t_ns;
            }
            row.count += 1;
            row.last_ns = t_ns;
            if !row.procs.contains(&proc) {
                if row.procs.len() < PROCESSES_OF_ACTION { row.procs.push(proc) } else { row.more_procs = true }
            }
        }
        let first_denial = defined.row.filter(|_| first && defined.denied);
        Some(Counted { denied: defined.denied, first_denial })
    }

    fn class_of(&mut self, tool_name: &str, endpoint_class: &str) -> usize {
        let mut key = (tool_name.to_owned(), endpoint_class.to_owned());
        if !self.class_index.contains_key(&key) && self.classes.len() >= CLASS_LIMIT {
            key = ("(other)".to_owned(), "(other)".to_owned());
        }
        let classes = &mut self.classes;
        *self.class_index.entry(key).or_insert_with_key(|(tool_name, endpoint_class)| {
            classes.push(Class {
                tool_name: tool_name.clone(),
                endpoint_class: endpoint_class.clone(),
                distinct: 0,
                verdicts: Totals::default(),
                denied: 0,
            });
            classes.len() - 1
        })
    }

    /// The rows, the classes by name, and the denials in groups, the most frequent first.
    pub(super) fn finish(self) -> (Actions, Vec<Class>, Vec<BlockGroup>) {
        let mut classes = self.classes;
        classes.retain(|class| class.distinct > 0);
        classes.sort_by(|a, b| (&a.tool_name, &a.endpoint_class).cmp(&(&b.tool_name, &b.endpoint_class)));
        let groups = groups(&self.rows);
        (Actions { rows: self.rows, cut: self.cut }, classes, groups)
    }
}

/// Rows that were defined and never decided are kept, so that indices hold, and belong to no group.
fn groups(rows: &[Action]) -> Vec<BlockGroup> {
    let mut groups: Vec<BlockGroup> = Vec::new();
    let mut index = HashMap::new();
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.denied() && row.count > 0) {
        let key = (row.source, row.verdict, &row.matched_rule, &row.reason_codes);
        let group = *index.entry(key).or_insert_with(|| {
            groups.push(BlockGroup {
                source: row.source,
                verdict: row.verdict,
                matched_rule: row.matched_rule.clone(),
                reason_codes: row.reason_codes.clone(),
                count: 0,
                actions: Vec::new(),
            });
            groups.len() - 1
        });
        groups[group].count += row.count;
        groups[group].actions.push(at);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

fn action(define: &Define, tool_name: String, target: &Value, rules: &Rules<'_>) -> Action {
    let decision = &define.decision;
    let denied = decision.enforced == Enforced::Deny;
    let intent = denied.then(|| redecide::intent_of(&tool_name, define.intent.clone()).ok()).flatten();
    Action {
        endpoint_class: text(&target["endpoint_class"]),
        operation: text(&target["operation"]),
        value: text(&target["value"]),
        detail: detail(&define.intent["args"]),
        verdict: decision.verdict,
        enforced: decision.enforced,
        source: decision.source,
        reason_codes: clipped_list(&decision.reason_codes, REASON_LIMIT),
        matched_rule: decision.matched_rule.as_deref().map(clipped),
        policy_verdict: decision.policy_verdict,
        engine: define.engine,
        errno: define.errno.as_deref().map(clipped),
        count: 0,
        first_ns: 0,
        last_ns: 0,
        procs: Vec::new(),
        more_procs: false,
        remedy: intent.and_then(|intent| remedy(rules.policy, rules.variables, &intent, decision)),
        tool_name,
    }
}

fn text(value: &Value) -> String {
    clipped(value.as_str().unwrap_or_default())
}

/// `mode=0755`: the arguments but the digest of argv, which tells people nothing.
fn detail(args: &Value) -> String {
    let members = args.as_object().into_iter().flatten().filter(|(name, _)| *name != "argv_digest");
    let words = members.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    });
    clipped(&words.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::canonical::digest_of;
    use crate::policy::Strictness;

    fn define(value: &str, verdict: Verdict) -> Define {
        let intent = json!({"tool_name": "fs.read", "args": {"mode": "0600", "argv_digest": "d"}, "arg_provenance": [],
            "context": {"identity": "a", "workspace": "/w", "risk_class": "high"},
            "targets": [{"kind": "path", "operation": "read", "endpoint_class": "fs.read", "value": value}]});
        let line = json!({"def": 1, "intent_digest": digest_of(&intent).unwrap(), "intent": intent, "engine": "notify",
            "decision": {"verdict": verdict, "enforced": Enforced::of(verdict), "source": "floor",
                "reason_codes": ["because"], "violations": []}});
        serde_json::from_value(line).unwrap()
    }

    fn table(defines: &[Define]) -> Table {
        let policy = Policy::parse("", Strictness::Strict).unwrap();
        let variables = Variables::default();
        let mut table = Table::default();
        defines.iter().for_each(|d| table.define(d, &Rules { policy: &policy, variables: &variables }));
        table
    }

    #[test]
    fn decisions_are_counted_by_row_class_and_process() {
        let mut table = table(&[define("/a", Verdict::Allow), define("/b", Verdict::Block)]);
        assert!(table.decide(1, 1, 10).unwrap().first_denial.is_none());
        assert_eq!(table.decide(2, 1, 20).unwrap().first_denial, Some(1));
        assert_eq!(table.decide(2, 2, 30).unwrap().first_denial, None);
        for proc in 3..=40 {
            table.decide(2, proc, 40).unwrap();
        }
        assert!(table.decide(3, 1, 1).is_none() && table.decide(0, 1, 1).is_none());
        let (actions, classes, groups) = table.finish();
        let [a, b] = actions.rows.as_slice() else { panic!() };
        assert_eq!((a.count, a.first_ns, a.last_ns, a.detail.as_str()), (1, 10, 10, "mode=0600"));
        assert_eq!((b.count, b.first_ns, b.last_ns, b.procs.len(), b.more_procs), (40, 20, 40, 16, true));
        assert_eq!((classes[0].distinct, classes[0].denied), (2, 40));
        assert_eq!(classes[0].verdicts, Totals { allow: 1, block: 40, ..Totals::default() });
        assert_eq!((groups.len(), groups[0].count, groups[0].actions.as_slice()), (1, 40, &[1][..]));
    }

    #[test]
    fn what_is_beyond_the_limits_is_counted() {
        let mut defines: Vec<Define> =
            (0..ALLOWED_LIMIT + 5).map(|n| define(&format!("/{n}"), Verdict::Allow)).collect();
        defines.push(define("/secret", Verdict::Block));
        let mut table = table(&defines);
        for def in 1..=defines.len() as u64 {
            table.decide(def, 1, def).unwrap();
        }
        let (actions, classes, groups) = table.finish();
        assert_eq!((actions.rows.len(), actions.cut), (ALLOWED_LIMIT + 1, [5, 0]));
        assert_eq!(classes[0].verdicts.allow, ALLOWED_LIMIT as u64 + 5);
        assert_eq!(groups[0].actions, [ALLOWED_LIMIT]);
    }
}
