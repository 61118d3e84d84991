//! What is kept and what goes, by age (contract, control 14.4).

use crate::file::PathError;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Schema id of [`Report`].
pub const RETENTION_SCHEMA: &str = "gait.guard.retention_report";

/// How long files are kept, in seconds; nothing that is not positive deletes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Traces.
    pub trace_ttl_seconds: i64,
    /// Evidence and incident packs, encrypted or not.
    pub pack_ttl_seconds: i64,
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `trace_*.json`
    Trace,
    /// `evidence_pack_*` or `incident_pack_*`, `.zip` or `.gaitenc`
    Pack,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is deleted, or would be.
    Deleted,
    /// It stays.
    Kept,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, control 14.4")]
pub struct Event {
    pub path: String,
    pub kind: Kind,
    pub modified_at: Timestamp,
    pub age_seconds: i64,
    pub action: Action,
}

/// `gait.guard.retention_report`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, control 14.4")]
pub struct Report {
    pub schema_id: &'static str,
    pub schema_version: &'static str,
    pub created_at: Timestamp,
    pub producer_version: &'static str,
    pub root_path: String,
    pub dry_run: bool,
    pub trace_ttl_seconds: i64,
    pub pack_ttl_seconds: i64,
    pub scanned_files: usize,
    pub deleted_files: Vec<Event>,
    pub kept_files: Vec<Event>,
}

/// The kind of a file of this name, if retention is about it.
pub fn kind(name: &str) -> Option<Kind> {
    let name = name.to_ascii_lowercase();
    let is_pack = name.starts_with("evidence_pack_") || name.starts_with("incident_pack_");
    if name.starts_with("trace_") && name.ends_with(".json") {
        Some(Kind::Trace)
    } else if is_pack && (name.ends_with(".zip") || name.ends_with(".gaitenc")) {
        Some(Kind::Pack)
    } else {
        None
    }
}

impl Rules {
    fn action(self, kind: Kind, age_seconds: i64) -> Action {
        let ttl = match kind {
            Kind::Trace => self.trace_ttl_seconds,
            Kind::Pack => self.pack_ttl_seconds,
        };
        if ttl > 0 && age_seconds > ttl { Action::Deleted } else { Action::Kept }
    }
}

/// Looks at everything below `root` and says what becomes of it at the time `now`; nothing is deleted. Links are not
/// followed and are no artifacts.
///
/// # Errors
/// A folder can't be read.
pub fn survey(root: &Path, rules: Rules, now: Timestamp) -> Result<Report, PathError> {
    let mut events = Vec::new();
    // A root that is a file, or is not there, is told as one.
    std::fs::symlink_metadata(root).map_err(PathError::of("lstat", root))?;
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(PathError::of("open", &folder))? {
            let entry = entry.map_err(PathError::of("read", &folder))?;
            let path = shown(root, &folder, &entry.file_name());
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.is_file()
                && let Some(kind) = kind(&entry.file_name().to_string_lossy())
            {
                let modified_at = modified(&metadata);
                let age_seconds = now.unix_seconds() - modified_at.unix_seconds();
                let action = rules.action(kind, age_seconds);
                events.push(Event { path: path.display().to_string(), kind, modified_at, age_seconds, action });
            }
        }
    }
    events.sort_by(|left, right| left.path.cmp(&right.path));
    let scanned_files = events.len();
    let (deleted_files, kept_files) = events.into_iter().partition(|event| event.action == Action::Deleted);
    Ok(Report {
        schema_id: RETENTION_SCHEMA,
        schema_version: "1.0.0",
        created_at: now,
        producer_version: crate::PRODUCER_VERSION,
        root_path: root.display().to_string(),
        dry_run: true,
        trace_ttl_seconds: rules.trace_ttl_seconds,
        pack_ttl_seconds: rules.pack_ttl_seconds,
        scanned_files,
        deleted_files,
        kept_files,
    })
}

/// The path of an entry as it is told: without `./` in front.
fn shown(root: &Path, folder: &Path, name: &std::ffi::OsStr) -> PathBuf {
    if folder == root && root == Path::new(".") { PathBuf::from(name) } else { folder.join(name) }
}

fn modified(metadata: &std::fs::Metadata) -> Timestamp {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_unix(seconds, since.subsec_nanos()).unwrap_or(Timestamp::ZERO)
}

impl Report {
    /// Deletes what is to be deleted. What could not be stays in the report as kept, and its error is given.
    pub fn carry_out(&mut self) -> Vec<PathError> {
        self.dry_run = false;
        let mut errors = Vec::new();
        let (mut deleted, mut kept) = (Vec::new(), std::mem::take(&mut self.kept_files));
        for event in std::mem::take(&mut self.deleted_files) {
            let path = Path::new(&event.path);
            match std::fs::remove_file(path).map_err(PathError::of("remove", path)) {
                Ok(()) => deleted.push(event),
                Err(error) => {
                    errors.push(error);
                    kept.push(Event { action: Action::Kept, ..event });
                }
            }
        }
        kept.sort_by(|left, right| left.path.cmp(&right.path));
        (self.deleted_files, self.kept_files) = (deleted, kept);
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        for (name, expected) in [
            ("trace_1.json", Some(Kind::Trace)),
            ("TRACE_1.JSON", Some(Kind::Trace)),
            ("evidence_pack_a.zip", Some(Kind::Pack)),
            ("incident_pack_a.zip.gaitenc", Some(Kind::Pack)),
            ("evidence_pack_a.json", None),
            ("my_trace_1.json", None),
            ("trace_1.jsonl", None),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }

    #[test]
    fn a_time_to_live_that_is_not_positive_keeps_everything() {
        let rules = |seconds| Rules { trace_ttl_seconds: seconds, pack_ttl_seconds: 1 };
        for (ttl, age, action) in
            [(10, 10, Action::Kept), (10, 11, Action::Deleted), (0, 99, Action::Kept), (-5, 99, Action::Kept)]
        {
            assert_eq!(rules(ttl).action(Kind::Trace, age), action);
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_neither_followed_nor_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("trace_1.json"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("loop")).unwrap();
        std::os::unix::fs::symlink(outside.join("trace_1.json"), root.join("trace_2.json")).unwrap();
        let rules = Rules { trace_ttl_seconds: 1, pack_ttl_seconds: 1 };
        let far = Timestamp::parse("2200-01-01T00:00:00Z").unwrap();
        let mut report = survey(&root, rules, far).unwrap();
        assert!(report.carry_out().is_empty() && report.scanned_files == 0);
        assert!(outside.join("trace_1.json").exists() && root.join("trace_2.json").symlink_metadata().is_ok());
    }
}
