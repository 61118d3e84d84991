//! The flag grammar of every verb: one table, one parser, the exact words of the contract.
//!
//! Why not a crate: docs/decisions/0001-own-flag-parser.md.

mod nearest;
mod parse;

pub use nearest::nearest;
pub use parse::{Args, FlagError, ShortHelp, parse, wants_explain, wants_json, wants_json_before_error};

/// One flag of a verb.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The name without dashes.
    pub name: &'static str,
    pub takes: Takes,
    /// One line for `--help`.
    pub help: &'static str,
    pub shown: Shown,
    /// What counts when the flag is not given, where that can be said in a word.
    pub default: Option<&'static str>,
}

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or `=true`/`=false`.
    Nothing,
    /// A value; the string stands for it in the usage line, e.g. `<path>` or `standard|strict`.
    Value(&'static str),
}

/// How a flag appears in the usage line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// `[--flag <v>]`
    Optional,
    /// `--flag <v>`
    Required,
    /// `[--flag <v>|--next <v>]`: only one of this and the next flag may be given.
    OrNext,
    /// As [`Shown::Optional`], in the usage lines of the verb's group and of its own page.
    GroupOnly,
    /// As [`Shown::Optional`], in the usage line of the verb's own page alone.
    PageOnly,
    /// As [`Shown::OrNext`], in the usage line of the verb's own page alone.
    PageOrNext,
    /// Not at all: the usage line is one that the contract's golden cases compare. Help pages still list it.
    Hidden,
}

impl Flag {
    /// A flag without a value.
    pub const fn switch(name: &'static str, help: &'static str) -> Self {
        Flag { name, takes: Takes::Nothing, help, shown: Shown::Optional, default: None }
    }

    /// A flag with a value, for which `stands` stands in the usage line.
    pub const fn value(name: &'static str, stands: &'static str, help: &'static str) -> Self {
        Flag { name, takes: Takes::Value(stands), help, shown: Shown::Optional, default: None }
    }

    /// The same flag, shown as required. The verb itself checks that it is there.
    pub const fn required(self) -> Self {
        Flag { shown: Shown::Required, ..self }
    }

    /// The same flag, left out of the usage line of all verbs.
    pub const fn in_group(self) -> Self {
        Flag { shown: Shown::GroupOnly, ..self }
    }

    /// The same flag, in the usage line of the verb's own page alone.
    pub const fn on_page(self) -> Self {
        let shown = match self.shown {
            Shown::OrNext => Shown::PageOrNext,
            _ => Shown::PageOnly,
        };
        Flag { shown, ..self }
    }

    /// The same flag, left out of the usage line.
    pub const fn hidden(self) -> Self {
        Flag { shown: Shown::Hidden, ..self }
    }

    /// The same flag, shown with what counts when it is not given. The verb itself sees to that.
    pub const fn default(self, word: &'static str) -> Self {
        Flag { default: Some(word), ..self }
    }

    /// The flag and what stands for its value: `--privacy full|metadata`.
    pub fn words(&self) -> String {
        match self.takes {
            Takes::Nothing => format!("--{}", self.name),
            Takes::Value(stands) => format!("--{} {stands}", self.name),
        }
    }

    /// What it does and, where there is one, its default.
    pub fn about(&self) -> String {
        match self.default {
            None => self.help.into(),
            Some(default) => format!("{} (default: {default})", self.help),
        }
    }

    /// The values it can have, where these are a few words.
    pub fn choices(&self) -> Vec<&'static str> {
        match self.takes {
            Takes::Value(stands) if stands.contains('|') && !stands.contains('<') => stands.split('|').collect(),
            _ => Vec::new(),
        }
    }

    /// The same flag, shown as an alternative to the one after it.
    pub const fn or_next(self) -> Self {
        Flag { shown: Shown::OrNext, ..self }
    }
}

/// `--json`, which all verbs have.
pub const JSON: Flag = Flag::switch("json", "print one line of JSON instead of text");

/// `--explain` and `--help`, which all verbs have without listing them.
pub const EXPLAIN: Flag = Flag::switch("explain", "print one line on what this command does");

/// `--public-key`, `--public-key-env`, `--private-key` and `--private-key-env` of commands that verify.
pub const VERIFY_KEYS: [Flag; 4] = [
    Flag::value("public-key", "<path>", "file with the public key (base64 of 32 bytes)"),
    Flag::value("public-key-env", "<VAR>", "environment variable with the public key"),
    Flag::value("private-key", "<path>", "file with the private key, whose public half verifies"),
    Flag::value("private-key-env", "<VAR>", "environment variable with the private key"),
];

/// `--private-key` and `--private-key-env` of commands that sign.
pub const SIGNING_KEYS: [Flag; 2] = [
    Flag::value(
        "private-key",
        "<path>",
        "file with the signing key (base64 of seed and public key, as gait keys init makes it)",
    )
    .or_next(),
    Flag::value("private-key-env", "<VAR>", "environment variable with the signing key"),
];

/// Where flags may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Before, between and after positionals, up to `--`.
    Interspersed,
    /// Before the first positional only: what follows belongs to another program.
    Leading,
}
