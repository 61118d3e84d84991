//! A decision, on its way through rate limit, approvals and broker.

use std::collections::BTreeSet;

use crate::approval::Assessment;
use crate::intent::Intent;
use crate::policy::{Decision, Policy, Rule, Verdict, evaluate};
use crate::rate_limit::Step;

/// The decision about one intent so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruling<'p> {
    verdict: Verdict,
    reasons: BTreeSet<String>,
    violations: BTreeSet<String>,
    rule: Option<&'p Rule>,
    required_approvals: u64,
}

/// Why there is no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialRefusal {
    /// No broker is configured.
    NoBroker,
    /// The broker issued none. Why is not told: its words may hold a secret.
    NotIssued,
}

/// What a decision would have been if it had been enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// The verdict.
    pub verdict: Verdict,
    /// Its reasons.
    pub reasons: Vec<String>,
    /// Whether the call would not have gone on.
    pub would_have_blocked: bool,
}

impl<'p> Ruling<'p> {
    /// What `policy` says about `intent`.
    pub fn of(policy: &'p Policy, intent: &Intent) -> Self {
        let decision = evaluate(policy, intent);
        // The first rule that matches decides, unless fail_closed did.
        let rule =
            decision.matched_rule.as_ref().and_then(|_| policy.rules().iter().find(|r| r.matcher.matches(intent)));
        let Decision { verdict, reason_codes, violations, required_approvals, .. } = decision;
        Self {
            verdict,
            reasons: reason_codes.into_iter().collect(),
            violations: violations.into_iter().collect(),
            rule,
            required_approvals,
        }
    }

    /// The verdict so far.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Why: sorted, unique.
    pub fn reasons(&self) -> Vec<String> {
        self.reasons.iter().cloned().collect()
    }

    /// What was violated: sorted, unique.
    pub fn violations(&self) -> Vec<String> {
        self.violations.iter().cloned().collect()
    }

    /// The rule that decided, if one did.
    pub const fn rule(&self) -> Option<&'p Rule> {
        self.rule
    }

    /// How many approvals the action needs.
    pub const fn required_approvals(&self) -> u64 {
        self.required_approvals
    }

    /// Whether approvals must come from different approvers.
    pub fn requires_distinct_approvers(&self) -> bool {
        self.rule.is_some_and(|rule| rule.require_distinct_approvers)
    }

    /// Whether approvals decide whether the call goes on.
    pub fn awaits_approval(&self) -> bool {
        self.verdict == Verdict::RequireApproval
    }

    /// The rule that asks for a credential before the call goes on.
    pub fn awaits_credential(&self) -> Option<&'p Rule> {
        self.rule.filter(|rule| rule.require_broker_credential && self.verdict == Verdict::Allow)
    }

    /// Takes note of a counted call: one too many is blocked, whatever the verdict.
    pub fn limit(&mut self, step: &Step) {
        if !step.allowed {
            self.block("rate_limit_exceeded");
        }
    }

    /// Blocks the call for `code`, which is both why and what is violated.
    pub fn block(&mut self, code: &str) {
        self.verdict = Verdict::Block;
        self.reason(code);
        self.violation(code);
    }

    /// Takes note of what the approvals are worth. Nothing but [`Ruling::awaits_approval`] makes them matter.
    pub fn approve(&mut self, assessment: &Assessment) {
        if !self.awaits_approval() {
            return;
        }
        assessment.reasons.iter().for_each(|reason| self.reason(reason));
        if assessment.granted {
            self.verdict = Verdict::Allow;
        } else {
            self.violation("approval_not_granted");
        }
    }

    /// Takes note of a credential, or of why there is none: then the call is blocked.
    pub fn credential(&mut self, issued: Result<(), CredentialRefusal>) {
        match issued {
            Ok(()) => return self.reason("broker_credential_present"),
            Err(CredentialRefusal::NoBroker) => self.reason("broker_credential_required"),
            Err(CredentialRefusal::NotIssued) => self.reason("broker_credential_missing"),
        }
        self.verdict = Verdict::Block;
        self.violation("broker_credential_missing");
    }

    /// Makes the decision one that is not enforced: what would have blocked is let through, and says so.
    pub fn simulate(&mut self) -> Simulated {
        let would_have_blocked = matches!(self.verdict, Verdict::Block | Verdict::RequireApproval);
        let simulated = Simulated { verdict: self.verdict, reasons: self.reasons(), would_have_blocked };
        self.reason("simulate_mode_non_enforcing");
        if would_have_blocked {
            self.reason(&format!("simulated_{}", self.verdict));
            self.verdict = Verdict::Allow;
            self.violations.clear();
        }
        simulated
    }

    fn reason(&mut self, code: &str) {
        self.reasons.insert(code.to_owned());
    }

    fn violation(&mut self, code: &str) {
        self.violations.insert(code.to_owned());
    }
}
