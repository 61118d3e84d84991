//! Kinds of actions, and what a policy says about one before its value is known.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::model::{Dataflow, Endpoint, Match, Policy, Rule};
use super::super::pattern::{DomainPattern, PathPattern, Token};
use crate::intent::{
    Args, Context, EndpointClass, Intent, IntentParts, Provenance, ProvenanceSource, Target, TargetKind, infer,
};

/// A kind of action: all of an intent that decides about it, but value and domain of its target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// The tool, lower case: `fs.read`.
    pub tool_name: Cow<'static, str>,
    /// What the target is. One of kind `host` has a domain, the others have none.
    pub target_kind: TargetKind,
    /// What is done, lower case: `truncate`.
    pub operation: Cow<'static, str>,
    /// The class at the boundary.
    pub endpoint_class: EndpointClass,
}

impl Kind {
    /// A kind named by words of the program.
    pub const fn new(
        tool_name: &'static str,
        target_kind: TargetKind,
        operation: &'static str,
        endpoint_class: EndpointClass,
    ) -> Self {
        Self { tool_name: Cow::Borrowed(tool_name), target_kind, operation: Cow::Borrowed(operation), endpoint_class }
    }

    /// Whether the target has a domain besides its value.
    pub(super) fn has_domain(&self) -> bool {
        self.target_kind == TargetKind::Host
    }

    /// An action of this kind, on [`VALUE`].
    pub(super) fn sample(&self, context: &Arc<Context>) -> Intent {
        let mut target = Target::of(self.target_kind, VALUE.to_owned(), "", self.endpoint_class);
        target.destructive = infer::is_destructive(self.endpoint_class, &self.operation);
        target.operation = self.operation.clone();
        if self.has_domain() {
            target.endpoint_domain = VALUE.to_owned();
        }
        Intent::from_normal_parts(IntentParts {
            tool_name: self.tool_name.clone(),
            args: Args::new(),
            targets: vec![target],
            arg_provenance: Cow::Borrowed(Provenance::SYSTEM),
            context: Arc::clone(context),
        })
    }
}

/// Value and domain of every sample: a clean path, and a host name.
pub(super) const VALUE: &str = "v";

/// Where the arguments of all that a guard sees come from.
const SOURCE: &str = ProvenanceSource::System.as_str();

/// What is neither.
pub(super) const OTHER_VALUE: &str = "w";

/// What a list of a rule is compared with, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum ListOf<'p> {
    /// Texts equal to the value.
    Values(&'p [String]),
    /// Patterns of the value, a path.
    Paths(&'p [PathPattern]),
    /// Patterns of the domain.
    Domains(&'p [DomainPattern]),
}

impl ListOf<'_> {
    /// Whether both hold the same texts, so that one answer serves both.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Values(a), Self::Values(b)) => a == b,
            (Self::Paths(a), Self::Paths(b)) => a.iter().map(PathPattern::text).eq(b.iter().map(PathPattern::text)),
            (Self::Domains(a), Self::Domains(b)) => {
                a.iter().map(DomainPattern::text).eq(b.iter().map(DomainPattern::text))
            }
            _ => false,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Values(values) => values.is_empty(),
            Self::Paths(paths) => paths.is_empty(),
            Self::Domains(domains) => domains.is_empty(),
        }
    }

    /// Each text with the token sequences that match what it matches.
    pub(super) fn patterns(&self) -> Vec<(&str, Vec<Vec<Token>>)> {
        match self {
            Self::Values(values) => {
                values.iter().map(|value| (value.as_str(), vec![value.chars().map(Token::Char).collect()])).collect()
            }
            Self::Paths(paths) => paths.iter().map(|path| (path.text(), path.alternatives().to_vec())).collect(),
            Self::Domains(domains) => domains.iter().map(|domain| (domain.text(), domain.alternatives())).collect(),
        }
    }
}

/// Which condition of a rule a list belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Condition {
    /// `match.target_values`.
    TargetValues,
    /// `match.destination_values`.
    DestinationValues,
    /// `dataflow.destination_values`.
    TaintedValues,
    /// `endpoint.path_allowlist`.
    PathAllow,
    /// `endpoint.path_denylist`.
    PathDeny,
    /// `endpoint.domain_allowlist`.
    DomainAllow,
    /// `endpoint.domain_denylist`.
    DomainDeny,
}

impl Condition {
    /// Whether a rule applies only where this holds.
    pub(super) fn is_of_match(self) -> bool {
        matches!(self, Self::TargetValues | Self::DestinationValues)
    }

    /// Whether it is about the domain of the target, not its value.
    pub(super) fn is_of_domain(self) -> bool {
        matches!(self, Self::DomainAllow | Self::DomainDeny)
    }

