//! Tokens to flags and positionals (contract, artifacts 2.2 and 2.3).

use super::{Flag, Order, Takes};
use std::ffi::{OsStr, OsString};

/// A command line that was parsed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// Flags in the order given; of repeated ones the last counts.
    flags: Vec<(&'static str, OsString)>,
    /// Everything that is not a flag, in the order given.
    pub positionals: Vec<OsString>,
    /// Whether `--help` or `-h` was among the flags.
    pub help: bool,
}

/// Why a command line was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    #[error("bad flag syntax: {token}")]
    Syntax { token: String },
    #[error("flag provided but not defined: -{name}")]
    Undefined { name: String },
    #[error("flag needs an argument: -{name}")]
    NoArgument { name: &'static str },
    #[error("flag: help requested")]
    HelpRequested,
    #[error("invalid boolean value {value:?} for -{name}: parse error")]
    NotBoolean { name: &'static str, value: String },
}

impl Args {
    /// Whether the switch `name` is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|value| value == "true")
    }

    /// The value of `name`; `None` when it was not given.
    pub fn raw(&self, name: &str) -> Option<&OsStr> {
        self.flags.iter().rev().find(|(flag, _)| *flag == name).map(|(_, value)| value.as_os_str())
    }

    /// All values of `name`, where each counts, in the order given.
    pub fn every(&self, name: &str) -> impl Iterator<Item = &OsStr> {
        self.flags.iter().filter(move |(flag, _)| *flag == name).map(|(_, value)| value.as_os_str())
    }

    /// The value of `name` as text; empty when it was not given or is not UTF-8.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).and_then(OsStr::to_str).unwrap_or_default()
    }

    /// The value of `name` without white space around it; `None` when nothing is left.
    pub fn trimmed(&self, name: &str) -> Option<&str> {
        Some(self.text(name).trim()).filter(|text| !text.is_empty())
    }

    /// The values of a comma-separated list, without white space and blanks.
    pub fn csv(&self, name: &str) -> Vec<String> {
        self.text(name).split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_string).collect()
    }
}

/// What `-h` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortHelp {
    /// `--help`.
    Taken,
    /// An error, as in the reference.
    Refused,
}

/// Sorts `tokens` into flags of `table` and positionals.
///
/// # Errors
/// The first token that breaks the grammar.
pub fn parse(table: &[Flag], order: Order, short: ShortHelp, tokens: &[OsString]) -> Result<Args, FlagError> {
    let mut args = Args::default();
    read(&mut args, table, order, short, tokens)?;
    Ok(args)
}

/// Whether `--json` is on where the first token that breaks the grammar is reached.
pub fn wants_json_before_error(table: &[Flag], order: Order, tokens: &[OsString]) -> bool {
    let mut args = Args::default();
    // What breaks the grammar is told by `parse`.
    let _ = read(&mut args, table, order, ShortHelp::Refused, tokens);
    args.is_on("json")
}

fn read(args: &mut Args, table: &[Flag], order: Order, short: ShortHelp, tokens: &[OsString]) -> Result<(), FlagError> {
    let mut rest = tokens.iter();
    while let Some(token) = rest.next() {
        if token == "--" {
            args.positionals.extend(rest.cloned());
            break;
        }
        let Some((name, attached)) = flag_parts(token)? else {
            args.positionals.push(token.clone());
            if order == Order::Leading {
                args.positionals.extend(rest.cloned());
                break;
            }
            continue;
        };
        match table.iter().find(|flag| flag.name == name) {
            Some(flag) if flag.takes == Takes::Nothing => {
                let on = attached.map_or(Ok(true), |value| boolean(flag.name, &value))?;
                args.flags.push((flag.name, if on { "true" } else { "false" }.into()));
            }
            Some(flag) => {
                let value = attached.or_else(|| rest.next().cloned());
                args.flags.push((flag.name, value.ok_or(FlagError::NoArgument { name: flag.name })?));
            }
            None if name == "h" && short == ShortHelp::Refused => return Err(FlagError::HelpRequested),
            None if name == "help" || name == "h" => {
                args.help = attached.map_or(Ok(true), |value| boolean("help", &value))?;
            }
            None => return Err(FlagError::Undefined { name }),
        }
    }
    Ok(())
}

