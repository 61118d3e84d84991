//! Decisions about tool calls.

use crate::Operation;
use anyhow::{Result, ensure};
use gait_core::intent::IntentRequest;
use gait_core::mcp::adapter::Adapter;
use gait_core::mcp::judge::{NoControls, Question, judge};
use gait_core::policy::{Policy, Strictness, Verdict, evaluate_request};
use serde_json::json;
use std::hint::black_box;

/// Two rules, and the demand that a call of high risk says where its arguments come from.
const POLICY: &str = r#"
schema_id: gait.gate.policy
schema_version: 1.0.0
default_verdict: require_approval
fail_closed: {enabled: true, risk_classes: [high, critical], required_fields: [targets, arg_provenance]}
rules:
- name: writes-of-the-user
  priority: 10
  effect: allow
  match: {tool_names: [tool.write], target_kinds: [path], workspace_prefixes: [/tmp], provenance_sources: [user]}
  reason_codes: [user_write]
- name: nothing-leaves
  priority: 20
  effect: block
  match: {tool_names: [tool.write], target_kinds: [host]}
  reason_codes: [egress]
  violations: [external_egress]
"#;

/// One rule that the call does not meet.
const SHORT_POLICY: &str = "default_verdict: allow\nrules:\n- name: nothing-leaves\n  effect: block\n  match: \
                            {tool_names: [tool.write], target_kinds: [host]}\n";

/// From the request as it was read to the decision, normalising on the way.
pub fn evaluate_policy() -> Result<Operation> {
    let policy = Policy::parse(POLICY, Strictness::Strict)?;
    let request = IntentRequest::read(
        json!({
            "schema_id": "gait.gate.intent_request",
            "schema_version": "1.0.0",
            "created_at": "2026-02-05T00:00:00Z",
            "producer_version": "0.0.0-bench",
            "tool_name": "tool.write",
            "args": {"path": "/tmp/out.txt", "content": "hello"},
            "targets": [{"kind": "path", "value": "/tmp/out.txt"}],
            "arg_provenance": [{"arg_path": "$.path", "source": "user"}],
            "context": {"identity": "bench", "workspace": "/tmp/workspace", "risk_class": "high"},
        })
        .to_string()
        .as_bytes(),
    )?;
    Ok(Operation::new("BenchmarkEvaluatePolicyTypical", move || {
        let decision = evaluate_request(&policy, black_box(&request).clone())?;
        ensure!(decision.verdict == Verdict::Allow, "{decision:?}");
        Ok(())
    }))
}

const OPENAI_CALL: &[u8] =
    br#"{"type": "function", "function": {"name": "tool.write", "arguments": "{\"path\":\"/tmp/out.txt\"}"}}"#;

/// From bytes to a call.
pub fn decode_tool_call() -> Operation {
    Operation::new("BenchmarkDecodeToolCallOpenAITypical", || {
        let call = Adapter::OpenAi.read(black_box(OPENAI_CALL))?;
        ensure!(call.name == "tool.write", "{call:?}");
        Ok(())
    })
}

/// From a call to the verdict at the boundary, with the digest that names the intent.
pub fn evaluate_tool_call() -> Result<Operation> {
    let policy = Policy::parse(SHORT_POLICY, Strictness::Strict)?;
    let policy_digest = policy.digest()?;
    let call = Adapter::Mcp.read(
        json!({
            "name": "tool.write",
            "args": {"path": "/tmp/out.txt"},
            "targets": [{"kind": "path", "value": "/tmp/out.txt"}],
            "arg_provenance": [{"arg_path": "$.path", "source": "user"}],
            "context": {"identity": "bench", "workspace": "/tmp/workspace", "risk_class": "high"},
        })
        .to_string()
        .as_bytes(),
    )?;
    Ok(Operation::new("BenchmarkEvaluateToolCallTypical", move || {
        let request = black_box(&call).clone().into_request();
        let spelt = IntentRequest {
            tool_name: request.tool_name.clone(),
            context: request.context.clone(),
            ..IntentRequest::default()
        };
        let intent = request.normalize()?;
        let intent_digest = intent.digest()?;
        let question = Question { intent: &intent, spelt: &spelt, intent_digest, policy_digest };
        let (decision, _) = judge(&policy, &question, &mut NoControls);
        ensure!(decision.verdict == Verdict::Allow, "{decision:?}");
        Ok(())
    }))
}
