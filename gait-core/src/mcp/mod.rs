//! Tool calls of other protocols, decided at the boundary (control 13).
//!
//! Two ways in. A single recorded call, in the form of one of four frameworks, becomes an intent
//! ([`adapter`], [`call`]) and a verdict ([`judge`]). A live session of the Model Context Protocol passes
//! through [`session`]: bytes become frames ([`frame`]), frames become messages ([`message`]), and each
//! `tools/call` is judged before its very bytes go on. No I/O in here: who owns the pipes asks what to do
//! with a line and does it.

pub mod adapter;
pub mod answer;
pub mod call;
pub mod export;
pub mod frame;
pub mod judge;
pub mod message;
pub mod method;
pub mod record;
pub mod salvage;
pub mod session;
pub mod skim;
pub mod strict;
pub mod target;
