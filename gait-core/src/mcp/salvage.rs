//! The records of a session whose gait was killed, made into those of a run that says so.
//!
//! A session that ends says so in its timeline (`session_end`) and has its folder removed. One that was killed leaves the
//! folder; what is whole in there and fits together is kept, under an event that says that it is not the whole run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::record::{Capture, RUNTIME, object};
use crate::runpack::record::{IntentRecord, Object, ResultRecord, Run, TimelineEvent, parse};
use crate::signature::PublicKey;
use crate::time::Timestamp;
use crate::trace::TraceRecord;

/// `session.json` of a session that goes on: how its run begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionFile {
    /// `reference` or `raw`.
    pub capture_mode: String,
    /// `run.json` as far as it goes.
    pub run: Run,
}

/// What lies in the folder of a session, file by file.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the files are named like this")]
pub struct SessionFiles<'a> {
    pub session: &'a [u8],
    pub intents: &'a [u8],
    pub results: &'a [u8],
    pub traces: &'a [u8],
    pub approval_audits: &'a [u8],
    pub credential_evidence: &'a [u8],
}

/// What could be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Salvaged<'a> {
    /// The run, its last event `session_seal`.
    pub run: Run,
    /// What was captured.
    pub capture: Capture,
    /// Lines of `intents.jsonl`, `results.jsonl`, `traces.jsonl`, `approval_audits.jsonl`, `credential_evidence.jsonl`.
    pub lines: [&'a [u8]; 5],
    /// Tool calls that were decided.
    pub calls: u64,
    /// Those of which nobody knows what came.
    pub unended: u64,
    /// Bytes of lines that were not written to their end, which are left out.
    pub torn_bytes: u64,
}

/// Why records are not sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SalvageError {
    /// It was not begun by `mcp serve`, or not far enough.
    #[error("session.json is not that of a session: {0}")]
    Session(String),
    /// A line is not what a session writes.
    #[error("{file} line {line}: {why}")]
    Line {
        /// The file.
        file: &'static str,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The traces were signed by another key.
    #[error("the traces are signed by key {key_id}, not by the one that would seal")]
    OtherKey {
        /// The key that signed.
        key_id: String,
    },
}

/// The lines of a file that were written to their end, and how many bytes follow.
fn whole(bytes: &[u8]) -> (&[u8], u64) {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (&bytes[..end], (bytes.len() - end) as u64)
}

/// Gives each line to `check`, whose error is told with the line's number.
fn check_lines(
    file: &'static str,
    bytes: &[u8],
    mut check: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), SalvageError> {
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        check(line.trim_ascii_end()).map_err(|why| SalvageError::Line { file, line: index + 1, why })?;
    }
    Ok(())
}

/// Checks that the files fit together and that `key` signed the traces, and ends the run at `now`.
///
/// # Errors
/// [`SalvageError`]: whoever could write to the folder may have changed what is in there, so nothing is guessed.
pub fn salvage<'a>(files: &SessionFiles<'a>, key: &PublicKey, now: Timestamp) -> Result<Salvaged<'a>, SalvageError> {
    let no_session = |why: &dyn std::fmt::Display| SalvageError::Session(why.to_string());
    let SessionFile { capture_mode, mut run } = parse(files.session).map_err(|error| no_session(&error))?;
    if run.env.runtime != RUNTIME {
        return Err(no_session(&format!("its runtime is {:?}", run.env.runtime)));
    }
    let capture = match capture_mode.as_str() {
        "reference" => Capture::Reference,
        "raw" => Capture::Raw,
        other => return Err(no_session(&format!("its capture mode is {other:?}"))),
    };
    let all = [files.intents, files.results, files.traces, files.approval_audits, files.credential_evidence].map(whole);
    let lines = all.map(|(lines, _)| lines);
    let torn_bytes = all.iter().map(|(_, torn)| torn).sum();
    let traces = traces(lines[2], key)?;
    let calls = intents(lines[0], &run.run_id)?;
    let ended = results(lines[1], &run.run_id, calls, &traces)?;
    for (file, lines) in [("approval_audits.jsonl", lines[3]), ("credential_evidence.jsonl", lines[4])] {
        check_lines(file, lines, |line| {
            let record: Object = parse(line).map_err(|error| error.to_string())?;
            let trace_id = record.get("trace_id").and_then(|id| id.as_str()).unwrap_or_default();
            if trace_id.is_empty() { Err("it names no trace".into()) } else { Ok(()) }
        })?;
    }
    let unended = calls - ended;
    let more = json!({
        "ended_by": "killed", "complete": false, "calls": calls, "unended": unended, "torn_bytes": torn_bytes,
    });
    let event = TimelineEvent { event: "session_seal".into(), ts: now, more: object(more), ..TimelineEvent::default() };
    run.timeline.push(event);
    Ok(Salvaged { run, capture, lines, calls, unended, torn_bytes })
}

