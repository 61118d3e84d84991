//! `policy_digest`: the canonical form of the normalised policy under the names of control 5.4.

use serde::Serialize;

use super::model::{Dataflow, Endpoint, FailClosed, Match, Policy, RateLimit, Rule};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::canonical::{CanonicalError, digest_of};
use crate::digest::Sha256Hex;

impl Policy {
    /// The digest by which traces, approvals and receipts name this policy. Comments, key order and
    /// spelling of the file don't count.
    ///
    /// # Errors
    /// [`CanonicalError`] never: all members are strings, integers and booleans.
    pub fn digest(&self) -> Result<Sha256Hex, CanonicalError> {
        digest_of(&PolicyPayload {
            schema_id: SCHEMA_ID,
            schema_version: SCHEMA_VERSION,
            default_verdict: self.default_verdict.as_str(),
            fail_closed: FailClosedPayload::from(&self.fail_closed),
            rules: self.rules.iter().map(RulePayload::from).collect(),
        })
    }
}

// The members of all payloads are in canonical order, so that they are hashed as they are written: a tree of a large
// policy, which the canonicalizer would build to sort it, takes a hundred times its bytes.

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyPayload<'a> {
    default_verdict: &'a str,
    fail_closed: FailClosedPayload<'a>,
    rules: Vec<RulePayload<'a>>,
    #[serde(rename = "SchemaID")]
    schema_id: &'a str,
    schema_version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailClosedPayload<'a> {
    enabled: bool,
    required_fields: Vec<&'static str>,
    risk_classes: &'a [String],
}

impl<'a> From<&'a FailClosed> for FailClosedPayload<'a> {
    fn from(fail_closed: &'a FailClosed) -> Self {
        Self {
            enabled: fail_closed.enabled,
            risk_classes: &fail_closed.risk_classes,
            required_fields: fail_closed.required_fields.iter().map(|field| field.as_str()).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RulePayload<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    broker_reference: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    broker_scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    dataflow: Option<DataflowPayload<'a>>,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<EndpointPayload<'a>>,
    r#match: MatchPayload<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    min_approvals: u64,
    name: &'a str,
    priority: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RateLimitPayload<'a>>,
    reason_codes: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    require_broker_credential: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    require_distinct_approvers: bool,
    violations: &'a [String],
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> From<&'a Rule> for RulePayload<'a> {
    fn from(rule: &'a Rule) -> Self {
        Self {
            name: &rule.name,
            priority: rule.priority,
            effect: rule.effect.as_str(),
            r#match: MatchPayload::from(&rule.matcher),
            reason_codes: &rule.reason_codes,
            violations: &rule.violations,
            min_approvals: rule.min_approvals,
            require_distinct_approvers: rule.require_distinct_approvers,
            require_broker_credential: rule.require_broker_credential,
            broker_reference: &rule.broker_reference,
            broker_scopes: &rule.broker_scopes,
            rate_limit: rule.rate_limit.as_ref().map(RateLimitPayload::from),
            dataflow: rule.dataflow.as_ref().map(DataflowPayload::from),
            endpoint: rule.endpoint.as_ref().map(EndpointPayload::from),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MatchPayload<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    data_classes: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    destination_kinds: &'a [String],
    #[serde(rename = "DestinationOps", skip_serializing_if = "<[_]>::is_empty")]
    destination_operations: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    destination_values: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    endpoint_classes: &'a [String],
    identities: &'a [String],
    provenance_sources: &'a [String],
    risk_classes: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skill_publishers: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skill_sources: &'a [String],
    target_kinds: &'a [String],
    target_values: &'a [String],
    tool_names: &'a [String],
    workspace_prefixes: &'a [String],
}

impl<'a> From<&'a Match> for MatchPayload<'a> {
    fn from(matcher: &'a Match) -> Self {
        Self {
            tool_names: &matcher.tool_names,
            risk_classes: &matcher.risk_classes,
            target_kinds: &matcher.target_kinds,
            target_values: &matcher.target_values,
            provenance_sources: &matcher.provenance_sources,
            identities: &matcher.identities,
            workspace_prefixes: &matcher.workspace_prefixes,
            endpoint_classes: &matcher.endpoint_classes,
            skill_publishers: &matcher.skill_publishers,
            skill_sources: &matcher.skill_sources,
            data_classes: &matcher.data_classes,
            destination_kinds: &matcher.destination_kinds,
            destination_values: &matcher.destination_values,
            destination_operations: &matcher.destination_operations,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RateLimitPayload<'a> {
    requests: i64,
    scope: &'a str,
    window: &'a str,
}

impl<'a> From<&'a RateLimit> for RateLimitPayload<'a> {
    fn from(limit: &'a RateLimit) -> Self {
        Self { requests: limit.requests, window: &limit.window, scope: &limit.scope }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DataflowPayload<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    destination_kinds: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    destination_operations: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    destination_values: &'a [String],
    enabled: bool,
    reason_code: &'a str,
    tainted_sources: &'a [String],
    violation: &'a str,
}

impl<'a> From<&'a Dataflow> for DataflowPayload<'a> {
    fn from(dataflow: &'a Dataflow) -> Self {
        Self {
            enabled: true,
            tainted_sources: &dataflow.tainted_sources,
            action: dataflow.action.as_str(),
            reason_code: &dataflow.reason_code,
            violation: &dataflow.violation,
            destination_kinds: &dataflow.destination_kinds,
            destination_values: &dataflow.destination_values,
            destination_operations: &dataflow.destination_operations,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EndpointPayload<'a> {
    action: &'static str,
    destructive_action: &'static str,
    domain_allowlist: Vec<&'a str>,
    domain_denylist: Vec<&'a str>,
    egress_classes: &'a [String],
    enabled: bool,
    path_allowlist: Vec<&'a str>,
    path_denylist: Vec<&'a str>,
    reason_code: &'a str,
    violation: &'a str,
}

impl<'a> From<&'a Endpoint> for EndpointPayload<'a> {
    fn from(endpoint: &'a Endpoint) -> Self {
        Self {
            enabled: true,
            path_allowlist: endpoint.path_allowlist.iter().map(|pattern| pattern.text()).collect(),
            path_denylist: endpoint.path_denylist.iter().map(|pattern| pattern.text()).collect(),
            domain_allowlist: endpoint.domain_allowlist.iter().map(|pattern| pattern.text()).collect(),
            domain_denylist: endpoint.domain_denylist.iter().map(|pattern| pattern.text()).collect(),
            egress_classes: &endpoint.egress_classes,
            action: endpoint.action.as_str(),
            destructive_action: endpoint.destructive_action.map_or("", |verdict| verdict.as_str()),
            reason_code: &endpoint.reason_code,
            violation: &endpoint.violation,
        }
    }
}
