//! A policy as it is evaluated: normalised, validated, rules in the order they are tried.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pattern::{Dialect, DomainPattern, PathPattern};

/// What a policy says about an intent, from the most lenient to the strictest: [`Ord`] compares strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Let it happen.
    Allow,
    /// Let it happen, and record it as a trial.
    DryRun,
    /// Only with somebody's approval.
    RequireApproval,
    /// Refuse it.
    Block,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Self; 4] = [Self::Allow, Self::DryRun, Self::RequireApproval, Self::Block];

    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::DryRun => "dry_run",
            Self::RequireApproval => "require_approval",
            Self::Block => "block",
        }
    }

    /// The verdict that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == word)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A normalised policy (control 5). Made by [`Policy::parse`] only, so its rules are valid and sorted.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub(super) default_verdict: Verdict,
    pub(super) fail_closed: FailClosed,
    pub(super) rules: Vec<Rule>,
}

impl Policy {
    /// What applies where no rule matches.
    pub const fn default_verdict(&self) -> Verdict {
        self.default_verdict
    }

    /// What must be known about an intent of a grave risk class.
    pub const fn fail_closed(&self) -> &FailClosed {
        &self.fail_closed
    }

    /// The rules in the order they are tried: the first that matches decides.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Which parts of the policy existing evaluators would read otherwise: `plan.policy.extensions` of
    /// the enforcement receipt.
    pub fn extensions(&self) -> Vec<&'static str> {
        let doubled = self
            .rules
            .iter()
            .filter_map(|rule| rule.endpoint.as_ref())
            .flat_map(|endpoint| endpoint.path_allowlist.iter().chain(&endpoint.path_denylist))
            .any(|pattern| pattern.dialect() == Dialect::DoubleStar);
        if doubled { vec!["path_doublestar"] } else { Vec::new() }
    }
}

/// `fail_closed`: an intent of these risk classes that lacks these fields is blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailClosed {
    /// Whether it applies at all.
    pub enabled: bool,
    /// Risk classes it applies to: lower case, sorted, unique.
    pub risk_classes: Vec<String>,
    /// What must be there: sorted, unique.
    pub required_fields: Vec<RequiredField>,
}

/// A field that `fail_closed` can ask for, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequiredField {
    /// At least one argument's provenance.
    ArgProvenance,
    /// A class other than `other` on each target.
    EndpointClass,
    /// At least one target.
    Targets,
}

impl RequiredField {
    /// All of them, by name.
    pub const ALL: [Self; 3] = [Self::ArgProvenance, Self::EndpointClass, Self::Targets];

    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ArgProvenance => "arg_provenance",
            Self::EndpointClass => "endpoint_class",
            Self::Targets => "targets",
        }
    }
}

/// One rule. Lists are sorted and unique; what the contract compares in lower case is lower case.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Trimmed, never empty, not necessarily unique.
    pub name: String,
    /// Lower is tried first.
    pub priority: i64,
    /// What an intent that matches gets, before [`Rule::dataflow`] and [`Rule::endpoint`] tighten it.
    pub effect: Verdict,
    /// Which intents the rule is about.
    pub matcher: Match,
    /// Reasons of a match; empty means the one that [`Rule::slug_reason`] holds.
    pub reason_codes: Vec<String>,
    /// Violations of a match.
    pub violations: Vec<String>,
    /// Approvals needed; 0 leaves it to the verdict.
    pub min_approvals: u64,
    /// Whether approvals must come from different people.
    pub require_distinct_approvers: bool,
    /// Whether an allowed call needs a credential of the broker.
    pub require_broker_credential: bool,
    /// What the broker is asked for.
    pub broker_reference: String,
    /// Scopes the broker is asked for.
    pub broker_scopes: Vec<String>,
    /// How often the rule may allow.
    pub rate_limit: Option<RateLimit>,
    /// Tightens the effect for tainted data.
    pub dataflow: Option<Dataflow>,
    /// Tightens the effect for some targets.
    pub endpoint: Option<Endpoint>,
    /// `matched_rule_` and the rule's name as a code.
    pub slug_reason: String,
    /// Where the rule starts in its file.
    pub position: Position,
}

/// A place in a policy file, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:{}]", self.line, self.column)
    }
}

/// `match`: every list that is not empty must hold; within a list one value is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of control 5.3, under the same names")]
pub struct Match {
    pub tool_names: Vec<String>,
    pub risk_classes: Vec<String>,
    pub target_kinds: Vec<String>,
    pub target_values: Vec<String>,
    pub provenance_sources: Vec<String>,
    pub identities: Vec<String>,
    pub workspace_prefixes: Vec<String>,
    pub endpoint_classes: Vec<String>,
    pub skill_publishers: Vec<String>,
    pub skill_sources: Vec<String>,
    pub data_classes: Vec<String>,
    pub destination_kinds: Vec<String>,
    pub destination_values: Vec<String>,
    pub destination_operations: Vec<String>,
}

/// `rate_limit` with a positive number of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per window.
    pub requests: i64,
    /// `minute` or `hour`.
    pub window: String,
    /// `tool`, `identity` or `tool_identity`.
    pub scope: String,
}

/// An active `dataflow` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataflow {
    /// Provenance sources that taint a call.
    pub tainted_sources: Vec<String>,
    /// Target kinds it is about.
    pub destination_kinds: Vec<String>,
    /// Target values it is about.
    pub destination_values: Vec<String>,
    /// Target operations it is about.
    pub destination_operations: Vec<String>,
    /// At least this strict, where tainted data meets such a target.
    pub action: Verdict,
    /// Reason added then.
    pub reason_code: String,
    /// Violation added then.
    pub violation: String,
}

/// An active `endpoint` block.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Paths that may be used; empty allows all.
    pub path_allowlist: Vec<PathPattern>,
    /// Paths that may not, whatever the allow list says.
    pub path_denylist: Vec<PathPattern>,
    /// Domains that may be used; empty allows all.
    pub domain_allowlist: Vec<DomainPattern>,
    /// Domains that may not.
    pub domain_denylist: Vec<DomainPattern>,
    /// Network classes that may be used; empty allows all.
    pub egress_classes: Vec<String>,
    /// At least this strict, where one of the lists is violated.
    pub action: Verdict,
    /// At least this strict, where a target is destructive.
    pub destructive_action: Option<Verdict>,
    /// Reason added where anything is violated.
    pub reason_code: String,
    /// Violation added where anything is violated.
    pub violation: String,
}
