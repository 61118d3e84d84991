//! What a guarded run adds to a runpack, and the proof that it all follows from the journal
//! (contract guarded-run).

mod derive;
mod lines;
mod pack;
mod presign;
mod receipt;
pub mod redecide;
pub mod simulate;
mod threads;
pub mod trust;
pub mod verify;

pub use derive::{Derivation, Records};
pub use pack::{GuardedPackError, PackSource, Packed, write_guarded_pack};
pub use presign::{Presignature, Presigned, Presigner};

pub use receipt::{
    BpfPlan, BpfProgram, CommandPlan, Counters, EngineRejected, EnvironmentPlan, GUARD_SCHEMA, Host, JournalState,
    LandlockPlan, Plan, PlanContext, PolicyPlan, Receipt, RunState, SeccompPlan, SelfTest, Signing, Variables,
};

/// `env.runtime` of a guarded run.
pub const RUNTIME: &str = "gait-exec";

/// Name of the receipt.
pub const GUARD: &str = "guard.json";
