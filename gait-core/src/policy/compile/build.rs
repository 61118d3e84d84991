//! Builds a [`CompiledPolicy`] kind by kind; kinds of which the policy asks the same share tables.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::evaluate::{Decision, evaluate};
use super::super::model::{Policy, Verdict};
use super::super::pattern::Token;
use super::kind::{Condition, Kind, ListOf, LiveRule, live_rules, settled};
use super::nfa::ListId;
use super::table::{Ends, Table};
use super::unit_dfa::{Budget, TooLarge, spend};
use super::{CompileError, CompiledKind, CompiledPolicy, Join, KindId, Limits, Shape, prefix};
use crate::intent::{Context, EndpointClass, Intent, TargetKind};

/// A policy while it is compiled.
pub(super) struct Builder<'p> {
    policy: &'p Policy,
    context: &'p Arc<Context>,
    limits: Limits,
    budget: Budget,
    result: CompiledPolicy,
    /// By table: the lists it knows, and which of them each end class means.
    known_tables: Vec<(Vec<ListOf<'p>>, Arc<[Ends; 2]>)>,
    known_joins: HashMap<Arc<[u32]>, u32>,
}

/// What becomes of what the tables can't decide.
pub(super) fn undecidable() -> Decision {
    Decision {
        verdict: Verdict::Block,
        reason_codes: vec!["guard_engine_undecidable".to_owned()],
        violations: vec!["guard_engine_undecidable".to_owned()],
        matched_rule: None,
        required_approvals: 0,
    }
}

/// A table by its number, and what its end classes mean.
type NumberedTable = (u32, Arc<[Ends; 2]>);

/// The lists that one table has to know, each once, with the rule and condition it was first seen in.
#[derive(Default)]
struct Lists<'p> {
    lists: Vec<ListOf<'p>>,
    origins: Vec<(&'p str, Condition)>,
}

impl<'p> Lists<'p> {
    fn id(&mut self, list: ListOf<'p>, rule: &'p str, condition: Condition) -> ListId {
        let id = self.lists.iter().position(|known| known.is_same(&list)).unwrap_or_else(|| {
            self.lists.push(list);
            self.origins.push((rule, condition));
            self.lists.len() - 1
        });
        // Lists are fewer than rules times conditions; the work limit ends long before 2^16 of them.
        id as ListId
    }

    fn are(&self, known: &[ListOf<'p>]) -> bool {
        known.len() == self.lists.len() && known.iter().zip(&self.lists).all(|(a, b)| a.is_same(b))
    }

    /// Their table.
    fn table(&self, mut budget: Budget) -> Made {
        let patterns: Vec<(Vec<Token>, ListId)> = (0..)
            .zip(&self.lists)
            .flat_map(|(id, list)| {
                list.patterns().into_iter().flat_map(move |(_, all)| all.into_iter().map(move |one| (one, id)))
            })
            .collect();
        let before = budget.work;
        let (table, ends) = Table::of(&patterns, &mut budget)?;
        Ok((table, ends, before - budget.work))
    }
}

/// A table, what its end classes mean, and the work that it took.
type Made = Result<(Table, [Ends; 2], usize), TooLarge>;

/// A rule that can apply, its open conditions by the number of their list.
struct Case<'p> {
    live: LiveRule<'p>,
    conditions: Vec<(Condition, ListId)>,
}

impl Case<'_> {
    /// The conditions that hold, if the rule applies: lists of the value, then of the domain.
    fn met(&self, value: &[ListId], domain: &[ListId]) -> Option<Vec<Condition>> {
        let mut met = Vec::new();
        for (condition, list) in &self.conditions {
            let lists = if condition.is_of_domain() { domain } else { value };
            if lists.contains(list) {
                met.push(*condition);
            } else if condition.is_of_match() {
                return None;
            }
        }
        Some(met)
    }
}

