//! From a command line to an answer: find the verb, parse, run, render.

use crate::eventlog::CallLog;
use crate::exit::{Exit, Status};
use crate::failure::Failure;
use crate::flags::{self, FlagError, ShortHelp, nearest};
use crate::help;
use crate::render::{self, Form, Printed};
use crate::verb::{Call, GROUPS, Group, Help, Verb, verbs};
use gait_core::digest::Sha256Hex;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;

/// What a command line asks for.
#[derive(Debug)]
enum Request<'a> {
    /// `gait` and `gait version`.
    Version,
    /// One text and its exit code, the same in both forms.
    Text(Exit, String),
    /// The usage block for a word that no verb has; perhaps another was meant.
    Unknown {
        usage: String,
        meant: Option<String>,
    },
    Verb(&'static Verb, &'a [OsString]),
}

/// Runs the command line `args` (without the program's name) and prints the answer.
pub fn run(args: &[OsString]) -> Status {
    let correlation_id = correlation_id(args);
    let log = CallLog::start(args, &correlation_id);
    let status = render::print(printed(args, &correlation_id));
    log.end(status);
    status
}

fn printed(args: &[OsString], correlation_id: &str) -> Printed {
    let plain = |exit: Exit, text: String| Printed::new(exit.into(), text, String::new());
    match request(args) {
        Request::Version => plain(Exit::Ok, format!("gait {VERSION}\n")),
        Request::Text(exit, text) => plain(exit, text),
        Request::Unknown { usage, meant } => Printed {
            stderr: match meant {
                Some(meant) => format!("hint: did you mean `gait {meant}`?\n"),
                // Programs get the contract's answer and nothing else.
                None if std::io::stderr().is_terminal() => "hint: `gait help` lists all commands\n".into(),
                None => String::new(),
            },
            ..plain(Exit::InvalidInput, usage)
        },
        Request::Verb(verb, tokens) => {
            let (wants_json, short): (fn(&_, _, &_) -> _, _) = match verb.help {
                Help::Reference => (flags::wants_json_before_error, ShortHelp::Refused),
                Help::Page | Help::UsageOnly => (flags::wants_json, ShortHelp::Taken),
            };
            let form = if wants_json(verb.flags, verb.order, tokens) { Form::Json } else { Form::Text };
            let answer = |result| render::answer(form, verb.label, correlation_id, result);
            match flags::parse(verb.flags, verb.order, short, tokens) {
                // Help is text, also for those who asked for JSON.
                Ok(args) if args.help => plain(Exit::Ok, help::page(verb)),
                Ok(args) => answer((verb.run)(&Call { args, form })),
                Err(error) => answer(Err(flag_failure(verb, &error))),
            }
        }
    }
}

/// The version printed; builds for release set `GAIT_VERSION`.
pub const VERSION: &str = match option_env!("GAIT_VERSION") {
    Some(version) => version,
    None => "0.0.0-dev",
};

fn request(args: &[OsString]) -> Request<'_> {
    let Some((first, rest)) = args.split_first() else {
        return Request::Version;
    };
    let explain = |line: &str| Request::Text(Exit::Ok, format!("{line}\n"));
    match first.to_str() {
        Some("version" | "--version" | "-v") if rest.iter().any(is_explain) => explain("Print the CLI version."),
        Some("version" | "--version" | "-v") => Request::Version,
        Some("--explain") => explain(help::EXPLAIN),
        Some("--help" | "-h") => Request::Text(Exit::Ok, help::all()),
        Some("help") => help_request(rest),
        _ => match (find_verb(args), first.to_str().and_then(help::find_group)) {
            (Some((verb, tokens)), _) => verb_request(verb, tokens),
            (None, Some(group)) => group_request(group, rest),
            (None, None) => Request::Unknown { usage: help::OF_CONTRACT.into(), meant: meant_command(first) },
        },
    }
}

/// `gait help run diff`: the page of a verb, the block of a group, or everything.
fn help_request(words: &[OsString]) -> Request<'static> {
    // Flags say nothing here: what is asked for is help already.
    let words: Vec<OsString> =
        words.iter().filter(|word| !word.as_encoded_bytes().starts_with(b"-")).cloned().collect();
    let Some(first) = words.first() else {
        return Request::Text(Exit::Ok, help::all());
    };
    match (find_verb(&words), first.to_str().and_then(help::find_group), words.get(1)) {
        (Some((verb, [])), _, _) => Request::Text(Exit::Ok, help::whole_page(verb)),
        (None, Some(group), None) => Request::Text(Exit::Ok, help::group(group)),
        (None, Some(group), Some(word)) => unknown_below(group, word).before("help "),
        (Some((verb, _)), _, _) => Request::Unknown { usage: help::page(verb), meant: None },
        (None, None, _) if first == "version" || first == "help" => Request::Text(Exit::Ok, help::all()),
        (None, None, _) => Request::Unknown { usage: help::all(), meant: meant_command(first) }.before("help "),
    }
}

