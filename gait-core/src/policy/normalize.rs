//! From the members of a policy file to the policy: defaults, normal forms, validation (control 5.2).

use super::document::{
    At, DataflowDocument, EndpointDocument, FailClosedDocument, MatchDocument, PolicyDocument, RateLimitDocument,
    RuleDocument, Strictness,
};
use super::error::PolicyError;
use super::model::{Dataflow, Endpoint, FailClosed, Match, Policy, Position, RateLimit, RequiredField, Rule, Verdict};
use super::pattern::{DomainPattern, PathPattern, Validity};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::intent::EndpointClass;
use crate::json::string_body_html_safe;
use crate::text::{lower, lower_set, lower_trimmed, set};

type Normal<T> = Result<T, PolicyError>;

pub fn normalize(document: PolicyDocument, strictness: Strictness) -> Normal<Policy> {
    expect_constant(&document.schema_id, SCHEMA_ID, "schema_id")?;
    expect_constant(&document.schema_version, SCHEMA_VERSION, "schema_version")?;
    let word = or_default(&lower_trimmed(&document.default_verdict.value), "require_approval");
    let default_verdict = Verdict::parse(&word)
        .ok_or_else(|| PolicyError::invalid(document.default_verdict.at, format!("invalid default_verdict: {word}")))?;
    let fail_closed = fail_closed(document.fail_closed.value)?;
    let mut rules =
        document.rules.value.into_iter().map(|document| rule(document, strictness)).collect::<Normal<Vec<_>>>()?;
    rules.sort_by(|left, right| (left.priority, &left.name).cmp(&(right.priority, &right.name)));
    Ok(Policy { default_verdict, fail_closed, rules })
}

fn expect_constant(found: &At<String>, wanted: &str, member: &str) -> Normal<()> {
    if found.value.is_empty() || found.value == wanted {
        return Ok(());
    }
    Err(PolicyError::invalid(found.at, format!("unsupported policy {member}: {}", found.value)))
}

fn or_default(word: &str, default: &str) -> String {
    if word.is_empty() { default.to_owned() } else { word.to_owned() }
}

fn fail_closed(document: FailClosedDocument) -> Normal<FailClosed> {
    let enabled = document.enabled.value;
    let mut risk_classes = lower_set(document.risk_classes.value);
    if enabled && risk_classes.is_empty() {
        risk_classes = vec!["critical".to_owned(), "high".to_owned()];
    }
    let required_field = |word: String| {
        RequiredField::ALL.into_iter().find(|field| field.as_str() == word).ok_or_else(|| {
            let message = format!("unsupported fail_closed required_field: {word}");
            PolicyError::invalid(document.required_fields.at, message)
        })
    };
    let required_fields =
        lower_set(document.required_fields.value).into_iter().map(required_field).collect::<Normal<Vec<_>>>()?;
    Ok(FailClosed { enabled, risk_classes, required_fields })
}

fn rule(document: At<RuleDocument>, strictness: Strictness) -> Normal<Rule> {
    let At { value: document, at: position } = document;
    let name = document.name.value.trim().to_owned();
    if name.is_empty() {
        return Err(PolicyError::invalid(position, "rule name is required"));
    }
    let effect = effect(&document.effect, &name)?;
    let min_approvals = u64::try_from(document.min_approvals.value).map_err(|_| {
        PolicyError::invalid(document.min_approvals.at, format!("min_approvals must be >= 0 for {name}"))
    })?;
    Ok(Rule {
        priority: document.priority.value,
        effect,
        matcher: matcher(document.matcher.value, &name)?,
        reason_codes: set(document.reason_codes.value),
        violations: set(document.violations.value),
        min_approvals,
        require_distinct_approvers: document.require_distinct_approvers.value || min_approvals > 1,
        require_broker_credential: document.require_broker_credential.value,
        broker_reference: document.broker_reference.value.trim().to_owned(),
        broker_scopes: lower_set(document.broker_scopes.value),
        rate_limit: rate_limit(document.rate_limit.value, &name)?,
        dataflow: dataflow(document.dataflow.value, &name)?,
        endpoint: endpoint(document.endpoint.value, &name, strictness)?,
        slug_reason: slug_reason(&name),
        position,
        name,
    })
}

