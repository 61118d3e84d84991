//! What shells and manual page readers need to know of the command line, as one tree made from the table of verbs.
//!
//! The tree is clap's, because its generators know bash, zsh, fish and roff; the parsing stays ours (docs/decisions,
//! 0001). It is made at run time, so a verb that is in the table is in all of them.

use crate::flags::{EXPLAIN, Flag, Order, Takes};
use crate::help;
use crate::verb::{Verb, verbs};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};

/// The whole command line.
pub fn tree() -> Command {
    let version = Arg::new("version").short('v').long("version").action(ArgAction::SetTrue);
    let own = [
        Command::new("help").about("Print the help page of a command.").arg(first_words()),
        Command::new("version").about("Print the CLI version."),
    ];
    below(&[], Command::new("gait").about(help::EXPLAIN))
        .disable_version_flag(true)
        .arg(version.help("Print the CLI version."))
        .subcommands(own.map(|command| command.disable_help_flag(true)))
}

/// The positional of `gait help`: what a command line can start with.
fn first_words() -> Arg {
    let mut words: Vec<&str> = verbs().filter_map(|verb| verb.path.first().copied()).collect();
    words.dedup();
    Arg::new("<command>").value_name("command").num_args(0..).value_parser(PossibleValuesParser::new(words))
}

/// `command`, which `path` calls, with everything that can follow `path`.
fn below(path: &[&'static str], command: Command) -> Command {
    let mut words: Vec<&'static str> = Vec::new();
    for verb in verbs().filter(|verb| verb.path.starts_with(path)) {
        words.extend(verb.path.get(path.len()).filter(|word| !words.contains(word)));
    }
    words.into_iter().fold(command.disable_help_subcommand(true), |command, word| {
        let path = [path, &[word]].concat();
        command.subcommand(below(&path, named(&path, word)))
    })
}

/// The command that `path` calls, without what is below it.
fn named(path: &[&'static str], word: &'static str) -> Command {
    let command = Command::new(word).display_name(format!("gait-{}", path.join("-")));
    match verbs().find(|verb| verb.path == path) {
        Some(verb) => of_verb(verb, command),
        None => command.about(help::find_group(word).map(|group| group.explain).unwrap_or_default()),
    }
}

fn of_verb(verb: &'static Verb, command: Command) -> Command {
    command
        .about(verb.explain)
        .args(verb.flags.iter().chain([&EXPLAIN]).map(flag))
        .args(positionals(verb))
        .override_usage(help::usage_lines(verb).join("\n"))
}

fn flag(flag: &'static Flag) -> Arg {
    let arg = Arg::new(flag.name).long(flag.name).help(flag.about());
    let Takes::Value(stands) = flag.takes else {
        return arg.action(ArgAction::SetTrue);
    };
    let choices = flag.choices();
    if choices.is_empty() {
        arg.value_name(bare(stands)).value_hint(hint(stands))
    } else {
        arg.value_name(stands).value_parser(PossibleValuesParser::new(choices)).hide_possible_values(true)
    }
}

fn positionals(verb: &'static Verb) -> Vec<Arg> {
    if verb.order == Order::Leading {
        let command = Arg::new("<cmd>").value_name("cmd").num_args(0..).trailing_var_arg(true);
        return vec![command.value_hint(ValueHint::CommandWithArguments)];
    }
    verb.positionals.split(' ').filter(|word| !word.is_empty()).map(|word| positional(verb, word)).collect()
}

fn positional(verb: &Verb, word: &'static str) -> Arg {
    let inner = bare(word);
    // No flag has brackets in its name.
    let arg = Arg::new(format!("<{inner}>")).value_name(inner);
    let arg = match verb.path {
        ["completions"] => arg.value_parser(PossibleValuesParser::new(inner.split('|').collect::<Vec<_>>())),
        ["man"] => arg.value_hint(ValueHint::Other),
        // Whatever it is called, it is a run or a file.
        _ => arg.value_hint(ValueHint::AnyPath),
    };
    if word.contains("...") { arg.num_args(0..) } else { arg }
}

/// `run_id|path` of `[<run_id|path>...]`.
fn bare(word: &'static str) -> &'static str {
    word.trim_start_matches(['[', '<']).trim_end_matches([']', '>', '.'])
}

/// What a shell can complete for the value that `stands` stands for.
fn hint(stands: &str) -> ValueHint {
    let has = |parts: &[&str]| parts.iter().any(|part| stands.contains(part));
    if has(&["<dir>"]) {
        ValueHint::DirPath
    } else if has(&["path", "directory", ".json", ".yaml", ".xml", ".zip"]) {
        ValueHint::AnyPath
    } else if has(&["csv"]) {
        // Often file names, and never something that only a shell knows.
        ValueHint::Unknown
    } else {
        ValueHint::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_one_that_its_maker_accepts_and_has_every_verb_with_its_flags() {
        let mut tree = tree();
        tree.build();
        for verb in verbs() {
            let mut command = &tree;
            for word in verb.path {
                command = command.find_subcommand(word).unwrap_or_else(|| panic!("{:?}", verb.path));
            }
            let longs: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
            let missing: Vec<_> = verb.flags.iter().filter(|flag| !longs.contains(&flag.name)).collect();
            assert!(missing.is_empty() && longs.contains(&"explain"), "{:?}: {missing:?}", verb.path);
        }
    }

    #[test]
    fn words_that_stand_for_values_tell_what_can_be_completed() {
        assert_eq!(bare("[<run_id|path>...]"), "run_id|path");
        assert_eq!(bare("<policy.yaml>"), "policy.yaml");
        assert_eq!(hint("<dir>"), ValueHint::DirPath);
        assert_eq!(hint("<run_id|path>"), ValueHint::AnyPath);
        assert_eq!(hint("<VAR>"), ValueHint::Other);
    }
}