fn is_explain(token: &OsString) -> bool {
    token.to_str().is_some_and(|text| text.trim() == "--explain")
}

/// The verb with the longest path that `args` starts with, and the tokens after it.
fn find_verb(args: &[OsString]) -> Option<(&'static Verb, &[OsString])> {
    let matches = |verb: &&Verb| {
        args.len() >= verb.path.len() && verb.path.iter().zip(args).all(|(word, token)| OsStr::new(word) == token)
    };
    let verb = verbs().filter(matches).max_by_key(|verb| verb.path.len())?;
    Some((verb, args.get(verb.path.len()..)?))
}

fn verb_request<'a>(verb: &'static Verb, tokens: &'a [OsString]) -> Request<'a> {
    if flags::wants_explain(verb.flags, verb.order, tokens) {
        return Request::Text(Exit::Ok, format!("{}\n", verb.explain));
    }
    Request::Verb(verb, tokens)
}

fn group_request<'a>(group: &Group, rest: &'a [OsString]) -> Request<'a> {
    if rest.iter().any(is_explain) {
        return Request::Text(Exit::Ok, format!("{}\n", group.explain));
    }
    match rest.first() {
        Some(word) if word == "--help" || word == "-h" => Request::Text(Exit::Ok, help::group(group)),
        Some(word) => unknown_below(group, word),
        None => Request::Text(Exit::InvalidInput, help::group_usage(group)),
    }
}

/// The answer to a second word that the group does not have.
fn unknown_below(group: &Group, word: &OsStr) -> Request<'static> {
    let known = help::below(group).filter_map(|verb| verb.path.get(1).copied());
    let meant = word.to_str().and_then(|word| nearest(word, known));
    Request::Unknown { usage: help::group_usage(group), meant: meant.map(|word| format!("{} {word}", group.word)) }
}

impl Request<'_> {
    /// The same with `word` before the command that was perhaps meant.
    fn before(self, word: &str) -> Self {
        match self {
            Request::Unknown { usage, meant } => {
                Request::Unknown { usage, meant: meant.map(|meant| format!("{word}{meant}")) }
            }
            other => other,
        }
    }
}

fn meant_command(word: &OsStr) -> Option<String> {
    let known = verbs()
        .filter_map(|verb| verb.path.first().copied())
        .chain(GROUPS.iter().map(|group| group.word))
        .chain(["help", "version"]);
    nearest(word.to_str()?, known).map(str::to_string)
}

fn flag_failure(verb: &Verb, error: &FlagError) -> Failure {
    let failure = Failure::invalid(error);
    let FlagError::Undefined { name } = error else {
        return failure;
    };
    match nearest(name, verb.flags.iter().map(|flag| flag.name).chain(["help", "explain"])) {
        Some(meant) => failure.with_hint(format!("did you mean `--{meant}`?")),
        None => failure,
    }
}

/// The name of the command line of this process.
pub fn own_correlation_id() -> String {
    correlation_id(&std::env::args_os().skip(1).collect::<Vec<_>>())
}

/// The name of this command line: the same words give the same id, at any time (contract, artifacts 2.7).
fn correlation_id(args: &[OsString]) -> String {
    let mut bytes = b"gait".to_vec();
    for arg in args {
        bytes.push(0x1f);
        match arg.to_str() {
            Some(text) => bytes.extend_from_slice(text.trim().as_bytes()),
            None => bytes.extend_from_slice(arg.as_encoded_bytes()),
        }
    }
    let mut id = Sha256Hex::of(&bytes).to_string();
    id.truncate(24);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_correlation_id_is_that_of_the_contract() {
        assert_eq!(correlation_id(&words("verify run_demo --json")), "9a80f090e10ab939e59411c0");
        assert_eq!(correlation_id(&words("demo")), "ba277de72095624233cacce7");
    }

    #[test]
    fn every_group_has_its_own_word_and_every_verb_a_page() {
        let mut groups: Vec<&str> = GROUPS.iter().map(|group| group.word).collect();
        groups.dedup();
        assert_eq!(groups.len(), GROUPS.len());
        for verb in verbs() {
            let page = help::page(verb);
            let shown = |flag: &&flags::Flag| verb.help == Help::Page || flag.shown != flags::Shown::Hidden;
            for flag in verb.flags.iter().filter(shown) {
                assert!(page.contains(&format!("--{}", flag.name)), "{:?} does not show --{}", verb.path, flag.name);
            }
        }
    }
}
