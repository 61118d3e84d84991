//! The Gate policy: parse, normalise, digest, evaluate, compile.
pub mod compile;
