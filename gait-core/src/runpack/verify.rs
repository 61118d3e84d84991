//! Whether a runpack is what its manifest says, and who says so.
//!
//! This is the check of every runpack. What a guarded run adds is checked on top of it, by the `guarded` module, with
//! the [`Integrity`] that is found here.

use super::container::{Container, ContainerError, MemberError};
use super::hashed::HashedMember;
use super::manifest::{SignatureReport, SignatureStatus, check_signatures, signable_digest};
use super::record::{Manifest, parse};
use crate::canonical::CanonicalError;
use crate::digest::Sha256Hex;
use crate::signature::PublicKey;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;
use std::io::{BufRead, Read, Seek};

/// The members that every runpack has, besides the manifest.
pub const STANDARD_MEMBERS: [&str; 4] = ["intents.jsonl", "refs.json", "results.jsonl", "run.json"];
/// The member that lists the others.
pub const MANIFEST: &str = "manifest.json";
/// A manifest of this size lists more members than a container holds.
const MANIFEST_LIMIT_BYTES: u64 = 16 << 20;

/// Why a file could not be checked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Not a container.
    #[error("open zip: {0}")]
    Container(#[from] ContainerError),
    /// A container without a manifest.
    #[error("missing manifest.json")]
    NoManifest,
    /// A manifest that can't be read.
    #[error("read manifest.json: {0}")]
    ReadManifest(#[source] MemberError),
    /// A manifest that is not one.
    #[error("parse manifest.json: {0}")]
    ParseManifest(#[source] serde_json::Error),
    /// A manifest of no run.
    #[error("manifest missing run_id")]
    NoRunId,
    /// A manifest that lists a member twice: which of the two digests is meant can't be told.
    #[error("manifest.json lists {name} twice")]
    ListedTwice {
        /// The member.
        name: String,
    },
    /// A manifest without a canonical form.
    #[error("parse manifest.json: {0}")]
    Canonical(#[from] CanonicalError),
    /// A member that can't be read.
    #[error("hash {name}: {source}")]
    Hash {
        /// The member.
        name: String,
        /// Why.
        #[source]
        source: MemberError,
    },
}

/// A member whose content is not what was promised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HashMismatch {
    /// The member.
    pub path: String,
    /// What the manifest says, as written there.
    pub expected: String,
    /// What the content gives.
    pub actual: String,
}

/// What a runpack's own digests say about it.
#[derive(Clone, Debug)]
pub struct Integrity {
    /// The manifest.
    pub manifest: Manifest,
    /// What its signatures cover: the digest of the manifest as it was read, unknown members included.
    pub signable_digest: Sha256Hex,
    /// Members that are listed but not there, and standard members that are not listed; sorted.
    pub missing_files: Vec<String>,
    /// Members with other content than listed, and a manifest with another digest than it says; sorted by path.
    pub hash_mismatches: Vec<HashMismatch>,
    /// Members that are there but not listed; sorted.
    pub undeclared_files: Vec<String>,
}

impl Integrity {
    /// Whether nothing was found.
    pub fn holds(&self) -> bool {
        self.missing_files.is_empty() && self.hash_mismatches.is_empty() && self.undeclared_files.is_empty()
    }

    /// Checks the signatures of the manifest.
    pub fn signatures(&self, key: Option<&PublicKey>) -> SignatureReport {
        check_signatures(&self.manifest.signatures, &self.signable_digest, key)
    }
}

/// Whether a pack must be signed to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureNeed {
    /// A signature may be absent, but must not be wrong.
    Optional,
    /// One signature must hold.
    Required,
}

impl SignatureNeed {
    /// Whether signatures of this status are good enough.
    pub fn is_met_by(self, status: SignatureStatus) -> bool {
        match self {
            SignatureNeed::Optional => status != SignatureStatus::Failed,
            SignatureNeed::Required => status == SignatureStatus::Verified,
        }
    }
}

/// Compares every member of `container` with the manifest, each read once, none held in memory.
///
/// Stricter than the existing reader where artifacts 12 (A1 to A4) asks for it: the manifest's own digest is computed
/// again, standard members must be listed, others must not be there unlisted.
///
/// # Errors
/// [`VerifyError`] if that can't be done; what differs is not an error but a finding.
pub fn integrity<R: Read + Seek>(container: &mut Container<R>) -> Result<Integrity, VerifyError> {
    integrity_beside(container, &mut |_, _| ())
}

/// The same, and gives each piece of content, with the name of its member, to `beside` on the way. What that sees is
/// worth nothing until the integrity is known to hold.
///
/// # Errors
/// As [`integrity`].
pub(crate) fn integrity_beside<R: Read + Seek>(
    container: &mut Container<R>,
    beside: &mut impl FnMut(&str, &[u8]),
) -> Result<Integrity, VerifyError> {
    let listing = Listing::read(container)?;
    listing.compare(container, &mut |container, name| hash(container, name, beside))
}

/// What a manifest lists, before anything of it was compared.
#[derive(Debug)]
pub(crate) struct Listing {
    manifest: Manifest,
    signable_digest: Sha256Hex,
}

impl Listing {
    /// Reads the manifest of `container`.
    ///
    /// # Errors
    /// [`VerifyError`]
    pub fn read<R: Read + Seek>(container: &mut Container<R>) -> Result<Self, VerifyError> {
        let (manifest, signable_digest) = read_manifest(container)?;
        Ok(Listing { manifest, signable_digest })
    }

    /// Compares every member with the digest that `digest` gives for it; none is for a member that is not there.
    ///
    /// # Errors
    /// [`VerifyError`]
    pub fn compare<R: Read + Seek>(
        self,
        container: &mut Container<R>,
        digest: &mut impl FnMut(&mut Container<R>, &str) -> Result<Option<Sha256Hex>, VerifyError>,
    ) -> Result<Integrity, VerifyError> {
        let Listing { manifest, signable_digest } = self;
        let mut found = Integrity {
            missing_files: Vec::new(),
            hash_mismatches: Vec::new(),
            undeclared_files: undeclared(container, &manifest),
            manifest,
            signable_digest,
        };
        for file in &found.manifest.files {
            match digest(container, &file.path)? {
                None => found.missing_files.push(file.path.clone()),
                Some(actual) if file.sha256.eq_ignore_ascii_case(&actual.to_string()) => {}
                Some(actual) => found.hash_mismatches.push(HashMismatch {
                    path: file.path.clone(),
                    expected: file.sha256.clone(),
                    actual: actual.to_string(),
                }),
            }
        }
        let listed = |name: &str| found.manifest.files.iter().any(|file| file.path == name);
        found.missing_files.extend(STANDARD_MEMBERS.iter().filter(|name| !listed(name)).map(ToString::to_string));
        let digest = found.manifest.computed_digest()?.to_string();
        if digest != found.manifest.manifest_digest {
            found.hash_mismatches.push(HashMismatch {
                path: MANIFEST.into(),
                expected: found.manifest.manifest_digest.clone(),
                actual: digest,
            });
        }
        found.missing_files.sort();
        found.hash_mismatches.sort();
        Ok(found)
    }
}

fn read_manifest<R: Read + Seek>(container: &mut Container<R>) -> Result<(Manifest, Sha256Hex), VerifyError> {
    let bytes = container.read_all(MANIFEST, MANIFEST_LIMIT_BYTES).map_err(VerifyError::ReadManifest)?;
    let bytes = bytes.ok_or(VerifyError::NoManifest)?;
    // Gone before the next is made: each takes many times the memory of the text.
    let signable = signable_digest(&parse::<Value>(&bytes).map_err(VerifyError::ParseManifest)?)?;
    let manifest: Manifest = parse(&bytes).map_err(VerifyError::ParseManifest)?;
    if manifest.run_id.is_empty() {
        return Err(VerifyError::NoRunId);
    }
    let mut listed = HashSet::with_capacity(manifest.files.len());
    if let Some(twice) = manifest.files.iter().find(|file| !listed.insert(&file.path)) {
        return Err(VerifyError::ListedTwice { name: twice.path.clone() });
    }
    Ok((manifest, signable))
}

fn undeclared<R: Read + Seek>(container: &Container<R>, manifest: &Manifest) -> Vec<String> {
    let mut listed: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    listed.extend(STANDARD_MEMBERS);
    listed.push(MANIFEST);
    listed.sort_unstable();
    let names = container.members().iter().map(|member| &member.name);
    let mut extra: Vec<String> = names.filter(|name| listed.binary_search(&name.as_str()).is_err()).cloned().collect();
    extra.sort();
    extra
}

/// The member `name`, to be hashed while it is read; `None` if there is none.
pub(crate) fn hashed<'a, R: Read + Seek>(
    container: &'a mut Container<R>,
    name: &str,
) -> Result<Option<HashedMember<&'a mut R>>, MemberError> {
    let size = container.member(name).map_or(0, |member| member.size);
    Ok(container.read(name)?.map(|reader| HashedMember::new(reader, size)))
}

/// SHA-256 of the member `name`; `None` if there is none.
pub(crate) fn hash<R: Read + Seek>(
    container: &mut Container<R>,
    name: &str,
    beside: &mut impl FnMut(&str, &[u8]),
) -> Result<Option<Sha256Hex>, VerifyError> {
    let error = |source| VerifyError::Hash { name: name.into(), source };
    let Some(mut member) = hashed(container, name).map_err(error)? else {
        return Ok(None);
    };
    loop {
        let piece = member.fill_buf().map_err(|source| error(MemberError::Content(source)))?;
        if piece.is_empty() {
            return member.finish().map(Some).map_err(|source| error(MemberError::Content(source)));
        }
        beside(name, piece);
        let count = piece.len();
        member.consume(count);
    }
}
