//! Examples that rules carry: intents that a rule must decide, and intents that it must not (docs/policy.md).
//!
//! They are no part of the policy: neither its digest nor any verdict depends on them.

mod action;

pub use action::{Action, ActionError};

use super::document::{At, ExampleDocument, PartialDocument, RuleDocument, State};
use super::evaluate::{Decision, evaluate};
use super::expand::Variables;
use super::fault::Faults;
use super::model::{Policy, Position, Rule, Verdict};
use crate::intent::{ContextRequest, Intent, IntentRequest, ProvenanceRequest, SkillRequest, TargetRequest};

/// One example of one rule.
#[derive(Clone, Debug)]
pub struct Example {
    at: Position,
    /// In words that fit into a message.
    text: String,
    rule_at: Position,
    rule: String,
    effect: Verdict,
    claim: Claim,
    /// The verdict that it names.
    verdict: Option<Verdict>,
    intent: Intent,
}

/// What an example says of its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// The rule decides, with the verdict named or else its effect.
    Match,
    /// It does not decide with its effect: it does not match, an earlier one does, or a constraint tightens it.
    NoMatch,
}

/// The examples of a rule. Those that are no intents are reported to `faults`.
pub fn examples(document: &At<RuleDocument>, rule: &Rule, variables: &Variables, faults: &Faults) -> Vec<Example> {
    let reader = Reader { rule, rule_at: document.at, variables, faults };
    let of = &document.value.examples.value.0;
    let matching = of.matching.value.iter().map(|example| (Claim::Match, example));
    let others = of.others.value.iter().map(|example| (Claim::NoMatch, example));
    matching.chain(others).filter_map(|(claim, example)| reader.read(claim, example)).collect()
}

struct Reader<'a> {
    rule: &'a Rule,
    rule_at: Position,
    variables: &'a Variables,
    faults: &'a Faults,
}

impl Reader<'_> {
    fn read(&self, claim: Claim, document: &At<ExampleDocument>) -> Option<Example> {
        if document.state == State::Faulty {
            return None;
        }
        let mut verdict = None;
        let request = match &document.value {
            ExampleDocument::Action(text) => self.action(text),
            ExampleDocument::Partial(partial) => {
                verdict = self.verdict(&partial.verdict)?;
                self.partial(partial)
            }
        };
        let request = request.map(|request| self.with_defaults(request));
        let intent = request.and_then(|request| request.normalize().map_err(|error| error.to_string()));
        let intent = intent.map_err(|error| self.faults.meaning(document.at, format!("example: {error}"))).ok()?;
        let value = intent.targets().first().map(|target| target.value.as_str()).unwrap_or_default();
        Some(Example {
            at: document.at,
            text: format!("{} {value}", intent.tool_name()).trim_end().to_owned(),
            rule_at: self.rule_at,
            rule: self.rule.name.clone(),
            effect: approved(self.rule),
            claim,
            verdict,
            intent,
        })
    }

    /// The verdict that an example names, if it names one; nothing if the word is none.
    fn verdict(&self, word: &At<String>) -> Option<Option<Verdict>> {
        let text = word.value.trim();
        if text.is_empty() {
            return Some(None);
        }
        let verdict = Verdict::parse(text);
        if verdict.is_none() {
            self.faults.meaning(word.at, format!("example: invalid verdict: {text}"));
        }
        verdict.map(Some)
    }

    fn filled(&self, text: &str) -> Result<String, String> {
        self.variables.fill(text).map_err(|error| error.to_string())
    }

    fn action(&self, text: &str) -> Result<IntentRequest, String> {
        let action = Action::parse(&self.filled(text)?).map_err(|error| error.to_string())?;
        Ok(action.request())
    }

    fn partial(&self, document: &PartialDocument) -> Result<IntentRequest, String> {
        let mut request = match document.action.value.trim() {
            "" => IntentRequest { tool_name: document.tool_name.value.clone(), ..IntentRequest::default() },
            action if document.tool_name.state == State::Absent && document.targets.state == State::Absent => {
                self.action(action)?
            }
            _ => return Err("`action` names the tool and the target already".to_owned()),
        };
        for target in &document.targets.value {
            let target = &target.value;
            request.targets.push(TargetRequest {
                kind: target.kind.value.clone(),
                value: self.filled(&target.value.value)?,
                operation: target.operation.value.clone(),
                sensitivity: target.sensitivity.value.clone(),
                endpoint_class: target.endpoint_class.value.clone(),
                endpoint_domain: target.endpoint_domain.value.clone(),
                destructive: target.destructive.value,
            });
        }
        if document.arg_provenance.state != State::Absent {
            let read = document.arg_provenance.value.iter().map(|item| ProvenanceRequest {
                arg_path: or(item.value.arg_path.value.trim(), "$"),
                source: item.value.source.value.clone(),
                ..ProvenanceRequest::default()
            });
            request.arg_provenance = read.collect();
        }
        if document.skill_provenance.state != State::Absent {
            let skill = &document.skill_provenance.value;
            request.skill_provenance = Some(SkillRequest {
                skill_name: or(skill.skill_name.value.trim(), "example"),
                publisher: or(skill.publisher.value.trim(), "example"),
                source: or(skill.source.value.trim(), "example"),
                ..SkillRequest::default()
            });
        }
        let context = &document.context.value;
        request.context = ContextRequest {
            identity: context.identity.value.clone(),
            workspace: self.filled(&context.workspace.value)?,
            risk_class: context.risk_class.value.clone(),
            ..ContextRequest::default()
        };
        Ok(request)
    }

    /// What an example does not say is what its rule asks for, so that it is about what it does say.
    fn with_defaults(&self, mut request: IntentRequest) -> IntentRequest {
        let matcher = &self.rule.matcher;
        let first = |list: &[String], default: &str| list.first().map_or(default, String::as_str).to_owned();
        let fill = |text: &mut String, list: &[String], default: &str| {
            if text.trim().is_empty() {
                *text = first(list, default);
            }
        };
        fill(&mut request.tool_name, &matcher.tool_names, "example");
        fill(&mut request.context.identity, &matcher.identities, "agent");
        fill(&mut request.context.workspace, &matcher.workspace_prefixes, &self.variables.workspace);
        fill(&mut request.context.risk_class, &matcher.risk_classes, "high");
        request
    }
}

