//! The one place where a tool call is judged.
//!
//! The verdict is that of the policy (control 6). What a rule demands besides is asked of the boundary's [`Controls`], in
//! the order of control 8.1. What a boundary can't give closes it: a call that can't be counted does not go on, one that
//! needs a credential and gets none neither (control 16, item 5).

use std::fmt::Debug;

use crate::approval::Assessment;
use crate::broker::Credential;
use crate::digest::Sha256Hex;
use crate::gate::{CredentialRefusal, Ruling};
use crate::intent::{Intent, IntentRequest};
use crate::policy::{Decision, Policy, RateLimit, Rule, Verdict};
use crate::rate_limit::Step;

/// What a boundary gives that a rule may demand besides a verdict.
pub trait Controls: Debug {
    /// Counts one call of a rule with a rate limit.
    ///
    /// # Errors
    /// [`ControlFault`]: it was not counted, so the call does not go on.
    fn count(&mut self, limit: &RateLimit, intent: &Intent) -> Result<Step, ControlFault>;

    /// What approvals are worth for a call that needs them; nothing where none can be given.
    ///
    /// # Errors
    /// [`ControlFault`]: nobody knows, so the call does not go on.
    fn approvals(&mut self, asked: &ApprovalAsked<'_>) -> Result<Option<Assessment>, ControlFault>;

    /// A credential for a call that may go on. `request` is the call as it was spelt.
    ///
    /// # Errors
    /// [`CredentialRefusal`]: the call does not go on.
    fn credential(&mut self, rule: &Rule, request: &IntentRequest) -> Result<Issued, CredentialRefusal>;
}

/// Why a control could not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFault {
    /// Reason and violation of the block.
    pub code: &'static str,
    /// For whoever runs the boundary.
    pub why: String,
}

/// What approvals are asked for.
#[derive(Clone, Copy, Debug)]
pub struct ApprovalAsked<'a> {
    /// The call.
    pub intent_digest: Sha256Hex,
    /// The policy.
    pub policy_digest: Sha256Hex,
    /// The tool, normalised.
    pub tool_name: &'a str,
    /// How many approvals, at least one.
    pub required: u64,
    /// Whether they must come from different approvers.
    pub require_distinct: bool,
}

/// A credential, and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// By whom, and what to find it by; never the credential itself.
    pub credential: Credential,
    /// What was asked for, or empty.
    pub reference: String,
    /// Its scopes: sorted, unique.
    pub scope: Vec<String>,
}

/// A boundary that can neither count nor ask anybody.
#[derive(Clone, Copy, Debug)]
pub struct NoControls;

impl Controls for NoControls {
    fn count(&mut self, _: &RateLimit, _: &Intent) -> Result<Step, ControlFault> {
        Err(ControlFault { code: "rate_limit_not_counted", why: "calls are not counted here".to_owned() })
    }

    fn approvals(&mut self, _: &ApprovalAsked<'_>) -> Result<Option<Assessment>, ControlFault> {
        Ok(None)
    }

    fn credential(&mut self, _: &Rule, _: &IntentRequest) -> Result<Issued, CredentialRefusal> {
        Err(CredentialRefusal::NoBroker)
    }
}

/// A call to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What is asked for.
    pub intent: &'a Intent,
    /// As it was spelt: tool and context.
    pub spelt: &'a IntentRequest,
    /// Digest of `intent`.
    pub intent_digest: Sha256Hex,
    /// Digest of the policy.
    pub policy_digest: Sha256Hex,
}

/// What the controls had to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The call was counted.
    pub step: Option<Step>,
    /// Approvals were looked at.
    pub assessment: Option<Assessment>,
    /// A credential was issued.
    pub issued: Option<Issued>,
    /// What could not be done, in words.
    pub faults: Vec<String>,
}

impl Applied {
    /// Ids of the tokens that let the call go on, separated by commas; empty without any.
    pub fn approval_ref(&self) -> String {
        let granted = self.assessment.iter().filter(|found| found.granted);
        granted.flat_map(|found| found.token_ids.iter().cloned()).collect::<Vec<_>>().join(",")
    }
}

