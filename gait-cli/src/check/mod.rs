//! What `gait doctor` looks at, and what it says of it (contract, control 15.5).

pub mod keys;
pub mod state;

use serde::Serialize;
use std::path::Path;

/// What one look found.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What is looked at.
    pub name: &'static str,
    /// `pass`, `warn` or `fail`.
    pub status: &'static str,
    /// What was found.
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix_command: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub non_fixable: bool,
}

impl Check {
    pub fn pass(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: "pass", message: message.into(), fix_command: None, non_fixable: false }
    }

    pub fn warn(name: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: "warn", fix_command: Some(fix.into()), ..Self::pass(name, message) }
    }

    pub fn fail(name: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: "fail", fix_command: Some(fix.into()), ..Self::pass(name, message) }
    }
}

/// `path` as one word of a shell.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
