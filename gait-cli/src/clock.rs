//! The one place that asks for the time.

use gait_core::time::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in UTC, to the nanosecond; [`Timestamp::FALLBACK`] on a clock that is before 1970 or after 9999.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(0);
    Timestamp::from_unix(seconds, since.subsec_nanos()).unwrap_or(Timestamp::FALLBACK)
}
