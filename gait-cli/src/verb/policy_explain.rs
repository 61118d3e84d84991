//! `gait policy explain`: why a policy says what it says, rule by rule.

use super::policy_test::summary;
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order};
use crate::policy_file::{self, some};
use crate::render::Outcome;
use gait_core::file;
use gait_core::intent::{ContextRequest, Intent, IntentRequest};
use gait_core::policy::{
    Action, Condition, Explanation, Policy, RuleExplanation, Standing, Strictness, Variables, explain,
};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["policy", "explain"],
    label: "policy explain",
    explain: "Explain what a policy says about an intent: every rule in order, what matched, what did not, and where it \
              stands in the file.",
    positionals: "<policy.yaml>",
    flags: &[
        Flag::value("intent", "<intent.json>", "the intent").or_next(),
        Flag::value("action", "<action>", "an action of a guarded run, e.g. 'fs.read ${home}/.ssh/id_rsa'"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[
        "note: with --action, ${workspace}, ${home} and ${tmp} are /home/agent/project, /home/agent and /tmp/gait-run, as \
         in examples of rules; risk class is high.",
    ],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let [path] = call.args.positionals.as_slice() else {
        return Err(Failure::invalid("expected <policy.yaml>"));
    };
    let policy = policy_file::read(path, Strictness::Strict, call.form)?;
    let (policy, intent) = question(&call.args, policy)?;
    let told = explain(&policy, &intent);
    let internal = |error| Failure::new(Exit::Internal, error);
    let rules: Vec<Value> = told.rules.iter().map(rule_members).collect();
    let mut members = json!({
        "ok": true,
        "path": Path::new(path).display().to_string(),
        "policy_digest": policy.digest().map_err(internal)?,
        "intent_digest": intent.digest().map_err(internal)?,
        "verdict": told.decision.verdict,
        "reason_codes": told.decision.reason_codes,
        "violations": told.decision.violations,
        "by_fail_closed": told.by_fail_closed,
        "rules": rules,
    });
    if let Some(rule) = &told.decision.matched_rule {
        members["matched_rule"] = rule.clone().into();
    }
    Ok(Outcome::new(Exit::Ok, &lines(path, &told), &members))
}

/// The policy and the intent that are asked about.
fn question(args: &Args, policy: Policy) -> Result<(Policy, Intent), Failure> {
    let normal = |request: IntentRequest| {
        request.normalize().map_err(|error| Failure::invalid(format!("normalize intent: {error}")))
    };
    match (args.raw("intent").filter(|path| !path.is_empty()), args.trimmed("action")) {
        (Some(path), None) => {
            let bytes =
                file::read(Path::new(path)).map_err(|error| Failure::invalid(format!("read intent: {error}")))?;
            Ok((policy, normal(IntentRequest::read(&bytes).map_err(Failure::invalid)?)?))
        }
        (None, Some(action)) => {
            let variables = Variables::stand_ins();
            let action = variables.fill(action).map_err(Failure::invalid)?;
            let mut request = Action::parse(&action).map_err(Failure::invalid)?.request();
            request.context = ContextRequest {
                identity: "agent".into(),
                workspace: variables.workspace.clone(),
                risk_class: "high".into(),
                ..ContextRequest::default()
            };
            Ok((policy.expand(&variables).map_err(Failure::invalid)?, normal(request)?))
        }
        _ => Err(Failure::invalid("expected either --intent <intent.json> or --action <action>")),
    }
}

fn rule_members(rule: &RuleExplanation) -> Value {
    let mut members = json!(rule);
    members["line"] = rule.position.line.into();
    members["column"] = rule.position.column.into();
    members
}

fn lines(path: &OsStr, told: &Explanation) -> Vec<String> {
    let mut lines = vec![summary(&told.decision).replacen("policy test", "policy explain:", 1)];
    if told.by_fail_closed {
        lines.push("fail_closed decides, before any rule".into());
    }
    for rule in &told.rules {
        let place = format!("{}:{}", Path::new(path).display(), rule.position.line);
        lines.push(format!(
            "{place}: {} (priority {}, {}): {}",
            rule.name,
            rule.priority,
            rule.effect,
            standing(rule.standing)
        ));
        lines.extend(rule.conditions.iter().map(condition));
        lines.extend(rule.constraints.iter().map(|words| format!("      {words}")));
    }
    if told.decision.matched_rule.is_none() && !told.by_fail_closed {
        lines.push(format!("default_verdict decides: {}", told.decision.verdict));
    }
    lines
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Decides => "decides",
        Standing::TooLate => "matches, but comes too late",
        Standing::NoMatch => "does not match",
    }
}

fn condition(condition: &Condition) -> String {
    let mark = if condition.holds { "ok" } else { "no" };
    // Names come from the agent: debug form shows what a terminal would act on.
    let found: Vec<String> = condition.found.iter().map(|found| format!("{found:?}")).collect();
    let found = if found.is_empty() { "nothing".to_string() } else { some(&found) };
    format!("  {mark}  {}: [{}], the intent has {found}", condition.field, some(&condition.wanted))
}
