//! What a guarded run adds to a runpack, and the proof that it all follows from the journal
//! (contract guarded-run).

mod receipt;

pub use receipt::{
    BpfPlan, BpfProgram, CommandPlan, Counters, EngineRejected, EnvironmentPlan, GUARD_SCHEMA, Host, JournalState,
    LandlockPlan, Plan, PlanContext, PolicyPlan, Receipt, RunState, SeccompPlan, SelfTest, Signing, Variables,
};