/// Whether `--json` is on, however the rest of the line reads: errors of the line are answered in this form.
pub fn wants_json(table: &[Flag], order: Order, tokens: &[OsString]) -> bool {
    let mut on = false;
    let mut rest = own_tokens(order, table, tokens).iter();
    while let Some(token) = rest.next() {
        match flag_parts(token) {
            Ok(Some((name, attached))) if name == "json" => {
                on = attached.is_none_or(|value| boolean("json", &value).unwrap_or(false));
            }
            Ok(Some((name, None))) if takes_value(table, &name) => {
                rest.next();
            }
            _ => {}
        }
    }
    on
}

/// Whether one of gait's own tokens is literally `--explain` (contract, artifacts 2.4).
pub fn wants_explain(table: &[Flag], order: Order, tokens: &[OsString]) -> bool {
    own_tokens(order, table, tokens).iter().any(|token| token.to_str().is_some_and(|text| text.trim() == "--explain"))
}

/// The tokens that can hold flags: up to `--`, and before the first positional where that ends them.
fn own_tokens<'a>(order: Order, table: &[Flag], tokens: &'a [OsString]) -> &'a [OsString] {
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        match flag_parts(token) {
            _ if token == "--" => break,
            Ok(Some((name, None))) if takes_value(table, &name) => index += 2,
            Ok(None) if order == Order::Leading => break,
            _ => index += 1,
        }
    }
    tokens.get(..index).unwrap_or(tokens)
}

fn takes_value(table: &[Flag], name: &str) -> bool {
    table.iter().any(|flag| flag.name == name && flag.takes != Takes::Nothing)
}

/// The name of a flag and the value after its `=`, or `None` for a positional.
fn flag_parts(token: &OsStr) -> Result<Option<(String, Option<OsString>)>, FlagError> {
    let bytes = token.as_encoded_bytes();
    if bytes.len() < 2 || bytes.first() != Some(&b'-') {
        return Ok(None);
    }
    let shown = token.to_string_lossy();
    let bare = shown.strip_prefix("--").or_else(|| shown.strip_prefix('-')).unwrap_or(&shown);
    if bare.is_empty() || bare.starts_with(['-', '=']) {
        return Err(FlagError::Syntax { token: shown.into_owned() });
    }
    let Some((name, value)) = bare.split_once('=') else {
        return Ok(Some((bare.to_string(), None)));
    };
    Ok(Some((name.to_string(), Some(attached_value(token, value)))))
}

/// The bytes after the first `=` of `token`; `shown` is the same as text, where it is text.
fn attached_value(token: &OsStr, shown: &str) -> OsString {
    if token.to_str().is_some() {
        return shown.into();
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let bytes = token.as_bytes();
        let from = bytes.iter().position(|byte| *byte == b'=').map_or(bytes.len(), |at| at + 1);
        OsStr::from_bytes(bytes.get(from..).unwrap_or_default()).to_os_string()
    }
    #[cfg(not(unix))]
    shown.into()
}

