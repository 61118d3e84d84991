//! What to add to the policy so that a denied action would be allowed.
//!
//! Nothing is guessed: the action is decided again by the policy of the run, which must say what was recorded; and
//! what is proposed is tried with the reference evaluator and must give `allow`. Where it does not, nothing is
//! proposed. What is proposed is the narrowest change: this one action, or one more entry of an allow list; never
//! that an entry of a deny list goes.

use serde::Serialize;

use super::{TEXT_LIMIT, clipped};
use crate::guarded::Variables;
use crate::intent::infer::{canonical_host, derived_domain};
use crate::intent::{Intent, Target, TargetKind};
use crate::journal::{Decided, Source};
use crate::policy::pattern::{DomainPattern, PathPattern, clean, escape_glob};
use crate::policy::{Endpoint, Policy, Rule, Strictness, Verdict, evaluate, quoted};
use crate::text::is_hidden;

/// Why an action was denied, beyond rule and reason codes, and what would allow it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Remedy {
    /// Entries of deny lists that the action matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied_by: Vec<Entry>,
    /// What to add.
    pub add: Addition,
}

/// An entry of a list of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Entry {
    /// The rule.
    pub rule: String,
    /// The list in its `endpoint` block.
    pub list: &'static str,
    /// The entry, variables put back where a path starts with one.
    pub value: String,
}

/// What would allow an action.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Addition {
    /// One more entry of an allow list.
    Entry(Entry),
    /// One more rule.
    Rule {
        /// It must come before this one: its priority is lower.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// The rule, as an item of `rules`.
        yaml: String,
    },
    /// Nothing: no policy can allow what the floor denies.
    Floor,
    /// Nothing: the engine could not decide or record the action.
    Engine,
    /// Nothing: the policy's `fail_closed` refuses actions of which so little is known.
    FailClosed,
}

/// What would have allowed `intent`, which was denied as `decided`; `None` where nothing is known that would.
pub fn remedy(policy: &Policy, variables: &Variables, intent: &Intent, decided: &Decided) -> Option<Remedy> {
    let nothing = |add| Some(Remedy { denied_by: Vec::new(), add });
    match decided.source {
        Source::Floor => return nothing(Addition::Floor),
        Source::Engine => return nothing(Addition::Engine),
        Source::Policy => {}
    }
    if policy.fail_closed().refusal(intent).is_some() {
        return nothing(Addition::FailClosed);
    }
    let now = evaluate(policy, intent);
    let was = decided.policy_verdict.unwrap_or(decided.verdict);
    if (now.verdict, &now.matched_rule) != (was, &decided.matched_rule) {
        return None;
    }
    let spell = Spelling { variables };
    let rule = policy.rules().iter().find(|rule| rule.matcher.matches(intent));
    let denied_by = rule.map(|rule| matching_denials(rule, intent, spell)).unwrap_or_default();
    let entry = rule.filter(|_| denied_by.is_empty()).and_then(|rule| missing_entry(rule, intent, spell));
    let add = entry.map(Addition::Entry).or_else(|| new_rule(policy, rule, intent))?;
    Some(Remedy { denied_by, add })
}

/// How paths are written for people: with the variables that a policy may use.
#[derive(Clone, Copy)]
struct Spelling<'a> {
    variables: &'a Variables,
}

impl Spelling<'_> {
    fn pattern(self, pattern: &str) -> String {
        let Variables { workspace, home, tmp } = self.variables;
        for (name, value) in [("${workspace}", workspace), ("${tmp}", tmp), ("${home}", home)] {
            let value = escape_glob(value);
            if value.len() > 1
                && let Some(rest) = pattern.strip_prefix(&*value)
                && (rest.is_empty() || rest.starts_with('/'))
            {
                return format!("{name}{rest}");
            }
        }
        pattern.to_owned()
    }
}

fn matching_denials(rule: &Rule, intent: &Intent, spell: Spelling<'_>) -> Vec<Entry> {
    let Some(endpoint) = &rule.endpoint else { return Vec::new() };
    let entry = |list, value: &str| Entry { rule: clipped(&rule.name), list, value: clipped(value) };
    let mut found = Vec::new();
    for target in intent.targets() {
        if target.kind == TargetKind::Path {
            let path = clean(&target.value).path;
            let matching = endpoint.path_denylist.iter().filter(|p| p.matches(&path) || p.matches(&target.value));
            found.extend(matching.map(|pattern| entry("path_denylist", &spell.pattern(pattern.text()))));
        }
        for domain in domains(target) {
            let matching = endpoint.domain_denylist.iter().filter(|pattern| pattern.matches(&domain));
            found.extend(matching.map(|pattern| entry("domain_denylist", pattern.text())));
        }
    }
    found.truncate(ENTRY_LIMIT);
    found
}

/// Entries of deny lists that are named.
const ENTRY_LIMIT: usize = 4;

