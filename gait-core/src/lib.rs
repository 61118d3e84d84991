//! The portable core of gait: what an agent tried to do ([`intent`]), what the policy says about it
//! ([`policy`]), the signed record of that verdict ([`trace`]) and the run as one file ([`runpack`]).
//!
//! Nothing in here makes a syscall of its own choosing: time, keys and files come in as arguments,
//! and nothing prints. So the same code verifies a run on any machine.
#![forbid(unsafe_code)]

pub mod approval;
pub mod broker;
pub mod canonical;
pub mod digest;
pub mod duration;
pub mod evidence;
pub mod file;
pub mod gate;
pub mod guarded;
pub mod inspect;
pub mod intent;
pub mod journal;
pub mod json;
pub mod mcp;
pub mod name;
mod overlay;
pub mod parts;
pub mod platform;
pub mod policy;
pub mod rate_limit;
pub mod registry;
pub mod regress;
pub mod runpack;
pub mod scout;
pub mod signature;
mod splice;
pub mod text;
pub mod time;
pub mod trace;
pub mod weight;

/// The `producer_version` of records whose producer says nothing else (contract, artifacts 3.1).
pub const PRODUCER_VERSION: &str = "0.0.0-dev";
