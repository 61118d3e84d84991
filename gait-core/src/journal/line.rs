//! The lines of a journal as types (contract guarded-run 3.1).
//!
//! `seq`, `t` and `type` are the same for all and are kept outside of these bodies. A line of a type
//! that this version knows must hold exactly the members listed here: an unknown one could carry a
//! meaning that a reader would ignore.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Sha256Hex;
use crate::policy::Verdict;
use crate::signature::Signature;

/// What a line says, without `seq` and `t`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is the line type of its name")]
pub enum Body {
    Open(Box<Open>),
    Fork(Fork),
    Exec(Exec),
    Exit(Exit),
    Define(Box<Define>),
    Hold(Hold),
    Decision(DecisionLine),
    Disagreement(Disagreement),
    Lost(Lost),
    Checkpoint(Box<Checkpoint>),
    Close(Close),
    Seal(Seal),
    /// A type that this version does not know: chained and numbered like the others.
    Unknown(String),
}

/// Line 1: which run this is, under which key, policy and plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "fields are documented by the contract they are named after")]
pub struct Open {
    pub schema_id: String,
    pub schema_version: String,
    pub producer_version: String,
    pub run_id: String,
    /// 32 hex digits, random.
    pub nonce: String,
    /// Start of the run, UTC.
    pub started_at: String,
    pub key_id: String,
    /// Standard base64 of 32 bytes.
    pub public_key: String,
    pub policy_digest: Sha256Hex,
    pub plan_digest: Sha256Hex,
    /// 1..=1024.
    pub checkpoint_every: u64,
    /// The full intent of `guard.run`.
    pub intent: Value,
}

/// A process is seen for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// Number in this run, from 1.
    pub proc: u64,
    /// Number of its parent, 0 for the guard.
    pub parent: u64,
    /// The kernel's number of it.
    pub pid: u64,
    /// The kernel's start time of it, in nanoseconds since boot.
    pub start: u64,
}

/// An exec has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Who.
    pub proc: u64,
    /// Name of the file that runs now.
    pub file: String,
    /// Number of arguments.
    pub argc: u64,
    /// Digest of the canonical array of names.
    pub argv_digest: Sha256Hex,
    /// The names, in raw mode, up to 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// True if `argv` was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv_cut: Option<bool>,
}

/// A process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// Which.
    pub proc: u64,
    /// Its exit code, 0 if a signal ended it.
    pub code: u64,
    /// The signal, 0 if none did.
    pub signal: u64,
}

/// One distinct combination of intent, decision, engine and error, before the first line that uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Define {
    /// Its number, from 1 without gap.
    pub def: u64,
    /// The full intent (contract 2.2).
    pub intent: Value,
    /// The digest of it.
    pub intent_digest: Sha256Hex,
    /// What was decided.
    pub decision: Decided,
    /// Which engine did it.
    pub engine: EngineName,
    /// Name of the error that the agent got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
}

/// A decision as results hold it (contract 2.4), plus `approval_ref`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// The final verdict.
    pub verdict: Verdict,
    /// What that came to.
    pub enforced: Enforced,
    /// Who decided.
    pub source: Source,
    /// Sorted, unique.
    pub reason_codes: Vec<String>,
    /// Sorted, unique.
    pub violations: Vec<String>,
    /// Name of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_rule: Option<String>,
    /// What the policy said, when the final verdict differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_verdict: Option<Verdict>,
    /// The approval that was used; not in results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_ref: Option<String>,
}

/// Whether the action happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is spelt as in the contract")]
pub enum Enforced {
    Allow,
    Deny,
}

impl Enforced {
    /// What a final verdict comes to: `allow` and `dry_run` let the action happen.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow | Verdict::DryRun => Self::Allow,
            Verdict::Block | Verdict::RequireApproval => Self::Deny,
        }
    }
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is spelt as in the contract")]
pub enum Source {
    Policy,
    Floor,
    Engine,
}

/// The engines and layers that can enforce a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is spelt as in the contract")]
pub enum EngineName {
    Lsm,
    Notify,
    Hybrid,
    Seccomp,
    Landlock,
}

impl EngineName {
    /// Whether it decides in the kernel, without asking the guard first.
    pub fn is_of_kernel(self) -> bool {
        matches!(self, Self::Lsm | Self::Hybrid)
    }
}

/// A call waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Its number, from 1 without gap.
    pub hold: u64,
    /// Of the action that waits.
    pub intent_digest: Sha256Hex,
    /// Who waits.
    pub proc: u64,
}

/// An action was decided as defined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionLine {
    /// The definition.
    pub def: u64,
    /// Who.
    pub proc: u64,
    /// The thread, if it is not the first of its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<u64>,
    /// The hold that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<u64>,
    /// The address behind a domain name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What may be wrong with the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
}

/// Why a record may name another object than the one that was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribution {
    /// Hybrid engine: a descriptor table shared between threads can be raced.
    SharedFdTable,
}

/// Compiled policy and reference evaluator do not agree: the run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disagreement {
    /// What the reference says.
    pub def: u64,
    /// What the compiled policy said.
    pub kernel: Verdict,
}