/// Ids and verdicts of the traces.
fn traces(lines: &[u8], key: &PublicKey) -> Result<BTreeSet<(String, String)>, SalvageError> {
    let mut known = BTreeSet::new();
    let mut other_key = None;
    let checked = check_lines("traces.jsonl", lines, |line| {
        let trace = TraceRecord::read(line).map_err(|error| error.to_string())?;
        let key_id = trace.signature.as_ref().map(|signature| signature.key_id.clone()).unwrap_or_default();
        if key_id != key.id().to_string() {
            other_key = Some(key_id);
            return Err("signed by another key".into());
        }
        trace.verify(key).map_err(|error| error.to_string())?;
        if !trace.has_consistent_id() {
            return Err("its id is not that of policy, intent and verdict".into());
        }
        known.insert((trace.trace_id, trace.verdict));
        Ok(())
    });
    match other_key {
        Some(key_id) => Err(SalvageError::OtherKey { key_id }),
        None => checked.map(|()| known),
    }
}

/// How many intents there are: they are numbered from 1.
fn intents(lines: &[u8], run_id: &str) -> Result<u64, SalvageError> {
    let mut count = 0;
    check_lines("intents.jsonl", lines, |line| {
        let intent: IntentRecord = parse(line).map_err(|error| error.to_string())?;
        count += 1;
        let expected = format!("intent_{count}");
        match (intent.intent_id == expected, intent.run_id == run_id) {
            (true, true) => Ok(()),
            (false, _) => Err(format!("it is {:?} where {expected:?} belongs", intent.intent_id)),
            (_, false) => Err(format!("it belongs to run {:?}", intent.run_id)),
        }
    })?;
    Ok(count)
}

