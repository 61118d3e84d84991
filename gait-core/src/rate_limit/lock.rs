//! What stands in the lock beside a state.

use serde::Serialize;

use crate::json::{self, WriteError};
use crate::overlay::records;
use crate::time::Timestamp;

/// How long a lock may be held before it counts as left behind, in nanoseconds.
const STALE_AFTER_NANOS: i64 = 15_000_000_000;

/// Who holds a lock, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockRecord {
    schema_id: &'static str,
    schema_version: &'static str,
    pid: u32,
    created_at: Timestamp,
}

records! {
    /// The record as it was read.
    LockFile ("a lock record") {
        created_at: Timestamp,
    }
}

impl LockRecord {
    /// The record of process `pid` at `now`.
    pub const fn new(pid: u32, now: Timestamp) -> Self {
        Self { schema_id: "gait.gate.rate_limit_lock", schema_version: "1.0.0", pid, created_at: now }
    }

    /// The content of the lock file: one line.
    ///
    /// # Errors
    /// [`WriteError`] where serialisation itself fails.
    pub fn to_line(&self) -> Result<String, WriteError> {
        json::to_compact_html_safe(self).map(|line| line + "\n")
    }

    /// Whether a lock with this content, last changed at `modified`, was left behind.
    pub fn is_stale(content: &[u8], modified: &Timestamp, now: &Timestamp) -> bool {
        let is_old = |since: &Timestamp| since.plus_nanos(STALE_AFTER_NANOS).is_some_and(|end| end.is_before(now));
        let written = json::read::<LockFile>(content).ok().filter(|record| !record.created_at.is_zero());
        is_old(modified) || written.is_some_and(|record| is_old(&record.created_at))
    }
}
