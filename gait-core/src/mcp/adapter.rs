//! The forms in which frameworks write down a tool call (control 13).

use serde_json::Value;

use super::call::{CallContext, ToolCall, inferred_target};
use crate::intent::{Args, ProvenanceRequest, TargetRequest};
use crate::json;
use crate::overlay::records;
use crate::text::lower_trimmed;
use crate::time::Timestamp;

/// Whose form it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// `{name, args, target, targets, arg_provenance, context, created_at}`
    Mcp,
    /// `{type, function: {name, arguments}}`
    OpenAi,
    /// `{type, name, input}`
    Anthropic,
    /// `{tool, tool_input}`
    LangChain,
}

/// Why a payload is not a tool call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// No adapter of that name.
    #[error("unsupported adapter: {name}")]
    Unknown {
        /// In lower case.
        name: String,
    },
    /// Not JSON, or a member of the wrong type.
    #[error("parse {adapter} tool call: {cause}", adapter = adapter.as_str())]
    Payload {
        /// Which form was read.
        adapter: Adapter,
        /// The parser's words.
        cause: serde_json::Error,
    },
    /// Arguments that are neither an object nor the text of one.
    #[error("decode {adapter} {member}: {cause}", adapter = adapter.as_str())]
    Arguments {
        /// Which form was read.
        adapter: Adapter,
        /// The member with the arguments.
        member: &'static str,
        /// The parser's words.
        cause: serde_json::Error,
    },
    /// A call of nothing.
    #[error("tool call name is required")]
    NoName,
}

records! {
    /// [`Adapter::Mcp`].
    McpPayload ("a tool call") {
        name: String,
        args: Args,
        target: String,
        targets: Vec<McpTarget>,
        arg_provenance: Vec<ProvenanceRequest>,
        context: CallContext,
        created_at: Timestamp,
    }

    /// A target of [`McpPayload`]: what it is called is derived, never taken from the call.
    McpTarget ("a target") {
        kind: String,
        value: String,
        operation: String,
        sensitivity: String,
    }

    /// [`Adapter::OpenAi`].
    OpenAiPayload ("a tool call") {
        function: OpenAiFunction,
    }

    /// `function` of [`OpenAiPayload`].
    OpenAiFunction ("a function") {
        name: String,
        arguments: Value,
    }

    /// [`Adapter::Anthropic`].
    AnthropicPayload ("a tool call") {
        name: String,
        input: Args,
    }

    /// [`Adapter::LangChain`].
    LangChainPayload ("a tool call") {
        tool: String,
        tool_input: Value,
    }
}

impl Adapter {
    /// The adapter of that name, in any case; none is `mcp`.
    ///
    /// # Errors
    /// [`AdapterError::Unknown`]
    pub fn parse(name: &str) -> Result<Self, AdapterError> {
        match &*lower_trimmed(name) {
            "" | "mcp" => Ok(Self::Mcp),
            "openai" => Ok(Self::OpenAi),
            "anthropic" => Ok(Self::Anthropic),
            "langchain" => Ok(Self::LangChain),
            other => Err(AdapterError::Unknown { name: other.to_owned() }),
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::LangChain => "langchain",
        }
    }

    /// Reads a tool call, by the decoding rules of control 2.1.
    ///
    /// # Errors
    /// [`AdapterError`], all but [`AdapterError::Unknown`].
    pub fn read(self, payload: &[u8]) -> Result<ToolCall, AdapterError> {
        let mut call = match self {
            Self::Mcp => mcp_call(self.payload(payload)?),
            Self::OpenAi => {
                let OpenAiFunction { name, arguments } = self.payload::<OpenAiPayload>(payload)?.function;
                ToolCall { name, args: self.arguments("arguments", arguments)?, ..ToolCall::default() }
            }
            Self::Anthropic => {
                let AnthropicPayload { name, input } = self.payload(payload)?;
                ToolCall { name, args: input, ..ToolCall::default() }
            }
            Self::LangChain => {
                let LangChainPayload { tool, tool_input } = self.payload(payload)?;
                ToolCall { name: tool, args: self.arguments("tool_input", tool_input)?, ..ToolCall::default() }
            }
        };
        call.name = call.name.trim().to_owned();
        if call.name.is_empty() { Err(AdapterError::NoName) } else { Ok(call) }
    }

    fn payload<T: serde::de::DeserializeOwned>(self, payload: &[u8]) -> Result<T, AdapterError> {
        json::read(payload).map_err(|cause| AdapterError::Payload { adapter: self, cause })
    }

