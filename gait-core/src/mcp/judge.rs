//! The one place where a tool call is judged.
//!
//! The verdict is that of the policy (control 6). What a rule demands besides, and this boundary can't give, closes it:
//! a call is not counted here and no credential is issued, so a rule that wants either does not let a call through
//! (control 16, item 5). An approval can't be given here either; such a call stays at `require_approval`.

use crate::gate::{CredentialRefusal, Ruling};
use crate::intent::Intent;
use crate::policy::{Decision, Policy, Verdict};

/// What is said of a rule whose calls would have to be counted.
const NOT_COUNTED: &str = "rate_limit_not_counted";

/// What `policy` says about the tool call `intent`.
pub fn judge(policy: &Policy, intent: &Intent) -> Decision {
    let mut ruling = Ruling::of(policy, intent);
    let is_limited = ruling.rule().is_some_and(|rule| rule.rate_limit.is_some());
    if is_limited && matches!(ruling.verdict(), Verdict::Allow | Verdict::DryRun) {
        ruling.block(NOT_COUNTED);
    }
    if ruling.awaits_credential().is_some() {
        ruling.credential(Err(CredentialRefusal::NoBroker));
    }
    Decision {
        verdict: ruling.verdict(),
        reason_codes: ruling.reasons(),
        violations: ruling.violations(),
        matched_rule: ruling.rule().map(|rule| rule.name.clone()),
        required_approvals: ruling.required_approvals(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::IntentRequest;
    use crate::policy::Strictness;

    fn judged(rule: &str) -> (Verdict, Vec<String>, Vec<String>) {
        let policy = Policy::parse(&format!("rules: [{{name: r, {rule}}}]"), Strictness::Strict).unwrap();
        let request = br#"{"tool_name":"t","context":{"identity":"a","workspace":"/w","risk_class":"low"}}"#;
        let decision = judge(&policy, &IntentRequest::read(request).unwrap().normalize().unwrap());
        (decision.verdict, decision.reason_codes, decision.violations)
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn a_rule_that_demands_what_this_boundary_can_t_give_lets_nothing_through() {
        let reasons = |code| words(&[code, "matched_rule_r"]);
        assert_eq!(judged("effect: allow"), (Verdict::Allow, words(&["matched_rule_r"]), vec![]));
        assert_eq!(
            judged("effect: allow, require_broker_credential: true"),
            (Verdict::Block, reasons("broker_credential_required"), words(&["broker_credential_missing"]))
        );
        let limited =
            (Verdict::Block, words(&["matched_rule_r", "rate_limit_not_counted"]), words(&["rate_limit_not_counted"]));
        assert_eq!(judged("effect: allow, rate_limit: {requests: 5}"), limited);
        assert_eq!(judged("effect: allow, rate_limit: {requests: 5}, require_broker_credential: true"), limited);
        assert_eq!(judged("effect: dry_run, rate_limit: {requests: 5}"), limited);
        assert_eq!(judged("effect: allow, rate_limit: {requests: 0}").0, Verdict::Allow);
    }

    #[test]
    fn what_is_not_let_through_anyway_stays_as_the_policy_says() {
        assert_eq!(
            judged("effect: block, rate_limit: {requests: 5}"),
            (Verdict::Block, words(&["matched_rule_r"]), vec![])
        );
        assert_eq!(judged("effect: require_approval, require_broker_credential: true").0, Verdict::RequireApproval);
    }
}
