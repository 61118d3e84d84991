//! The manual: what a page says of a verb beyond its flags, which stand in the table of verbs.
//!
//! Help pages, manual pages and `docs/cli.md` are all made from these entries and that table. A verb without an entry
//! still has a help page; a test names it.

mod artifacts;
mod boundary;
mod gate;
mod protocol;

use crate::verb::Verb;

/// What the manual says of one verb.
#[derive(Debug)]
pub struct Entry {
    /// The words that call the verb.
    pub path: &'static [&'static str],
    pub examples: &'static [Example],
    /// Exit codes that this verb gives, with what they mean here: a number, or words where it is not gait's own.
    pub exits: &'static [(&'static str, &'static str)],
    /// Where to read on: other verbs as they are typed, and pages of the documentation.
    pub see: &'static [&'static str],
}

/// A command line as it is typed, and what it does.
#[derive(Debug)]
pub struct Example {
    pub line: &'static str,
    pub what: &'static str,
}

const fn example(line: &'static str, what: &'static str) -> Example {
    Example { line, what }
}

/// All entries.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    artifacts::ENTRIES.iter().chain(boundary::ENTRIES).chain(gate::ENTRIES).chain(protocol::ENTRIES)
}

/// What the manual says of `verb`.
pub fn of(verb: &Verb) -> Option<&'static Entry> {
    entries().find(|entry| entry.path == verb.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::flags::{Flag, Order, ShortHelp, parse};
    use crate::verb::verbs;
    use std::ffi::OsString;
    use std::path::Path;

    #[test]
    fn every_verb_is_in_the_manual_and_nothing_else_is() {
        for verb in verbs() {
            let entry = of(verb).unwrap_or_else(|| panic!("add an entry for {:?} to src/manual", verb.path));
            assert!(!entry.examples.is_empty() && !entry.exits.is_empty() && !entry.see.is_empty(), "{:?}", verb.path);
        }
        assert_eq!(entries().count(), verbs().count());
    }

    /// The verb that an example calls, and the tokens after its words. Shell quotes are not needed in examples.
    fn called(line: &str) -> Option<(&'static Verb, Vec<OsString>)> {
        let tokens: Vec<&str> = line.strip_prefix("gait ")?.split(' ').collect();
        let verb = verbs().filter(|verb| tokens.starts_with(verb.path)).max_by_key(|verb| verb.path.len())?;
        Some((verb, tokens[verb.path.len()..].iter().map(OsString::from).collect()))
    }

    #[test]
    fn every_example_calls_its_verb_with_flags_that_it_has() {
        for entry in entries() {
            for example in entry.examples {
                let own = example.line.split(" | ").next().unwrap().split(" > ").next().unwrap();
                let (verb, tokens) = called(own).unwrap_or_else(|| panic!("{}", example.line));
                assert_eq!(verb.path, entry.path, "{}", example.line);
                parse(verb.flags, verb.order, ShortHelp::Taken, &tokens)
                    .unwrap_or_else(|error| panic!("{}: {error}", example.line));
            }
        }
    }

    #[test]
    fn numbers_of_exits_are_those_of_gait_in_order() {
        for entry in entries() {
            let codes: Vec<u8> = entry.exits.iter().filter_map(|(code, _)| code.parse().ok()).collect();
            assert!(codes.iter().all(|code| Exit::from_code(*code).is_some()), "{:?}", entry.path);
            assert!(codes.is_sorted() && codes.contains(&0) && codes.contains(&6), "{:?}", entry.path);
        }
    }

    #[test]
    fn where_to_read_on_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for place in entries().flat_map(|entry| entry.see) {
            let known = called(place).is_some_and(|(_, rest)| rest.is_empty()) || root.join(place).is_file();
            assert!(known, "{place}");
        }
    }

    #[test]
    fn a_default_is_said_once() {
        let flags: Vec<&Flag> = verbs().flat_map(|verb| verb.flags).collect();
        for flag in flags {
            assert!(!(flag.default.is_some() && flag.help.ends_with(')')), "--{}: {}", flag.name, flag.help);
        }
        // Where a positional ends the flags there are none, but for the command line of an agent or a server.
        let has_none =
            |verb: &&Verb| verb.positionals.is_empty() || [&["exec"][..], &["mcp", "serve"]].contains(&verb.path);
        assert!(verbs().filter(|verb| verb.order == Order::Leading).all(|verb| has_none(&verb)));
    }
}
