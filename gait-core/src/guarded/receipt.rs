//! The enforcement receipt `guard.json` (contract guarded-run 4).
//!
//! Its four objects: [`Plan`] is what was decided before the start, is hashed into the journal's
//! first line and compared between runs; [`Host`], [`RunState`] and [`Signing`] are not compared.
//! Field names and order of meaning are the contract's; members are written in canonical JSON, so
//! the order of declaration here does not matter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError};
use crate::digest::Sha256Hex;

/// The schema id of `guard.json`.
pub const GUARD_SCHEMA: &str = "gait.exec.guard";

/// `guard.json`: the common fields and four objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are documented by the contract they are named after")]
pub struct Receipt {
    pub schema_id: String,
    pub schema_version: String,
    /// Start of the run, in UTC.
    pub created_at: String,
    pub producer_version: String,
    pub run_id: String,
    pub plan: Plan,
    pub host: Host,
    pub run: RunState,
    pub signing: Signing,
}

/// What was decided before the agent started.
///
/// Fill every field, then call [`Plan::seal`], which sets `digest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// `auto`, `lsm`, `notify` or `hybrid`: what was asked for.
    pub engine_requested: String,
    /// The engine in force.
    pub engine: String,
    /// Better engines that failed, best first.
    pub engine_rejected: Vec<EngineRejected>,
    /// Layers in force, outermost first: `descriptors`, `landlock`, `seccomp`, the engine.
    pub layers: Vec<String>,
    /// Layers that are missing: a subset of `allow_degraded`.
    pub degraded: Vec<String>,
    /// Layers whose absence was permitted by flag.
    pub allow_degraded: Vec<String>,
    /// The Landlock ruleset.
    pub landlock: LandlockPlan,
    /// The seccomp filter.
    pub seccomp: SeccompPlan,
    /// The BPF programs, empty for engines without.
    pub bpf: BpfPlan,
    /// The effective policy.
    pub policy: PolicyPlan,
    /// Version of the floor.
    pub floor: String,
    /// `reference` or `raw`.
    pub capture_mode: String,
    /// The context of every intent of the run.
    pub context: PlanContext,
    /// How many environment variables the agent got, and how many were withheld.
    pub environment: EnvironmentPlan,
    /// Values of `${workspace}`, `${home}`, `${tmp}` as expanded into `policy.yaml`.
    pub variables: Variables,
    /// The command.
    pub command: CommandPlan,
    /// Digest of the canonical plan without this field; empty until [`Plan::seal`].
    pub digest: String,
}

/// An engine that was tried and not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRejected {
    /// Its name.
    pub engine: String,
    /// `load`, `attach` or `fire`: where it failed.
    pub stage: String,
    /// Name of the error, e.g. `EPERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// In words, when no errno tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The Landlock layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockPlan {
    /// ABI in force, 0 where there is none.
    pub abi: u32,
    /// Handled file system rights, e.g. `write_file`.
    pub handled_fs: Vec<String>,
    /// Handled network rights, e.g. `connect_tcp`.
    pub handled_net: Vec<String>,
    /// Scopes, e.g. `signal`.
    pub scoped: Vec<String>,
    /// Digest of the rules.
    pub rules_digest: String,
}

/// The seccomp layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompPlan {
    /// SHA-256 of the program.
    pub filter_digest: String,
    /// Number of syscalls that are sent to the supervisor.
    pub notified: u32,
    /// Number of syscalls that are denied.
    pub denied: u32,
}

/// The BPF programs of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BpfPlan {
    /// In order of attachment.
    pub programs: Vec<BpfProgram>,
    /// Digest of the object file, empty without one.
    pub object_digest: String,
    /// Size of the ring buffer, 0 without one.
    pub ring_bytes: u64,
}

/// One attached BPF program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BpfProgram {
    /// Name of the program.
    pub name: String,
    /// Where it is attached.
    pub hook: String,
    /// The kernel's tag of it.
    pub tag: String,
}

/// The effective policy and what it was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPlan {
    /// Policy digest (control 5.4) of the effective policy.
    pub digest: String,
    /// SHA-256 of `policy.yaml`.
    pub file_sha256: String,
    /// SHA-256 of the file before variables were expanded.
    pub source_sha256: String,
    /// SHA-256 of the compiled tables.
    pub tables_sha256: String,
    /// Extensions in use under which other evaluators decide otherwise, e.g. `path_doublestar`.
    pub extensions: Vec<String>,
}

