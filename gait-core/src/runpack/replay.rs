//! Stub replay: what each intent of a run gave, or would give as a stub; nothing is executed (contract, artifacts 4.6).

use super::glance::Glance;
use super::id_key::IdKey;
use super::open::{OpenError, Runpack};
use super::record::{IntentRecord, ResultRecord};
use crate::digest::Sha256Hex;
use crate::text::lower_trimmed;
use serde::Serialize;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek};
use std::ops::ControlFlow;

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

/// A run that can be replayed, step by step and as often as wanted. It remembers some 80 bytes for a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The run.
    pub run_id: String,
    /// How many steps there are.
    pub steps: u64,
    /// Intents without a result that are no stub either; sorted.
    pub missing_results: Vec<String>,
    results: Results,
}

impl Replay {
    /// Looks whether the run in `pack` can be replayed, and which results are missing.
    ///
    /// # Errors
    /// [`ReplayError`]
    pub fn of<R: Read + Seek>(pack: &mut Runpack<R>) -> Result<Self, ReplayError> {
        let (mut results, mut twice) = (Results::default(), None);
        pack.glance_at::<ResultRecord>(|result| {
            if !results.add(&result) && twice.is_none() {
                twice = Some(result.intent_id.into_owned());
            }
        })?;
        let (mut seen, mut missing_results) = (HashSet::new(), Vec::new());
        let (mut intent_twice, mut steps) = (None, 0);
        pack.glance_until::<IntentRecord>(|intent| {
            steps += 1;
            let key = IdKey::of(&*intent.intent_id);
            if !seen.insert(key) {
                intent_twice = Some(intent.intent_id.into_owned());
                return ControlFlow::Break(());
            }
            if !results.given.contains_key(&key) && stub_type(&intent.word).is_none() {
                missing_results.push(intent.intent_id.into_owned());
            }
            ControlFlow::Continue(())
        })?;
        if let Some(id) = intent_twice {
            return Err(ReplayError::DuplicateIntent { id });
        }
        if let Some(id) = twice {
            return Err(ReplayError::DuplicateResult { id });
        }
        missing_results.sort();
        Ok(Replay { run_id: pack.run.run_id.clone(), steps, missing_results, results })
    }

    /// Gives the steps, one per intent, in order, of the `pack` that this is of.
    ///
    /// # Errors
    /// [`OpenError`], perhaps after some steps.
    pub fn each_step<R: Read + Seek>(
        &self,
        pack: &mut Runpack<R>,
        mut emit: impl FnMut(Step),
    ) -> Result<(), OpenError> {
        pack.glance_at::<IntentRecord>(|intent| emit(self.step(intent)))
    }

    fn step(&self, intent: Glance<'_>) -> Step {
        let Glance { intent_id, word, digest, .. } = intent;
        let mut step = Step { intent_id: intent_id.into_owned(), tool_name: word.into_owned(), ..Step::default() };
        if let Some((status, digest)) = self.results.of(&step.intent_id) {
            (step.status, step.result_digest) = (status.to_string(), digest);
        } else if let Some(stub_type) = stub_type(&step.tool_name) {
            step.status = "stubbed".into();
            step.stub_type = stub_type;
            step.result_digest = stub_digest(&self.run_id, &step, &digest);
        } else {
            step.status = "missing_result".into();
        }
        step
    }
}

/// What results say, in little memory: statuses are few, and digests mostly are digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Results {
    given: HashMap<IdKey, Given>,
    statuses: Vec<String>,
    by_status: HashMap<String, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    status: usize,
    digest: GivenDigest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum GivenDigest {
    Sha256(Sha256Hex),
    Other(Box<str>),
}

impl Results {
    /// Whether it is the first for its intent: only that counts.
    fn add(&mut self, result: &Glance<'_>) -> bool {
        let Entry::Vacant(slot) = self.given.entry(IdKey::of(&*result.intent_id)) else { return false };
        let status = match self.by_status.get(&*result.word) {
            Some(status) => *status,
            None => {
                self.statuses.push(result.word.to_string());
                *self.by_status.entry(result.word.to_string()).or_insert(self.statuses.len() - 1)
            }
        };
        let digest = Sha256Hex::parse(&result.digest);
        let digest = digest.map_or_else(|_| GivenDigest::Other((&*result.digest).into()), GivenDigest::Sha256);
        slot.insert(Given { status, digest });
        true
    }

    /// Status and digest of the result for an intent.
    fn of(&self, id: &str) -> Option<(&str, String)> {
        let given = self.given.get(&IdKey::of(id))?;
        let digest = match &given.digest {
            GivenDigest::Sha256(digest) => digest.to_string(),
            GivenDigest::Other(text) => text.to_string(),
        };
        Some((self.statuses.get(given.status).map_or("", String::as_str), digest))
    }
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
    fn digests_and_statuses_come_back_as_they_were() {
        let hex = "8e4d0433fa49914180099bbb7def0b7f51d55e4d640eb2d4b1e07ddcaa932a15";
        let texts = [("a", "ok", hex), ("b", "ok", &hex.to_uppercase()), ("c", "", ""), ("d", "odd", "x")];
        let mut results = Results::default();
        for (id, status, digest) in texts {
            let line = format!(r#"{{"intent_id":"{id}","status":"{status}","result_digest":"{digest}"}}"#);
            let add = |results: &mut Results| results.add(&Glance::at::<ResultRecord>(line.as_bytes()).unwrap());
            assert!(add(&mut results) && !add(&mut results));
        }
        for (id, status, digest) in texts {
            assert_eq!(results.of(id), Some((status, digest.to_string())));
        }
        assert_eq!(results.of("e"), None);
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
