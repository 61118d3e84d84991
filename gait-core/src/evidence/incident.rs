//! Which records beside a runpack belong to an incident: those of the time around it (contract, control 14.3).

use super::manifest::Window;
use crate::file;
use crate::runpack::record::{self, or_zero};
use crate::time::Timestamp;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The records selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Traces.
    pub traces: Vec<PathBuf>,
    /// Regress results.
    pub results: Vec<PathBuf>,
    /// Approval audits.
    pub audits: Vec<PathBuf>,
    /// Credential records.
    pub credentials: Vec<PathBuf>,
}

/// `nanos` before and after `at`; the ends are in.
pub fn window(at: Timestamp, nanos: i64, run_id: &str) -> Window {
    let at = at.to_utc();
    let shifted = |by: i64| {
        let sub = i64::from(at.nanos()) + by.rem_euclid(NANOS_PER_SECOND);
        let second = at.unix_seconds().saturating_add(by.div_euclid(NANOS_PER_SECOND) + sub / NANOS_PER_SECOND);
        let sub = u32::try_from(sub % NANOS_PER_SECOND).unwrap_or_default();
        Timestamp::from_unix(second, sub).unwrap_or(at)
    };
    Window {
        from: shifted(-nanos),
        to: shifted(nanos),
        window_seconds: nanos / NANOS_PER_SECOND,
        selection_anchor: run_id.into(),
    }
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Dated {
    created_at: Timestamp,
    #[serde(deserialize_with = "or_zero")]
    trace_id: String,
}

/// The records in `folder` that belong to `window`. What can't be read is left out.
///
/// Audits and credentials must belong to a selected trace, if there is any; none from outside the window take their
/// place where there is none (contract, control 16, item 21).
pub fn select(folder: &Path, window: &Window) -> Selection {
    let inside = |prefix: &str| -> Vec<(PathBuf, Dated)> {
        let dated = |path: PathBuf| {
            let record: Dated = record::parse(&file::read(&path).ok()?).ok()?;
            Some((path, record))
        };
        let candidates = named(folder, prefix).into_iter().filter_map(dated);
        candidates.filter(|(_, record)| is_inside(record.created_at, window)).collect()
    };
    let traces = inside("trace_");
    let ids: BTreeSet<String> = traces.iter().map(|(_, trace)| trace.trace_id.clone()).collect();
    let belonging = |prefix: &str| -> Vec<PathBuf> {
        let records = inside(prefix).into_iter();
        records.filter(|(_, record)| ids.is_empty() || ids.contains(&record.trace_id)).map(|(path, _)| path).collect()
    };
    Selection {
        results: inside("regress").into_iter().map(|(path, _)| path).collect(),
        audits: belonging("approval_audit_"),
        credentials: belonging("credential_evidence_"),
        traces: traces.into_iter().map(|(path, _)| path).collect(),
    }
}

fn is_inside(at: Timestamp, window: &Window) -> bool {
    let instant = |time: &Timestamp| (time.unix_seconds(), time.nanos());
    (instant(&window.from)..=instant(&window.to)).contains(&instant(&at))
}

/// `<prefix>*.json` in `folder`, sorted.
pub fn named(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let root = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names =
        fs::read_dir(root).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<PathBuf> = names
        .filter(|name| name.starts_with(prefix) && name.ends_with(".json"))
        .map(|name| folder.join(name))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_length_to_the_nanosecond_and_its_ends_in_it() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let middle = at("2026-02-05T02:00:00.3+02:00");
        for (nanos, from, to, seconds) in [
            (1, "2026-02-05T00:00:00.299999999Z", "2026-02-05T00:00:00.300000001Z", 0),
            (500_000_000, "2026-02-04T23:59:59.8Z", "2026-02-05T00:00:00.8Z", 0),
            (1_700_000_000, "2026-02-04T23:59:58.6Z", "2026-02-05T00:00:02Z", 1),
            (3_600_000_000_000, "2026-02-04T23:00:00.3Z", "2026-02-05T01:00:00.3Z", 3600),
        ] {
            let window = window(middle, nanos, "run_x");
            assert_eq!((window.from.to_string(), window.to.to_string()), (from.into(), to.into()));
            assert_eq!(window.window_seconds, seconds);
            assert!(is_inside(window.from, &window) && is_inside(window.to, &window) && is_inside(middle, &window));
        }
        assert!(!is_inside(at("2026-02-05T00:00:00.300000002Z"), &window(middle, 1, "run_x")));
        // Longer than there is time: as far as it goes.
        let last = at("9999-12-31T23:59:59Z");
        assert!(is_inside(last, &window(last, i64::MAX, "run_x")));
    }
}