/// All that is known about a kind while it is compiled.
struct Question<'p> {
    kind: Kind,
    sample: Intent,
    cases: Vec<Case<'p>>,
    /// Outcomes by the number of the case (none: no rule applies) and the conditions that hold.
    answers: HashMap<(Option<usize>, Vec<Condition>), u32>,
}

impl<'p> Builder<'p> {
    pub(super) fn new(policy: &'p Policy, context: &'p Arc<Context>, limits: &Limits) -> Self {
        let result = CompiledPolicy::of_nothing(context);
        let budget = Budget { states: limits.states, work: limits.work };
        let (known_tables, known_joins) = (Vec::new(), HashMap::new());
        Self { policy, context, limits: *limits, budget, result, known_tables, known_joins }
    }

    pub(super) fn finish(self) -> CompiledPolicy {
        self.result
    }

    /// Compiles all of `kinds`.
    pub(super) fn add_all(&mut self, kinds: impl IntoIterator<Item = Kind>) -> Result<(), CompileError> {
        let mut asked = Vec::new();
        for kind in kinds {
            if !asked.iter().any(|(question, _): &(Question<'p>, _)| question.kind == kind) {
                asked.push(self.ask(kind));
            }
        }
        self.make_tables(asked.iter().flat_map(|(_, lists)| lists))?;
        asked.into_iter().try_for_each(|(question, lists)| self.add(question, &lists))
    }

    /// What has to be known about a kind, and the lists of value and domain that it takes.
    fn ask(&self, kind: Kind) -> (Question<'p>, [Lists<'p>; 2]) {
        let sample = kind.sample(self.context);
        let (mut values, mut domains) = (Lists::default(), Lists::default());
        let cases = live_rules(self.policy, &kind, &sample)
            .into_iter()
            .map(|live| {
                let number = |(condition, list): &(Condition, ListOf<'p>)| {
                    let lists = if condition.is_of_domain() { &mut domains } else { &mut values };
                    (*condition, lists.id(*list, &live.rule.name, *condition))
                };
                let conditions = live.conditions.iter().map(number).collect();
                Case { live, conditions }
            })
            .collect();
        (Question { kind, sample, cases, answers: HashMap::new() }, [values, domains])
    }