/// The domains by which a target is judged.
fn domains(target: &Target) -> Vec<String> {
    let given = canonical_host(&target.endpoint_domain).into_owned();
    let derived = derived_domain(target.kind, &target.value).map(std::borrow::Cow::into_owned);
    let mut all: Vec<String> = std::iter::once(given).chain(derived).filter(|domain| !domain.is_empty()).collect();
    all.dedup();
    all
}

/// The one entry of an allow list that is missing, if that is all there is against the intent.
fn missing_entry(rule: &Rule, intent: &Intent, spell: Spelling<'_>) -> Option<Entry> {
    let endpoint = rule.endpoint.as_ref()?;
    let [target] = intent.targets() else { return None };
    let candidates = [
        missing_path(endpoint, target).map(|(changed, value)| (changed, "path_allowlist", spell.pattern(&value))),
        missing_domain(endpoint, target).map(|(changed, value)| (changed, "domain_allowlist", value)),
        missing_class(endpoint, target).map(|(changed, value)| (changed, "egress_classes", value)),
    ];
    candidates.into_iter().flatten().find_map(|(changed, list, value)| {
        let tried = Rule { endpoint: Some(changed), ..rule.clone() };
        (value.chars().count() <= TEXT_LIMIT && tried.decide(intent).verdict == Verdict::Allow).then(|| Entry {
            rule: clipped(&rule.name),
            list,
            value: value.clone(),
        })
    })
}

fn missing_path(endpoint: &Endpoint, target: &Target) -> Option<(Endpoint, String)> {
    if target.kind != TargetKind::Path || endpoint.path_allowlist.is_empty() {
        return None;
    }
    let value = escape_glob(&target.value).into_owned();
    let mut changed = endpoint.clone();
    changed.path_allowlist.push(PathPattern::parse(&value));
    Some((changed, value))
}

fn missing_domain(endpoint: &Endpoint, target: &Target) -> Option<(Endpoint, String)> {
    let domain = domains(target).into_iter().next()?;
    if endpoint.domain_allowlist.is_empty() {
        return None;
    }
    let mut changed = endpoint.clone();
    changed.domain_allowlist.push(DomainPattern::parse(&domain));
    Some((changed, domain))
}

fn missing_class(endpoint: &Endpoint, target: &Target) -> Option<(Endpoint, String)> {
    if endpoint.egress_classes.is_empty() {
        return None;
    }
    let class = target.endpoint_class.as_str().to_owned();
    let mut changed = endpoint.clone();
    changed.egress_classes.push(class.clone());
    Some((changed, class))
}

/// A rule for this action alone, before the one that decided.
fn new_rule(policy: &Policy, decided: Option<&Rule>, intent: &Intent) -> Option<Addition> {
    let [target] = intent.targets() else { return None };
    let priority = match decided {
        Some(rule) => rule.priority.checked_sub(1)?,
        None => policy.rules().last().map_or(10, |rule| rule.priority.saturating_add(10)),
    };
    let yaml = format!(
        "- {{name: {}, priority: {priority}, effect: allow, match: {{tool_names: [{}], target_values: [{}], \
         destination_operations: [{}]}}}}",
        scalar(&format!("allow-{}", intent.tool_name().replace('.', "-"))),
        scalar(intent.tool_name()),
        scalar(&target.value),
        scalar(&target.operation),
    );
    if yaml.chars().count() > TEXT_LIMIT {
        return None;
    }
    // Before the rule that decided, this one decides: so it can be tried alone.
    let alone = format!("default_verdict: block\nrules:\n{yaml}\n");
    let tried = Policy::parse(&alone, Strictness::Strict).ok()?;
    (evaluate(&tried, intent).verdict == Verdict::Allow)
        .then(|| Addition::Rule { before: decided.map(|rule| clipped(&rule.name)), yaml })
}

