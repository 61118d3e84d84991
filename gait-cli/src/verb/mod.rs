//! The verbs: one file each, registered in [`VERBS`].
//!
//! To add a verb: write its file with a `pub static VERB: Verb`, add `mod` and one line to [`VERBS`], and an entry with
//! examples and exit codes to `crate::manual`. Usage, help, dispatch, `--json` errors, event logs, completions and manual
//! pages follow from these; a verb that is not in the table is an unknown command. Then
//! `UPDATE_DOCS=1 INSTA_UPDATE=always cargo test -p gait-cli --test pages` writes docs/cli.md and the snapshots of help.

mod approve;
mod completions;
mod demo;
mod doctor;
mod doctor_adoption;
mod exec;
mod gate_eval;
mod guard_decrypt;
mod guard_encrypt;
mod guard_pack;
mod guard_retain;
mod guard_verify;
mod incident_pack;
mod keys_export_public;
mod keys_init;
mod keys_rotate;
mod keys_show;
mod man;
mod mcp_bridge;
mod mcp_proxy;
mod mcp_serve;
mod migrate;
mod policy_explain;
mod policy_fmt;
mod policy_simulate;
mod policy_test;
mod policy_validate;
mod registry_install;
mod registry_list;
mod registry_verify;
mod regress_bootstrap;
mod regress_init;
mod regress_run;
mod run_diff;
mod run_inspect;
mod run_receipt;
mod run_record;
mod run_reduce;
mod run_replay;
mod run_seal;
mod scout_diff;
mod scout_signal;
mod scout_snapshot;
mod trace_verify;
mod verify;
mod verify_chain;

pub use verify::{Completeness, Demand, Verdict};

use crate::failure::Failure;
use crate::flags::{Args, Flag, Order};
use crate::render::{Form, Outcome};
use std::ffi::OsString;

/// All verbs in the order of the usage block.
static VERBS: &[&Verb] = &[
    &demo::VERB,
    &exec::VERB,
    &doctor::VERB,
    &doctor_adoption::VERB,
    &verify::VERB,
    &verify_chain::VERB,
    &run_record::VERB,
    &run_replay::VERB,
    &run_diff::VERB,
    &run_receipt::VERB,
    &run_reduce::VERB,
    &run_seal::VERB,
    &run_inspect::VERB,
    &migrate::VERB,
    &mcp_proxy::VERB,
    &mcp_bridge::VERB,
    &mcp_serve::VERB,
    &regress_init::VERB,
    &regress_run::VERB,
    &regress_bootstrap::VERB,
    &scout_snapshot::VERB,
    &scout_diff::VERB,
    &scout_signal::VERB,
    &policy_test::VERB,
    &policy_validate::VERB,
    &policy_fmt::VERB,
    &policy_explain::VERB,
    &policy_simulate::VERB,
    &gate_eval::VERB,
    &approve::VERB,
    &trace_verify::VERB,
    &keys_init::VERB,
    &keys_rotate::VERB,
    &keys_show::VERB,
    &keys_export_public::VERB,
    &guard_pack::VERB,
    &guard_verify::VERB,
    &guard_retain::VERB,
    &guard_encrypt::VERB,
    &guard_decrypt::VERB,
    &incident_pack::VERB,
    &registry_install::VERB,
    &registry_list::VERB,
    &registry_verify::VERB,
    &completions::VERB,
    &man::VERB,
];