fn effect(document: &At<String>, name: &str) -> Normal<Verdict> {
    let word = lower_trimmed(&document.value);
    if word.is_empty() {
        return Err(PolicyError::invalid(document.at, format!("rule effect is required for {name}")));
    }
    Verdict::parse(&word)
        .ok_or_else(|| PolicyError::invalid(document.at, format!("invalid rule effect \"{word}\" for {name}")))
}

fn matcher(document: MatchDocument, name: &str) -> Normal<Match> {
    let endpoint_classes = lower_set(document.endpoint_classes.value);
    if let Some(unknown) = endpoint_classes.iter().find(|class| EndpointClass::parse(class).is_none()) {
        let message = format!("unsupported match endpoint_class \"{unknown}\" for {name}");
        return Err(PolicyError::invalid(document.endpoint_classes.at, message));
    }
    Ok(Match {
        tool_names: lower_set(document.tool_names.value),
        risk_classes: lower_set(document.risk_classes.value),
        target_kinds: lower_set(document.target_kinds.value),
        target_values: set(document.target_values.value),
        provenance_sources: lower_set(document.provenance_sources.value),
        identities: set(document.identities.value),
        workspace_prefixes: set(document.workspace_prefixes.value),
        endpoint_classes,
        skill_publishers: lower_set(document.skill_publishers.value),
        skill_sources: lower_set(document.skill_sources.value),
        data_classes: lower_set(document.data_classes.value),
        destination_kinds: lower_set(document.destination_kinds.value),
        destination_values: set(document.destination_values.value),
        destination_operations: lower_set(document.destination_operations.value),
    })
}

fn rate_limit(document: RateLimitDocument, name: &str) -> Normal<Option<RateLimit>> {
    let requests = document.requests.value;
    if requests < 0 {
        return Err(PolicyError::invalid(document.requests.at, format!("rate_limit.requests must be >= 0 for {name}")));
    }
    let window = or_default(&lower_trimmed(&document.window.value), "minute");
    let scope = or_default(&lower_trimmed(&document.scope.value), "tool_identity");
    if requests > 0 {
        one_of(&window, &["minute", "hour"], document.window.at, || {
            format!("unsupported rate_limit.window \"{window}\" for {name}")
        })?;
    }
    one_of(&scope, &["tool", "identity", "tool_identity"], document.scope.at, || {
        format!("unsupported rate_limit.scope \"{scope}\" for {name}")
    })?;
    Ok((requests > 0).then_some(RateLimit { requests, window, scope }))
}

fn one_of(word: &str, words: &[&str], at: Position, message: impl FnOnce() -> String) -> Normal<()> {
    if words.contains(&word) { Ok(()) } else { Err(PolicyError::invalid(at, message())) }
}

/// The action of a `dataflow` or `endpoint` block: `block` or `require_approval`.
fn action(document: &At<String>, default: Verdict, what: &str, name: &str) -> Normal<Verdict> {
    let word = or_default(&lower_trimmed(&document.value), default.as_str());
    match Verdict::parse(&word) {
        Some(verdict @ (Verdict::Block | Verdict::RequireApproval)) => Ok(verdict),
        _ => Err(PolicyError::invalid(document.at, format!("unsupported {what} \"{word}\" for {name}"))),
    }
}

fn dataflow(document: DataflowDocument, name: &str) -> Normal<Option<Dataflow>> {
    let mut tainted_sources = lower_set(document.tainted_sources.value);
    let destination_kinds = lower_set(document.destination_kinds.value);
    let destination_values = set(document.destination_values.value);
    let destination_operations = lower_set(document.destination_operations.value);
    let lists = [&tainted_sources, &destination_kinds, &destination_values, &destination_operations];
    if !document.enabled.value && lists.iter().all(|list| list.is_empty()) {
        return Ok(None);
    }
    if tainted_sources.is_empty() {
        tainted_sources = vec!["external".to_owned(), "tool_output".to_owned()];
    }
    Ok(Some(Dataflow {
        tainted_sources,
        destination_kinds,
        destination_values,
        destination_operations,
        action: action(&document.action, Verdict::RequireApproval, "dataflow.action", name)?,
        reason_code: or_default(document.reason_code.value.trim(), "dataflow_tainted_destination"),
        violation: or_default(document.violation.value.trim(), "tainted_dataflow"),
    }))
}