/// `text` as a YAML scalar on one line, in which nothing is hidden from who reads it.
pub fn scalar(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for character in quoted(text).chars() {
        match u32::from(character) {
            code if is_hidden(character) && code > 0xffff => out.push_str(&format!("\\U{code:08x}")),
            code if is_hidden(character) => out.push_str(&format!("\\u{code:04x}")),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::intent::IntentRequest;
    use crate::journal::Enforced;

    const POLICY: &str = r#"
default_verdict: block
rules:
  - name: removals
    priority: 5
    effect: require_approval
    match: {endpoint_classes: [fs.delete]}
  - name: reads
    priority: 10
    effect: allow
    match: {endpoint_classes: [fs.read]}
    endpoint: {path_denylist: ["/w/**/.env", "/h/.ssh/**"]}
  - name: writes
    priority: 20
    effect: allow
    match: {endpoint_classes: [fs.write]}
    endpoint: {path_allowlist: ["/w/src/**"]}
  - name: network
    priority: 40
    effect: allow
    match: {endpoint_classes: [net.http, net.dns]}
    endpoint: {domain_allowlist: [packages.example], egress_classes: [net.http]}
"#;

    fn variables() -> Variables {
        Variables { workspace: "/w".into(), home: "/h".into(), tmp: String::new() }
    }

    fn intent(tool: &str, kind: &str, operation: &str, value: &str) -> Intent {
        let body = json!({"args": {}, "targets": [{"kind": kind, "value": value, "operation": operation}],
            "arg_provenance": [{"arg_path": "$", "source": "system"}],
            "context": {"identity": "a", "workspace": "/w", "risk_class": "high"}});
        IntentRequest::from_record(tool, body).unwrap().normalize().unwrap()
    }

    /// The remedy for a denial by [`POLICY`], and the policy with it.
    fn of(intent: &Intent) -> Remedy {
        let policy = Policy::parse(POLICY, Strictness::Strict).unwrap();
        let now = evaluate(&policy, intent);
        assert_ne!(now.verdict, Verdict::Allow);
        let decided = Decided {
            verdict: now.verdict,
            enforced: Enforced::Deny,
            source: Source::Policy,
            reason_codes: now.reason_codes,
            violations: now.violations,
            matched_rule: now.matched_rule,
            policy_verdict: None,
            approval_ref: None,
        };
        remedy(&policy, &variables(), intent, &decided).unwrap()
    }

    /// What the whole policy says of `intent` with another rule in it.
    fn with_rule(yaml: &str, intent: &Intent) -> Verdict {
        let policy = Policy::parse(&format!("{POLICY}  {yaml}\n"), Strictness::Strict).unwrap();
        evaluate(&policy, intent).verdict
    }

    fn entry(rule: &str, list: &'static str, value: &str) -> Entry {
        Entry { rule: rule.into(), list, value: value.into() }
    }

    #[test]
    fn a_path_that_no_allow_list_has_is_to_be_added_to_it() {
        let remedy = of(&intent("fs.write", "path", "write", "/w/a*b"));
        let add = Addition::Entry(entry("writes", "path_allowlist", "${workspace}/a\\*b"));
        assert_eq!(remedy, Remedy { denied_by: vec![], add });
    }

    #[test]
    fn a_path_on_a_deny_list_gets_a_rule_of_its_own_and_the_list_stays() {
        let action = intent("fs.read", "path", "read", "/w/x/.env");
        let Remedy { denied_by, add } = of(&action);
        assert_eq!(denied_by, [entry("reads", "path_denylist", "${workspace}/**/.env")]);
        let Addition::Rule { before, yaml } = add else { panic!("{add:?}") };
        assert_eq!(before.as_deref(), Some("reads"));
        assert_eq!(with_rule(&yaml, &action), Verdict::Allow);
        // The file beside it, and another operation on it, stay denied.
        assert_eq!(with_rule(&yaml, &intent("fs.read", "path", "read", "/w/.env")), Verdict::Block);
        assert_eq!(with_rule(&yaml, &intent("fs.write", "path", "write", "/w/x/.env")), Verdict::Block);
    }

    #[test]
    fn what_no_rule_is_about_gets_one() {
        let action = intent("net.unix", "other", "connect", "unix:@\u{202e}/tmp/X\"0");
        let Addition::Rule { before, yaml } = of(&action).add else { panic!() };
        assert_eq!(before, None);
        assert!(yaml.contains(r#"["unix:@\u202e/tmp/X\"0"]"#), "{yaml}");
        assert_eq!(with_rule(&yaml, &action), Verdict::Allow);
    }

    #[test]
    fn a_verdict_of_the_rule_itself_is_gone_around() {
        let action = intent("fs.delete", "path", "delete", "/w/old");
        let Addition::Rule { before, yaml } = of(&action).add else { panic!() };
        assert_eq!(before.as_deref(), Some("removals"));
        assert_eq!(with_rule(&yaml, &action), Verdict::Allow);
    }

    #[test]
    fn a_host_is_to_be_added_by_its_domain_and_a_class_by_its_name() {
        let http = of(&intent("net.connect", "host", "connect", "203.0.113.9:80"));
        assert_eq!(http.add, Addition::Entry(entry("network", "domain_allowlist", "203.0.113.9")));
        let dns = of(&intent("net.dns", "host", "dns", "packages.example:53"));
        assert_eq!(dns.add, Addition::Entry(entry("network", "egress_classes", "net.dns")));
    }

    #[test]
    fn nothing_is_proposed_against_the_floor_nor_where_the_policy_says_otherwise() {
        let policy = Policy::parse(POLICY, Strictness::Strict).unwrap();
        let action = intent("fs.read", "path", "read", "/w/open");
        let decided = |source| Decided {
            verdict: Verdict::Block,
            enforced: Enforced::Deny,
            source,
            reason_codes: vec![],
            violations: vec![],
            matched_rule: Some("reads".into()),
            policy_verdict: None,
            approval_ref: None,
        };
        let floor = remedy(&policy, &variables(), &action, &decided(Source::Floor)).unwrap();
        assert_eq!(floor.add, Addition::Floor);
        assert_eq!(remedy(&policy, &variables(), &action, &decided(Source::Policy)), None);
    }
}
