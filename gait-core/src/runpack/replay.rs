//! Stub replay: what each intent of a run gave, or would give as a stub; nothing is executed (contract, artifacts 4.6).

use super::open::{OpenError, Runpack};
use crate::digest::Sha256Hex;
use crate::text::lower_trimmed;
use serde::Serialize;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek};

/// Why a run can't be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Not an intact runpack.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Two intents of one id.
    #[error("duplicate intent_id: {id}")]
    DuplicateIntent {
        /// The id.
        id: String,
    },
    /// Two results for one intent.
    #[error("duplicate result for intent_id: {id}")]
    DuplicateResult {
        /// The id.
        id: String,
    },
}

/// One intent replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The intent.
    pub intent_id: String,
    /// Its tool.
    pub tool_name: String,
    /// That of the result, `stubbed` or `missing_result`.
    pub status: String,
    /// `http`, `file`, `db` or `queue` for a stub.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub stub_type: &'static str,
    /// That of the result, or one that depends on nothing but the intent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub result_digest: String,
}

/// A run replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The run.
    pub run_id: String,
    /// One per intent, in order.
    pub steps: Vec<Step>,
    /// Intents without a result that are no stub either; sorted.
    pub missing_results: Vec<String>,
}

/// Replays the run in `pack`, all steps in memory.
///
/// # Errors
/// [`ReplayError`]
pub fn replay<R: Read + Seek>(pack: &mut Runpack<R>) -> Result<Replay, ReplayError> {
    let mut steps = Vec::new();
    let missing_results = replay_each(pack, |step| steps.push(step))?;
    Ok(Replay { run_id: pack.run.run_id.clone(), steps, missing_results })
}

/// Replays the run in `pack` step by step, and gives the sorted ids of intents whose results are missing.
///
/// # Errors
/// [`ReplayError`], perhaps after some steps.
pub fn replay_each<R: Read + Seek>(
    pack: &mut Runpack<R>,
    mut emit: impl FnMut(Step),
) -> Result<Vec<String>, ReplayError> {
    let mut results: HashMap<String, (String, String)> = HashMap::new();
    let mut twice = None;
    for result in pack.results()? {
        let result = result?;
        match results.entry(result.intent_id) {
            Entry::Vacant(slot) => {
                slot.insert((result.status, result.result_digest));
            }
            Entry::Occupied(slot) => twice = twice.or_else(|| Some(slot.key().clone())),
        }
    }
    let run_id = pack.run.run_id.clone();
    let (mut seen, mut missing) = (HashSet::new(), Vec::new());
    for intent in pack.intents()? {
        let intent = intent?;
        if !seen.insert(Sha256Hex::of(&intent.intent_id)) {
            return Err(ReplayError::DuplicateIntent { id: intent.intent_id });
        }
        let mut step = Step { intent_id: intent.intent_id, tool_name: intent.tool_name, ..Step::default() };
        if let Some((status, digest)) = results.remove(&step.intent_id) {
            (step.status, step.result_digest) = (status, digest);
        } else if let Some(stub_type) = stub_type(&step.tool_name) {
            step.status = "stubbed".into();
            step.stub_type = stub_type;
            step.result_digest = stub_digest(&run_id, &step, &intent.args_digest);
        } else {
            step.status = "missing_result".into();
            missing.push(step.intent_id.clone());
        }
        emit(step);
    }
    if let Some(id) = twice {
        return Err(ReplayError::DuplicateResult { id });
    }
    missing.sort();
    Ok(missing)
}

/// The kind of stub for a tool, by the first group of words that its name contains.
pub(crate) fn stub_type(tool_name: &str) -> Option<&'static str> {
    const GROUPS: [(&str, &[&str]); 4] = [
        ("http", &["http", "fetch", "url"]),
        ("file", &["file", "path", "fs", "write"]),
        ("db", &["db", "sql", "query", "table"]),
        ("queue", &["queue", "topic", "publish", "kafka"]),
    ];
    let name = lower_trimmed(tool_name);
    GROUPS.iter().find(|(_, words)| words.iter().any(|word| name.contains(word))).map(|(kind, _)| *kind)
}

fn stub_digest(run_id: &str, step: &Step, args_digest: &str) -> String {
    let tool = lower_trimmed(&step.tool_name);
    let args = lower_trimmed(args_digest);
    Sha256Hex::of(format!("{run_id}:{}:{tool}:{args}:{}", step.intent_id, step.stub_type)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stub_digest_of_the_contract_is_reproduced() {
        let step =
            Step { intent_id: "h".into(), tool_name: "My.HTTP.Get".into(), stub_type: "http", ..Step::default() };
        assert_eq!(
            stub_digest("run_stub", &step, "ABC"),
            "8e4d0433fa49914180099bbb7def0b7f51d55e4d640eb2d4b1e07ddcaa932a15"
        );
    }

    #[test]
    fn the_first_group_that_matches_decides() {
        for (name, kind) in [
            ("fetch_file", Some("http")),
            ("fs.write", Some("file")),
            (" SQL ", Some("db")),
            ("publish", Some("queue")),
            ("tool.noop", None),
        ] {
            assert_eq!(stub_type(name), kind, "{name}");
        }
    }
}
