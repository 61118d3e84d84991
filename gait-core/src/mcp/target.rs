//! Which arguments of a tool say what it is aimed at.
//!
//! A call of the protocol carries a name and arguments, no targets; and what an agent would say about its own targets
//! is worth nothing. So whoever sets up the session names the arguments: `write_file:path=path:write` makes the argument
//! `path` of `write_file` a target of kind `path`, with the operation `write`.

use serde_json::Value;

use crate::intent::{Args, TargetKind, TargetRequest};

/// One such argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRule {
    /// The tool, or `*` for every tool that is called with the argument.
    tool: String,
    argument: String,
    kind: TargetKind,
    operation: String,
}

/// Why a text is no [`TargetRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not of the form <tool>:<argument>=<kind>[:<operation>]")]
pub struct TargetRuleError {
    text: String,
}

/// Why a call has no target where it must have one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argument `{argument}` must be text or a list of texts, because the policy is asked about it")]
pub struct TargetError {
    argument: String,
}

impl TargetRule {
    /// Reads `<tool>:<argument>=<kind>[:<operation>]`.
    ///
    /// # Errors
    /// [`TargetRuleError`] for any other text, and for a kind that intents don't have.
    pub fn parse(text: &str) -> Result<Self, TargetRuleError> {
        let parsed = text.split_once('=').and_then(|(left, right)| {
            let (tool, argument) = left.rsplit_once(':')?;
            let (kind, operation) = right.split_once(':').unwrap_or((right, ""));
            let rule = Self {
                tool: tool.trim().to_owned(),
                argument: argument.trim().to_owned(),
                kind: TargetKind::parse(kind.trim())?,
                operation: operation.trim().to_owned(),
            };
            (!rule.tool.is_empty() && !rule.argument.is_empty()).then_some(rule)
        });
        parsed.ok_or_else(|| TargetRuleError { text: text.to_owned() })
    }

    /// The targets that this rule sees in a call of `tool`.
    fn targets(&self, tool: &str, args: &Args) -> Result<Vec<TargetRequest>, TargetError> {
        let given = args.get(&self.argument);
        let applies = tool == self.tool || (self.tool == "*" && given.is_some());
        if !applies {
            return Ok(Vec::new());
        }
        // What must be judged and is not there could be something that the server chooses.
        let error = || TargetError { argument: self.argument.clone() };
        match given {
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().map(|item| self.target(item).ok_or_else(error)).collect()
            }
            Some(value) => Ok(vec![self.target(value).ok_or_else(error)?]),
            None => Err(error()),
        }
    }

    fn target(&self, value: &Value) -> Option<TargetRequest> {
        let value = value.as_str().filter(|text| !text.trim().is_empty())?.to_owned();
        Some(TargetRequest {
            kind: self.kind.to_string(),
            value,
            operation: self.operation.clone(),
            ..TargetRequest::default()
        })
    }
}

/// All targets of a call of `tool`, by all of `rules`.
///
/// # Errors
/// [`TargetError`] where one of them can't be told.
pub fn targets(rules: &[TargetRule], tool: &str, args: &Args) -> Result<Vec<TargetRequest>, TargetError> {
    let found = rules.iter().map(|rule| rule.targets(tool, args)).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(rule: &str, tool: &str, args: &Value) -> Result<Vec<[String; 3]>, TargetError> {
        let targets = targets(&[TargetRule::parse(rule).unwrap()], tool, args.as_object().unwrap())?;
        Ok(targets.into_iter().map(|target| [target.kind, target.value, target.operation]).collect())
    }

    #[test]
    fn named_arguments_become_targets() {
        let path = |value: &str| ["path".to_owned(), value.to_owned(), "write".to_owned()];
        let rule = "write_file:path=path:write";
        assert_eq!(found(rule, "write_file", &json!({"path": "/a", "x": "/b"})), Ok(vec![path("/a")]));
        assert_eq!(found(rule, "write_file", &json!({"path": ["/a", "/b"]})), Ok(vec![path("/a"), path("/b")]));
        assert_eq!(found(rule, "other", &json!({"path": "/a"})), Ok(vec![]));
        assert_eq!(found("*:path=path:write", "other", &json!({"path": "/a"})), Ok(vec![path("/a")]));
        assert_eq!(found("*:path=path", "other", &json!({})), Ok(vec![]));
        assert_eq!(found("ns:tool:url=url", "ns:tool", &json!({"url": "x"})).unwrap()[0][0], "url");
    }

    #[test]
    fn an_argument_that_must_be_judged_and_can_t_be_is_an_error() {
        for args in
            [json!({}), json!({"path": 1}), json!({"path": []}), json!({"path": ["/a", 2]}), json!({"path": " "})]
        {
            assert!(found("t:path=path", "t", &args).is_err(), "{args}");
        }
        assert!(found("*:path=path", "t", &json!({"path": null})).is_err());
    }

    #[test]
    fn other_texts_are_no_rules() {
        for text in ["", "t:path", "path=path", "t:=path", ":a=path", "t:a=", "t:a=file", "t:a=path,b"] {
            assert!(TargetRule::parse(text).is_err(), "{text}");
        }
    }
}
