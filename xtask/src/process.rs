//! Other programs, started by a task.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Nothing is wrong with what a task is about: this machine can't do it. The exit code is 3.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Runs it to its end.
///
/// # Errors
/// It did not start, or failed; with what it said.
pub fn succeed(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// What it printed.
///
/// # Errors
/// As [`succeed`].
pub fn output(command: &mut Command) -> Result<String> {
    let ended = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    ensure!(ended.status.success(), "{command:?}: {:?}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// Whether a program of this name is in PATH, or where an ordinary user's PATH does not look.
pub fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into));
    folders.into_iter().any(|folder| folder.join(program).is_file())
}
