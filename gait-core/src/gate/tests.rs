use super::*;
use crate::broker::BrokerKind;
use crate::intent::{Intent, IntentRequest};
use crate::policy::{Policy, Strictness, Verdict};
use crate::rate_limit::Step;

fn policy(text: &str) -> Policy {
    Policy::parse(text, Strictness::Strict).unwrap()
}

fn intent() -> Intent {
    let document = br#"{"tool_name":"tool.write","context":{"identity":"al","workspace":"/w","risk_class":"high"}}"#;
    IntentRequest::read(document).unwrap().normalize().unwrap()
}

fn check(text: &str, broker: BrokerKind) -> Result<(), String> {
    Profile::OssProd.check_policy(&policy(text), broker).map_err(|error| error.to_string())
}

#[test]
fn a_rule_without_risk_classes_needs_a_credential_too() {
    for (classes, is_grave) in [("", true), ("[high]", true), ("[low, critical]", true), ("[low]", false)] {
        let matched = if classes.is_empty() { String::new() } else { format!(", match: {{risk_classes: {classes}}}") };
        for effect in ["allow", "dry_run", "require_approval", "block"] {
            let bare = format!("default_verdict: block\nrules: [{{name: r, effect: {effect}{matched}}}]");
            let grave = is_grave && effect != "block";
            assert_eq!(check(&bare, BrokerKind::Stub).is_err(), grave, "{bare}");
            let brokered = bare.replace("name: r", "name: r, require_broker_credential: true");
            assert_eq!(check(&brokered, BrokerKind::Stub), Ok(()), "{brokered}");
            assert_eq!(check(&brokered, BrokerKind::Off).is_err(), grave, "{brokered}");
        }
    }
}

#[test]
fn a_default_that_lets_everything_through_is_not_for_production() {
    for (verdict, is_fit) in [("allow", false), ("dry_run", false), ("require_approval", true), ("block", true)] {
        assert_eq!(check(&format!("default_verdict: {verdict}"), BrokerKind::Off).is_ok(), is_fit, "{verdict}");
    }
    assert!(Profile::Standard.check_policy(&policy("default_verdict: allow"), BrokerKind::Off).is_ok());
}

#[test]
fn profiles_are_found_in_any_case_and_unknown_ones_are_shown_as_given() {
    assert_eq!(Profile::parse(" OSS-Prod "), Ok(Profile::OssProd));
    assert_eq!(Profile::parse(""), Ok(Profile::Standard));
    let error = Profile::parse("Prod").unwrap_err().to_string();
    assert_eq!(error, "unsupported --profile value \"Prod\" (expected standard or oss-prod)");
}

#[test]
fn one_call_too_many_is_blocked_and_no_approval_or_credential_undoes_that() {
    let policy = policy("rules: [{name: r, effect: allow, require_broker_credential: true}]");
    let mut ruling = Ruling::of(&policy, &intent());
    assert_eq!(ruling.awaits_credential().map(|rule| rule.name.as_str()), Some("r"));
    let step = Step { scope: "tool".into(), key: "tool.write".into(), used: 2, remaining: 0, allowed: false };
    ruling.limit(&step);
    assert_eq!((ruling.verdict(), ruling.awaits_approval()), (Verdict::Block, false));
    assert!(ruling.awaits_credential().is_none());
    assert_eq!(ruling.reasons(), ["matched_rule_r", "rate_limit_exceeded"]);
    assert_eq!(ruling.violations(), ["rate_limit_exceeded"]);
}

#[test]
fn a_simulation_lets_through_says_so_and_tells_what_would_have_been() {
    let policy = policy("rules: [{name: no, effect: block, violations: [v1]}]");
    let mut ruling = Ruling::of(&policy, &intent());
    let simulated = ruling.simulate();
    // The case golden/control/ge-simulate.
    assert_eq!(
        simulated,
        Simulated { verdict: Verdict::Block, reasons: vec!["matched_rule_no".into()], would_have_blocked: true }
    );
    assert_eq!(ruling.reasons(), ["matched_rule_no", "simulate_mode_non_enforcing", "simulated_block"]);
    assert_eq!((ruling.verdict(), ruling.violations()), (Verdict::Allow, vec![]));
}

#[test]
fn the_rule_is_the_one_that_decided_even_if_another_has_its_name() {
    let policy = policy(
        "rules:\n  - {name: same, effect: block, match: {tool_names: [other]}}\n  - {name: same, effect: allow, broker_reference: mine}",
    );
    assert_eq!(Ruling::of(&policy, &intent()).rule().unwrap().broker_reference, "mine");
}
