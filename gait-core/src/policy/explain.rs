//! Why a policy says what it says about an intent: every rule in order, what matched and what did not.

use serde::Serialize;

use super::evaluate::{Decision, evaluate};
use super::example::deciding_rule;
use super::model::{Dataflow, Endpoint, Match, Policy, Position, Rule, Verdict};
use super::pattern::clean;
use crate::intent::infer::{canonical_host, derived_domain};
use crate::intent::{Intent, Target};
use crate::text::{lower_trimmed, set};

/// The whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What the policy says.
    pub decision: Decision,
    /// Whether `fail_closed` said it, before any rule.
    pub by_fail_closed: bool,
    /// Every rule, in the order in which they are tried.
    pub rules: Vec<RuleExplanation>,
}

/// One rule and the intent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleExplanation {
    /// Its name.
    pub name: String,
    /// Where it starts.
    #[serde(skip)]
    pub position: Position,
    /// Its priority.
    pub priority: i64,
    /// Its effect, before anything tightens it.
    pub effect: Verdict,
    /// What became of it.
    pub standing: Standing,
    /// The lists of its `match` that are not empty.
    pub conditions: Vec<Condition>,
    /// What its `dataflow` and `endpoint` have to say, where it decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is the first that matches.
    Decides,
    /// It matches, but something before it decided.
    TooLate,
    /// It does not match.
    NoMatch,
}

/// One list of a `match`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// The key in the policy.
    pub field: &'static str,
    /// What it asks for: one of these.
    pub wanted: Vec<String>,
    /// What the intent has, sorted and unique.
    pub found: Vec<String>,
    /// Whether one of the one is among the other.
    pub holds: bool,
}

/// Explains what `policy` says about `intent`.
pub fn explain(policy: &Policy, intent: &Intent) -> Explanation {
    let decision = evaluate(policy, intent);
    let by_fail_closed = policy.fail_closed.refusal(intent).is_some();
    let deciding = deciding_rule(policy, intent, &decision);
    let rules = policy.rules.iter().map(|rule| {
        let decides = deciding.is_some_and(|deciding| std::ptr::eq(deciding, rule));
        rule_explanation(rule, intent, decides)
    });
    Explanation { by_fail_closed, rules: rules.collect(), decision }
}

fn rule_explanation(rule: &Rule, intent: &Intent, decides: bool) -> RuleExplanation {
    let conditions = conditions(&rule.matcher, intent);
    let standing = match conditions.iter().all(|condition| condition.holds) {
        _ if decides => Standing::Decides,
        true => Standing::TooLate,
        false => Standing::NoMatch,
    };
    let mut constraints = Vec::new();
    if decides {
        if let Some(dataflow) = &rule.dataflow {
            constraints.push(dataflow_words(dataflow, intent));
        }
        if let Some(endpoint) = &rule.endpoint {
            endpoint_words(endpoint, intent, &mut constraints);
        }
        if rule.min_approvals > 0 {
            constraints.push(format!("min_approvals: {} wanted", rule.min_approvals));
        }
    }
    RuleExplanation {
        name: rule.name.clone(),
        position: rule.position,
        priority: rule.priority,
        effect: rule.effect,
        standing,
        conditions,
        constraints,
    }
}

