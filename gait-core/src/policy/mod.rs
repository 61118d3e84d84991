//! The Gate policy: parse, normalise, digest, evaluate, compile.
//!
//! [`Policy::parse`] reads the YAML a person wrote and gives the normalised policy.

pub mod compile;
mod model;
pub mod pattern;

pub use model::{Dataflow, Endpoint, FailClosed, Match, Policy, Position, RateLimit, RequiredField, Rule, Verdict};
