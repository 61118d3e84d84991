//! From the members of a policy file to the policy: defaults, normal forms, validation (control 5.2).

use super::document::{
    At, DataflowDocument, EndpointDocument, FailClosedDocument, MatchDocument, PolicyDocument, RateLimitDocument,
    RuleDocument, State, Strictness, Words,
};
use super::fault::Faults;
use super::model::{Dataflow, Endpoint, FailClosed, Match, Policy, RateLimit, RequiredField, Rule, Verdict};
use super::pattern::{DomainPattern, PathPattern, Validity};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::intent::EndpointClass;
use crate::json::string_body_html_safe;
use crate::text::{lower, lower_set, lower_trimmed, set};

/// The policy that `document` gives. What means nothing is reported to `faults`, and the policy is then of no
/// use but for looking for more faults.
pub fn normalize(document: &PolicyDocument, strictness: Strictness, faults: &Faults) -> Policy {
    expect_constant(&document.schema_id, SCHEMA_ID, "schema_id", faults);
    expect_constant(&document.schema_version, SCHEMA_VERSION, "schema_version", faults);
    let word = or_default(&lower_trimmed(&document.default_verdict.value), "require_approval");
    let default_verdict = Verdict::parse(&word).unwrap_or_else(|| {
        faults.meaning(document.default_verdict.at, format!("invalid default_verdict: {word}"));
        Verdict::Block
    });
    let fail_closed = fail_closed(&document.fail_closed.value, faults);
    let normalizer = |name| Normalizer { name, strictness, faults };
    let mut rules: Vec<Rule> =
        document.rules.value.iter().filter_map(|rule| normalizer(rule.value.name.value.trim()).rule(rule)).collect();
    rules.sort_by(|left, right| (left.priority, &left.name).cmp(&(right.priority, &right.name)));
    Policy { default_verdict, fail_closed, rules }
}

fn expect_constant(found: &At<String>, wanted: &str, member: &str, faults: &Faults) {
    if !found.value.is_empty() && found.value != wanted {
        faults.meaning(found.at, format!("unsupported policy {member}: {}", found.value));
    }
}

fn or_default(word: &str, default: &str) -> String {
    if word.is_empty() { default.to_owned() } else { word.to_owned() }
}

fn fail_closed(document: &FailClosedDocument, faults: &Faults) -> FailClosed {
    let enabled = document.enabled.value;
    let mut risk_classes = lowered(&document.risk_classes);
    if enabled && risk_classes.is_empty() {
        risk_classes = vec!["critical".to_owned(), "high".to_owned()];
    }
    let named = |word: &str| RequiredField::ALL.into_iter().find(|field| field.as_str() == word);
    unknown_words(
        &document.required_fields,
        |word| named(word).is_some(),
        |word, at| {
            faults.meaning(at, format!("unsupported fail_closed required_field: {word}"));
        },
    );
    let required_fields = lowered(&document.required_fields).iter().filter_map(|word| named(word)).collect();
    FailClosed { enabled, risk_classes, required_fields }
}

fn words(list: &At<Words>) -> Vec<String> {
    set(list.value.iter().map(|word| &word.value))
}

fn lowered(list: &At<Words>) -> Vec<String> {
    lower_set(list.value.iter().map(|word| &word.value))
}

/// Tells `report` the words of `list` in lower case that are none of the known ones.
fn unknown_words(list: &At<Words>, is_known: impl Fn(&str) -> bool, report: impl Fn(&str, super::Position)) {
    for word in &list.value {
        let lower = lower_trimmed(&word.value);
        if !lower.is_empty() && !is_known(&lower) {
            report(&lower, word.at);
        }
    }
}

/// Normalises one rule.
struct Normalizer<'a> {
    /// The name of the rule, for messages.
    name: &'a str,
    strictness: Strictness,
    faults: &'a Faults,
}