/// Every list of `matcher` that asks for something, and what `intent` has for it.
pub fn conditions(matcher: &Match, intent: &Intent) -> Vec<Condition> {
    let context = intent.context();
    let targets = |value: fn(&Target) -> &str| set(intent.targets().iter().map(value));
    let kinds = || targets(|target| target.kind.as_str());
    let values = || targets(|target| &target.value);
    let skill = intent.skill_provenance();
    let sources = || set(intent.arg_provenance().iter().map(|item| item.source.as_str()));
    let mut conditions = Vec::new();
    let mut ask = |field, wanted: &[String], found: &dyn Fn() -> Vec<String>, holds: &dyn Fn(&str) -> bool| {
        if !wanted.is_empty() {
            let found = found();
            let holds = found.iter().any(|found| holds(found));
            conditions.push(Condition { field, wanted: wanted.to_vec(), found, holds });
        }
    };
    let mut one_of = |field, wanted: &[String], found: &dyn Fn() -> Vec<String>| {
        ask(field, wanted, found, &|found| wanted.iter().any(|wanted| wanted == found));
    };
    one_of("tool_names", &matcher.tool_names, &|| vec![intent.tool_name().to_owned()]);
    one_of("risk_classes", &matcher.risk_classes, &|| vec![context.risk_class.clone()]);
    one_of("identities", &matcher.identities, &|| vec![context.identity.clone()]);
    one_of("target_kinds", &matcher.target_kinds, &kinds);
    one_of("target_values", &matcher.target_values, &values);
    one_of("endpoint_classes", &matcher.endpoint_classes, &|| targets(|target| target.endpoint_class.as_str()));
    one_of("data_classes", &matcher.data_classes, &|| targets(|target| &target.sensitivity));
    one_of("destination_kinds", &matcher.destination_kinds, &kinds);
    one_of("destination_values", &matcher.destination_values, &values);
    one_of("destination_operations", &matcher.destination_operations, &|| targets(|target| &target.operation));
    one_of("skill_publishers", &matcher.skill_publishers, &|| {
        skill.map(|skill| lower_trimmed(&skill.publisher).into_owned()).into_iter().collect()
    });
    one_of("skill_sources", &matcher.skill_sources, &|| skill.map(|skill| skill.source.clone()).into_iter().collect());
    one_of("provenance_sources", &matcher.provenance_sources, &sources);
    ask("workspace_prefixes", &matcher.workspace_prefixes, &|| vec![context.workspace.clone()], &|found| {
        matcher.matches_workspace(found)
    });
    conditions
}

fn dataflow_words(dataflow: &Dataflow, intent: &Intent) -> String {
    let sources = dataflow.tainted_sources.join(", ");
    match dataflow.is_hit(intent) {
        true => format!("dataflow: data from {sources} meets a destination: at least {}", dataflow.action),
        false => format!("dataflow: no data from {sources} meets a destination"),
    }
}

fn endpoint_words(endpoint: &Endpoint, intent: &Intent, words: &mut Vec<String>) {
    for target in intent.targets() {
        let violations: Vec<&str> = endpoint.target_violations(target).into_iter().flatten().collect();
        for code in &violations {
            let pattern = denying_pattern(endpoint, target, code);
            let because = pattern.map(|pattern| format!(" by \"{pattern}\"")).unwrap_or_default();
            words.push(format!("endpoint: {code}{because} for {:?}: at least {}", target.value, endpoint.action));
        }
        if violations.is_empty() {
            words.push(format!("endpoint: nothing against {:?}", target.value));
        }
        if let Some(action) = endpoint.destructive_action.filter(|_| target.destructive) {
            let verdict = action.max(endpoint.action);
            words.push(format!("endpoint: {:?} is destructive: at least {verdict}", target.value));
        }
    }
}

/// The pattern of a deny list that `code` is about, if it is about one.
fn denying_pattern<'e>(endpoint: &'e Endpoint, target: &Target, code: &str) -> Option<&'e str> {
    match code {
        "endpoint_path_denied" => {
            let cleaned = clean(&target.value);
            let is_hit = |path: &str| endpoint.path_denylist.iter().find(|pattern| pattern.matches(path));
            is_hit(&cleaned.path).or_else(|| is_hit(&target.value)).map(|pattern| pattern.text())
        }
        "endpoint_domain_denied" => {
            let given = canonical_host(&target.endpoint_domain);
            let derived = derived_domain(target.kind, &target.value);
            let is_hit = |pattern: &&super::pattern::DomainPattern| {
                pattern.matches(&given) || derived.as_ref().is_some_and(|derived| pattern.matches(derived))
            };
            endpoint.domain_denylist.iter().find(is_hit).map(|pattern| pattern.text())
        }
        _ => None,
    }
}
