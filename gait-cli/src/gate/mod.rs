//! What a decision at a tool boundary needs from this machine: files, environment, commands, locks.
//!
//! The decision itself is made in `gait_core::gate`; `verb::gate_eval` puts the steps in order, and
//! `gait_core::mcp::judge` does for sessions.

pub mod approvals;
pub mod broker;
mod command;
pub mod flags;
pub mod rate_limits;

use crate::failure::Failure;
use gait_core::file::{self, PathError};
use std::path::Path;

/// Longest intent that is read.
pub const MAX_INTENT_BYTES: u64 = 64 << 20;
/// Longest token that is read.
pub const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// Writes a record to `path`, whose folders are made; `what` is its name in messages.
///
/// # Errors
/// It can't be written: exit 1.
pub fn write_record(path: &Path, text: &str, what: &str) -> Result<(), Failure> {
    write_by(file::write_atomic, path, text, what)
}

/// As [`write_record`] for a trace, which the contract has written plainly (control 1.4): waiting twice for the disk would
/// take longer than all the rest of a decision.
///
/// # Errors
/// It can't be written: exit 1.
pub fn write_trace(path: &Path, text: &str) -> Result<(), Failure> {
    write_by(file::write_whole, path, text, "trace record")
}

fn write_by(
    write: fn(&Path, &[u8]) -> Result<(), PathError>,
    path: &Path,
    text: &str,
    what: &str,
) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new(""));
    file::create_folders(folder)
        .and_then(|()| write(path, text.as_bytes()))
        .map_err(|error| Failure::io(format!("write {what}: {error}")))
}