    /// Arguments that are an object, or a string that holds one; nothing is as good as none.
    fn arguments(self, member: &'static str, arguments: Value) -> Result<Args, AdapterError> {
        let read = match arguments {
            Value::Null => return Ok(Args::new()),
            Value::String(text) if matches!(text.trim(), "" | "null") => return Ok(Args::new()),
            Value::String(text) => json::read(text.as_bytes()),
            other => serde_json::from_value(other),
        };
        read.map_err(|cause| AdapterError::Arguments { adapter: self, member, cause })
    }
}

fn mcp_call(payload: McpPayload) -> ToolCall {
    let target = payload.target.trim();
    let targets = if payload.targets.is_empty() && !target.is_empty() {
        vec![inferred_target(target)]
    } else {
        payload.targets.into_iter().map(McpTarget::into_request).collect()
    };
    ToolCall {
        name: payload.name,
        args: payload.args,
        targets,
        arg_provenance: payload.arg_provenance,
        context: payload.context,
        created_at: payload.created_at,
    }
}

impl McpTarget {
    fn into_request(self) -> TargetRequest {
        let Self { kind, value, operation, sensitivity } = self;
        TargetRequest { kind, value, operation, sensitivity, ..TargetRequest::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(name: &str, payload: &Value) -> Result<ToolCall, String> {
        Adapter::parse(name).unwrap().read(payload.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn one_call_reads_the_same_in_every_form() {
        let args = json!({"q": 1});
        let expected = Ok(("t".to_owned(), args.as_object().unwrap().clone()));
        for (name, payload) in [
            ("", json!({"name": " t ", "args": args})),
            (" MCP ", json!({"Name": "t", "ARGS": args})),
            ("OpenAI", json!({"type": "function", "function": {"name": "t", "arguments": args}})),
            ("openai", json!({"function": {"name": "t", "arguments": args.to_string()}})),
            ("anthropic", json!({"type": "tool_use", "name": "t", "input": args})),
            ("langchain", json!({"tool": "t", "tool_input": args})),
            ("langchain", json!({"tool": "t", "tool_input": format!(" {args} ")})),
        ] {
            let call = read(name, &payload).map(|call| (call.name, call.args));
            assert_eq!(call, expected, "{name} {payload}");
        }
    }

    #[test]
    fn no_arguments_are_an_empty_object() {
        for arguments in [json!(null), json!(""), json!(" \n"), json!("null"), json!(" null "), json!({}), json!("{}")]
        {
            let call = read("openai", &json!({"function": {"name": "t", "arguments": arguments}}));
            assert_eq!(call.unwrap().args, Args::new(), "{arguments}");
        }
        assert_eq!(read("anthropic", &json!({"name": "t"})).unwrap().args, Args::new());
    }

    #[test]
    fn each_error_names_the_form_and_the_member() {
        for (name, payload, start) in [
            ("mcp", json!([]), "parse mcp tool call: "),
            ("mcp", json!({"name": 1}), "parse mcp tool call: "),
            ("mcp", json!({"name": "t", "created_at": "soon"}), "parse mcp tool call: "),
            ("openai", json!({"function": []}), "parse openai tool call: "),
            ("openai", json!({"function": {"name": "t", "arguments": "[1]"}}), "decode openai arguments: "),
            ("openai", json!({"function": {"name": "t", "arguments": 5}}), "decode openai arguments: "),
            ("langchain", json!({"tool": "t", "tool_input": "{} {}"}), "decode langchain tool_input: "),
            ("anthropic", json!({"name": "t", "input": "{}"}), "parse anthropic tool call: "),
            ("mcp", json!({}), "tool call name is required"),
            ("langchain", json!({"tool": " \t"}), "tool call name is required"),
        ] {
            let error = read(name, &payload).unwrap_err();
            assert!(error.starts_with(start), "{payload}: {error}");
        }
        assert_eq!(Adapter::parse("Soap").unwrap_err().to_string(), "unsupported adapter: soap");
    }

    #[test]
    fn a_call_can_t_say_what_class_its_target_has() {
        let target = json!({"kind": "path", "value": "/a", "endpoint_class": "fs.read", "destructive": false});
        let call = read("mcp", &json!({"name": "x", "targets": [target], "target": "ignored.example"})).unwrap();
        assert_eq!((call.targets.len(), call.targets[0].endpoint_class.as_str()), (1, ""));
        assert_eq!(read("mcp", &json!({"name": "x", "target": " a/b "})).unwrap().targets[0].value, "a/b");
    }

    #[test]
    fn defaults_of_the_context_are_those_of_the_contract() {
        let request = read("mcp", &json!({"name": "x", "context": {"identity": "bot"}})).unwrap().into_request();
        let context = request.context;
        assert_eq!([context.identity, context.workspace, context.risk_class], ["bot", ".", "high"]);
        let request = read("mcp", &json!({"name": "x"})).unwrap().into_request();
        assert_eq!((request.context.identity.as_str(), request.created_at.is_zero()), ("mcp-proxy", true));
    }
}
