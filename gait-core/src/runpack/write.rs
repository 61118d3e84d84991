//! Writing a runpack: members by name, a manifest that lists and signs them, one container.

use super::container::{self, ContainerWriter, Facts};
use super::record::{IntentRecord, MANIFEST_SCHEMA, Manifest, ManifestFile, Refs, ResultRecord, Run, SCHEMA_VERSION};
use super::verify::MANIFEST;
use crate::canonical::{CanonicalError, canonical_bytes, write_canonical};
use crate::digest::{Hasher, Sha256Hex};
use crate::signature::PrivateKey;
use crate::time::Timestamp;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Content of a member that can be read more than once: first for its digest, then for the container.
#[derive(Clone, Debug)]
pub enum Content {
    /// Held in memory.
    Bytes(Vec<u8>),
    /// A file of the caller, which must not change meanwhile.
    File(PathBuf),
    /// What a [`super::container::Deflater`] made of it, in an open file of nobody else's.
    Deflated(Arc<File>, Facts),
}

impl Content {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Content::Bytes(bytes) => Box::new(bytes.as_slice()),
            Content::File(path) => Box::new(File::open(path)?),
            Content::Deflated(file, _) => {
                let mut file = file.as_ref();
                file.rewind()?;
                Box::new(file)
            }
        })
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
    /// A member could not be read for its digest.
    #[error("read `{name}`: {source}")]
    Read {
        /// The member.
        name: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The content of a member changed while it was written.
    #[error("`{name}` changed while it was packed")]
    Changed {
        /// The member.
        name: String,
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
/// The same members, facts and keys give the same bytes. Members are streamed; the manifest is the one thing held in
/// memory.
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
    let files = sorted.iter().map(|member| listed(member)).collect::<Result<Vec<_>, _>>()?;
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
    let own = PackMember::bytes(MANIFEST, manifest.to_bytes()?);
    sorted.push(&own);
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let mut writer = ContainerWriter::new(out);
    for member in sorted {
        if let Content::Deflated(_, facts) = &member.content {
            writer.deflated(&member.name, facts, open(member)?)?;
            continue;
        }
        let digest = writer.member(&member.name, open(member)?)?.to_string();
        let expected = manifest.files.iter().find(|file| file.path == member.name);
        if expected.is_some_and(|file| file.sha256 != digest) {
            return Err(PackError::Changed { name: member.name.clone() });
        }
    }
    writer.finish()?;
    Ok(manifest)
}

fn open(member: &PackMember) -> Result<Box<dyn Read + '_>, PackError> {
    member.content.open().map_err(|source| PackError::Read { name: member.name.clone(), source })
}

fn listed(member: &PackMember) -> Result<ManifestFile, PackError> {
    let digest = match &member.content {
        Content::Bytes(bytes) => Sha256Hex::of(bytes),
        Content::Deflated(_, facts) => facts.digest,
        Content::File(_) => {
            let mut hasher = Hasher::new();
            io::copy(&mut open(member)?, &mut hasher)
                .map_err(|source| PackError::Read { name: member.name.clone(), source })?;
            hasher.finish()
        }
    };
    Ok(ManifestFile { path: member.name.clone(), sha256: digest.to_string() })
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
