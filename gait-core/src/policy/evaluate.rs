//! The reference evaluator: the whole policy language on a whole intent, slow and obvious (control 6).
//!
//! Compiled tables and kernels must agree with this. Four rules differ from older implementations, all
//! on the strict side (control 16): `dataflow` never weakens a rule; paths are matched as what they
//! name, not as they are spelt, and one that is spelt otherwise is told; a domain is derived from the target itself,
//! whatever the intent says, and where it can't be no domain rule lets it pass; and approvals that a rule asks for are
//! needed also where its effect is `allow`.

use std::borrow::Cow;

use super::model::{Dataflow, Endpoint, FailClosed, Match, Policy, RequiredField, Rule, Verdict};
use super::pattern::{DomainPattern, Escapes, PathPattern, clean};
use crate::intent::infer::{canonical_host, derived_domain};
use crate::intent::{EndpointClass, Intent, IntentError, IntentRequest, Target, TargetKind};
use crate::text::{lower_trimmed, set};

/// What a policy says about one intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// Why: sorted, unique, never empty.
    pub reason_codes: Vec<String>,
    /// What was violated: sorted, unique.
    pub violations: Vec<String>,
    /// Name of the rule that decided, if one did.
    pub matched_rule: Option<String>,
    /// How many approvals the action needs.
    pub required_approvals: u64,
}

/// Judges `intent` by `policy`. Cannot fail: there is a verdict for everything.
pub fn evaluate(policy: &Policy, intent: &Intent) -> Decision {
    if let Some(refusal) = policy.fail_closed.refusal(intent) {
        return refusal;
    }
    let mut decision = match policy.rules.iter().find(|rule| rule.matcher.matches(intent)) {
        Some(rule) => rule.decide(intent),
        None => policy.default_decision(),
    };
    if intent.targets().iter().any(is_unclean) {
        decision.reason_codes.push(UNCLEAN.to_owned());
        decision.reason_codes.sort_unstable();
    }
    decision
}

/// Reason of every decision about a path that is not spelt as what it names: rules were matched on what it names.
const UNCLEAN: &str = "intent_path_not_clean";

fn is_unclean(target: &Target) -> bool {
    target.kind == TargetKind::Path && matches!(clean(&target.value).path, Cow::Owned(_))
}

/// Judges a request that may turn out to be no intent.
///
/// # Errors
/// [`IntentError`] if it is none and `fail_closed` does not cover its risk class; otherwise that is a
/// block (control 6, step 1).
pub fn evaluate_request(policy: &Policy, request: IntentRequest) -> Result<Decision, IntentError> {
    let is_covered = policy.fail_closed.covers(&lower_trimmed(&request.context.risk_class));
    match request.normalize() {
        Ok(intent) => Ok(evaluate(policy, &intent)),
        Err(_) if is_covered => Ok(fail_closed_block(&[("fail_closed_intent_invalid", "intent_not_evaluable")])),
        Err(error) => Err(error),
    }
}

impl Policy {
    /// The decision where no rule matches.
    pub fn default_decision(&self) -> Decision {
        Decision {
            verdict: self.default_verdict,
            reason_codes: vec![format!("default_{}", self.default_verdict)],
            violations: Vec::new(),
            matched_rule: None,
            required_approvals: approvals(0, self.default_verdict),
        }
    }
}

const fn approvals(min_approvals: u64, verdict: Verdict) -> u64 {
    match (min_approvals, verdict) {
        (0, Verdict::RequireApproval) => 1,
        (count, _) => count,
    }
}

fn fail_closed_block(codes: &[(&str, &str)]) -> Decision {
    Decision {
        verdict: Verdict::Block,
        reason_codes: set(codes.iter().map(|(reason, _)| reason)),
        violations: set(codes.iter().map(|(_, violation)| violation)),
        matched_rule: None,
        required_approvals: 0,
    }
}

impl FailClosed {
    /// Whether it applies to this risk class.
    pub fn covers(&self, risk_class: &str) -> bool {
        self.enabled && self.risk_classes.iter().any(|class| class == risk_class)
    }

    /// The block of an intent that is too incomplete for its risk class, if it is.
    pub fn refusal(&self, intent: &Intent) -> Option<Decision> {
        if !self.covers(&intent.context().risk_class) {
            return None;
        }
        let requires = |field| self.required_fields.contains(&field);
        let has_unknown_class = intent.targets().iter().any(|target| target.endpoint_class == EndpointClass::Other);
        let mut codes = Vec::new();
        if requires(RequiredField::Targets) && intent.targets().is_empty() {
            codes.push(("fail_closed_missing_targets", "missing_targets"));
        }
        if requires(RequiredField::ArgProvenance) && intent.arg_provenance().is_empty() {
            codes.push(("fail_closed_missing_arg_provenance", "missing_arg_provenance"));
        }
        if requires(RequiredField::EndpointClass) && has_unknown_class {
            codes.push(("fail_closed_missing_endpoint_class", "missing_endpoint_class"));
        }
        if has_unknown_class {
            codes.push(("fail_closed_endpoint_class_unknown", "endpoint_class_unknown"));
        }
        (!codes.is_empty()).then(|| fail_closed_block(&codes))
    }
}

