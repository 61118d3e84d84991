//! All fixtures of a set, graded (contract, artifacts 5.2).

use super::SCHEMA_VERSION;
use super::config::{Config, ConfigError, ConfigFixture};
use super::fixture::{Fixture, FixtureError};
use super::grade::{GradeStatus, Graded, Grader, STANDARD, Subject, grade};
use super::survey::Survey;
use crate::file::PathError;
use crate::runpack::open::{OpenError, Runpack};
use crate::time::Timestamp;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// Why a set could not be graded. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The list of fixtures can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A runpack is not there.
    #[error("fixture runpack missing for {name}: {source}")]
    NoRunpack {
        /// The fixture.
        name: String,
        /// What the operating system said.
        #[source]
        source: PathError,
    },
    /// A runpack is not intact.
    #[error("read fixture runpack for {name}: {source}")]
    Runpack {
        /// The fixture.
        name: String,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// A `fixture.json` can't be used.
    #[error("read fixture metadata for {name}: {source}")]
    Fixture {
        /// The fixture.
        name: String,
        /// Why.
        #[source]
        source: FixtureError,
    },
    /// `fixture.json` says another name than the list.
    #[error("fixture metadata name mismatch for {name}")]
    Name {
        /// The fixture.
        name: String,
    },
    /// `fixture.json` says another run than the list.
    #[error("fixture run_id mismatch for {name}")]
    FixtureRun {
        /// The fixture.
        name: String,
    },
    /// The runpack is of another run than `fixture.json` says.
    #[error("runpack run_id mismatch for {name}")]
    PackRun {
        /// The fixture.
        name: String,
    },
    /// A grader's own settings can't be used.
    #[error("{message}")]
    Settings {
        /// Why.
        message: String,
    },
    /// Nothing to grade.
    #[error("no fixtures configured")]
    Empty,
}

/// `regress_result.json`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegressResult {
    /// `gait.regress.result`
    pub schema_id: &'static str,
    /// [`SCHEMA_VERSION`]
    pub schema_version: &'static str,
    /// Start of the first fixture's run, in UTC: grading twice gives the same file.
    pub created_at: Timestamp,
    /// Whoever graded.
    pub producer_version: &'static str,
    /// The name of the set.
    pub fixture_set: String,
    /// Passed if every grader passed.
    pub status: GradeStatus,
    /// All grades, sorted by name.
    pub graders: Vec<Graded>,
}

impl RegressResult {
    /// How many graders failed.
    pub fn failed(&self) -> usize {
        self.graders.iter().filter(|graded| graded.status == GradeStatus::Fail).count()
    }

    /// The first reason of the first grader that failed.
    pub fn top_failure_reason(&self) -> Option<&str> {
        let first = self.graders.iter().find(|graded| graded.status == GradeStatus::Fail)?;
        Some(first.reason_codes.first().map_or("grader_failed", String::as_str))
    }
}

/// The graders that a fixture gets, by its entry in the list.
pub type GradersOf<'a> = &'a dyn Fn(&ConfigFixture) -> Result<Vec<Grader>, RunError>;

/// The graders that every fixture gets.
///
/// # Errors
/// None; for [`GradersOf`].
pub fn standard_graders(_: &ConfigFixture) -> Result<Vec<Grader>, RunError> {
    Ok(STANDARD.to_vec())
}

/// Grades every fixture of the list at `config`.
///
/// # Errors
/// [`RunError`] if one of them can't be loaded.
pub fn run(config: &Path, graders_of: GradersOf<'_>) -> Result<RegressResult, RunError> {
    let config = Config::read(config)?;
    let (mut graders, mut created_at) = (Vec::new(), None);
    for entry in &config.fixtures {
        let started = grade_fixture(entry, &graders_of(entry)?, &mut graders)?;
        created_at.get_or_insert(started);
    }
    let created_at = created_at.ok_or(RunError::Empty)?.utc_or_fallback();
    graders.sort_by(|left, right| left.name.cmp(&right.name));
    let failed = graders.iter().any(|graded| graded.status == GradeStatus::Fail);
    Ok(RegressResult {
        schema_id: "gait.regress.result",
        schema_version: SCHEMA_VERSION,
        created_at,
        producer_version: crate::PRODUCER_VERSION,
        fixture_set: config.fixture_set,
        status: if failed { GradeStatus::Fail } else { GradeStatus::Pass },
        graders,
    })
}

fn grade_fixture(entry: &ConfigFixture, graders: &[Grader], graded: &mut Vec<Graded>) -> Result<Timestamp, RunError> {
    let name = || entry.name.clone();
    let runpack = Path::new(&entry.runpack);
    fs::metadata(runpack)
        .map_err(PathError::of("stat", runpack))
        .map_err(|source| RunError::NoRunpack { name: name(), source })?;
    let unusable = |source| RunError::Runpack { name: name(), source };
    let mut pack = Runpack::open_path(runpack).map_err(unusable)?;
    let survey = Survey::of(&mut pack).map_err(unusable)?;
    let folder = runpack.parent().unwrap_or(Path::new(""));
    let fixture = Fixture::read(folder).map_err(|source| RunError::Fixture { name: name(), source })?;
    if fixture.name != entry.name {
        return Err(RunError::Name { name: name() });
    }
    if !entry.run_id.is_empty() && fixture.run_id != entry.run_id {
        return Err(RunError::FixtureRun { name: name() });
    }
    if fixture.run_id != pack.run.run_id {
        return Err(RunError::PackRun { name: name() });
    }
    let started = pack.run.created_at;
    let mut subject = Subject { entry, fixture: &fixture, folder, runpack, pack: &mut pack, survey: &survey };
    graded.extend(graders.iter().map(|grader| grade(*grader, &mut subject)));
    Ok(started)
}
