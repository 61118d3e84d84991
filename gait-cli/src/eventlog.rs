//! The two local logs of calls (contract, artifacts 8): adoption and operational events.
//!
//! They are off unless `GAIT_ADOPTION_LOG` or `GAIT_OPERATIONAL_LOG` name a file. A log that can't be written
//! changes neither the answer nor the exit code.

use crate::clock;
use crate::exit::{Exit, Status};
use gait_core::json;
use gait_core::time::Timestamp;
use serde::Serialize;
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

/// First words that are logged together with the second.
const GROUPED: [&str; 11] =
    ["gate", "policy", "trace", "regress", "run", "scout", "guard", "incident", "registry", "mcp", "doctor"];

/// One call from start to end.
#[derive(Debug)]
pub struct CallLog {
    command: String,
    correlation_id: String,
    started: Instant,
}

#[derive(Serialize)]
struct Adoption<'a> {
    schema_id: &'static str,
    schema_version: &'static str,
    created_at: Timestamp,
    producer_version: &'static str,
    command: &'a str,
    success: bool,
    exit_code: u8,
    elapsed_ms: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    milestones: &'static [&'static str],
    environment: Environment,
}

#[derive(Serialize)]
struct Operational<'a> {
    schema_id: &'static str,
    schema_version: &'static str,
    created_at: Timestamp,
    producer_version: &'static str,
    correlation_id: &'a str,
    command: &'a str,
    phase: &'static str,
    exit_code: u8,
    error_category: &'static str,
    retryable: bool,
    elapsed_ms: u64,
    environment: Environment,
}

#[derive(Serialize)]
struct Environment {
    os: &'static str,
    arch: &'static str,
}

impl CallLog {
    /// Logs the start of a call.
    pub fn start(args: &[OsString], correlation_id: &str) -> Self {
        let log = CallLog { command: label(args), correlation_id: correlation_id.to_string(), started: Instant::now() };
        log.operational("start", Exit::Ok.into(), 0);
        log
    }

    /// Logs the end of the call.
    pub fn end(self, status: Status) {
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.operational("end", status, elapsed_ms);
        let success = status.code() == 0;
        append("GAIT_ADOPTION_LOG", || {
            json::to_compact_html_safe(&Adoption {
                schema_id: "gait.scout.adoption_event",
                schema_version: "1.0.0",
                created_at: clock::now(),
                producer_version: gait_core::PRODUCER_VERSION,
                command: &self.command,
                success,
                exit_code: status.code(),
                elapsed_ms,
                milestones: if success { milestones(&self.command) } else { &[] },
                environment: environment(),
            })
        });
    }

    fn operational(&self, phase: &'static str, status: Status, elapsed_ms: u64) {
        append("GAIT_OPERATIONAL_LOG", || {
            json::to_compact_html_safe(&Operational {
                schema_id: "gait.scout.operational_event",
                schema_version: "1.0.0",
                created_at: clock::now(),
                producer_version: gait_core::PRODUCER_VERSION,
                correlation_id: &self.correlation_id,
                command: &self.command,
                phase,
                exit_code: status.code(),
                error_category: category(status),
                retryable: false,
                elapsed_ms,
                environment: environment(),
            })
        });
    }
}

/// The name of a call in the logs (contract, artifacts 8.1).
fn label(args: &[OsString]) -> String {
    let word = |index: usize| args.get(index).map(|arg| arg.to_string_lossy().trim().to_string());
    let Some(first) = word(0) else {
        return "version".into();
    };
    match (first.as_str(), word(1)) {
        ("", _) => "unknown".into(),
        ("--version" | "-v" | "version", _) => "version".into(),
        ("--explain", _) => "explain".into(),
        (group, Some(second)) if GROUPED.contains(&group) && !second.is_empty() && !second.starts_with('-') => {
            format!("{group} {second}")
        }
        _ => first,
    }
}

/// What a successful call of `command` achieves on the way to using gait.
fn milestones(command: &str) -> &'static [&'static str] {
    match command {
        "demo" => &["A1"],
        "verify" => &["A2"],
        "regress init" => &["A3"],
        "regress run" => &["A4"],
        "regress bootstrap" => &["A3", "A4"],
        _ => &[],
    }
}

fn category(status: Status) -> &'static str {
    match status {
        Status::Gait(exit) => exit.envelope().map_or("none", |words| words.category.word()),
        Status::Agent(_) => "none",
    }
}

fn environment() -> Environment {
    Environment { os: gait_core::platform::OS, arch: gait_core::platform::ARCH }
}

/// Appends one line to the file that `variable` names. Failures are ignored: a log is not the answer.
fn append<E>(variable: &str, line: impl FnOnce() -> Result<String, E>) {
    let Some(value) = std::env::var_os(variable) else {
        return;
    };
    let trimmed = value.to_str().map(|text| OsString::from(text.trim())).unwrap_or(value);
    if trimmed.is_empty() {
        return;
    }
    if let Ok(line) = line() {
        let _ = append_line(Path::new(&trimmed), &line);
    }
}

fn append_line(path: &Path, line: &str) -> io::Result<()> {
    let (mut folders, mut file) = (DirBuilder::new(), OpenOptions::new());
    folders.recursive(true);
    file.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        folders.mode(0o750);
        file.mode(0o600);
    }
    if let Some(parent) = path.parent() {
        folders.create(parent)?;
    }
    // One write, so that lines of concurrent calls don't mix.
    file.open(path)?.write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_contract() {
        for (line, expected) in [
            (&[][..], "version"),
            (&["-v"], "version"),
            (&["  "], "unknown"),
            (&["--explain"], "explain"),
            (&["run", "replay", "x"], "run replay"),
            (&["run", "--json"], "run"),
            (&["verify", "chain"], "verify"),
            (&["bogus", "x"], "bogus"),
        ] {
            let args: Vec<OsString> = line.iter().map(OsString::from).collect();
            assert_eq!(label(&args), expected);
        }
    }
}