    /// The name of the list in the policy.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TargetValues => "match.target_values",
            Self::DestinationValues => "match.destination_values",
            Self::TaintedValues => "dataflow.destination_values",
            Self::PathAllow => "endpoint.path_allowlist",
            Self::PathDeny => "endpoint.path_denylist",
            Self::DomainAllow => "endpoint.domain_allowlist",
            Self::DomainDeny => "endpoint.domain_denylist",
        }
    }
}

/// A rule that can apply to a kind, and the conditions left open until the value is known.
pub(super) struct LiveRule<'p> {
    pub(super) rule: &'p Rule,
    pub(super) conditions: Vec<(Condition, ListOf<'p>)>,
}

/// The rules that can decide about actions like `sample`, in order. The last one may apply whatever the
/// value is.
pub(super) fn live_rules<'p>(policy: &'p Policy, kind: &Kind, sample: &Intent) -> Vec<LiveRule<'p>> {
    let mut live = Vec::new();
    for rule in policy.rules() {
        let is_about_values = !(rule.matcher.target_values.is_empty() && rule.matcher.destination_values.is_empty());
        let can_match =
            if is_about_values { without_values(&rule.matcher).matches(sample) } else { rule.matcher.matches(sample) };
        if can_match {
            live.push(LiveRule { rule, conditions: open_conditions(rule, kind) });
            if !is_about_values {
                break;
            }
        }
    }
    live
}

fn without_values(matcher: &Match) -> Match {
    Match { target_values: Vec::new(), destination_values: Vec::new(), ..matcher.clone() }
}

fn open_conditions<'p>(rule: &'p Rule, kind: &Kind) -> Vec<(Condition, ListOf<'p>)> {
    let mut conditions = vec![
        (Condition::TargetValues, ListOf::Values(&rule.matcher.target_values)),
        (Condition::DestinationValues, ListOf::Values(&rule.matcher.destination_values)),
    ];
    let is_tainted = |dataflow: &&Dataflow| dataflow.tainted_sources.iter().any(|source| source == SOURCE);
    if let Some(dataflow) = rule.dataflow.as_ref().filter(is_tainted) {
        conditions.push((Condition::TaintedValues, ListOf::Values(&dataflow.destination_values)));
    }
    if let Some(endpoint) = &rule.endpoint {
        if kind.target_kind == TargetKind::Path {
            conditions.push((Condition::PathAllow, ListOf::Paths(&endpoint.path_allowlist)));
            conditions.push((Condition::PathDeny, ListOf::Paths(&endpoint.path_denylist)));
        }
        if kind.has_domain() {
            conditions.push((Condition::DomainAllow, ListOf::Domains(&endpoint.domain_allowlist)));
            conditions.push((Condition::DomainDeny, ListOf::Domains(&endpoint.domain_denylist)));
        }
    }
    conditions.retain(|(_, list)| !list.is_empty());
    conditions
}

/// `rule` as it stands where exactly the conditions `met` hold for the sample: lists of one text each,
/// which the sample's value is equal to or not.
pub(super) fn settled(rule: &Rule, met: &[Condition]) -> Rule {
    let text = |condition| if met.contains(&condition) { VALUE } else { OTHER_VALUE };
    let values = |list: &[String], condition| list.first().map(|_| text(condition).to_owned()).into_iter().collect();
    let paths = |list: &[PathPattern], condition| {
        list.first().map(|_| PathPattern::parse(text(condition))).into_iter().collect()
    };
    let domains = |list: &[DomainPattern], condition| {
        list.first().map(|_| DomainPattern::parse(text(condition))).into_iter().collect()
    };
    Rule {
        name: rule.name.clone(),
        matcher: Match {
            target_values: values(&rule.matcher.target_values, Condition::TargetValues),
            destination_values: values(&rule.matcher.destination_values, Condition::DestinationValues),
            ..Match::default()
        },
        reason_codes: rule.reason_codes.clone(),
        violations: rule.violations.clone(),
        broker_reference: rule.broker_reference.clone(),
        broker_scopes: rule.broker_scopes.clone(),
        rate_limit: rule.rate_limit.clone(),
        dataflow: rule.dataflow.as_ref().map(|dataflow| Dataflow {
            destination_values: values(&dataflow.destination_values, Condition::TaintedValues),
            ..dataflow.clone()
        }),
        endpoint: rule.endpoint.as_ref().map(|endpoint| Endpoint {
            path_allowlist: paths(&endpoint.path_allowlist, Condition::PathAllow),
            path_denylist: paths(&endpoint.path_denylist, Condition::PathDeny),
            domain_allowlist: domains(&endpoint.domain_allowlist, Condition::DomainAllow),
            domain_denylist: domains(&endpoint.domain_denylist, Condition::DomainDeny),
            egress_classes: endpoint.egress_classes.clone(),
            reason_code: endpoint.reason_code.clone(),
            violation: endpoint.violation.clone(),
            ..*endpoint
        }),
        slug_reason: rule.slug_reason.clone(),
        ..*rule
    }
}
