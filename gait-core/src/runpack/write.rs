//! Writing a runpack: members by name, a manifest that lists and signs them, one container.

use super::beside::{self, Deflated};
use super::container::{self, ContainerWriter, Facts};
use super::record::{IntentRecord, MANIFEST_SCHEMA, Manifest, ManifestFile, Refs, ResultRecord, Run, SCHEMA_VERSION};
use super::verify::MANIFEST;
use crate::canonical::{CanonicalError, canonical_bytes, write_canonical};
use crate::signature::PrivateKey;
use crate::time::Timestamp;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Content of a member.
#[derive(Clone, Debug)]
pub enum Content {
    /// Held in memory.
    Bytes(Vec<u8>),
    /// Held in memory in pieces, one after the other.
    Lines(Vec<Vec<u8>>),
    /// A file of the caller, which must not change meanwhile.
    File(PathBuf),
    /// What a [`super::container::Deflater`] made of it, in an open file of nobody else's.
    Deflated(Arc<File>, Facts),
}

impl Content {
    /// Reads it from its start.
    pub(super) fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Content::Bytes(bytes) => Box::new(bytes.as_slice()),
            Content::Lines(lines) => Box::new(Joined { lines, at: 0 }),
            Content::File(path) => Box::new(File::open(path)?),
            Content::Deflated(file, _) => {
                let mut file = file.as_ref();
                file.rewind()?;
                Box::new(file)
            }
        })
    }
}

/// Lines as one stream. It fills every buffer but the last: how content is compressed may depend on the pieces in which
/// it comes, and must not depend on how it was held.
struct Joined<'a> {
    lines: &'a [Vec<u8>],
    /// Bytes of the first line that were given.
    at: usize,
}

impl Read for Joined<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let ([line, rest @ ..], true) = (self.lines, filled < buffer.len()) {
            let left = line.get(self.at..).unwrap_or_default();
            let count = left.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&left[..count]);
            filled += count;
            self.at += count;
            if count == left.len() {
                (self.lines, self.at) = (rest, 0);
            }
        }
        Ok(filled)
    }
}

/// One member besides the manifest.
#[derive(Clone, Debug)]
pub struct PackMember {
    /// Its name in the container.
    pub name: String,
    /// What is in it.
    pub content: Content,
}

impl PackMember {
    /// A member held in memory.
    pub fn bytes(name: &str, bytes: Vec<u8>) -> Self {
        PackMember { name: name.into(), content: Content::Bytes(bytes) }
    }
}

/// What a manifest says besides the members.
#[derive(Clone, Debug)]
pub struct PackFacts {
    /// Start of the run.
    pub created_at: Timestamp,
    /// The program that recorded it.
    pub producer_version: String,
    /// The name of the run.
    pub run_id: String,
    /// `reference` or `raw`.
    pub capture_mode: String,
}

/// Why a runpack could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A member could not be read.
    #[error("read `{name}`: {source}")]
    Read {
        /// The member.
        name: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The container could not be written.
    #[error(transparent)]
    Container(#[from] container::WriteError),
    /// A record without a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// Writes a runpack of `members`, in any order, signed by `keys`, and gives its manifest.
///
/// The same members, facts and keys give the same bytes. Each member is read once. Large ones are deflated side by side;
/// what is held of them is a few that are deflated, and those whose names come after the manifest's, which lists all.
///
/// # Errors
/// [`PackError`]; what was written to `out` is then of no use.
pub fn write_pack(
    out: impl Write,
    facts: &PackFacts,
    members: &[PackMember],
    keys: &[&PrivateKey],
) -> Result<Manifest, PackError> {
    let mut sorted: Vec<&PackMember> = members.iter().collect();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let mut writer = ContainerWriter::new(out);
    let (mut files, mut later) = (Vec::with_capacity(sorted.len()), Vec::new());
    beside::deflate(&sorted, MANIFEST, |member, deflated| {
        files.push(ManifestFile { path: member.name.clone(), sha256: deflated.facts.digest.to_string() });
        if member.name.as_str() < MANIFEST {
            put(&mut writer, member, deflated)
        } else {
            later.push((member, deflated));
            Ok(())
        }
    })?;
    let mut manifest = Manifest {
        schema_id: MANIFEST_SCHEMA.into(),
        schema_version: SCHEMA_VERSION.into(),
        created_at: facts.created_at,
        producer_version: facts.producer_version.clone(),
        run_id: facts.run_id.clone(),
        capture_mode: facts.capture_mode.clone(),
        files,
        ..Manifest::default()
    };
    manifest.seal(keys)?;
    writer.member(MANIFEST, manifest.to_bytes()?.as_slice())?;
    later.into_iter().try_for_each(|(member, deflated)| put(&mut writer, member, deflated))?;
    writer.finish()?;
    Ok(manifest)
}

/// Writes what was deflated before, here or by whoever made the member.
fn put(writer: &mut ContainerWriter<impl Write>, member: &PackMember, deflated: Deflated) -> Result<(), PackError> {
    let Deflated { facts, bytes } = deflated;
    match bytes {
        Some(bytes) => writer.deflated(&member.name, &facts, bytes.as_slice())?,
        None => {
            let content = member.content.open();
            let content = content.map_err(|source| PackError::Read { name: member.name.clone(), source })?;
            writer.deflated(&member.name, &facts, content)?;
        }
    }
    Ok(())
}

/// The records of a run, not yet packed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunRecords {
    /// `run.json`
    pub run: Run,
    /// `intents.jsonl`
    pub intents: Vec<IntentRecord>,
    /// `results.jsonl`
    pub results: Vec<ResultRecord>,
    /// `refs.json`
    pub refs: Refs,
    /// `reference` or `raw`
    pub capture_mode: String,
}

impl RunRecords {
    /// Gives members without a value their default (contract, artifacts 3.1).
    pub fn fill(&mut self, now: Timestamp) {
        self.run.fill(now);
        self.refs.fill(&self.run);
        self.intents.iter_mut().for_each(|intent| intent.fill(&self.run));
        self.results.iter_mut().for_each(|result| result.fill(&self.run));
        if self.capture_mode.is_empty() {
            self.capture_mode = "reference".into();
        }
    }

    /// What the manifest says of these records.
    pub fn facts(&self) -> PackFacts {
        PackFacts {
            created_at: self.run.created_at,
            producer_version: self.run.producer_version.clone(),
            run_id: self.run.run_id.clone(),
            capture_mode: self.capture_mode.clone(),
        }
    }

    /// The four standard members.
    ///
    /// # Errors
    /// [`CanonicalError`]
    pub fn members(&self) -> Result<Vec<PackMember>, CanonicalError> {
        Ok(vec![
            PackMember::bytes("run.json", canonical_bytes(&self.run)?),
            PackMember::bytes("intents.jsonl", json_lines(&self.intents)?),
            PackMember::bytes("results.jsonl", json_lines(&self.results)?),
            PackMember::bytes("refs.json", canonical_bytes(&self.refs)?),
        ])
    }
}

/// One canonical object per line.
///
/// # Errors
/// [`CanonicalError`]
pub fn json_lines<T: Serialize>(records: &[T]) -> Result<Vec<u8>, CanonicalError> {
    let mut bytes = Vec::new();
    for record in records {
        write_canonical(record, &mut bytes)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}
