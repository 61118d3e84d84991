//! One fixture: `fixtures/<name>/fixture.json` beside its runpack.

use super::{FIXTURES, SCHEMA_VERSION};
use crate::file::{self, PathError};
use crate::runpack::record::{self, Object, or_zero};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Schema id of [`Fixture`].
pub const FIXTURE_SCHEMA: &str = "gait.regress.fixture";
/// The file of a fixture.
pub const FIXTURE_FILE: &str = "fixture.json";
/// The runpack of a fixture that `regress init` made.
pub const FIXTURE_RUNPACK: &str = "runpack.zip";

/// `fixture.json`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fixture {
    /// [`FIXTURE_SCHEMA`]; not checked.
    #[serde(deserialize_with = "or_zero")]
    pub schema_id: String,
    /// [`SCHEMA_VERSION`]; not checked.
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: String,
    /// The name of its folder.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// The run.
    #[serde(deserialize_with = "or_zero")]
    pub run_id: String,
    /// The file of its runpack, in the same folder.
    #[serde(deserialize_with = "or_zero")]
    pub runpack: String,
    /// What `run replay` of the runpack must end with.
    #[serde(deserialize_with = "or_zero")]
    pub expected_replay_exit_code: i64,
    /// The runpack to compare with, relative to the folder.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "String::is_empty")]
    pub candidate_runpack: String,
    /// Members that may differ.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "Vec::is_empty")]
    pub diff_allow_changed_files: Vec<String>,
    /// Further members; kept when the file is written again.
    #[serde(flatten)]
    pub more: Object,
}

/// Why a fixture can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FixtureError {
    /// `fixture.json` can't be read.
    #[error("read fixture metadata: {0}")]
    Read(#[source] PathError),
    /// It is not JSON, or a member has the wrong type.
    #[error("parse fixture metadata: {0}")]
    Parse(#[source] serde_json::Error),
    /// Name, run or runpack are not given.
    #[error("fixture metadata incomplete: {}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// An exit code that no command has.
    #[error("fixture expected_replay_exit_code must be >= 0: {}", path.display())]
    NegativeExit {
        /// The file.
        path: PathBuf,
    },
    /// A fixture in the folder of another.
    #[error("fixture metadata name mismatch for {name}")]
    Name {
        /// The folder.
        name: String,
    },
    /// A runpack elsewhere.
    #[error("fixture runpack path must be a filename for {name}")]
    NotAFileName {
        /// The fixture.
        name: String,
    },
    /// No runpack.
    #[error("fixture runpack missing for {name}: {source}")]
    NoRunpack {
        /// The fixture.
        name: String,
        /// What the operating system said.
        #[source]
        source: PathError,
    },
    /// The folder of all fixtures can't be read.
    #[error("read fixtures: {0}")]
    Folder(#[source] PathError),
}

impl Fixture {
    /// Reads the `fixture.json` in `folder`.
    ///
    /// # Errors
    /// [`FixtureError`]
    pub fn read(folder: &Path) -> Result<Self, FixtureError> {
        let path = folder.join(FIXTURE_FILE);
        let bytes = file::read(&path).map_err(FixtureError::Read)?;
        let fixture: Fixture = record::parse(&bytes).map_err(FixtureError::Parse)?;
        if fixture.name.is_empty() || fixture.run_id.is_empty() || fixture.runpack.is_empty() {
            return Err(FixtureError::Incomplete { path });
        }
        if fixture.expected_replay_exit_code < 0 {
            return Err(FixtureError::NegativeExit { path });
        }
        Ok(fixture)
    }

    /// A fixture of `run_id` with what `old` was set to, if there was one.
    pub fn renewed(name: &str, run_id: &str, old: Option<Fixture>) -> Self {
        Fixture {
            schema_id: FIXTURE_SCHEMA.into(),
            schema_version: SCHEMA_VERSION.into(),
            name: name.into(),
            run_id: run_id.into(),
            runpack: FIXTURE_RUNPACK.into(),
            ..old.unwrap_or_default()
        }
    }

    /// Members that may differ: trimmed, unique, sorted.
    pub fn allowed_files(&self) -> Vec<String> {
        crate::text::set(&self.diff_allow_changed_files)
    }
}

/// Whether `name` may be the name of a fixture: `^[a-z0-9][a-z0-9._-]*$`.
pub fn is_fixture_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.bytes().next().is_some_and(plain) && name.bytes().all(|byte| plain(byte) || b"._-".contains(&byte))
}

/// The name of a fixture of the run `run_id`.
pub fn fixture_name(run_id: &str) -> String {
    let mut name = String::with_capacity(run_id.len());
    for character in crate::text::lower(run_id).chars() {
        if character.is_ascii_lowercase() || character.is_ascii_digit() || "._-".contains(character) {
            name.push(character);
        } else if !name.ends_with('\u{0}') {
            // Stands for the whole run of other characters until it is one dash.
            name.push('\u{0}');
        }
    }
    let name = name.replace('\u{0}', "-");
    let trimmed = name.trim_matches(['-', '.', '_']);
    if trimmed.is_empty() { "fixture".into() } else { trimmed.into() }
}

/// The folder of the fixture `name`.
pub fn folder(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

/// All fixtures on disk but `except`, sorted by name. Anything else in the folder is left alone.
///
/// # Errors
/// [`FixtureError`] for the first folder that looks like a fixture and is broken.
pub fn scan(except: &str) -> Result<Vec<Fixture>, FixtureError> {
    let root = Path::new(FIXTURES);
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FixtureError::Folder(PathError::of("open", root)(error))),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(PathError::of("read", root)).map_err(FixtureError::Folder)?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match entry.file_name().into_string() {
            Ok(name) if is_folder && is_fixture_name(&name) && name != except => names.push(name),
            _ => {}
        }
    }
    names.sort();
    names.iter().map(|name| checked(name)).collect()
}

fn checked(name: &str) -> Result<Fixture, FixtureError> {
    let fixture = Fixture::read(&folder(name))?;
    if fixture.name != name {
        return Err(FixtureError::Name { name: name.into() });
    }
    if fixture.runpack.contains(['/', '\\']) || matches!(fixture.runpack.as_str(), "." | "..") {
        return Err(FixtureError::NotAFileName { name: name.into() });
    }
    let runpack = folder(name).join(&fixture.runpack);
    fs::metadata(&runpack)
        .map_err(PathError::of("stat", &runpack))
        .map_err(|source| FixtureError::NoRunpack { name: name.into(), source })?;
    Ok(fixture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_from_run_ids() {
        for (run_id, name) in [
            ("run_A.b C", "run_a.b-c"),
            ("  ??", "fixture"),
            ("a - b", "a---b"),
            ("a//b", "a-b"),
            ("..x..", "x"),
            ("É", "fixture"),
        ] {
            assert_eq!(fixture_name(run_id), name, "{run_id}");
        }
    }

    #[test]
    fn a_name_can_not_lead_out_of_the_folder() {
        for bad in ["", "..", "A", "a/b", "-a", ".a", "a b", "é"] {
            assert!(!is_fixture_name(bad), "{bad}");
        }
        assert!(is_fixture_name("a.b-c_1"));
    }
}