/// The context that every intent of the run has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanContext {
    /// Who runs the agent.
    pub identity: String,
    /// The workspace, absolute.
    pub workspace: String,
    /// Risk class.
    pub risk_class: String,
}

/// Numbers of environment variables; never names or values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentPlan {
    /// Given to the agent.
    pub passed: u32,
    /// Withheld.
    pub removed: u32,
}

/// Variables that a policy may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the variable of its name")]
pub struct Variables {
    pub workspace: String,
    pub home: String,
    pub tmp: String,
}

/// The command as in the intent `guard.run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandPlan {
    /// Number of arguments, the program's name included.
    pub argc: u64,
    /// Digest of the canonical array of names.
    pub argv_digest: String,
    /// Name of the base name of `argv[0]`.
    pub program: String,
    /// The arguments as names, with `--capture-mode raw` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Release of the kernel.
    pub kernel: String,
    /// `x86_64`.
    pub machine: String,
    /// Active security modules, in order.
    pub lsm: Vec<String>,
    /// Digest of the boot id.
    pub boot_id_digest: String,
    /// The cgroup of the guard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
}

/// What became of the run.
///
/// While it goes on, the file on disk holds only `nonce`, `started_at`, `engine_pid` and
/// `self_test`; the rest is derived from the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are documented by the contract they are named after")]
pub struct RunState {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<bool>,
    pub nonce: String,
    pub started_at: String,
    /// Empty for a run that was sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    pub engine_pid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
    pub self_test: Vec<SelfTest>,
}

/// The journal as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the number of its name over all segments")]
pub struct JournalState {
    pub segments: u64,
    pub bytes: u64,
    pub lines: u64,
    /// Head of the last block.
    pub head: String,
}

/// What the journal adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Decision lines.
    pub decisions: u64,
    /// The same by final verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Distinct intents that were decided.
    pub distinct: u64,
    /// Sum over `lost` lines.
    pub lost: u64,
    /// The part of it that was denied.
    pub denied_unrecorded: u64,
    /// `disagreement` lines.
    pub disagreements: u64,
    /// `fork` lines.
    pub processes: u64,
}

/// What the self-test of one layer gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    /// The layer.
    pub layer: String,
    /// `fired`, `passed` or `skipped`.
    pub result: String,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The key that signs manifest, checkpoints and traces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing {
    /// SHA-256 of the public key.
    pub key_id: String,
    /// Standard base64 of its 32 bytes.
    pub public_key: String,
    /// `local`, `file` or `env`.
    pub key_source: String,
}

impl Plan {
    /// The `plan_digest`: of the canonical plan without `digest`.
    ///
    /// # Errors
    /// If the plan can't be written as JSON, which no value of this type causes.
    pub fn compute_digest(&self) -> Result<Sha256Hex, CanonicalError> {
        let mut plan = serde_json::to_value(self).map_err(CanonicalError::from)?;
        if let Some(members) = plan.as_object_mut() {
            members.remove("digest");
        }
        canonical::digest_of(&plan)
    }

    /// Sets `digest`; whoever changes the plan afterwards must call it again.
    ///
    /// # Errors
    /// As [`Plan::compute_digest`].
    pub fn seal(mut self) -> Result<Self, CanonicalError> {
        self.digest = self.compute_digest()?.to_string();
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `guard.json` of a pack made by the contract's own builder.
    const SAMPLE: &str = include_str!("../../tests/data/guarded/guard.json");

    #[test]
    fn the_plan_digest_is_that_of_the_contract() {
        let receipt: Receipt = serde_json::from_str(SAMPLE).unwrap();
        assert_eq!(receipt.plan.compute_digest().unwrap().to_string(), receipt.plan.digest);
        assert_eq!(receipt.plan.digest, "924a0ad79017091b193b7db8d040f47ab2ac8113f9953380ed34c35f9cc05e0d");
    }

    #[test]
    fn a_receipt_is_written_as_it_was_read() {
        let receipt: Receipt = serde_json::from_str(SAMPLE).unwrap();
        assert_eq!(canonical::canonical_bytes(&receipt).unwrap(), SAMPLE.as_bytes());
    }
}
