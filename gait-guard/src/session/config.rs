//! What a session is started with, and what it comes to.

use std::path::PathBuf;

use gait_core::guarded::{Host, Plan, SelfTest};
use gait_core::intent::Intent;
use gait_core::journal::{EngineName, WriteError};
use gait_core::policy::Verdict;
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;

use super::folder::FolderError;
use crate::event::Action;
use crate::intent::Translator;

/// What the policy says about one action.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are those of a decision (contract guarded-run 2.4)")]
pub struct Said {
    pub verdict: Verdict,
    pub reason_codes: Vec<String>,
    pub violations: Vec<String>,
    pub matched_rule: Option<String>,
}

/// One policy in its two forms, which must agree.
pub trait Rules: Send + Sync {
    /// The reference evaluator's word on the intent.
    fn reference(&self, intent: &Intent) -> Said;

    /// The compiled policy's verdict on the action, which is what an engine enforces.
    fn compiled(&self, action: &Action<'_>) -> Verdict;
}

/// Whether denials of the policy are enforced. The floor always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// As decided.
    Enforce,
    /// What the policy would deny is let through and recorded as `dry_run`.
    Simulate,
}

/// Whether argument vectors are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureMode {
    /// Digests of them only.
    Reference,
    /// The arguments themselves too, in `exec` lines and the plan.
    Raw,
}

/// Where a run keeps its files. All absolute and resolved.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// `$HOME/.gait`: journal and keys. Closed to the agent.
    pub state: PathBuf,
    /// Where the runpack goes, usually `gait-out`. The agent can't change it.
    pub out: PathBuf,
    /// Files that the agent can read as the policy says but not change: policy file, gait's own program.
    pub sealed: Vec<PathBuf>,
    /// Files and folders that are closed to the agent as `state` is: a signing key that lies elsewhere.
    pub closed: Vec<PathBuf>,
}

/// All that a session needs to know before the agent starts.
pub struct SessionConfig {
    /// `[A-Za-z0-9_-]+`, never used before on this machine.
    pub run_id: String,
    /// Goes into every record.
    pub producer_version: String,
    /// Start of the run.
    pub started_at: Timestamp,
    /// Holds the context of the run.
    pub translator: Translator,
    /// The policy, twice.
    pub rules: Box<dyn Rules>,
    /// The effective policy as text, variables expanded.
    pub policy_yaml: Vec<u8>,
    /// The argument vector of the command.
    pub command: Vec<Vec<u8>>,
    /// Signs checkpoints, traces and the manifest.
    pub key: PrivateKey,
    /// `local`, `file` or `env`.
    pub key_source: String,
    /// With its digest ([`Plan::seal`]) and the policy's.
    pub plan: Plan,
    /// The machine.
    pub host: Host,
    /// What the self-tests of the layers gave.
    pub self_test: Vec<SelfTest>,
    /// Which engine decides.
    pub engine: EngineName,
    /// Whether the policy is enforced.
    pub enforcement: Enforcement,
    /// Whether argument vectors are recorded.
    pub capture: CaptureMode,
    /// Where files go.
    pub dirs: Dirs,
}

/// Why a session did not start. Nothing must be launched then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The id can't be part of a file name and a ticket.
    #[error("run id `{run_id}` is not made of letters, digits, `_` and `-`")]
    RunId {
        /// The id.
        run_id: String,
    },
    /// The plan has no digest, or not that of the policy it names.
    #[error("the plan is not finished: {what}")]
    Plan {
        /// What is missing.
        what: &'static str,
    },
    /// The folder of the run.
    #[error("the journal's folder can't be made")]
    Folder(#[from] FolderError),
    /// The first line.
    #[error("the journal can't be begun")]
    Journal(#[from] WriteError),
    /// Anything else of the operating system.
    #[error("{what}")]
    Io {
        /// What could not be had.
        what: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Signalled(u8),
}

/// Why a session can't go on: every further action is denied and the agent has to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Compiled policy and reference evaluator did not agree.
    Disagreement,
    /// The journal could not be written.
    Disk,
    /// The guard itself failed: an engine died, an invariant broke.
    GuardError,
    /// Programs in the kernel denied actions because there was no room for their records.
    Lost,
}
