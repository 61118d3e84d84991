//! The lines that gait itself says to a client in place of the server.

use serde_json::{Value, json};

use super::message::Id;
use crate::json;
use crate::policy::{Decision, Verdict};
use crate::trace::TraceRecord;

/// Member of `params._meta` that requests have since revision 2026-07-28; their results then need a `resultType`.
const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Member of `_meta` of our own results.
const DECISION: &str = "gait/decision";

/// A request that the server does not answer.
pub const NO_ANSWER: i32 = -32603;
/// `params` that are not those of the method.
pub const INVALID_PARAMS: i32 = -32602;
/// A method that is not there.
pub const NO_METHOD: i32 = -32601;
/// A message that is none.
pub const INVALID_REQUEST: i32 = -32600;

/// The line of an error.
pub fn error(id: Option<&Id>, code: i32, message: &str) -> Vec<u8> {
    line(id, "error", &json!({"code": code, "message": format!("gait: {message}")}))
}

/// The line of a tool call that the policy does not let through: a result of the tool, so that a model reads why.
pub fn refused(id: &Id, params: &Value, tool: &str, decision: &Decision, trace: &TraceRecord) -> Vec<u8> {
    let mut result = json!({
        "_meta": {DECISION: {
            "verdict": decision.verdict,
            "matched_rule": decision.matched_rule,
            "reason_codes": decision.reason_codes,
            "violations": decision.violations,
            "trace_id": trace.trace_id,
            "intent_digest": trace.intent_digest,
            "policy_digest": trace.policy_digest,
        }},
        "content": [{"type": "text", "text": text(tool, decision, trace)}],
        "isError": true,
    });
    if params["_meta"].get(PROTOCOL_VERSION).is_some() {
        result["resultType"] = "complete".into();
    }
    line(Some(id), "result", &result)
}

/// How somebody approves the call of this trace.
pub fn how_to_approve(trace: &TraceRecord) -> String {
    // A name may hold whatever can be seen.
    let tool = trace.tool_name.replace('\'', "'\\''");
    format!(
        "gait approve --intent-digest {} --policy-digest {} --scope 'tool:{tool}'",
        trace.intent_digest, trace.policy_digest
    )
}

/// What a model, or a person, reads.
fn text(tool: &str, decision: &Decision, trace: &TraceRecord) -> String {
    let rule = match &decision.matched_rule {
        Some(rule) => format!("rule {rule:?}"),
        None => "no rule".to_owned(),
    };
    let mut text = format!(
        "The tool {tool:?} was not called: the policy's verdict is {} ({rule}, reason codes {}",
        decision.verdict,
        decision.reason_codes.join(", ")
    );
    if !decision.violations.is_empty() {
        text += &format!(", violations {}", decision.violations.join(", "));
    }
    text += "). ";
    text += &match decision.verdict {
        Verdict::Block => {
            "Trying again will not change that; use another way, or ask the user to change the policy.".to_owned()
        }
        Verdict::RequireApproval => format!(
            "Somebody must approve it before it is tried again: ask the user to. They do it with `{}`.",
            how_to_approve(trace)
        ),
        Verdict::DryRun => "Rules with this effect are being tried out: nothing is done for them.".to_owned(),
        Verdict::Allow => "It was allowed, but could not be recorded.".to_owned(),
    };
    text
}

fn line(id: Option<&Id>, member: &str, content: &Value) -> Vec<u8> {
    // Written by hand: an id must come back as it is, and nothing here can fail.
    let content = json::to_line_html_safe_sorted(content).unwrap_or_else(|_| "{}\n".to_owned());
    let id = id.map_or("null", Id::as_json);
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":{}}}\n", content.trim_end()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::message::{Message, Outcome, Sender};

    fn decision() -> Decision {
        Decision {
            verdict: Verdict::Block,
            reason_codes: vec!["a".into(), "b".into()],
            violations: vec!["v".into()],
            matched_rule: Some("no <rm>".into()),
            required_approvals: 0,
        }
    }

    fn trace() -> TraceRecord {
        TraceRecord { trace_id: "t".into(), tool_name: "it's".into(), ..TraceRecord::default() }
    }

    #[test]
    fn a_call_that_needs_approval_says_how_it_is_approved() {
        let decision = Decision { verdict: Verdict::RequireApproval, ..decision() };
        let text = text("It's", &decision, &trace());
        assert!(text.ends_with(r"`gait approve --intent-digest  --policy-digest  --scope 'tool:it'\''s'`."), "{text}");
    }

    fn outcome(line: &[u8]) -> (Option<Id>, Outcome) {
        match Message::read(line.strip_suffix(b"\n").unwrap(), Sender::Server).unwrap() {
            Some(Message::Response { id, outcome }) => (id, outcome),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_is_a_tool_error_that_names_verdict_rule_and_reasons() {
        let id = Id::read(b"\"7\\n\"").unwrap();
        let (read, Outcome::Result(result)) = outcome(&refused(&id, &json!({}), "rm\u{2028}", &decision(), &trace()))
        else {
            panic!("no result")
        };
        assert_eq!((read, &result["isError"]), (Some(id), &json!(true)));
        let text = result["content"][0]["text"].as_str().unwrap();
        for part in ["rm", "verdict is block", "no <rm>", "reason codes a, b", "violations v"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(result["_meta"][DECISION]["matched_rule"], "no <rm>");
        assert_eq!(result.get("resultType"), None);
    }

    #[test]
    fn a_request_of_the_stateless_revision_gets_a_result_of_it() {
        let params = json!({"_meta": {PROTOCOL_VERSION: "2026-07-28"}});
        let (_, Outcome::Result(result)) =
            outcome(&refused(&Id::read(b"1").unwrap(), &params, "t", &decision(), &trace()))
        else {
            panic!("no result")
        };
        assert_eq!(result["resultType"], "complete");
    }

    #[test]
    fn an_error_is_for_the_request_or_for_nobody_in_particular() {
        let (id, Outcome::Error(error)) = outcome(&error(None, -32700, "a \"b\"\n")) else { panic!("no error") };
        assert_eq!((id, error), (None, json!({"code": -32700, "message": "gait: a \"b\"\n"})));
    }
}
