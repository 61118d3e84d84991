//! Usage lines and help pages, all made from the one table of verbs.

use crate::flags::{Flag, Shown, Takes};
use crate::verb::{GROUPS, Group, Verb, verbs};
use std::fmt::Write;

/// The line of `gait --explain`.
pub const EXPLAIN: &str = "Gait is an offline-first CLI for deterministic run artifacts, policy-gated tool execution, \
                           and reproducible debugging workflows.";

/// The usage block of all verbs.
pub fn all() -> String {
    let mut lines: Vec<String> = verbs().map(usage_line).collect();
    lines.push("gait version".into());
    block(&lines)
}

/// The usage block of the verbs below `word`.
pub fn group(group: &Group) -> String {
    block(&verbs().filter(|verb| verb.path.first() == Some(&group.word)).map(usage_line).collect::<Vec<_>>())
}

/// The whole help page of one verb: usage, what it does, its flags.
pub fn page(verb: &Verb) -> String {
    let below = verbs().filter(|other| other.path.starts_with(verb.path));
    let mut text = block(&below.map(usage_line).collect::<Vec<_>>());
    if verb.help == crate::verb::Help::UsageOnly {
        return text;
    }
    let _ = write!(text, "\n{}\n\nFlags:\n", verb.explain);
    let mut rows: Vec<(String, &str)> = verb.flags.iter().map(|flag| (flag_words(flag), flag.help)).collect();
    rows.push(("--explain".into(), "print one line on what this command does"));
    rows.push(("-h, --help".into(), "print this page"));
    let width = rows.iter().map(|(words, _)| words.chars().count()).max().unwrap_or(0);
    for (words, help) in rows {
        let _ = writeln!(text, "  {words:width$}  {help}");
    }
    for note in verb.notes {
        let _ = write!(text, "\n{note}\n");
    }
    text
}

fn block(lines: &[String]) -> String {
    let mut text = String::from("Usage:\n");
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// `gait run diff <left> <right> [--json] [--explain]`
fn usage_line(verb: &Verb) -> String {
    let mut line = String::from("gait");
    for word in verb.path.iter().chain(verb.positionals_first()) {
        let _ = write!(line, " {word}");
    }
    let mut joined = false;
    for flag in verb.flags.iter().filter(|flag| flag.shown != Shown::Hidden) {
        line.push_str(match (joined, flag.shown) {
            (true, _) => "|",
            (false, Shown::Required) => " ",
            (false, _) => " [",
        });
        line.push_str(&flag_words(flag));
        joined = flag.shown == Shown::OrNext;
        if !joined && flag.shown == Shown::Optional {
            line.push(']');
        }
    }
    line.push_str(" [--explain]");
    if let Some(word) = verb.positionals_last() {
        let _ = write!(line, " {word}");
    }
    line
}

fn flag_words(flag: &Flag) -> String {
    match flag.takes {
        Takes::Nothing => format!("--{}", flag.name),
        Takes::Value(stands) => format!("--{} {stands}", flag.name),
    }
}

/// The group that `word` names.
pub fn find_group(word: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.word == word)
}