impl Normalizer<'_> {
    fn rule(&self, document: &At<RuleDocument>) -> Option<Rule> {
        let At { value: document, at: position, .. } = document;
        let (name, faults) = (self.name, self.faults);
        if name.is_empty() && document.name.state != State::Faulty {
            faults.meaning(*position, "rule name is required");
        }
        let effect = self.effect(&document.effect);
        let min_approvals = u64::try_from(document.min_approvals.value).unwrap_or_else(|_| {
            faults.meaning(document.min_approvals.at, format!("min_approvals must be >= 0 for {name}"));
            0
        });
        let matcher = self.matcher(&document.matcher.value);
        let rate_limit = self.rate_limit(&document.rate_limit.value);
        let dataflow = self.dataflow(&document.dataflow.value);
        let endpoint = self.endpoint(&document.endpoint.value);
        Some(Rule {
            priority: document.priority.value,
            effect: effect?,
            matcher,
            reason_codes: words(&document.reason_codes),
            violations: words(&document.violations),
            min_approvals,
            require_distinct_approvers: document.require_distinct_approvers.value || min_approvals > 1,
            require_broker_credential: document.require_broker_credential.value,
            broker_reference: document.broker_reference.value.trim().to_owned(),
            broker_scopes: lowered(&document.broker_scopes),
            rate_limit,
            dataflow,
            endpoint,
            slug_reason: slug_reason(name),
            position: *position,
            name: name.to_owned(),
        })
    }

    fn effect(&self, document: &At<String>) -> Option<Verdict> {
        let word = lower_trimmed(&document.value);
        let verdict = Verdict::parse(&word);
        if verdict.is_none() && document.state != State::Faulty {
            let message = match word.is_empty() {
                true => format!("rule effect is required for {}", self.name),
                false => format!("invalid rule effect \"{word}\" for {}", self.name),
            };
            self.faults.meaning(document.at, message);
        }
        verdict
    }

    fn matcher(&self, document: &MatchDocument) -> Match {
        unknown_words(
            &document.endpoint_classes,
            |word| EndpointClass::parse(word).is_some(),
            |word, at| {
                self.faults.meaning(at, format!("unsupported match endpoint_class \"{word}\" for {}", self.name));
            },
        );
        Match {
            tool_names: lowered(&document.tool_names),
            risk_classes: lowered(&document.risk_classes),
            target_kinds: lowered(&document.target_kinds),
            target_values: words(&document.target_values),
            provenance_sources: lowered(&document.provenance_sources),
            identities: words(&document.identities),
            workspace_prefixes: words(&document.workspace_prefixes),
            endpoint_classes: lowered(&document.endpoint_classes),
            skill_publishers: lowered(&document.skill_publishers),
            skill_sources: lowered(&document.skill_sources),
            data_classes: lowered(&document.data_classes),
            destination_kinds: lowered(&document.destination_kinds),
            destination_values: words(&document.destination_values),
            destination_operations: lowered(&document.destination_operations),
        }
    }

    fn rate_limit(&self, document: &RateLimitDocument) -> Option<RateLimit> {
        let (name, requests) = (self.name, document.requests.value);
        if requests < 0 {
            self.faults.meaning(document.requests.at, format!("rate_limit.requests must be >= 0 for {name}"));
        }
        let window = or_default(&lower_trimmed(&document.window.value), "minute");
        let scope = or_default(&lower_trimmed(&document.scope.value), "tool_identity");
        if requests > 0 && !["minute", "hour"].contains(&window.as_str()) {
            self.faults.meaning(document.window.at, format!("unsupported rate_limit.window \"{window}\" for {name}"));
        }
        if !["tool", "identity", "tool_identity"].contains(&scope.as_str()) {
            self.faults.meaning(document.scope.at, format!("unsupported rate_limit.scope \"{scope}\" for {name}"));
        }
        (requests > 0).then_some(RateLimit { requests, window, scope })
    }

    /// The action of a `dataflow` or `endpoint` block: `block` or `require_approval`.
    fn action(&self, document: &At<String>, default: Verdict, what: &str) -> Verdict {
        let word = or_default(&lower_trimmed(&document.value), default.as_str());
        match Verdict::parse(&word) {
            Some(verdict @ (Verdict::Block | Verdict::RequireApproval)) => verdict,
            _ => {
                self.faults.meaning(document.at, format!("unsupported {what} \"{word}\" for {}", self.name));
                default
            }
        }
    }

    fn dataflow(&self, document: &DataflowDocument) -> Option<Dataflow> {
        let mut tainted_sources = lowered(&document.tainted_sources);
        let destination_kinds = lowered(&document.destination_kinds);
        let destination_values = words(&document.destination_values);
        let destination_operations = lowered(&document.destination_operations);
        let lists = [&tainted_sources, &destination_kinds, &destination_values, &destination_operations];
        if !document.enabled.value && lists.iter().all(|list| list.is_empty()) {
            return None;
        }
        if tainted_sources.is_empty() {
            tainted_sources = vec!["external".to_owned(), "tool_output".to_owned()];
        }
        Some(Dataflow {
            tainted_sources,
            destination_kinds,
            destination_values,
            destination_operations,
            action: self.action(&document.action, Verdict::RequireApproval, "dataflow.action"),
            reason_code: or_default(document.reason_code.value.trim(), "dataflow_tainted_destination"),
            violation: or_default(document.violation.value.trim(), "tainted_dataflow"),
        })
    }

    fn endpoint(&self, document: &EndpointDocument) -> Option<Endpoint> {
        let path_allowlist = self.path_patterns(&document.path_allowlist, "path_allowlist");
        let path_denylist = self.path_patterns(&document.path_denylist, "path_denylist");
        let domain_allowlist = self.domain_patterns(&document.domain_allowlist, "domain_allowlist");
        let domain_denylist = self.domain_patterns(&document.domain_denylist, "domain_denylist");
        let is_network = |word: &str| EndpointClass::parse(word).is_some_and(EndpointClass::is_network);
        unknown_words(&document.egress_classes, is_network, |word, at| {
            let message = match EndpointClass::parse(word) {
                Some(_) => format!("endpoint.egress_class must be network class for {}", self.name),
                None => format!("unsupported endpoint.egress_class \"{word}\" for {}", self.name),
            };
            self.faults.meaning(at, message);
        });
        let egress_classes = lowered(&document.egress_classes);
        let has_destructive = !lower_trimmed(&document.destructive_action.value).is_empty();
        let is_active = document.enabled.value
            || has_destructive
            || !(path_allowlist.is_empty() && path_denylist.is_empty())
            || !(domain_allowlist.is_empty() && domain_denylist.is_empty())
            || !egress_classes.is_empty();
        if !is_active {
            return None;
        }
        let destructive_action = has_destructive
            .then(|| self.action(&document.destructive_action, Verdict::Block, "endpoint.destructive_action"));
        Some(Endpoint {
            path_allowlist,
            path_denylist,
            domain_allowlist,
            domain_denylist,
            egress_classes,
            action: self.action(&document.action, Verdict::Block, "endpoint.action"),
            destructive_action,
            reason_code: or_default(document.reason_code.value.trim(), "endpoint_constraint_violation"),
            violation: or_default(document.violation.value.trim(), "endpoint_constraint_violation"),
        })
    }

    fn path_patterns(&self, list: &At<Words>, what: &str) -> Vec<PathPattern> {
        let is_malformed = |word: &str| PathPattern::parse(word).validity() == Validity::Malformed;
        self.refuse_malformed(list, what, is_malformed);
        words(list).iter().map(|text| PathPattern::parse(text)).collect()
    }

    fn domain_patterns(&self, list: &At<Words>, what: &str) -> Vec<DomainPattern> {
        let is_malformed = |word: &str| DomainPattern::parse(&lower(word)).validity() == Validity::Malformed;
        self.refuse_malformed(list, what, is_malformed);
        lowered(list).iter().map(|text| DomainPattern::parse(text)).collect()
    }

    /// A pattern that can match nothing protects nothing: existing readers take it, strict ones don't.
    fn refuse_malformed(&self, list: &At<Words>, what: &str, is_malformed: impl Fn(&str) -> bool) {
        if self.strictness == Strictness::Lenient {
            return;
        }
        for word in &list.value {
            let text = word.value.trim();
            // Only brackets and escapes can be malformed.
            if text.contains(['[', '\\']) && is_malformed(text) {
                let message = format!("malformed endpoint.{what} pattern \"{text}\" for {}", self.name);
                self.faults.meaning(word.at, message);
            }
        }
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
