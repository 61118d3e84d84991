//! How often a rule may allow: counters in fixed windows (control 12).
//!
//! [`State::step`] counts one call. The file that the state is kept in between calls, and the lock that makes read,
//! step and write one, are the caller's business; [`LockRecord`] is what stands in the lock.

mod lock;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json::{self, WriteError};
use crate::overlay::records;
use crate::policy::RateLimit;
use crate::time::Timestamp;

pub use lock::LockRecord;

const SCHEMA_ID: &str = "gait.gate.rate_limit_state";
const SCHEMA_VERSION: &str = "1.0.0";

/// Counters by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    counters: BTreeMap<String, i64>,
}

/// What one call found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `tool`, `identity` or `tool_identity`.
    pub scope: String,
    /// Tool, identity, or `tool|identity`.
    pub key: String,
    /// Calls in this window, this one included if it was let through.
    pub used: i64,
    /// How many more there may be.
    pub remaining: i64,
    /// Whether this one may go on.
    pub allowed: bool,
}

records! {
    /// The file as it was read.
    StateFile ("a rate limit state") {
        schema_id: String,
        schema_version: String,
        counters: Vec<CounterEntry>,
    }

    /// One counter.
    CounterEntry ("a counter") {
        key: String,
        count: i64,
    }
}

#[derive(Serialize)]
struct Written<'a> {
    schema_id: &'a str,
    schema_version: &'a str,
    counters: Vec<WrittenCounter<'a>>,
}

#[derive(Serialize)]
struct WrittenCounter<'a> {
    key: &'a str,
    count: i64,
}

/// Why a file is no state. Nothing is allowed then: what was used can't be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateReadError {
    /// Not such a JSON document.
    #[error("parse rate limit state: {0}")]
    Json(#[from] serde_json::Error),
    /// A counter below zero would let more calls through than the rule says.
    #[error("parse rate limit state: count below zero: {count}")]
    Negative {
        /// What it says.
        count: i64,
    },
}

impl State {
    /// Reads the file form.
    ///
    /// # Errors
    /// [`StateReadError`].
    pub fn read(document: &[u8]) -> Result<Self, StateReadError> {
        let file: StateFile = json::read(document)?;
        let mut counters = BTreeMap::new();
        for CounterEntry { key, count } in file.counters {
            if count < 0 {
                return Err(StateReadError::Negative { count });
            }
            let kept = counters.entry(key).or_insert(count);
            *kept = count.max(*kept);
        }
        Ok(Self { counters })
    }

    /// Counts one call of `tool` for `identity` at `now`. A call that is not let through is not counted.
    pub fn step(&mut self, limit: &RateLimit, tool: &str, identity: &str, now: &Timestamp) -> Step {
        let bucket = now.truncated_to(if limit.window == "hour" { 3600 } else { 60 }).to_string();
        let scope_key = match limit.scope.as_str() {
            "tool" => tool.to_owned(),
            "identity" => identity.to_owned(),
            _ => format!("{tool}|{identity}"),
        };
        let key = format!("{}|{}|{bucket}|{scope_key}", limit.window, limit.scope);
        let used = self.counters.get(&key).copied().unwrap_or(0);
        let allowed = used < limit.requests;
        let used = if allowed { used + 1 } else { used };
        if allowed {
            self.counters.retain(|key, _| is_current(key, &limit.window, &bucket));
            self.counters.insert(key, used);
        }
        let remaining = limit.requests.saturating_sub(used).max(0);
        Step { scope: limit.scope.clone(), key: scope_key, used, remaining, allowed }
    }

    /// The file form: indented, sorted by key.
    ///
    /// # Errors
    /// [`WriteError`] where serialisation itself fails.
    pub fn to_file_text(&self) -> Result<String, WriteError> {
        let counters = self.counters.iter().map(|(key, &count)| WrittenCounter { key, count }).collect();
        json::to_indented_html_safe(&Written { schema_id: SCHEMA_ID, schema_version: SCHEMA_VERSION, counters })
    }
}

/// Whether a counter is still of use: of another kind of window, whose time this call does not know, or of `bucket`.
fn is_current(key: &str, window: &str, bucket: &str) -> bool {
    let mut parts = key.splitn(4, '|');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(kind), Some(_), Some(of), Some(_)) => kind != window || of == bucket,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