/// What a rule says of an intent that nothing tightens: one that allows and wants approvals asks for them.
fn approved(rule: &Rule) -> Verdict {
    match rule.effect {
        Verdict::Allow if rule.min_approvals > 0 => Verdict::RequireApproval,
        effect => effect,
    }
}

fn or(text: &str, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text.to_owned() }
}

/// An example and what a policy says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The rule that carries it.
    pub rule: String,
    /// Where it stands.
    pub at: Position,
    /// The whole intent that it stands for.
    pub intent: Intent,
    /// What the policy says about that, its variables filled in.
    pub decision: Decision,
    /// Whether the rule that carries the example is the one that says so.
    pub decides: bool,
    /// Why the example does not hold; nothing if it does.
    pub failure: Option<String>,
}

impl Example {
    /// What `policy`, its variables filled in, says about this example.
    pub fn judge(&self, policy: &Policy) -> Judged {
        let decision = evaluate(policy, &self.intent);
        let decides = deciding_rule(policy, &self.intent, &decision).is_some_and(|rule| rule.position == self.rule_at);
        let wanted = match self.claim {
            Claim::Match => Some(self.verdict.unwrap_or(self.effect)),
            Claim::NoMatch => self.verdict,
        };
        let holds = match self.claim {
            Claim::Match => decides && wanted == Some(decision.verdict),
            Claim::NoMatch => {
                !(decides && decision.verdict == self.effect) && wanted.is_none_or(|wanted| wanted == decision.verdict)
            }
        };
        let failure = (!holds).then(|| self.told(&decision, decides, wanted));
        Judged { rule: self.rule.clone(), at: self.at, intent: self.intent.clone(), decision, decides, failure }
    }

    fn told(&self, decision: &Decision, decides: bool, wanted: Option<Verdict>) -> String {
        let should = match (self.claim, wanted) {
            (Claim::Match, Some(wanted)) => format!("must match {} with verdict {wanted}", self.rule),
            (Claim::NoMatch, Some(wanted)) => format!("must not match {}, with verdict {wanted}", self.rule),
            (_, None) => format!("must not match {}", self.rule),
        };
        let codes = decision.reason_codes.join(", ");
        let does = match &decision.matched_rule {
            _ if decides => format!("the rule says {} ({codes})", decision.verdict),
            Some(other) => format!("rule {other} says {} ({codes})", decision.verdict),
            None => format!("no rule matches: {} ({codes})", decision.verdict),
        };
        format!("example `{}` {should}, but {does}", self.text)
    }
}

/// The rule behind a decision. Names are not unique, so it is looked for again.
pub fn deciding_rule<'p>(policy: &'p Policy, intent: &Intent, decision: &Decision) -> Option<&'p Rule> {
    decision.matched_rule.as_ref()?;
    policy.rules.iter().find(|rule| rule.matcher.matches(intent))
}
