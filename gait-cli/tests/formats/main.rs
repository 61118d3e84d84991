//! `schemas/v1` against what it describes: the contract's golden files, everything that gait writes, gait's own
//! types, and documents that must be refused.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod document;
mod golden;
mod place;
mod produced;
mod refused;
mod schema;
mod strict;
mod types;