/// Whether `list` allows a value: it is empty or holds it.
fn holds(list: &[String], value: &str) -> bool {
    list.is_empty() || list.iter().any(|allowed| allowed == value)
}

/// Whether `list` is empty or some target has one of its values. Each list looks at all targets anew.
fn some_target(list: &[String], intent: &Intent, value: impl Fn(&Target) -> &str) -> bool {
    list.is_empty() || intent.targets().iter().any(|target| list.iter().any(|allowed| allowed == value(target)))
}

impl Match {
    /// Whether the rule is about this intent (control 5.3).
    pub fn matches(&self, intent: &Intent) -> bool {
        let context = intent.context();
        holds(&self.tool_names, intent.tool_name())
            && holds(&self.risk_classes, &context.risk_class)
            && holds(&self.identities, &context.identity)
            && self.matches_workspace(&context.workspace)
            && some_target(&self.target_kinds, intent, |target| target.kind.as_str())
            && some_target(&self.target_values, intent, |target| &target.value)
            && some_target(&self.endpoint_classes, intent, |target| target.endpoint_class.as_str())
            && some_target(&self.data_classes, intent, |target| &target.sensitivity)
            && some_target(&self.destination_kinds, intent, |target| target.kind.as_str())
            && some_target(&self.destination_values, intent, |target| &target.value)
            && some_target(&self.destination_operations, intent, |target| &target.operation)
            && self.matches_skill(intent)
            && (self.provenance_sources.is_empty()
                || intent.arg_provenance().iter().any(|item| holds(&self.provenance_sources, item.source.as_str())))
    }

    /// Prefixes end at a separator: `/r` is not a prefix of `/repository` (control 16, item 12).
    pub(super) fn matches_workspace(&self, workspace: &str) -> bool {
        let is_below = |prefix: &String| {
            workspace
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
        };
        self.workspace_prefixes.is_empty() || self.workspace_prefixes.iter().any(is_below)
    }

    fn matches_skill(&self, intent: &Intent) -> bool {
        if self.skill_publishers.is_empty() && self.skill_sources.is_empty() {
            return true;
        }
        intent.skill_provenance().is_some_and(|skill| {
            holds(&self.skill_publishers, &lower_trimmed(&skill.publisher)) && holds(&self.skill_sources, &skill.source)
        })
    }
}

impl Rule {
    /// The decision of this rule about an intent that it matches.
    pub fn decide(&self, intent: &Intent) -> Decision {
        let mut verdict = self.effect;
        let mut reasons: Vec<&str> = self.reason_codes.iter().map(String::as_str).collect();
        if reasons.is_empty() {
            reasons.push(&self.slug_reason);
        }
        let mut violations: Vec<&str> = self.violations.iter().map(String::as_str).collect();
        if let Some(dataflow) = self.dataflow.as_ref().filter(|dataflow| dataflow.is_hit(intent)) {
            verdict = verdict.max(dataflow.action);
            reasons.push(&dataflow.reason_code);
            violations.push(&dataflow.violation);
        }
        if let Some(endpoint) = &self.endpoint {
            verdict = verdict.max(endpoint.constrain(intent, &mut reasons, &mut violations));
        }
        if verdict == Verdict::Allow && self.min_approvals > 0 {
            verdict = Verdict::RequireApproval;
        }
        Decision {
            verdict,
            reason_codes: set(reasons),
            violations: set(violations),
            matched_rule: Some(self.name.clone()),
            required_approvals: approvals(self.min_approvals, verdict),
        }
    }
}

impl Dataflow {
    /// Whether tainted data meets a destination that the block is about.
    pub fn is_hit(&self, intent: &Intent) -> bool {
        let is_tainted =
            intent.arg_provenance().iter().any(|item| self.tainted_sources.iter().any(|s| s == item.source.as_str()));
        is_tainted && intent.targets().iter().any(|target| self.is_destination(target))
    }

    fn is_destination(&self, target: &Target) -> bool {
        let lists = [&self.destination_kinds, &self.destination_values, &self.destination_operations];
        if lists.iter().all(|list| list.is_empty()) {
            use TargetKind::{Bucket, Host, Queue, Topic, Url};
            return matches!(target.kind, Host | Url | Bucket | Queue | Topic);
        }
        holds(&self.destination_kinds, target.kind.as_str())
            && holds(&self.destination_values, &target.value)
            && holds(&self.destination_operations, &target.operation)
    }
}

