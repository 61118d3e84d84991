//! What an adoption log tells: which first steps were taken, which are left (contract, artifacts 8.4).

use super::SCHEMA_VERSION;
use crate::runpack::record::{self, object_or_zero, or_zero};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read};

/// A line may be this long.
const LINE_LIMIT_BYTES: usize = 1 << 20;
const EVENT_SCHEMA: &str = "gait.scout.adoption_event";

/// All milestones in their order.
const MILESTONES: [&str; 7] = ["A1", "A2", "A3", "A4", "E1", "E2", "E3"];

/// The milestones without which gait is not in use yet, and what achieves each.
const ACTIVATION: [(&str, &str); 4] = [
    ("A1", "gait demo"),
    ("A2", "gait verify <run_id>"),
    ("A3", "gait regress init --from <run_id>"),
    ("A4", "gait regress run"),
];

/// Why a log can't be used. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptionError {
    /// It can't be read.
    #[error("read adoption log: {0}")]
    Read(#[source] io::Error),
    /// A line that is longer than 1 MiB.
    #[error("parse adoption log line {line}: longer than {LINE_LIMIT_BYTES} bytes")]
    TooLong {
        /// Its number.
        line: u64,
    },
    /// A line that is no event.
    #[error("parse adoption log line {line}: {source}")]
    Parse {
        /// Its number.
        line: u64,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// An event with a member that is missing or means nothing.
    #[error("validate adoption log line {line}: {message}")]
    Invalid {
        /// Its number.
        line: u64,
        /// Which member, and what is wrong with it.
        message: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    #[serde(deserialize_with = "or_zero")]
    schema_id: String,
    #[serde(deserialize_with = "or_zero")]
    schema_version: String,
    created_at: Timestamp,
    #[serde(deserialize_with = "or_zero")]
    command: String,
    #[serde(deserialize_with = "or_zero")]
    success: bool,
    #[serde(deserialize_with = "or_zero")]
    exit_code: i64,
    #[serde(deserialize_with = "or_zero", rename = "elapsed_ms")]
    _elapsed_ms: i64,
    #[serde(deserialize_with = "or_zero")]
    milestones: Vec<String>,
    #[serde(deserialize_with = "object_or_zero")]
    environment: Environment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Environment {
    #[serde(deserialize_with = "or_zero")]
    os: String,
    #[serde(deserialize_with = "or_zero")]
    arch: String,
}

impl Event {
    fn fault(&self) -> Option<String> {
        let required = [
            ("created_at", self.created_at.is_zero()),
            ("command", self.command.trim().is_empty()),
            ("environment.os", self.environment.os.trim().is_empty()),
            ("environment.arch", self.environment.arch.trim().is_empty()),
        ];
        if !matches!(self.schema_id.as_str(), "" | EVENT_SCHEMA) {
            return Some(format!("unsupported schema_id {:?}", self.schema_id));
        }
        if !matches!(self.schema_version.as_str(), "" | SCHEMA_VERSION) {
            return Some(format!("unsupported schema_version {:?}", self.schema_version));
        }
        if let Some((name, _)) = required.iter().find(|(_, missing)| *missing) {
            return Some(format!("{name} is required"));
        }
        (!(0..=255).contains(&self.exit_code)).then(|| "exit_code must be between 0 and 255".to_string())
    }
}

/// `gait.doctor.adoption_report`
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, artifacts 8.4")]
pub struct AdoptionReport {
    pub schema_id: &'static str,
    pub schema_version: &'static str,
    pub created_at: Timestamp,
    pub producer_version: &'static str,
    pub source: String,
    pub total_events: usize,
    pub success_events: usize,
    pub failed_events: usize,
    pub first_event_at: Timestamp,
    pub last_event_at: Timestamp,
    pub commands: Vec<CommandCount>,
    pub milestones: Vec<Milestone>,
    pub activation_complete: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<String>,
}

/// How often a command was called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, artifacts 8.4")]
pub struct CommandCount {
    pub command: String,
    pub total: usize,
    pub success: usize,
    pub failure: usize,
}

/// A step, and whether it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, artifacts 8.4")]
pub struct Milestone {
    pub name: &'static str,
    pub achieved: bool,
}

/// Reads the log in `source`, event by event. `name` is what the report calls it.
///
/// # Errors
/// [`AdoptionError`] for the first line that is not an event.
pub fn adoption(name: &str, source: impl BufRead) -> Result<AdoptionReport, AdoptionError> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut achieved: BTreeSet<String> = BTreeSet::new();
    let mut span: Option<(Timestamp, Timestamp)> = None;
    each_event(source, |event| {
        let at = event.created_at.to_utc();
        let instant = |time: &Timestamp| (time.unix_seconds(), time.nanos());
        let (first, last) = span.unwrap_or((at, at));
        span = Some((
            if instant(&at) < instant(&first) { at } else { first },
            if instant(&at) > instant(&last) { at } else { last },
        ));
        let (success, failure) = counts.entry(event.command).or_default();
        if event.success {
            *success += 1;
            achieved.extend(event.milestones.iter().map(|name| name.trim().to_string()));
        } else {
            *failure += 1;
        }
    })?;
    let success_events = counts.values().map(|(success, _)| success).sum();
    let failed_events = counts.values().map(|(_, failure)| failure).sum();
    let blockers: Vec<String> = ACTIVATION
        .iter()
        .filter(|(name, _)| !achieved.contains(*name))
        .map(|(name, command)| format!("missing {name}: run `{command}`"))
        .collect();
    let (first_event_at, last_event_at) = span.unwrap_or_default();
    Ok(AdoptionReport {
        schema_id: "gait.doctor.adoption_report",
        schema_version: SCHEMA_VERSION,
        created_at: last_event_at.utc_or_fallback(),
        producer_version: crate::PRODUCER_VERSION,
        source: name.into(),
        total_events: success_events + failed_events,
        success_events,
        failed_events,
        first_event_at,
        last_event_at,
        commands: counts
            .into_iter()
            .map(|(command, (success, failure))| CommandCount { command, total: success + failure, success, failure })
            .collect(),
        milestones: MILESTONES.map(|name| Milestone { name, achieved: achieved.contains(name) }).to_vec(),
        activation_complete: blockers.is_empty(),
        blockers,
    })
}

fn each_event(mut source: impl BufRead, mut look: impl FnMut(Event)) -> Result<(), AdoptionError> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let limit = LINE_LIMIT_BYTES as u64 + 1;
        let read = source.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(AdoptionError::Read)?;
        if read == 0 {
            break;
        }
        if bytes.len() > LINE_LIMIT_BYTES {
            return Err(AdoptionError::TooLong { line });
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let event: Event = record::parse(&bytes).map_err(|source| AdoptionError::Parse { line, source })?;
        if let Some(message) = event.fault() {
            return Err(AdoptionError::Invalid { line, message });
        }
        look(event);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVIRONMENT: &str = r#""environment":{"os":"linux","arch":"amd64"}"#;

    fn read(log: &str) -> Result<AdoptionReport, AdoptionError> {
        adoption("log", log.as_bytes())
    }

    #[test]
    fn an_empty_log_leaves_every_step_to_be_taken() {
        let report = read("\n  \n").unwrap();
        assert_eq!(report.created_at, Timestamp::FALLBACK);
        assert!(report.first_event_at.is_zero() && report.commands.is_empty() && !report.activation_complete);
        assert_eq!(report.blockers[0], "missing A1: run `gait demo`");
        assert_eq!(report.blockers.len(), 4);
    }

    #[test]
    fn events_are_counted_by_command_and_only_successes_count_as_steps() {
        let event = |time: &str, command: &str, success: bool, milestones: &str| {
            format!(
                r#"{{"created_at":"{time}","command":"{command}","success":{success},"milestones":{milestones},{ENVIRONMENT}}}"#
            )
        };
        let log = [
            event("2026-01-02T00:00:00Z", "regress run", false, r#"["A4"]"#),
            event("2026-01-01T01:00:00+02:00", "demo", true, r#"["A1","A1"]"#),
            event("2026-01-01T12:00:00Z", "demo", false, "null"),
        ];
        let report = read(&log.join("\n")).unwrap();
        assert_eq!((report.total_events, report.success_events, report.failed_events), (3, 1, 2));
        assert_eq!(report.first_event_at.to_string(), "2025-12-31T23:00:00Z");
        assert_eq!(report.created_at.to_string(), "2026-01-02T00:00:00Z");
        let demo = CommandCount { command: "demo".into(), total: 2, success: 1, failure: 1 };
        assert_eq!(report.commands[0], demo);
        let achieved: Vec<&str> = report.milestones.iter().filter(|m| m.achieved).map(|m| m.name).collect();
        assert_eq!(achieved, ["A1"]);
        assert_eq!(report.blockers.len(), 3);
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let good = format!(r#"{{"created_at":"2026-01-01T00:00:00Z","command":"demo",{ENVIRONMENT}}}"#);
        let with = |member: &str| format!("{good}\n\n{},{member}}}", good.trim_end_matches('}').to_owned() + "}");
        for (log, words) in [
            (r#"{"command":"demo"}"#.to_string(), "validate adoption log line 1: created_at is required"),
            (with(r#""command":" ""#), "validate adoption log line 3: command is required"),
            (with(r#""exit_code":256"#), "validate adoption log line 3: exit_code must be between 0 and 255"),
            (with(r#""schema_id":"x""#), "validate adoption log line 3: unsupported schema_id \"x\""),
            (with(r#""environment":{"os":"linux"}"#), "validate adoption log line 3: environment.arch is required"),
            ("{".into(), "parse adoption log line 1: "),
            (" ".repeat(LINE_LIMIT_BYTES + 1), "parse adoption log line 1: longer than 1048576 bytes"),
        ] {
            let error = read(&log).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