fn endpoint(document: EndpointDocument, name: &str, strictness: Strictness) -> Normal<Option<Endpoint>> {
    let path_allowlist = path_patterns(document.path_allowlist, "path_allowlist", name, strictness)?;
    let path_denylist = path_patterns(document.path_denylist, "path_denylist", name, strictness)?;
    let domain_allowlist = domain_patterns(document.domain_allowlist, "domain_allowlist", name, strictness)?;
    let domain_denylist = domain_patterns(document.domain_denylist, "domain_denylist", name, strictness)?;
    let egress_classes = lower_set(document.egress_classes.value);
    for class in &egress_classes {
        let message = match EndpointClass::parse(class) {
            Some(class) if class.is_network() => continue,
            Some(_) => format!("endpoint.egress_class must be network class for {name}"),
            None => format!("unsupported endpoint.egress_class \"{class}\" for {name}"),
        };
        return Err(PolicyError::invalid(document.egress_classes.at, message));
    }
    let has_destructive = !lower_trimmed(&document.destructive_action.value).is_empty();
    let is_active = document.enabled.value
        || has_destructive
        || !(path_allowlist.is_empty() && path_denylist.is_empty())
        || !(domain_allowlist.is_empty() && domain_denylist.is_empty())
        || !egress_classes.is_empty();
    if !is_active {
        return Ok(None);
    }
    let destructive_action = has_destructive
        .then(|| action(&document.destructive_action, Verdict::Block, "endpoint.destructive_action", name))
        .transpose();
    Ok(Some(Endpoint {
        path_allowlist,
        path_denylist,
        domain_allowlist,
        domain_denylist,
        egress_classes,
        action: action(&document.action, Verdict::Block, "endpoint.action", name)?,
        destructive_action: destructive_action?,
        reason_code: or_default(document.reason_code.value.trim(), "endpoint_constraint_violation"),
        violation: or_default(document.violation.value.trim(), "endpoint_constraint_violation"),
    }))
}

fn path_patterns(list: At<Vec<String>>, what: &str, name: &str, strictness: Strictness) -> Normal<Vec<PathPattern>> {
    let patterns: Vec<_> = set(list.value).iter().map(|text| PathPattern::parse(text)).collect();
    let malformed = patterns.iter().find(|pattern| pattern.validity() == Validity::Malformed);
    refuse_malformed(malformed.map(PathPattern::text), list.at, what, name, strictness)?;
    Ok(patterns)
}

fn domain_patterns(
    list: At<Vec<String>>,
    what: &str,
    name: &str,
    strictness: Strictness,
) -> Normal<Vec<DomainPattern>> {
    let patterns: Vec<_> = lower_set(list.value).iter().map(|text| DomainPattern::parse(text)).collect();
    let malformed = patterns.iter().find(|pattern| pattern.validity() == Validity::Malformed);
    refuse_malformed(malformed.map(DomainPattern::text), list.at, what, name, strictness)?;
    Ok(patterns)
}

/// A pattern that can match nothing protects nothing: existing readers take it, strict ones don't.
fn refuse_malformed(text: Option<&str>, at: Position, what: &str, name: &str, strictness: Strictness) -> Normal<()> {
    match text {
        Some(text) if strictness == Strictness::Strict => {
            Err(PolicyError::invalid(at, format!("malformed endpoint.{what} pattern \"{text}\" for {name}")))
        }
        _ => Ok(()),
    }
}

/// `matched_rule_` and the name as a code: its HTML-safe JSON form without quotes at the ends, blanks
/// and dashes as underscores, lower case.
fn slug_reason(name: &str) -> String {
    let body = string_body_html_safe(name);
    // The reference trims quotes off the quoted form, so quotes of the name at its ends go too.
    let trimmed = body.trim_start_matches('"').trim_end_matches('"');
    let slug: String =
        trimmed.chars().map(|character| if matches!(character, ' ' | '-') { '_' } else { character }).collect();
    format!("matched_rule_{}", lower(&slug))
}