    fn add(&mut self, mut question: Question<'p>, [values, domains]: &[Lists<'p>; 2]) -> Result<(), CompileError> {
        let shape = self.shape(&mut question, values, domains)?;
        let prefixes = self.prefixes(&mut question);
        let id = KindId(self.result.kinds.len() as u32);
        self.result.ids.insert(question.kind.clone(), id);
        self.result.kinds.push(CompiledKind { kind: question.kind, shape, prefixes });
        Ok(())
    }

    fn shape(
        &mut self,
        question: &mut Question<'p>,
        values: &Lists<'p>,
        domains: &Lists<'p>,
    ) -> Result<Shape, CompileError> {
        let (value, domain) = (self.table(values), self.table(domains));
        match (value, domain) {
            (None, None) => Ok(Shape::Constant(self.answer(question, &[], &[]))),
            (Some((table, ends)), None) => {
                let join = self.join(question, table, [&ends[0], &ends[1]], |first, second| {
                    ([first, second].concat(), Vec::new())
                })?;
                let is_path = values.lists.iter().any(|list| matches!(list, ListOf::Paths(_)));
                Ok(if is_path { Shape::Path(join) } else { Shape::Value(join) })
            }
            (value, Some((table, ends))) => {
                // Exact values never float: the anchored automaton knows them all.
                let nothing: Ends = vec![Box::default()];
                let first = value.as_ref().map_or(&nothing, |(_, ends)| &ends[0]);
                let join =
                    self.join(question, table, [first, &ends[0]], |first, second| (first.to_vec(), second.to_vec()))?;
                Ok(Shape::Host { value: value.map(|(table, _)| table), join })
            }
        }
    }

    /// The table for lists, which was made; none for none.
    fn table(&self, wanted: &Lists<'p>) -> Option<NumberedTable> {
        let at = self.known_tables.iter().position(|(known, _)| wanted.are(known))?;
        Some((at as u32, Arc::clone(&self.known_tables[at].1)))
    }

    /// Makes the tables for all these lists, each once, side by side: none needs another.
    fn make_tables<'l>(&mut self, wanted: impl Iterator<Item = &'l Lists<'p>>) -> Result<(), CompileError>
    where
        'p: 'l,
    {
        let mut distinct: Vec<&Lists<'p>> = Vec::new();
        for lists in wanted.filter(|lists| !lists.lists.is_empty()) {
            if !distinct.iter().any(|known| lists.are(&known.lists)) {
                distinct.push(lists);
            }
        }
        let budget = self.budget;
        let made: Vec<Made> = std::thread::scope(|scope| {
            let start = |lists: &&'l Lists<'p>| {
                let lists = *lists;
                // Without a thread it is made here.
                std::thread::Builder::new().spawn_scoped(scope, move || lists.table(budget)).map_err(|_| lists)
            };
            // This thread would only wait.
            let (first, others) = distinct.split_at(distinct.len().min(1));
            let started: Vec<_> = others.iter().map(start).collect();
            let first = first.iter().map(|lists| lists.table(budget)).collect::<Vec<_>>();
            let others = started.into_iter().map(|started| match started {
                Ok(thread) => thread.join().unwrap_or(Err(TooLarge)),
                Err(lists) => lists.table(budget),
            });
            first.into_iter().chain(others).collect()
        });
        for (lists, made) in distinct.into_iter().zip(made) {
            let too_large = |Costliest { rule, list, pattern }| CompileError::TooLarge { rule, list, pattern };
            let (table, ends, work) = made.map_err(|_| too_large(Costliest::of(lists)))?;
            // Each had the whole budget; together they have no more.
            spend(&mut self.budget.work, work).map_err(|_| too_large(Costliest::of(lists)))?;
            self.result.tables.push(table);
            let needed = self.result.tables.iter().map(Table::len).sum();
            if needed > self.limits.cells {
                let Costliest { rule, list, pattern } = Costliest::of(lists);
                return Err(CompileError::TooManyCells { rule, list, pattern, needed, limit: self.limits.cells });
            }
            self.known_tables.push((lists.lists.clone(), Arc::new(ends)));
        }
        Ok(())
    }

    /// What each pair of end classes means; `lists` gives the lists of value and domain of a pair.
    fn join(
        &mut self,
        question: &mut Question<'p>,
        table: u32,
        ends: [&Ends; 2],
        lists: impl Fn(&[ListId], &[ListId]) -> (Vec<ListId>, Vec<ListId>),
    ) -> Result<Join, CompileError> {
        let needed = ends[0].len().saturating_mul(ends[1].len());
        if needed > self.limits.combinations {
            return Err(CompileError::TooManyCombinations {
                tool_name: question.kind.tool_name.to_string(),
                operation: question.kind.operation.to_string(),
                needed,
                limit: self.limits.combinations,
            });
        }
        let mut join = Vec::with_capacity(needed);
        for first in ends[0] {
            for second in ends[1] {
                let (value, domain) = lists(first, second);
                join.push(self.answer(question, &value, &domain));
            }
        }
        let join: Arc<[u32]> = join.into();
        let fresh = self.result.joins.len() as u32;
        let id = *self.known_joins.entry(Arc::clone(&join)).or_insert(fresh);
        if id == fresh {
            self.result.joins.push(join);
        }
        Ok(Join { table, join: id, width: ends[1].len() as u32 })
    }

    /// The outcome where value and domain match these lists.
    fn answer(&mut self, question: &mut Question<'p>, value: &[ListId], domain: &[ListId]) -> u32 {
        let hit = question
            .cases
            .iter()
            .enumerate()
            .find_map(|(number, case)| Some((Some(number), case.met(value, domain)?)))
            .unwrap_or_default();
        if let Some(outcome) = question.answers.get(&hit) {
            return *outcome;
        }
        let decision = self.decision(question, hit.0, &hit.1);
        let outcome = self.result.outcomes.iter().position(|known| *known == decision).unwrap_or_else(|| {
            self.result.outcomes.push(decision);
            self.result.outcomes.len() - 1
        });
        question.answers.insert(hit, outcome as u32);
        outcome as u32
    }

    /// What the reference evaluator says about the sample where a case applies with these conditions.
    fn decision(&self, question: &Question<'p>, case: Option<usize>, met: &[Condition]) -> Decision {
        let policy = Policy {
            default_verdict: self.policy.default_verdict,
            fail_closed: self.policy.fail_closed.clone(),
            rules: case.map(|case| settled(question.cases[case].live.rule, met)).into_iter().collect(),
        };
        evaluate(&policy, &question.sample)
    }

    /// Where the policy may allow the kind. All conditions but the allow list only make a verdict stricter,
    /// so what is blocked while none of them holds is always blocked.
    fn prefixes(&self, question: &mut Question<'p>) -> Vec<Vec<u8>> {
        let Kind { target_kind, endpoint_class, .. } = question.kind;
        let is_bounded =
            matches!(endpoint_class, EndpointClass::ProcExec | EndpointClass::FsRead | EndpointClass::FsWrite);
        if target_kind != TargetKind::Path || !is_bounded {
            return Vec::new();
        }
        let is_open = |case, met: &[Condition]| self.decision(question, case, met).verdict != Verdict::Block;
        let mut prefixes = Vec::new();
        let mut falls_through = true;
        for (number, case) in question.cases.iter().enumerate() {
            let of_match: Vec<Condition> =
                case.conditions.iter().map(|(condition, _)| *condition).filter(|c| c.is_of_match()).collect();
            let list = |wanted| case.live.conditions.iter().find(|(condition, _)| *condition == wanted);
            let with_allowed = [of_match.as_slice(), &[Condition::PathAllow]].concat();
            let allowlist = list(Condition::PathAllow);
            let bounds = match of_match.first().and_then(|condition| list(*condition)) {
                Some(values) if is_open(Some(number), &with_allowed) => vec![values],
                None if is_open(Some(number), &of_match) => {
                    prefixes.push(b"/".to_vec());
                    Vec::new()
                }
                None if is_open(Some(number), &with_allowed) => allowlist.into_iter().collect(),
                _ => Vec::new(),
            };
            for (_, list) in bounds {
                match list {
                    ListOf::Values(values) => prefixes.extend(values.iter().map(|value| prefix::of_text(value))),
                    ListOf::Paths(paths) => prefixes.extend(paths.iter().flat_map(prefix::of_pattern)),
                    ListOf::Domains(_) => prefixes.push(b"/".to_vec()),
                }
            }
            falls_through = !of_match.is_empty();
        }
        if falls_through && is_open(None, &[]) {
            prefixes.push(b"/".to_vec());
        }
        prefix::outermost(prefixes.iter().map(Vec::as_slice).collect()).into_iter().map(<[u8]>::to_vec).collect()
    }
}

/// The pattern that makes the largest automaton: the one with most places where it can repeat.
struct Costliest {
    rule: String,
    list: &'static str,
    pattern: String,
}

impl Costliest {
    fn of(lists: &Lists<'_>) -> Self {
        let weight = |tokens: &[Token]| -> usize {
            let repeats = tokens.iter().map(|token| match token {
                Token::Tree(_) => 10_000,
                Token::AnyRun | Token::AnyChar | Token::Class { .. } => 100,
                Token::Char(_) => 1,
            });
            repeats.sum()
        };
        let mut best = (0, Self { rule: String::new(), list: "", pattern: String::new() });
        for (list, (rule, condition)) in lists.lists.iter().zip(&lists.origins) {
            for (text, alternatives) in list.patterns() {
                let cost = alternatives.iter().map(|tokens| weight(tokens)).max().unwrap_or(0);
                if cost > best.0 {
                    best = (cost, Self { rule: (*rule).to_owned(), list: condition.name(), pattern: text.to_owned() });
                }
            }
        }
        best.1
    }
}
