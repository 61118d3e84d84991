//! Whether a pack is what its manifest says (contract, control 14.2).

use super::PACK_MANIFEST;
use super::manifest::PackManifest;
use crate::canonical::CanonicalError;
use crate::digest::Hasher;
use crate::file::PathError;
use crate::runpack::container::{Container, ContainerError, MemberError};
use crate::runpack::manifest::{SignatureReport, check_signatures, signable_digest};
use crate::runpack::record::parse;
use crate::runpack::verify::HashMismatch;
use crate::signature::PublicKey;
use serde_json::Value;
use std::io::{self, Read, Seek};

/// A manifest of this size lists more members than a container holds.
const MANIFEST_LIMIT_BYTES: u64 = 16 << 20;

/// Why a file could not be checked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackVerifyError {
    /// It can't be opened.
    #[error("open evidence pack zip: {0}")]
    File(#[from] PathError),
    /// Not a container.
    #[error("open evidence pack zip: {0}")]
    Container(#[from] ContainerError),
    /// A container without a manifest.
    #[error("missing pack_manifest.json")]
    NoManifest,
    /// A member can't be read.
    #[error("read {name}: {source}")]
    Read {
        /// The member.
        name: String,
        /// Why.
        #[source]
        source: MemberError,
    },
    /// A manifest that is not one.
    #[error("parse pack manifest: {0}")]
    Parse(#[source] serde_json::Error),
    /// A manifest without a canonical form.
    #[error("parse pack manifest: {0}")]
    Canonical(#[from] CanonicalError),
}

/// What was found.
#[derive(Clone, Debug)]
pub struct PackReport {
    /// The manifest.
    pub manifest: PackManifest,
    /// Members that are listed but not there; sorted.
    pub missing_files: Vec<String>,
    /// Members with other content than listed, and a pack id that is not that of the contents; sorted.
    pub hash_mismatches: Vec<HashMismatch>,
    /// Members that are there but not listed; sorted.
    pub undeclared_files: Vec<String>,
    /// The signatures.
    pub signatures: SignatureReport,
}

impl PackReport {
    /// Whether nothing was found, signatures aside.
    pub fn holds(&self) -> bool {
        self.missing_files.is_empty() && self.hash_mismatches.is_empty() && self.undeclared_files.is_empty()
    }
}

/// Compares every member with the manifest, and the manifest with its signatures.
///
/// # Errors
/// [`PackVerifyError`] if that can't be done.
pub fn verify<R: Read + Seek>(source: R, key: Option<&PublicKey>) -> Result<PackReport, PackVerifyError> {
    let mut container = Container::open(source)?;
    let unreadable = |source| PackVerifyError::Read { name: PACK_MANIFEST.into(), source };
    let bytes = container.read_all(PACK_MANIFEST, MANIFEST_LIMIT_BYTES).map_err(unreadable)?;
    let bytes = bytes.ok_or(PackVerifyError::NoManifest)?;
    let raw: Value = parse(&bytes).map_err(PackVerifyError::Parse)?;
    let manifest: PackManifest = parse(&bytes).map_err(PackVerifyError::Parse)?;
    let listed = |name: &str| name == PACK_MANIFEST || manifest.contents.iter().any(|content| content.path == name);
    let names = container.members().iter().map(|member| member.name.clone());
    let mut undeclared_files: Vec<String> = names.filter(|name| !listed(name)).collect();
    undeclared_files.sort();
    let (mut missing_files, mut hash_mismatches) = (Vec::new(), Vec::new());
    for content in &manifest.contents {
        match digest(&mut container, &content.path)? {
            None => missing_files.push(content.path.clone()),
            Some(actual) if actual.eq_ignore_ascii_case(&content.sha256) => {}
            Some(actual) => hash_mismatches.push(HashMismatch {
                path: content.path.clone(),
                expected: content.sha256.clone(),
                actual,
            }),
        }
    }
    let id = manifest.computed_id()?;
    if id != manifest.pack_id {
        let expected = manifest.pack_id.clone();
        hash_mismatches.push(HashMismatch { path: PACK_MANIFEST.into(), expected, actual: id });
    }
    missing_files.sort();
    hash_mismatches.sort();
    let signatures = check_signatures(&manifest.signatures, &signable_digest(&raw)?, key);
    Ok(PackReport { manifest, missing_files, hash_mismatches, undeclared_files, signatures })
}

fn digest<R: Read + Seek>(container: &mut Container<R>, name: &str) -> Result<Option<String>, PackVerifyError> {
    let unreadable = |source| PackVerifyError::Read { name: name.into(), source };
    let Some(mut reader) = container.read(name).map_err(unreadable)? else {
        return Ok(None);
    };
    let mut hasher = Hasher::new();
    io::copy(&mut reader, &mut hasher).map_err(|error| unreadable(MemberError::Content(error)))?;
    Ok(Some(hasher.finish().to_string()))
}
