//! A run becomes a fixture (contract, artifacts 5.1).

use super::config::{CONFIG_SCHEMA, Config, ConfigError, ConfigFixture};
use super::fixture::{
    FIXTURE_FILE, FIXTURE_RUNPACK, Fixture, FixtureError, fixture_name, folder, is_fixture_name, scan,
};
use super::{CONFIG, SCHEMA_VERSION};
use crate::file::{self, AtomicFile, PathError};
use crate::json;
use crate::runpack::container::Container;
use crate::runpack::open::open_file;
use crate::runpack::verify::{VerifyError, integrity};
use std::io;
use std::path::{Path, PathBuf};

/// Why a fixture was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The runpack can't be opened.
    #[error("verify source runpack: open zip: {0}")]
    Open(#[source] PathError),
    /// The runpack can't be checked.
    #[error("verify source runpack: {0}")]
    Verify(#[from] VerifyError),
    /// The runpack is not what its manifest says.
    #[error("source runpack failed integrity checks")]
    Integrity,
    /// A name that a fixture can't have.
    #[error("invalid fixture name: {name}")]
    Name {
        /// The name.
        name: String,
    },
    /// Another fixture is broken, so the list of all can't be made.
    #[error(transparent)]
    Other(#[from] FixtureError),
    /// The list that is there can't be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something could not be written.
    #[error(transparent)]
    Write(#[from] PathError),
    /// A record that can't be written.
    #[error(transparent)]
    Json(#[from] json::WriteError),
}

/// A fixture that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The run.
    pub run_id: String,
    /// The name of the fixture.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its runpack.
    pub runpack: PathBuf,
}

/// Makes the runpack at `source` a fixture called `name`, or after its run, and lists it in `gait.yaml`.
///
/// What a fixture of that name and the list were set to by hand is kept. Everything is checked before anything is
/// written.
///
/// # Errors
/// [`InitError`]
pub fn init(source: &Path, name: Option<&str>) -> Result<Made, InitError> {
    let run_id = checked_run_id(source)?;
    let name = name.map_or_else(|| fixture_name(&run_id), str::to_string);
    if !is_fixture_name(&name) {
        return Err(InitError::Name { name });
    }
    let others = scan(&name)?;
    let folder = folder(&name);
    let fixture = Fixture::renewed(&name, &run_id, Fixture::read(&folder).ok());
    let config = renewed_config(&others, &fixture)?;

    let text = json::to_indented_html_safe(&fixture)?;
    if folder.exists() {
        fill(&folder, source, &text)?;
    } else {
        make_folder(&folder, source, &text)?;
    }
    file::write_atomic(Path::new(CONFIG), json::to_indented_html_safe(&config)?.as_bytes())?;
    let runpack = folder.join(FIXTURE_RUNPACK);
    Ok(Made { run_id, name, folder, runpack })
}

fn fill(folder: &Path, source: &Path, fixture: &str) -> Result<(), PathError> {
    copy(source, &folder.join(FIXTURE_RUNPACK))?;
    file::write_atomic(&folder.join(FIXTURE_FILE), fixture.as_bytes())
}

/// A new fixture appears whole or not at all: half of one would be in the way of every other.
fn make_folder(folder: &Path, source: &Path, fixture: &str) -> Result<(), PathError> {
    let all = folder.parent().unwrap_or(Path::new(""));
    file::create_folders(all)?;
    // No fixture has a name that starts with a dot, so what a killed process leaves is not taken for one.
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let temporary = all.join(format!(".{name}.tmp-{}", std::process::id()));
    file::create_folders(&temporary)?;
    let made = fill(&temporary, source, fixture)
        .and_then(|()| std::fs::rename(&temporary, folder).map_err(PathError::of("rename", folder)));
    if made.is_err() {
        // The error that matters is the first one.
        let _ = std::fs::remove_dir_all(&temporary);
    }
    made
}

fn checked_run_id(source: &Path) -> Result<String, InitError> {
    let file = open_file(source).map_err(InitError::Open)?;
    let mut container = Container::open(file).map_err(VerifyError::from)?;
    let found = integrity(&mut container)?;
    if !found.holds() {
        return Err(InitError::Integrity);
    }
    Ok(found.manifest.run_id)
}

/// The list of all fixtures; the name of the set and members we don't know are kept.
fn renewed_config(others: &[Fixture], made: &Fixture) -> Result<Config, InitError> {
    let path = Path::new(CONFIG);
    let old = if path.exists() { Config::read(path)? } else { Config::default() };
    let mut fixtures: Vec<ConfigFixture> = others
        .iter()
        .chain([made])
        .map(|fixture| ConfigFixture {
            name: fixture.name.clone(),
            run_id: fixture.run_id.clone(),
            runpack: folder(&fixture.name).join(&fixture.runpack).display().to_string(),
            more: old
                .fixtures
                .iter()
                .find(|entry| entry.name == fixture.name)
                .map(|entry| entry.more.clone())
                .unwrap_or_default(),
        })
        .collect();
    fixtures.sort_by(|left, right| left.name.cmp(&right.name));
    let fixture_set = if old.fixture_set.is_empty() { "default".into() } else { old.fixture_set };
    Ok(Config { schema_id: CONFIG_SCHEMA.into(), schema_version: SCHEMA_VERSION.into(), fixture_set, fixtures })
}

/// Copies byte by byte; a fixture made from its own runpack stays as it is.
fn copy(source: &Path, target: &Path) -> Result<(), PathError> {
    let mut from = open_file(source)?;
    let mut to = AtomicFile::create(target)?;
    io::copy(&mut from, &mut to).map_err(PathError::of("write", target))?;
    to.commit()
}