/// What `policy` says about a tool call, and what `controls` make of it.
pub fn judge(policy: &Policy, question: &Question<'_>, controls: &mut dyn Controls) -> (Decision, Applied) {
    let mut ruling = Ruling::of(policy, question.intent);
    let mut applied = Applied::default();
    let mut uncounted = None;
    if let Some(limit) = ruling.rule().and_then(|rule| rule.rate_limit.as_ref()) {
        match controls.count(limit, question.intent) {
            Ok(step) => {
                ruling.limit(&step);
                applied.step = Some(step);
            }
            Err(fault) => uncounted = Some(fault),
        }
    }
    if ruling.awaits_approval() {
        let asked = ApprovalAsked {
            intent_digest: question.intent_digest,
            policy_digest: question.policy_digest,
            tool_name: question.intent.tool_name(),
            required: ruling.required_approvals(),
            require_distinct: ruling.requires_distinct_approvers(),
        };
        match controls.approvals(&asked) {
            Ok(assessment) => {
                assessment.iter().for_each(|found| ruling.approve(found));
                applied.assessment = assessment;
            }
            Err(fault) => refuse(&mut ruling, fault, &mut applied),
        }
    }
    // What does not go on anyway stays as the policy says.
    if let Some(fault) = uncounted.filter(|_| matches!(ruling.verdict(), Verdict::Allow | Verdict::DryRun)) {
        refuse(&mut ruling, fault, &mut applied);
    }
    if let Some(rule) = ruling.awaits_credential() {
        let issued = controls.credential(rule, question.spelt);
        ruling.credential(issued.as_ref().map(|_| ()).map_err(|refusal| *refusal));
        applied.issued = issued.ok();
    }
    let decision = Decision {
        verdict: ruling.verdict(),
        reason_codes: ruling.reasons(),
        violations: ruling.violations(),
        matched_rule: ruling.rule().map(|rule| rule.name.clone()),
        required_approvals: ruling.required_approvals(),
    };
    (decision, applied)
}

fn refuse(ruling: &mut Ruling<'_>, fault: ControlFault, applied: &mut Applied) {
    ruling.block(fault.code);
    applied.faults.push(fault.why);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Strictness;

    fn judged(rule: &str) -> (Verdict, Vec<String>, Vec<String>) {
        let policy = Policy::parse(&format!("rules: [{{name: r, {rule}}}]"), Strictness::Strict).unwrap();
        let request = br#"{"tool_name":"t","context":{"identity":"a","workspace":"/w","risk_class":"low"}}"#;
        judged_by(&policy, request, &mut NoControls)
    }

    fn judged_by(policy: &Policy, request: &[u8], controls: &mut dyn Controls) -> (Verdict, Vec<String>, Vec<String>) {
        let spelt = IntentRequest::read(request).unwrap();
        let intent = spelt.clone().normalize().unwrap();
        let (intent_digest, policy_digest) = (intent.digest().unwrap(), policy.digest().unwrap());
        let question = Question { intent: &intent, spelt: &spelt, intent_digest, policy_digest };
        let (decision, _) = judge(policy, &question, controls);
        (decision.verdict, decision.reason_codes, decision.violations)
    }

    /// Grants every approval, and can't count.
    #[derive(Debug)]
    struct Uncounted;

    impl Controls for Uncounted {
        fn count(&mut self, limit: &RateLimit, intent: &Intent) -> Result<Step, ControlFault> {
            NoControls.count(limit, intent)
        }

        fn approvals(&mut self, _: &ApprovalAsked<'_>) -> Result<Option<Assessment>, ControlFault> {
            Ok(Some(Assessment {
                granted: true,
                reasons: vec!["approval_granted"],
                valid: 1,
                approvers: ["kim".to_owned()].into(),
                token_ids: ["t".to_owned()].into(),
                uses: Vec::new(),
                audit_approved: true,
                entries: Vec::new(),
            }))
        }

        fn credential(&mut self, _: &Rule, _: &IntentRequest) -> Result<Issued, CredentialRefusal> {
            Err(CredentialRefusal::NotIssued)
        }
    }

    #[test]
    fn an_approval_does_not_let_a_call_through_that_could_not_be_counted() {
        let text = "rules: [{name: r, effect: require_approval, rate_limit: {requests: 5}}]";
        let policy = Policy::parse(text, Strictness::Strict).unwrap();
        let request = br#"{"tool_name":"t","context":{"identity":"a","workspace":"/w","risk_class":"low"}}"#;
        let (verdict, reasons, violations) = judged_by(&policy, request, &mut Uncounted);
        assert_eq!((verdict, violations), (Verdict::Block, words(&["rate_limit_not_counted"])));
        assert_eq!(reasons, words(&["approval_granted", "matched_rule_r", "rate_limit_not_counted"]));
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