fn boolean(name: &'static str, value: &OsStr) -> Result<bool, FlagError> {
    match value.to_str() {
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        _ => Err(FlagError::NotBoolean { name, value: value.to_string_lossy().into_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::JSON;

    const TABLE: &[Flag] =
        &[JSON, Flag::value("from", "<path>", ""), Flag::value("allow-tools", "<csv>", ""), Flag::switch("real", "")];

    fn tokens(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn parsed(words: &[&str]) -> Result<Args, FlagError> {
        parse(TABLE, Order::Interspersed, ShortHelp::Taken, &tokens(words))
    }

    #[test]
    fn one_and_two_dashes_are_the_same_before_and_after_positionals() {
        for line in [["-json", "x", "--from", "-p"], ["--from=-p", "x", "--json", "--json"]] {
            let args = parsed(&line).unwrap();
            assert!(args.is_on("json"));
            assert_eq!(args.text("from"), "-p");
            assert_eq!(args.positionals, tokens(&["x"]));
        }
    }

    #[test]
    fn the_last_of_a_repeated_flag_wins() {
        let args = parsed(&["--from", "a", "--from=b", "--json", "--json=f"]).unwrap();
        assert_eq!((args.text("from"), args.is_on("json")), ("b", false));
    }

    #[test]
    fn a_value_may_be_empty() {
        let args = parsed(&["--from="]).unwrap();
        assert_eq!((args.raw("from"), args.trimmed("from")), (Some(OsStr::new("")), None));
    }

    #[test]
    fn a_spaced_value_of_any_flag_is_not_a_positional() {
        let args = parsed(&["--real", "--allow-tools", "tool.search", "run_demo", "--json"]).unwrap();
        assert_eq!((args.text("allow-tools"), &args.positionals), ("tool.search", &tokens(&["run_demo"])));
    }

    #[test]
    fn nothing_after_two_dashes_is_a_flag() {
        assert_eq!(parsed(&["--", "--json"]).unwrap().positionals, tokens(&["--json"]));
        assert!(!wants_json(TABLE, Order::Interspersed, &tokens(&["--", "--json"])));
        assert!(!wants_explain(TABLE, Order::Interspersed, &tokens(&["--", "--explain"])));
    }

    #[test]
    fn a_dash_alone_is_a_positional() {
        assert_eq!(parsed(&["-"]).unwrap().positionals, tokens(&["-"]));
    }

    #[test]
    fn each_error_has_the_words_of_the_contract() {
        for (line, words) in [
            (vec!["---x"], "bad flag syntax: ---x"),
            (vec!["--=x"], "bad flag syntax: --=x"),
            (vec!["--nope=3"], "flag provided but not defined: -nope"),
            (vec!["x", "--from"], "flag needs an argument: -from"),
            (vec!["--json=maybe"], "invalid boolean value \"maybe\" for -json: parse error"),
        ] {
            assert_eq!(parsed(&line).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn json_is_found_before_and_after_a_bad_flag_but_not_as_a_value() {
        for (line, json) in [
            (vec!["--bogus", "--json"], true),
            (vec!["--json", "--bogus"], true),
            (vec!["--from", "--json"], false),
            (vec!["--json=maybe"], false),
            (vec!["-json=T", "x"], true),
        ] {
            assert_eq!(wants_json(TABLE, Order::Interspersed, &tokens(&line)), json, "{line:?}");
        }
    }

    #[test]
    fn with_leading_flags_the_first_positional_ends_them() {
        let line = tokens(&["--from", "p", "ls", "--json", "--explain", "-h"]);
        let args = parse(TABLE, Order::Leading, ShortHelp::Taken, &line).unwrap();
        assert_eq!(args.positionals, tokens(&["ls", "--json", "--explain", "-h"]));
        assert!(!args.help && !args.is_on("json"));
        assert!(!wants_json(TABLE, Order::Leading, &line) && !wants_explain(TABLE, Order::Leading, &line));
    }

    #[test]
    fn with_leading_flags_only_the_first_two_dashes_are_ours() {
        let args =
            parse(TABLE, Order::Leading, ShortHelp::Taken, &tokens(&["--json", "--", "sh", "--", "-c"])).unwrap();
        assert_eq!(args.positionals, tokens(&["sh", "--", "-c"]));
    }

    #[test]
    fn help_has_a_short_and_a_long_name() {
        assert!(parsed(&["-h"]).unwrap().help && parsed(&["x", "--help"]).unwrap().help);
    }

    #[test]
    fn the_references_grammar_refuses_short_help_and_tells_as_json_only_what_follows_it() {
        let refused = |words: &[&str]| parse(TABLE, Order::Interspersed, ShortHelp::Refused, &tokens(words));
        assert_eq!(refused(&["x", "-h"]), Err(FlagError::HelpRequested));
        assert!(refused(&["--help"]).unwrap().help);
        for (line, json) in [(["--json", "--bogus"], true), (["--bogus", "--json"], false), (["x", "--json"], true)] {
            assert_eq!(wants_json_before_error(TABLE, Order::Interspersed, &tokens(&line)), json, "{line:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf8_keeps_its_bytes() {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let line = [OsString::from_vec(b"--from=caf\xe9".to_vec())];
        let args = parse(TABLE, Order::Interspersed, ShortHelp::Taken, &line).unwrap();
        assert_eq!(args.raw("from").unwrap().as_bytes(), b"caf\xe9");
    }
}