impl Endpoint {
    /// The least strict verdict that the targets of `intent` leave, with the codes of what they violate.
    pub fn constrain<'a>(
        &'a self,
        intent: &Intent,
        reasons: &mut Vec<&'a str>,
        violations: &mut Vec<&'a str>,
    ) -> Verdict {
        let fired_before = reasons.len();
        for target in intent.targets() {
            for code in self.target_violations(target).into_iter().flatten() {
                reasons.push(code);
                violations.push(code);
            }
        }
        let mut verdict = self.action;
        if let Some(action) = self.destructive_action
            && intent.targets().iter().any(|target| target.destructive)
        {
            reasons.push("endpoint_destructive_operation");
            violations.push("destructive_operation");
            verdict = verdict.max(action);
        }
        if reasons.len() == fired_before {
            return Verdict::Allow;
        }
        reasons.push(&self.reason_code);
        violations.push(&self.violation);
        verdict
    }

    pub(super) fn target_violations(&self, target: &Target) -> [Option<&'static str>; 5] {
        let [path_denied, path_not_allowed] = self.path_violations(target);
        let [domain_denied, domain_not_allowed] = self.domain_violations(target);
        [path_denied, path_not_allowed, domain_denied, domain_not_allowed, self.egress_violation(target)]
    }

    fn path_violations(&self, target: &Target) -> [Option<&'static str>; 2] {
        if target.kind != TargetKind::Path {
            return [None; 2];
        }
        let cleaned = clean(&target.value);
        let any = |list: &[PathPattern], path: &str| list.iter().any(|pattern| pattern.matches(path));
        // A deny pattern may also have been written for the path as it is spelt.
        let is_denied = any(&self.path_denylist, &cleaned.path)
            || (matches!(cleaned.path, Cow::Owned(_)) && any(&self.path_denylist, &target.value));
        let is_allowed = self.path_allowlist.is_empty()
            || (cleaned.escapes == Escapes::No && any(&self.path_allowlist, &cleaned.path));
        [is_denied.then_some("endpoint_path_denied"), (!is_allowed).then_some("endpoint_path_not_allowlisted")]
    }

    /// Judges the domain that the intent names and the one that the target's value names: both must pass.
    fn domain_violations(&self, target: &Target) -> [Option<&'static str>; 2] {
        if self.domain_allowlist.is_empty() && self.domain_denylist.is_empty() {
            return [None; 2];
        }
        let given = Some(canonical_host(&target.endpoint_domain)).filter(|domain| !domain.is_empty());
        let derived = derived_domain(target.kind, &target.value);
        let any = |list: &[DomainPattern], domain: &str| list.iter().any(|pattern| pattern.matches(domain));
        // What a host or URL is called in the intent says nothing if its value names no host that we can find.
        let is_unknown = match target.kind {
            TargetKind::Host | TargetKind::Url => derived.is_none(),
            _ => given.is_none() && target.endpoint_class.is_network(),
        };
        let derived = derived.filter(|derived| Some(derived) != given.as_ref());
        let mut domains = given.iter().chain(&derived);
        let is_denied = !self.domain_denylist.is_empty()
            && (is_unknown || domains.clone().any(|domain| any(&self.domain_denylist, domain)));
        let is_allowed = self.domain_allowlist.is_empty()
            || (!is_unknown && domains.all(|domain| any(&self.domain_allowlist, domain)));
        [is_denied.then_some("endpoint_domain_denied"), (!is_allowed).then_some("endpoint_domain_not_allowlisted")]
    }

    /// A host or URL leaves the machine whatever class the intent gives it.
    fn egress_violation(&self, target: &Target) -> Option<&'static str> {
        let class = match target.endpoint_class {
            class if class.is_network() => class,
            _ if matches!(target.kind, TargetKind::Host | TargetKind::Url) => EndpointClass::NetHttp,
            _ => return None,
        };
        (!holds(&self.egress_classes, class.as_str())).then_some("endpoint_egress_class_not_allowed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Strictness;

    fn policy(text: &str) -> Policy {
        Policy::parse(text, Strictness::Strict).unwrap()
    }

    fn intent(target: &str) -> Intent {
        let document = format!(
            r#"{{"tool_name":"t","targets":[{target}],"context":{{"identity":"a","workspace":"/w","risk_class":"low"}}}}"#
        );
        IntentRequest::read(document.as_bytes()).unwrap().normalize().unwrap()
    }

    #[test]
    fn a_path_that_is_not_clean_is_judged_as_what_it_names_and_says_so() {
        let policy = policy("rules: [{name: r, effect: allow, endpoint: {path_allowlist: [/tmp/**]}}]");
        let decide = |path: &str| {
            let decision =
                evaluate(&policy, &intent(&format!(r#"{{"kind":"path","value":"{path}","operation":"read"}}"#)));
            (decision.verdict, decision.reason_codes)
        };
        assert_eq!(decide("/tmp/a"), (Verdict::Allow, vec!["matched_rule_r".to_owned()]));
        for path in ["/tmp//a", "/tmp/./a", "/tmp/b/../a", "/tmp/a/"] {
            let wanted = ["intent_path_not_clean", "matched_rule_r"].map(str::to_owned).to_vec();
            assert_eq!(decide(path), (Verdict::Allow, wanted), "{path}");
        }
        for path in ["/tmp/../etc/passwd", "/tmp/../../tmp/a", "tmp/../../x"] {
            let (verdict, reasons) = decide(path);
            assert_eq!(verdict, Verdict::Block, "{path}");
            assert!(reasons.contains(&"endpoint_path_not_allowlisted".to_owned()), "{reasons:?}");
            assert!(reasons.contains(&"intent_path_not_clean".to_owned()) && reasons.is_sorted(), "{reasons:?}");
        }
        let other = super::super::Policy::parse("default_verdict: allow", Strictness::Strict).unwrap();
        let target = r#"{"kind":"path","value":"/a//b","operation":"read"}"#;
        assert_eq!(evaluate(&other, &intent(target)).reason_codes, ["default_allow", "intent_path_not_clean"]);
        let no_path = r#"{"kind":"other","value":"/a//b","operation":"read"}"#;
        assert_eq!(evaluate(&other, &intent(no_path)).reason_codes, ["default_allow"]);
    }

    #[test]
    fn no_label_helps_a_target_whose_host_can_t_be_found_past_a_domain_rule() {
        let deny = policy("rules: [{name: r, effect: allow, endpoint: {domain_denylist: [evil.example]}}]");
        let allow = policy("rules: [{name: r, effect: allow, endpoint: {domain_allowlist: [good.example]}}]");
        let verdict = |policy: &Policy, kind: &str, value: &str, label: &str| {
            let label = if label.is_empty() { String::new() } else { format!(r#","endpoint_domain":"{label}""#) };
            evaluate(policy, &intent(&format!(r#"{{"kind":"{kind}","value":"{value}"{label}}}"#))).verdict
        };
        for value in
            ["https://evil.example:port/", "https://a b/", "https://a%2eb/", "evil.example/x", "https:evil.example"]
        {
            for label in ["", "good.example"] {
                assert_eq!(verdict(&deny, "url", value, label), Verdict::Block, "{value} {label}");
                assert_eq!(verdict(&allow, "url", value, label), Verdict::Block, "{value} {label}");
            }
        }
        for policy in [&deny, &allow] {
            assert_eq!(verdict(policy, "url", "https://good.example/", ""), Verdict::Allow);
            assert_eq!(verdict(policy, "url", "https://evil.example/", "good.example"), Verdict::Block);
            assert_eq!(verdict(policy, "url", "https://good.example/", "evil.example"), Verdict::Block);
            assert_eq!(verdict(policy, "host", "HTTPS://evil.example:8443", "good.example"), Verdict::Block);
            assert_eq!(verdict(policy, "path", "/x", ""), Verdict::Allow);
        }
    }

    #[test]
    fn approvals_that_a_rule_asks_for_are_needed_where_it_allows() {
        for (effect, verdict) in
            [("allow", Verdict::RequireApproval), ("dry_run", Verdict::DryRun), ("block", Verdict::Block)]
        {
            let policy = policy(&format!("rules: [{{name: r, effect: {effect}, min_approvals: 2}}]"));
            let decision = evaluate(&policy, &intent(r#"{"kind":"path","value":"/a"}"#));
            assert_eq!((decision.verdict, decision.required_approvals), (verdict, 2));
        }
    }

    #[test]
    fn what_is_no_intent_is_blocked_where_fail_closed_covers_it_and_an_error_elsewhere() {
        let policy = policy("fail_closed: {enabled: true}");
        let request = |risk_class: &str| {
            let mut request = IntentRequest::default();
            request.context.risk_class = risk_class.to_owned();
            request
        };
        let decision = evaluate_request(&policy, request(" Critical ")).unwrap();
        assert_eq!(decision.verdict, Verdict::Block);
        assert_eq!(decision.reason_codes, ["fail_closed_intent_invalid"]);
        assert_eq!(decision.violations, ["intent_not_evaluable"]);
        assert_eq!(evaluate_request(&policy, request("low")), Err(IntentError::ToolName));
    }
}