/// How many results there are, one for an intent at most.
fn results(lines: &[u8], run_id: &str, calls: u64, traces: &BTreeSet<(String, String)>) -> Result<u64, SalvageError> {
    let mut ended = BTreeSet::new();
    check_lines("results.jsonl", lines, |line| {
        let record: ResultRecord = parse(line).map_err(|error| error.to_string())?;
        let number = record.intent_id.strip_prefix("intent_").and_then(|number| number.parse::<u64>().ok());
        let number = number.filter(|number| (1..=calls).contains(number)).ok_or("it is of no call")?;
        if record.run_id != run_id {
            return Err(format!("it belongs to run {:?}", record.run_id));
        }
        let text = |member| record.result.get(member).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        if !traces.contains(&(text("trace_id"), text("verdict"))) {
            return Err("there is no trace of its verdict".into());
        }
        if ended.insert(number) { Ok(()) } else { Err("it is the second of its call".into()) }
    })?;
    Ok(ended.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::canonical_bytes;
    use crate::digest::Sha256Hex;
    use crate::mcp::record::session_run;
    use crate::policy::Verdict;
    use crate::signature::PrivateKey;
    use crate::trace::TraceFacts;

    fn key() -> PrivateKey {
        PrivateKey::from_seed([7; 32])
    }

    /// A session that was killed while its second call went on, and while its third was written down.
    struct Left {
        session: Vec<u8>,
        intents: Vec<u8>,
        results: Vec<u8>,
        traces: Vec<u8>,
    }

    impl Left {
        fn new() -> Self {
            let run = session_run("run_s", Timestamp::FALLBACK, "test");
            let trace = TraceRecord::new(TraceFacts {
                created_at: Timestamp::FALLBACK,
                producer_version: "test",
                correlation_id: "",
                tool_name: "t",
                args_digest: Sha256Hex::of("a"),
                intent_digest: Sha256Hex::of("i"),
                policy_digest: Sha256Hex::of("p"),
                verdict: Verdict::Allow,
                violations: Vec::new(),
                approval_token_ref: "",
                skill_provenance: None,
            });
            let trace = trace.signed(&key()).unwrap();
            let intent = |number| format!("{{\"intent_id\":\"intent_{number}\",\"run_id\":\"run_s\"}}\n");
            let result = json!({
                "intent_id": "intent_1", "run_id": "run_s",
                "result": {"trace_id": trace.trace_id, "verdict": "allow"},
            });
            Self {
                session: canonical_bytes(&SessionFile { capture_mode: "reference".into(), run }).unwrap(),
                intents: format!("{}{}{{\"intent_i", intent(1), intent(2)).into_bytes(),
                results: format!("{result}\n").into_bytes(),
                traces: trace.to_line().unwrap(),
            }
        }

        fn salvage(&self) -> Result<Salvaged<'_>, SalvageError> {
            let (approval_audits, credential_evidence) = (&[][..], &[][..]);
            let Self { session, intents, results, traces } = self;
            let files = SessionFiles { session, intents, results, traces, approval_audits, credential_evidence };
            salvage(&files, &key().public(), Timestamp::FALLBACK)
        }

        fn refused(change: impl FnOnce(&mut Self)) -> String {
            let mut left = Self::new();
            change(&mut left);
            left.salvage().unwrap_err().to_string()
        }
    }

    #[test]
    fn what_is_whole_is_kept_and_said_not_to_be_all() {
        let left = Left::new();
        let salvaged = left.salvage().unwrap();
        assert_eq!((salvaged.calls, salvaged.unended, salvaged.torn_bytes), (2, 1, 10));
        assert!(left.intents.starts_with(salvaged.lines[0]) && salvaged.lines[0].ends_with(b"}\n"));
        let last = salvaged.run.timeline.last().unwrap();
        assert_eq!((last.event.as_str(), &last.more["complete"]), ("session_seal", &json!(false)));
    }

    #[test]
    fn records_that_do_not_fit_together_are_not_sealed() {
        let replace = |bytes: &mut Vec<u8>, from: &str, to: &str| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.contains(from));
            *bytes = text.replacen(from, to, 1).into_bytes();
        };
        let cases = [
            (Left::refused(|l| replace(&mut l.session, "gait-mcp", "go")), "its runtime is \"go\""),
            (Left::refused(|l| l.session.clear()), "session.json is not"),
            (Left::refused(|l| replace(&mut l.intents, "intent_2", "intent_3")), "intents.jsonl line 2"),
            (Left::refused(|l| replace(&mut l.intents, "run_s", "run_t")), "belongs to run"),
            (Left::refused(|l| replace(&mut l.results, "intent_1", "intent_9")), "it is of no call"),
            (Left::refused(|l| replace(&mut l.results, "allow", "block")), "no trace of its verdict"),
            (Left::refused(|l| l.results.extend(l.results.clone())), "the second of its call"),
            (Left::refused(|l| replace(&mut l.traces, "\"t\"", "\"u\"")), "signed_digest mismatch"),
            (Left::refused(|l| l.traces.clear()), "no trace of its verdict"),
        ];
        for (said, expected) in cases {
            assert!(said.contains(expected), "{said:?} does not say {expected:?}");
        }
        let left = Left::new();
        let files = SessionFiles {
            session: &left.session,
            intents: &left.intents,
            results: &left.results,
            traces: &left.traces,
            approval_audits: b"",
            credential_evidence: b"",
        };
        let other = PrivateKey::from_seed([8; 32]).public();
        assert!(matches!(salvage(&files, &other, Timestamp::FALLBACK), Err(SalvageError::OtherKey { .. })));
    }
}
