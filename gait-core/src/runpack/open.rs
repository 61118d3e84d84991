//! Strict open: a runpack that is intact, for commands that work with its records (contract, artifacts 3.4).

use super::container::{Container, MemberError, MemberReader};
use super::lines::{LineError, Lines};
use super::record::{IntentRecord, Manifest, Refs, ResultRecord, Run, parse};
use super::verify::{Integrity, VerifyError, integrity};
use super::write::RunRecords;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::marker::PhantomData;
use std::path::Path;

/// Why a runpack can't be worked with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file can't be opened.
    #[error("open zip: {0}")]
    File(#[from] crate::file::PathError),
    /// It can't even be checked.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Members that are listed, or must be, are not there.
    #[error("missing runpack files: {}", names.join(", "))]
    Missing {
        /// Their names.
        names: Vec<String>,
    },
    /// Content that is not what the manifest says.
    #[error("runpack hash mismatch")]
    Mismatch,
    /// Members that nobody vouches for.
    #[error("undeclared runpack files: {}", names.join(", "))]
    Undeclared {
        /// Their names.
        names: Vec<String>,
    },
    /// A standard member is not there.
    #[error("missing {name}")]
    Member {
        /// Its name.
        name: &'static str,
    },
    /// A member can't be read.
    #[error("read {name}: {source}")]
    Read {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: MemberError,
    },
    /// `run.json` or `refs.json` is not what it should be.
    #[error("parse {what}: {source}")]
    Record {
        /// `run` or `refs`.
        what: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A line of `intents.jsonl` or `results.jsonl` is not what it should be.
    #[error("parse {what}: {source}")]
    Line {
        /// `intents` or `results`.
        what: &'static str,
        /// Which line and why.
        #[source]
        source: LineError,
    },
}

/// `refs.json` and `run.json` are held in memory.
const RECORD_LIMIT_BYTES: u64 = super::container::MEMBER_LIMIT_BYTES;

/// A runpack whose digests hold. Its signatures were not looked at.
#[derive(Debug)]
pub struct Runpack<R> {
    container: Container<R>,
    /// What the digests say: nothing against it.
    pub integrity: Integrity,
    /// `run.json`
    pub run: Run,
}

impl Runpack<BufReader<File>> {
    /// Opens the runpack at `path`.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open_path(path: &Path) -> Result<Self, OpenError> {
        Self::open(open_file(path)?)
    }
}

/// Opens the file at `path` for [`Container::open`].
///
/// # Errors
/// [`crate::file::PathError`]
pub fn open_file(path: &Path) -> Result<BufReader<File>, crate::file::PathError> {
    Ok(BufReader::new(File::open(path).map_err(crate::file::PathError::of("open", path))?))
}

impl<R: Read + Seek> Runpack<R> {
    /// Checks all digests and reads `run.json`.
    ///
    /// # Errors
    /// [`OpenError`] for any finding.
    pub fn open(source: R) -> Result<Self, OpenError> {
        let mut container = Container::open(source).map_err(VerifyError::from)?;
        let integrity = integrity(&mut container)?;
        if !integrity.missing_files.is_empty() {
            return Err(OpenError::Missing { names: integrity.missing_files });
        }
        if !integrity.hash_mismatches.is_empty() {
            return Err(OpenError::Mismatch);
        }
        if !integrity.undeclared_files.is_empty() {
            return Err(OpenError::Undeclared { names: integrity.undeclared_files });
        }
        let run = read_record(&mut container, "run.json", "run")?;
        Ok(Runpack { container, integrity, run })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.integrity.manifest
    }

    /// The container, for members beyond the standard ones.
    pub fn container(&mut self) -> &mut Container<R> {
        &mut self.container
    }

    /// `refs.json`
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn refs(&mut self) -> Result<Refs, OpenError> {
        read_record(&mut self.container, "refs.json", "refs")
    }

    /// The intents, one at a time.
    ///
    /// # Errors
    /// [`OpenError`], here or with any of them.
    pub fn intents(&mut self) -> Result<Records<'_, R, IntentRecord>, OpenError> {
        self.records("intents.jsonl", "intents")
    }

    /// The results, one at a time.
    ///
    /// # Errors
    /// [`OpenError`], here or with any of them.
    pub fn results(&mut self) -> Result<Records<'_, R, ResultRecord>, OpenError> {
        self.records("results.jsonl", "results")
    }

    /// The lines of `intents.jsonl` or `results.jsonl`, not parsed.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn lines(&mut self, name: &'static str) -> Result<Lines<BufReader<MemberReader<&mut R>>>, OpenError> {
        let reader = self.container.read(name).map_err(|source| OpenError::Read { name, source })?;
        Ok(Lines::new(reader.ok_or(OpenError::Member { name })?.buffered()))
    }

    /// All records, in memory.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn load(&mut self) -> Result<RunRecords, OpenError> {
        Ok(RunRecords {
            run: self.run.clone(),
            intents: self.intents()?.collect::<Result<_, _>>()?,
            results: self.results()?.collect::<Result<_, _>>()?,
            refs: self.refs()?,
            capture_mode: self.manifest().capture_mode.clone(),
        })
    }

    fn records<T>(&mut self, name: &'static str, what: &'static str) -> Result<Records<'_, R, T>, OpenError> {
        Ok(Records { lines: self.lines(name)?, what, record: PhantomData })
    }
}

/// Records of a member, parsed while they are read.
pub struct Records<'a, R: Read, T> {
    lines: Lines<BufReader<MemberReader<&'a mut R>>>,
    what: &'static str,
    record: PhantomData<T>,
}

impl<R: Read, T: DeserializeOwned> Iterator for Records<'_, R, T> {
    type Item = Result<T, OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        let what = self.what;
        let error = |source| OpenError::Line { what, source };
        match self.lines.next_line() {
            Ok(Some((number, line))) => Some(parse(line).map_err(|source| error(LineError::Record { number, source }))),
            Ok(None) => None,
            Err(source) => Some(Err(error(source))),
        }
    }
}

fn read_record<R: Read + Seek, T: DeserializeOwned>(
    container: &mut Container<R>,
    name: &'static str,
    what: &'static str,
) -> Result<T, OpenError> {
    let bytes = container.read_all(name, RECORD_LIMIT_BYTES).map_err(|source| OpenError::Read { name, source })?;
    parse(&bytes.ok_or(OpenError::Member { name })?).map_err(|source| OpenError::Record { what, source })
}
