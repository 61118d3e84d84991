//! The reference: manual pages and the Markdown of `docs/cli.md`, made from the table of verbs and the manual.

use crate::app::VERSION;
use crate::help;
use crate::manual::{self, Entry};
use crate::shell;
use crate::verb::{GROUPS, Verb, verbs};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fmt::Write;
use std::io;

/// One manual page.
#[derive(Debug)]
pub struct Page {
    /// The words that call what it tells of; none for gait itself.
    pub words: Vec<&'static str>,
    pub roff: String,
}

impl Page {
    /// `gait-run-diff.1`
    pub fn file_name(&self) -> String {
        let mut name = String::from("gait");
        for word in &self.words {
            let _ = write!(name, "-{word}");
        }
        name + ".1"
    }
}

/// All pages: gait(1), one for each group of verbs and one for each verb.
///
/// # Errors
/// Never: they are written to memory.
pub fn pages() -> io::Result<Vec<Page>> {
    let mut tree = shell::tree();
    tree.build();
    let mut pages = vec![Page { words: Vec::new(), roff: overview(&tree)? }];
    for group in GROUPS {
        if let Some(command) = tree.find_subcommand(group.word) {
            let listed = help::below(group).map(|verb| (verb.path.join("-"), verb.explain));
            pages.push(Page { words: vec![group.word], roff: list_page(command, listed, &["gait(1)".into()])? });
        }
    }
    for verb in verbs() {
        let command = verb.path.iter().try_fold(&tree, |command, word| command.find_subcommand(word));
        if let Some(command) = command {
            pages.push(Page { words: verb.path.to_vec(), roff: verb_page(command, verb)? });
        }
    }
    Ok(pages)
}

fn overview(tree: &Command) -> io::Result<String> {
    let listed = verbs().map(|verb| (verb.path.join("-"), verb.explain));
    list_page(tree, listed, &["docs/cli.md".into(), "docs/exit-codes.md".into()])
}

/// The page of a command that is only the first word of others.
fn list_page(
    command: &Command,
    listed: impl Iterator<Item = (String, &'static str)>,
    see: &[String],
) -> io::Result<String> {
    let man = man_of(command);
    let mut page = title(command);
    man.render_name_section(&mut page)?;
    let mut rest = Roff::new();
    rest.control("SH", ["SYNOPSIS"]).text([bold(shown_name(command).replace('-', " ")), roman(" <command> [<args>]")]);
    rest.control("SH", ["COMMANDS"]);
    for (name, explain) in listed {
        rest.control("TP", []).text([bold(format!("gait-{name}(1)"))]).text([roman(explain)]);
    }
    if command.get_name() == "gait" {
        rest.control("SH", ["ENVIRONMENT"]);
        for (name, what) in ENVIRONMENT {
            rest.control("TP", []).text([bold(*name)]).text([roman(*what)]);
        }
    }
    see_also(&mut rest, see);
    rest.to_writer(&mut page)?;
    text_of(page)
}

/// Variables that gait reads, beyond those that a flag names (contract, artifacts 2.10).
const ENVIRONMENT: &[(&str, &str)] = &[
    ("GAIT_ADOPTION_LOG", "Append one adoption event per call to this file."),
    ("GAIT_OPERATIONAL_LOG", "Append an event at the start and at the end of each call to this file."),
    ("GAIT_ALLOW_REAL_REPLAY", "Must be 1 for gait run replay --real-tools."),
    ("HOME", "Holds .gait: runpacks that are found by their run id, the key of this machine, unsealed runs."),
    ("SOURCE_DATE_EPOCH", "The time that gait run seal writes."),
];

fn verb_page(command: &Command, verb: &Verb) -> io::Result<String> {
    let man = man_of(command);
    let mut page = title(command);
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    let mut description = Roff::new();
    description.control("SH", ["DESCRIPTION"]).text([roman(verb.explain)]);
    for note in verb.notes {
        description.control("PP", []).text([roman(*note)]);
    }
    description.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    if let Some(entry) = manual::of(verb) {
        from_manual(entry).to_writer(&mut page)?;
    }
    text_of(page)
}

fn from_manual(entry: &Entry) -> Roff {
    let mut rest = Roff::new();
    rest.control("SH", ["EXAMPLES"]);
    for example in entry.examples {
        rest.control("TP", []).text([bold(example.line)]).text([roman(example.what)]);
    }
    rest.control("SH", ["EXIT STATUS"]);
    for (code, what) in entry.exits {
        rest.control("TP", []).text([bold(*code)]).text([roman(*what)]);
    }
    let named = |place: &&str| match place.strip_prefix("gait ") {
        Some(verb) => format!("gait-{}(1)", verb.replace(' ', "-")),
        None => (*place).to_string(),
    };
    see_also(&mut rest, &entry.see.iter().map(named).chain(["gait(1)".into()]).collect::<Vec<_>>());
    rest
}

fn see_also(page: &mut Roff, places: &[String]) {
    page.control("SH", ["SEE ALSO"]).text([roman(places.join(", "))]);
}

/// The line that makes it a page. It has no date, so that the same program gives the same page.
fn title(command: &Command) -> Vec<u8> {
    format!(".TH {} 1 \"\" \"gait {VERSION}\" \"gait manual\"\n", shown_name(command).to_uppercase()).into_bytes()
}

fn man_of(command: &Command) -> Man {
    // Positionals stand in the synopsis; there is nothing more to say of them among the options.
    Man::new(command.clone().mut_args(|arg| if arg.is_positional() { arg.hide(true) } else { arg }))
}

fn shown_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_string()
}