/// Decisions without a record of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// Whether they were denied or passed.
    pub enforced: LostOutcome,
    /// Where the records were lost.
    #[serde(rename = "where")]
    pub place: String,
}

/// What happened to actions whose record was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is spelt as in the contract")]
pub enum LostOutcome {
    Deny,
    Allow,
}

/// The signed end of a block (contract 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "fields are documented by the contract they are named after")]
pub struct Checkpoint {
    pub block: u64,
    pub first: u64,
    pub last: u64,
    pub prev: Sha256Hex,
    pub head: Sha256Hex,
    pub run_id: String,
    pub nonce: String,
    pub decisions: u64,
    pub verdicts: Totals,
    pub lost: u64,
    #[serde(rename = "final")]
    pub is_final: bool,
    pub signature: Signature,
}

/// Decisions by final verdict; a verdict that never was is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each is the number of decisions with the verdict of its name")]
pub struct Totals {
    #[serde(default, skip_serializing_if = "is_zero")]
    pub allow: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub block: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dry_run: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub require_approval: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Totals {
    /// Counts one more decision.
    pub fn add(&mut self, verdict: Verdict) {
        *self.slot(verdict) += 1;
    }

    /// How many decisions had this verdict.
    pub fn of(&self, verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Allow => self.allow,
            Verdict::Block => self.block,
            Verdict::DryRun => self.dry_run,
            Verdict::RequireApproval => self.require_approval,
        }
    }

    fn slot(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::Allow => &mut self.allow,
            Verdict::Block => &mut self.block,
            Verdict::DryRun => &mut self.dry_run,
            Verdict::RequireApproval => &mut self.require_approval,
        }
    }
}

/// The guard ends the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// Why the run ended.
    pub reason: CloseReason,
    /// Whether every decision has its record.
    pub complete: bool,
    /// Of the command, 0 if a signal ended it.
    pub exit_code: u64,
    /// The signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u64>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is spelt as in the contract")]
pub enum CloseReason {
    Exit,
    Signal,
    Disagreement,
    Lost,
    Disk,
    GuardError,
}

/// Somebody else ends the journal of a guard that was killed (contract 3.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// `seq` of the guard's last checkpoint.
    pub attested: u64,
    /// Lines after it, before this one.
    pub unattested: u64,
    /// Length of the half line that was dropped.
    pub torn_bytes: u64,
    /// When.
    pub sealed_at: String,
}

impl Body {
    /// The value of `type`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Open(_) => "open",
            Self::Fork(_) => "fork",
            Self::Exec(_) => "exec",
            Self::Exit(_) => "exit",
            Self::Define(_) => "define",
            Self::Hold(_) => "hold",
            Self::Decision(_) => "decision",
            Self::Disagreement(_) => "disagreement",
            Self::Lost(_) => "lost",
            Self::Checkpoint(_) => "checkpoint",
            Self::Close(_) => "close",
            Self::Seal(_) => "seal",
            Self::Unknown(kind) => kind,
        }
    }

    /// The members of the line besides `seq`, `t` and `type`.
    ///
    /// # Errors
    /// Only for a value that JSON can't hold, which no line has.
    pub(super) fn members(&self) -> serde_json::Result<Value> {
        match self {
            Self::Open(x) => serde_json::to_value(x),
            Self::Fork(x) => serde_json::to_value(x),
            Self::Exec(x) => serde_json::to_value(x),
            Self::Exit(x) => serde_json::to_value(x),
            Self::Define(x) => serde_json::to_value(x),
            Self::Hold(x) => serde_json::to_value(x),
            Self::Decision(x) => serde_json::to_value(x),
            Self::Disagreement(x) => serde_json::to_value(x),
            Self::Lost(x) => serde_json::to_value(x),
            Self::Checkpoint(x) => serde_json::to_value(x),
            Self::Close(x) => serde_json::to_value(x),
            Self::Seal(x) => serde_json::to_value(x),
            Self::Unknown(_) => Ok(Value::Object(Map::new())),
        }
    }

    /// A body of type `kind` from the other members.
    ///
    /// # Errors
    /// A member is missing, unknown or of the wrong type.
    pub(super) fn parse(kind: &str, members: Value) -> serde_json::Result<Self> {
        fn read<T: for<'de> Deserialize<'de>>(members: Value) -> serde_json::Result<T> {
            serde_json::from_value(members)
        }
        Ok(match kind {
            "open" => Self::Open(read(members)?),
            "fork" => Self::Fork(read(members)?),
            "exec" => Self::Exec(read(members)?),
            "exit" => Self::Exit(read(members)?),
            "define" => Self::Define(read(members)?),
            "hold" => Self::Hold(read(members)?),
            "decision" => Self::Decision(read(members)?),
            "disagreement" => Self::Disagreement(read(members)?),
            "lost" => Self::Lost(read(members)?),
            "checkpoint" => Self::Checkpoint(read(members)?),
            "close" => Self::Close(read(members)?),
            "seal" => Self::Seal(read(members)?),
            other => Self::Unknown(other.to_owned()),
        })
    }
}
