//! Recorded decisions, made again under another policy (contract guarded-run 6).

use serde::Serialize;
use serde_json::Value;

use super::derive::Derivation;
use super::receipt::Plan;
use crate::intent::{Intent, IntentRequest};
use crate::journal::{Decided, Ledger, LedgerIntent, Source};
use crate::policy::{Decision, Policy, Variables, Verdict, evaluate};

/// What has to stay equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The verdict.
    Verdict,
    /// Codes and rule too.
    Reasons,
}

/// A policy with the variables of a recorded run.
///
/// # Errors
/// It uses a variable that does not exist or that the run had not.
pub fn expand(policy: &Policy, plan: &Plan) -> Result<Policy, String> {
    let some = |value: &String| (!value.is_empty()).then(|| value.clone());
    let variables = &plan.variables;
    let variables =
        Variables { workspace: variables.workspace.clone(), home: some(&variables.home), tmp: some(&variables.tmp) };
    policy.expand(&variables).map_err(|e| e.to_string())
}

/// A recorded action that is decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// The record.
    pub intent_id: String,
    /// Its tool.
    pub tool_name: String,
    /// Its target.
    pub value: String,
    /// As recorded.
    pub was: String,
    /// As decided now.
    pub now: String,
}

/// Decides every action again that the policy had decided, in the order of the records.
///
/// # Errors
/// A recorded intent that is none: the journal was not checked.
pub fn divergences(
    ledger: &Ledger,
    derivation: &Derivation<'_>,
    policy: &Policy,
    compare: Compare,
) -> Result<Vec<Divergence>, String> {
    let mut found = Vec::new();
    redecide(ledger, derivation, policy, |again| {
        let (recorded, now) = (again.recorded, &again.now);
        if differs(recorded, now, compare) {
            found.push(Divergence {
                intent_id: format!("intent_{}", again.intent.digest),
                tool_name: again.intent.tool_name.to_string(),
                value: again.intent.value.to_string(),
                was: told(again.was().as_str(), &recorded.reason_codes, compare),
                now: told(now.verdict.as_str(), &now.reason_codes, compare),
            });
        }
    })?;
    Ok(found)
}

/// A recorded decision of the policy, and the one that is made now.
pub struct Again<'a> {
    /// What was decided about.
    pub intent: &'a LedgerIntent,
    /// What the journal says.
    pub recorded: &'a Decided,
    /// How often it was decided so.
    pub count: u64,
    /// What is decided now.
    pub now: Decision,
}

impl Again<'_> {
    /// What the policy of the run had said, whatever approval or simulation made of it.
    pub fn was(&self) -> Verdict {
        self.recorded.policy_verdict.unwrap_or(self.recorded.verdict)
    }
}

/// Decides every action again that the policy had decided, in the order of the records, and gives each to `take`.
///
/// # Errors
/// As [`divergences`].
pub fn redecide<'a>(
    ledger: &'a Ledger,
    derivation: &'a Derivation<'_>,
    policy: &Policy,
    mut take: impl FnMut(Again<'a>),
) -> Result<(), String> {
    for tally in derivation.tallies() {
        let recorded = &ledger.decisions()[tally.decision];
        if recorded.source == Source::Policy {
            let intent = &ledger.intents()[tally.intent];
            let now = evaluate(policy, &read_intent(intent)?);
            take(Again { intent, recorded, count: tally.count, now });
        }
    }
    Ok(())
}

fn told(verdict: &str, codes: &[String], compare: Compare) -> String {
    match compare {
        Compare::Verdict => verdict.to_owned(),
        Compare::Reasons => format!("{verdict} ({})", codes.join(", ")),
    }
}

fn differs(recorded: &Decided, now: &Decision, compare: Compare) -> bool {
    let was = recorded.policy_verdict.unwrap_or(recorded.verdict);
    if was != now.verdict {
        return true;
    }
    let own = recorded.reason_codes.iter().filter(|code| !is_foreign(code));
    compare == Compare::Reasons && (!own.eq(now.reason_codes.iter()) || recorded.matched_rule != now.matched_rule)
}

/// Whether a reason code is not the policy's word, but that of approval, simulation or how an engine enforced it. Whole codes
/// where there are no more of the kind: a policy may have codes of its own that begin so.
fn is_foreign(code: &str) -> bool {
    code.starts_with("approval_")
        || code.starts_with("simulated_")
        || ["simulate_mode_non_enforcing", "guard_engine_killed", "guard_engine_as_spelt"].contains(&code)
}

/// The intent of a journal.
///
/// # Errors
/// It is none: the journal was not checked.
pub fn read_intent(entry: &LedgerIntent) -> Result<Intent, String> {
    intent_of(&entry.tool_name, serde_json::from_slice(&entry.canonical).map_err(|e| e.to_string())?)
}

/// The intent of a `define` line, from its tool and its canonical form.
///
/// # Errors
/// It is none: the journal was not checked.
pub fn intent_of(tool_name: &str, value: Value) -> Result<Intent, String> {
    let request = IntentRequest::from_record(tool_name, value).map_err(|e| e.to_string())?;
    request.normalize().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::is_foreign;

    #[test]
    fn a_code_of_the_policy_is_compared_whatever_it_begins_with() {
        for code in ["guard_engine_killed", "guard_engine_as_spelt", "simulated_block", "approval_granted"] {
            assert!(is_foreign(code), "{code}");
        }
        for code in ["guard_engine_killed_twice", "simulate_mode_non_enforcing_x", "matched_rule_r"] {
            assert!(!is_foreign(code), "{code}");
        }
    }
}