/// What the writer of each section puts before it, and a page needs once.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

fn text_of(page: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(page).map_err(io::Error::other)?;
    Ok(format!("{PREAMBLE}{}", text.replace(PREAMBLE, "")))
}

/// All commands as one page of Markdown.
pub fn markdown() -> String {
    let mut text = String::from(PREFACE);
    for verb in verbs() {
        let _ = write!(text, "\n## gait {}\n\n{}\n\n```console\n", verb.path.join(" "), escaped(verb.explain));
        help::usage_lines(verb).iter().take(1).for_each(|line| {
            let _ = writeln!(text, "{line}");
        });
        text.push_str("```\n\n| flag | what |\n|---|---|\n");
        for (words, what) in help::flag_rows(verb) {
            let _ = writeln!(text, "| `{}` | {} |", words.replace('|', "\\|"), escaped(&what));
        }
        for note in verb.notes {
            let _ = write!(text, "\n{}\n", escaped(note));
        }
        if let Some(entry) = manual::of(verb) {
            markdown_of(entry, &mut text);
        }
    }
    text
}

const PREFACE: &str = "<!-- Made by `gait man --markdown`; a test says when it is stale. -->
# Command line

Flags may stand before, between and after other words, as `--flag value` or `--flag=value`; after `--` nothing is a
flag. `--json` gives one line of JSON on standard output, errors too: `ok`, `correlation_id`, and with an error
`error`, `error_code`, `error_category`, `retryable` and `hint`. Hints for people are on standard error. What the exit
codes mean in general is in [exit-codes.md](exit-codes.md).

`<run_id|path>` is a path if it has a slash or ends in `.zip`; else the run of that name in `gait-out` or in
`$HOME/.gait/runpacks`.
";

fn markdown_of(entry: &Entry, text: &mut String) {
    text.push_str("\n```console\n");
    for example in entry.examples {
        let _ = write!(text, "# {}\n{}\n", example.what, example.line);
    }
    text.push_str("```\n\n| exit code | meaning |\n|---|---|\n");
    for (code, what) in entry.exits {
        let _ = writeln!(text, "| {code} | {} |", escaped(what));
    }
}

/// Text that no Markdown reader takes for markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '<' | '*' | '_' | '|' | '$' | '[') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
