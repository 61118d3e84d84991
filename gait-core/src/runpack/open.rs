//! Strict open: a runpack that is intact, for commands that work with its records (contract, artifacts 3.4).

use super::container::{Container, MemberError, MemberReader};
use super::glance::{Glance, LineRecord};
use super::hashed::HashedMember;
use super::lines::{LineError, Lines, PushedLines};
use super::record::{
    IntentRecord, Manifest, Object, Receipt, Refs, ResultRecord, Run, WholeRecord, parse, parse_whole,
};
use super::verify::{Integrity, Listing, VerifyError, hash, hashed, integrity_beside};
use super::write::RunRecords;
use crate::digest::Sha256Hex;
use crate::parts::{Part, PartsError, for_each_part};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::marker::PhantomData;
use std::ops::ControlFlow;
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
        Self::open_beside(source, &mut |_, _| ())
    }

    /// The same, and looks at the intents and results while their digests are checked, instead of reading them twice.
    /// What was seen counts only if this gives a runpack: before, it may be anything.
    ///
    /// # Errors
    /// [`OpenError`], also for a record that is not what it should be.
    pub fn open_looking(source: R, look: &mut impl FnMut(Seen<'_>)) -> Result<Self, OpenError> {
        let (mut intents, mut results) = (Looked::<IntentRecord>::default(), Looked::<ResultRecord>::default());
        let pack = Self::open_beside(source, &mut |name, piece| match name {
            IntentRecord::MEMBER => intents.push(piece, &mut |glance| look(Seen::Intent(glance))),
            ResultRecord::MEMBER => results.push(piece, &mut |glance| look(Seen::Result(glance))),
            _ => {}
        })?;
        intents.end(&mut |glance| look(Seen::Intent(glance)))?;
        results.end(&mut |glance| look(Seen::Result(glance)))?;
        Ok(pack)
    }

    fn open_beside(source: R, beside: &mut impl FnMut(&str, &[u8])) -> Result<Self, OpenError> {
        let mut container = Container::open(source).map_err(VerifyError::from)?;
        let integrity = integrity_beside(&mut container, beside)?;
        Self::intact(container, integrity)
    }

    /// The runpack in `container`, if nothing was found against it.
    fn intact(mut container: Container<R>, integrity: Integrity) -> Result<Self, OpenError> {
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

    /// `refs.json` without its receipts, which go one by one into what is given beside it.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn fold_refs<S: Default>(&mut self, mut add: impl FnMut(&mut S, Receipt)) -> Result<(Refs, S), OpenError> {
        const NAME: &str = "refs.json";
        const RECEIPTS: &str = "receipts";
        let read = self.container.read(NAME).map_err(|source| OpenError::Read { name: NAME, source })?;
        let reader = read.ok_or(OpenError::Member { name: NAME })?.buffered();
        let (mut head, mut sum) = (Object::new(), S::default());
        let limit = usize::try_from(RECORD_LIMIT_BYTES).unwrap_or(usize::MAX);
        let done = for_each_part(reader, &[RECEIPTS], limit, |part| {
            match part {
                Part::Element(_, receipt) => add(&mut sum, parse(receipt)?),
                // Of repeated members the last counts.
                Part::Array(name) => {
                    head.remove(name);
                    sum = S::default();
                }
                Part::Member(name, value) => {
                    match name {
                        RECEIPTS => sum = S::default(),
                        "schema_id" | "schema_version" | "created_at" | "producer_version" | "run_id" => {}
                        // Not held: it may be large.
                        _ => return crate::json::read::<IgnoredAny>(value).map(drop),
                    }
                    head.insert(name.into(), crate::json::read(value)?);
                }
            }
            Ok::<_, serde_json::Error>(())
        });
        match done {
            Ok(()) => {}
            Err(PartsError::Io(source)) => {
                return Err(OpenError::Read { name: NAME, source: MemberError::Content(source) });
            }
            // Whatever else it is that a stream does not tell: the parser knows.
            Err(_) => {
                let mut refs = self.refs()?;
                let mut sum = S::default();
                std::mem::take(&mut refs.receipts).into_iter().for_each(|receipt| add(&mut sum, receipt));
                return Ok((refs, sum));
            }
        }
        let head = serde_json::from_value(Value::Object(head));
        Ok((head.map_err(|source| OpenError::Record { what: "refs", source })?, sum))
    }

    /// Looks at the intents or the results, one at a time.
    ///
    /// # Errors
    /// [`OpenError`] for the first that is not what it should be.
    pub fn glance_at<T: LineRecord>(&mut self, mut look: impl FnMut(Glance<'_>)) -> Result<(), OpenError> {
        self.glance_until::<T>(|glance| {
            look(glance);
            ControlFlow::Continue(())
        })
    }

    /// The same, until it was looked at enough.
    ///
    /// # Errors
    /// As [`Runpack::glance_at`].
    pub fn glance_until<T: LineRecord>(
        &mut self,
        mut look: impl FnMut(Glance<'_>) -> ControlFlow<()>,
    ) -> Result<(), OpenError> {
        self.lines_until::<T>(|_, glance| look(glance))
    }

    /// The same with the line of each record.
    pub(crate) fn lines_until<T: LineRecord>(
        &mut self,
        mut look: impl FnMut(&[u8], Glance<'_>) -> ControlFlow<()>,
    ) -> Result<(), OpenError> {
        let error = |source| OpenError::Line { what: T::WHAT, source };
        let mut lines = self.lines(T::MEMBER)?;
        while let Some((number, line)) = lines.next_line().map_err(error)? {
            let glance = Glance::at::<T>(line).map_err(|source| error(LineError::Record { number, source }))?;
            if look(line, glance).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The intents, one at a time.
    ///
    /// # Errors
    /// [`OpenError`], here or with any of them.
    pub fn intents(&mut self) -> Result<Records<'_, R, IntentRecord>, OpenError> {
        self.records()
    }

    /// The results, one at a time.
    ///
    /// # Errors
    /// [`OpenError`], here or with any of them.
    pub fn results(&mut self) -> Result<Records<'_, R, ResultRecord>, OpenError> {
        self.records()
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

    fn records<T: LineRecord>(&mut self) -> Result<Records<'_, R, T>, OpenError> {
        Ok(Records { lines: self.lines(T::MEMBER)?, what: T::WHAT, record: PhantomData })
    }
}

/// A runpack whose lines are read before, and while, their digests are checked: what they say counts only once
/// [`Unchecked::check`] gave a runpack.
pub(crate) struct Unchecked<R> {
    container: Container<R>,
    listing: Listing,
    digests: Vec<(&'static str, Sha256Hex)>,
}

impl<R: Read + Seek> Unchecked<R> {
    /// Reads the manifest and nothing else.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(source: R) -> Result<Self, OpenError> {
        let mut container = Container::open(source).map_err(VerifyError::from)?;
        let listing = Listing::read(&mut container)?;
        Ok(Unchecked { container, listing, digests: Vec::new() })
    }

    /// The lines of `intents.jsonl` or `results.jsonl`.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn lines(&mut self, name: &'static str) -> Result<HashedLines<&mut R>, OpenError> {
        let read = |source| OpenError::Read { name, source };
        let member = hashed(&mut self.container, name).map_err(read)?;
        Ok(HashedLines(Lines::new(member.ok_or(OpenError::Member { name })?), name))
    }

    /// Takes note of the digest of lines that were read to their end.
    pub fn know(&mut self, name: &'static str, digest: Sha256Hex) {
        self.digests.push((name, digest));
    }

    /// Compares all members with the manifest: those whose digest is not known yet are read.
    ///
    /// # Errors
    /// [`OpenError`] for any finding.
    pub fn check(self) -> Result<Runpack<R>, OpenError> {
        let Unchecked { mut container, listing, digests } = self;
        let integrity = listing.compare(&mut container, &mut |container, name| {
            let known = digests.iter().find(|(known, _)| *known == name);
            known.map_or_else(|| hash(container, name, &mut |_, _| ()), |(_, digest)| Ok(Some(*digest)))
        })?;
        Runpack::intact(container, integrity)
    }
}

/// Lines of a member that is hashed on the way.
pub(crate) struct HashedLines<R: Read>(Lines<HashedMember<R>>, &'static str);

impl<R: Read> HashedLines<R> {
    /// The lines.
    pub fn lines(&mut self) -> &mut Lines<HashedMember<R>> {
        &mut self.0
    }

    /// The digest of the member, whose lines were read to their end.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn finish(self) -> Result<Sha256Hex, OpenError> {
        let name = self.1;
        let failed = |source| OpenError::Read { name, source: MemberError::Content(source) };
        self.0.into_source().finish().map_err(failed)
    }
}

/// A record that was passed.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<'a> {
    /// An intent.
    Intent(Glance<'a>),
    /// A result.
    Result(Glance<'a>),
}

/// The lines of a member as they pass, up to the first that is not a record.
struct Looked<T> {
    lines: PushedLines,
    failed: Option<LineError>,
    record: PhantomData<T>,
}

impl<T> Default for Looked<T> {
    fn default() -> Self {
        Looked { lines: PushedLines::default(), failed: None, record: PhantomData }
    }
}

impl<T: LineRecord> Looked<T> {
    fn push(&mut self, piece: &[u8], look: &mut impl FnMut(Glance<'_>)) {
        if self.failed.is_none() {
            self.failed = self.lines.push(piece, &mut |number, line| seen::<T>(number, line, look)).err();
        }
    }

    fn end(mut self, look: &mut impl FnMut(Glance<'_>)) -> Result<(), OpenError> {
        if self.failed.is_none() {
            self.failed = self.lines.end(&mut |number, line| seen::<T>(number, line, look)).err();
        }
        self.failed.map_or(Ok(()), |source| Err(OpenError::Line { what: T::WHAT, source }))
    }
}

fn seen<T: LineRecord>(number: u64, line: &[u8], look: &mut impl FnMut(Glance<'_>)) -> Result<(), LineError> {
    look(Glance::at::<T>(line).map_err(|source| LineError::Record { number, source })?);
    Ok(())
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

fn read_record<R: Read + Seek, T: WholeRecord>(
    container: &mut Container<R>,
    name: &'static str,
    what: &'static str,
) -> Result<T, OpenError> {
    let bytes = container.read_all(name, RECORD_LIMIT_BYTES).map_err(|source| OpenError::Read { name, source })?;
    parse_whole(&bytes.ok_or(OpenError::Member { name })?).map_err(|source| OpenError::Record { what, source })
}
