//! Usage lines and help pages, all made from the one table of verbs and the manual.

use crate::flags::{EXPLAIN as EXPLAIN_FLAG, Flag, Shown};
use crate::manual::{self, Entry};
use crate::verb::{GROUPS, Group, Verb, verbs};
use std::fmt::Write;

/// The line of `gait --explain`.
pub const EXPLAIN: &str = "Gait is an offline-first CLI for deterministic run artifacts, policy-gated tool execution, \
                           and reproducible debugging workflows.";

/// The usage lines of gait itself.
pub const OWN_USAGE: [&str; 2] = ["gait help [<command>]", "gait version"];

/// What an unknown command is answered with on standard output: the block of the contract (artifacts 2.9), word for word,
/// which knows nothing of the verbs that are not the contract's. [`all`] is the whole list.
pub const OF_CONTRACT: &str = include_str!("contract_usage.txt");

/// The usage block of all verbs, and where to read on.
pub fn all() -> String {
    let lines: Vec<String> =
        verbs().map(|verb| usage_line(verb, Usage::Short)).chain(OWN_USAGE.map(str::to_string)).collect();
    format!("{}\n{}", block(&lines), READ_ON)
}

const READ_ON: &str = "gait help <command>  tells what a command does, its flags, examples and exit codes
gait man | man -l -  is the manual page; gait completions <shell> completes words in bash, zsh and fish
";

/// The usage block of the verbs below a word, as a wrong call is answered.
pub fn group_usage(group: &Group) -> String {
    let shown = below(group).filter(|verb| verb.is_in_group_usage());
    block(&shown.map(|verb| usage_line(verb, Usage::Group)).collect::<Vec<_>>())
}

/// The same of all verbs, with what each does.
pub fn group(group: &Group) -> String {
    let rows: Vec<(String, String)> =
        below(group).map(|verb| (verb.path.join(" "), verb.explain.to_string())).collect();
    let mut text = block(&below(group).map(|verb| usage_line(verb, Usage::Short)).collect::<Vec<_>>());
    let _ = write!(text, "\n{}\n\nCommands:\n{}", group.explain, table(&rows));
    let _ = write!(text, "\nRead on: gait help {} <command>\n", group.word);
    text
}

/// The verbs below a word.
pub fn below(group: &Group) -> impl Iterator<Item = &'static Verb> {
    verbs().filter(|verb| verb.path.first() == Some(&group.word))
}

/// The whole help page of one verb; only the usage block where `--help` of that verb is no more than that.
pub fn page(verb: &Verb) -> String {
    let usage = block(&usage_lines(verb));
    if verb.help != crate::verb::Help::Page {
        return usage;
    }
    usage + &rest_of_page(verb)
}

/// The whole help page of one verb, as `gait help` prints it.
pub fn whole_page(verb: &Verb) -> String {
    block(&usage_lines(verb)) + &rest_of_page(verb)
}

/// What it does, its flags, examples, exit codes, and where to read on.
fn rest_of_page(verb: &Verb) -> String {
    let mut text = format!("\n{}\n\nFlags:\n{}", verb.explain, table(&flag_rows(verb)));
    for note in verb.notes {
        let _ = write!(text, "\n{}", wrapped(note));
    }
    if let Some(entry) = manual::of(verb) {
        text += &from_manual(entry);
    }
    text
}

fn from_manual(entry: &Entry) -> String {
    let mut text = String::from("\nExamples:\n");
    for example in entry.examples {
        let _ = write!(text, "  {}\n      {}\n", example.line, example.what);
    }
    let exits: Vec<_> = entry.exits.iter().map(|(code, what)| (code.to_string(), what.to_string())).collect();
    let _ = write!(text, "\nExit codes:\n{}", table(&exits));
    let see: Vec<String> = entry.see.iter().map(|place| read_on(place)).collect();
    let _ = write!(text, "\nRead on: {}\n", see.join(", "));
    text
}

/// What to type for more on `place`: a verb as it is typed, or a page of the documentation.
fn read_on(place: &str) -> String {
    place.strip_prefix("gait ").map_or_else(|| place.to_string(), |verb| format!("gait help {verb}"))
}

/// All flags of a verb and what they do.
pub fn flag_rows(verb: &Verb) -> Vec<(String, String)> {
    let row = |flag: &Flag| (flag.words(), flag.about());
    let mut rows: Vec<(String, String)> = verb.flags.iter().map(row).collect();
    rows.push(row(&EXPLAIN_FLAG));
    rows.push(("-h, --help".into(), "print this page".into()));
    rows
}

/// Columns of a paragraph.
const WIDTH: usize = 100;

/// `text` in lines that are short enough to read.
fn wrapped(text: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines + "\n"
}

/// Two columns, indented.
fn table(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (left, right) in rows {
        let _ = writeln!(text, "  {left:width$}  {right}");
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

/// The usage lines of a verb and of those below it.
pub fn usage_lines(verb: &Verb) -> Vec<String> {
    verbs().filter(|other| other.path.starts_with(verb.path)).map(|verb| usage_line(verb, Usage::Whole)).collect()
}

/// How much a usage line shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    /// The flags that most calls need, among all verbs.
    Short,
    /// Those and more, among the verbs of a group.
    Group,
    /// All that are not hidden, on the page of the verb.
    Whole,
}

impl Usage {
    fn shows(self, flag: &Flag) -> bool {
        match flag.shown {
            Shown::Hidden => false,
            Shown::GroupOnly => self != Usage::Short,
            Shown::PageOnly | Shown::PageOrNext => self == Usage::Whole,
            Shown::Optional | Shown::Required | Shown::OrNext => true,
        }
    }
}

/// `gait run diff <left> <right> [--json] [--explain]`
fn usage_line(verb: &Verb, usage: Usage) -> String {
    let mut line = String::from("gait");
    for word in verb.path.iter().chain(verb.positionals_first()) {
        let _ = write!(line, " {word}");
    }
    let mut joined = false;
    for flag in verb.flags.iter().filter(|flag| usage.shows(flag)) {
        line.push_str(match (joined, flag.shown) {
            (true, _) => "|",
            (false, Shown::Required) => " ",
            (false, _) => " [",
        });
        line.push_str(&flag.words());
        joined = matches!(flag.shown, Shown::OrNext | Shown::PageOrNext);
        if !joined && flag.shown != Shown::Required {
            line.push(']');
        }
    }
    line.push_str(" [--explain]");
    if let Some(word) = verb.positionals_last() {
        let _ = write!(line, " {word}");
    }
    line
}

/// The group that `word` names.
pub fn find_group(word: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.word == word)
}