/// First words that have verbs below them, with the line of their own `--explain`.
pub static GROUPS: &[Group] = &[
    Group {
        word: "gate",
        explain: "Evaluate structured tool intents against policy, enforce approval flows, and emit signed trace records.",
    },
    Group { word: "keys", explain: "Make, replace, show and export the keys that sign runs on this machine." },
    Group { word: "policy", explain: "Run deterministic policy validation workflows against intent fixtures." },
    Group { word: "trace", explain: "Verify signed gate trace records for offline auditability." },
    Group {
        word: "regress",
        explain: "Turn runpacks into deterministic regression fixtures and execute graders for CI-safe drift detection.",
    },
    Group {
        word: "run",
        explain: "Work with runpacks: record an artifact from normalized run data, replay deterministically in stub \
                  mode, and diff runs with stable output.",
    },
    Group {
        word: "scout",
        explain: "Discover tool inventory coverage, compute policy coverage metrics, and diff snapshots \
                  deterministically.",
    },
    Group {
        word: "guard",
        explain: "Build, verify, retain, and optionally encrypt evidence artifacts for audit and incident workflows.",
    },
    Group {
        word: "mcp",
        explain: "Proxy tool-call protocol payloads through Gate policy evaluation and emit signed traces with optional \
                  exports.",
    },
    Group {
        word: "incident",
        explain: "Build an incident evidence pack from a runpack and a deterministic artifact time window.",
    },
    Group {
        word: "registry",
        explain: "Install, list, and verify signed registry policy packs with allowlisted hosts, cache pinning, and \
                  offline checks.",
    },
];

/// One verb: everything there is to know about it.
#[derive(Debug)]
pub struct Verb {
    /// The words that call it, e.g. `["run", "diff"]`.
    pub path: &'static [&'static str],
    /// What stands before `error:` in text answers.
    pub label: &'static str,
    /// The one line of `--explain`.
    pub explain: &'static str,
    /// The positionals of the usage line, e.g. `<left> <right>`; the verb checks their number.
    pub positionals: &'static str,
    /// All flags but `--help` and `--explain`.
    pub flags: &'static [Flag],
    pub order: Order,
    pub help: Help,
    /// Paragraphs at the end of the help page.
    pub notes: &'static [&'static str],
    pub run: fn(&Call) -> Result<Outcome, Failure>,
}

/// What `--help` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// Usage, explanation and all flags.
    Page,
    /// The usage block alone, where the contract's golden cases compare it line by line.
    UsageOnly,
    /// That, and the grammar of flags is the reference's where golden cases compare it: `-h` is an error, and an
    /// error of a flag is told as JSON only if `--json` stands before it.
    Reference,
}

/// A first word that is no verb by itself.
#[derive(Debug)]
pub struct Group {
    pub word: &'static str,
    pub explain: &'static str,
}

/// One call of a verb.
#[derive(Debug)]
pub struct Call {
    pub args: Args,
    pub form: Form,
}

/// Groups whose usage block golden cases compare line by line, and their verbs that it does not have.
/// `gait <group> --help` and `gait help` show them.
const NOT_IN_USAGE: &[(&str, &[&str])] =
    &[("policy", &["validate", "fmt", "explain", "simulate"]), ("mcp", &["serve"])];

impl Verb {
    /// Whether the usage block that answers a wrong call of its group shows it.
    pub fn is_in_group_usage(&self) -> bool {
        let [group, word] = self.path else { return true };
        !NOT_IN_USAGE.iter().any(|(hiding, words)| hiding == group && words.contains(word))
    }

    /// Positionals before the flags in the usage line.
    pub fn positionals_first(&self) -> Option<&&'static str> {
        Some(&self.positionals).filter(|words| self.order == Order::Interspersed && !words.is_empty())
    }

    /// Positionals after the flags, where they end them.
    pub fn positionals_last(&self) -> Option<&&'static str> {
        Some(&self.positionals).filter(|words| self.order == Order::Leading && !words.is_empty())
    }
}

/// All verbs in the order of the usage block.
pub fn verbs() -> impl Iterator<Item = &'static Verb> {
    VERBS.iter().copied()
}

impl Call {
    /// All positionals as text.
    ///
    /// # Errors
    /// One of them is not UTF-8.
    pub fn words(&self) -> Result<Vec<&str>, Failure> {
        let not_text = |word: &OsString| Failure::invalid(format!("not valid UTF-8: {}", word.to_string_lossy()));
        self.args.positionals.iter().map(|word| word.to_str().ok_or_else(|| not_text(word))).collect()
    }
}
