//! Tools declared in Python sources, found by the look of the text (contract, artifacts 7.1).

use std::collections::BTreeSet;

/// A tool and the framework it is declared for.
pub(super) type Declared = (&'static str, String);

pub(super) const LANGCHAIN: &str = "framework:langchain";
pub(super) const OPENAI: &str = "framework:openai_agents";

/// The tools that `text` declares; `stem` is the name of the file without its ending.
pub(super) fn tools(text: &str, stem: &str) -> BTreeSet<Declared> {
    let mut names: Vec<String> = text.lines().filter_map(function_name).map(str::to_string).collect();
    if names.is_empty() {
        names.push(stem.to_string());
    }
    let mut found = BTreeSet::new();
    if is_langchain(text) {
        found.extend(names.iter().map(|name| (LANGCHAIN, name.clone())));
    }
    if is_openai(text) {
        found.extend(names.into_iter().map(|name| (OPENAI, name)));
        found.extend(named(text).into_iter().map(|name| (OPENAI, name)));
    }
    found
}

fn is_langchain(text: &str) -> bool {
    decorated(text, "@tool") || text.contains("StructuredTool.from_function") || text.contains("Tool(")
}

fn is_openai(text: &str) -> bool {
    decorated(text, "@function_tool")
        || ["from agents import", "openai.agents", "tools=["].iter().any(|words| text.contains(words))
}

/// Whether a line is the decorator alone, or the decorator and an opening parenthesis.
fn decorated(text: &str, decorator: &str) -> bool {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix(decorator))
        .any(|rest| rest.starts_with('(') || rest.trim().is_empty())
}

/// `NAME` of a line `def NAME(`.
fn function_name(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("def")?;
    let name = rest.trim_start();
    if name.len() == rest.len() {
        return None;
    }
    let end = name.find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))?;
    let (name, after) = name.split_at(end);
    let starts_well = name.chars().next().is_some_and(|first| !first.is_ascii_digit());
    (starts_well && after.trim_start().starts_with('(')).then_some(name)
}

/// Values of `name="..."` and `tool_name="..."`.
fn named(text: &str) -> Vec<String> {
    text.match_indices("name").filter_map(|(at, word)| quoted_value(text.get(at + word.len()..)?)).collect()
}

fn quoted_value(after: &str) -> Option<String> {
    let value = after.trim_start().strip_prefix('=')?.trim_start();
    let body = value.strip_prefix(['"', '\''])?;
    let is_part = |character: char| character.is_ascii_alphanumeric() || "._:-".contains(character);
    let end = body.find(|character| !is_part(character))?;
    let (name, close) = body.split_at(end);
    (!name.is_empty() && close.starts_with(['"', '\''])).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_at_the_start_of_a_line_only() {
        for (line, name) in [
            ("def a(x):", Some("a")),
            ("    def b_2 (self):", Some("b_2")),
            ("async def c():", None),
            ("defd(x)", None),
            ("def 2x()", None),
            ("x = def y()", None),
        ] {
            assert_eq!(function_name(line), name, "{line}");
        }
    }

    #[test]
    fn a_file_without_a_sign_of_a_framework_declares_nothing() {
        assert!(tools("def a(): pass\n# toolbox()", "x").is_empty());
        assert_eq!(tools("@tool\n", "x").into_iter().collect::<Vec<_>>(), [(LANGCHAIN, "x".to_string())]);
        assert!(tools("@tools\n", "x").is_empty());
    }

    #[test]
    fn names_given_as_arguments_are_tools_of_the_agents_framework() {
        let found = tools("@function_tool(name = 'a.b', x=1)\ntools=[f(tool_name=\"c\")]\n", "s");
        let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["a.b", "c", "s"]);
    }
}
