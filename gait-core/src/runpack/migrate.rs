//! Bringing a runpack to the current form (contract, artifacts 4.10).

use super::container::{Container, Member, MemberError};
use super::open::{OpenError, Runpack};
use super::record::Manifest;
use super::stream::{KeepError, RecordMember};
use super::write::{PackError, PackFacts, PackMember, write_pack};
use crate::canonical::canonical_bytes;
use crate::file::PathError;
use crate::signature::PrivateKey;
use crate::time::Timestamp;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, Write};

/// The member by which a pack of a guarded run is known.
pub const GUARD_RECEIPT: &str = "guard.json";

/// Why a pack could not be migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// Not an intact runpack.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new one could not be written.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A member could not be read for the comparison.
    #[error("compare `{name}`: {source}")]
    Compare {
        /// The member.
        name: String,
        /// Why.
        #[source]
        source: MemberError,
    },
    /// A record can't be written: no reader would take it.
    #[error(transparent)]
    Keep(KeepError),
    /// There is no place to put records.
    #[error(transparent)]
    Spare(PathError),
    /// The new container can't be read back.
    #[error("open zip: {0}")]
    Container(#[from] super::container::ContainerError),
}

impl From<KeepError> for MigrateError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Pack(error) => MigrateError::Pack(error),
            KeepError::Canonical(error) => MigrateError::Pack(error.into()),
            error => MigrateError::Keep(error),
        }
    }
}

/// Whether a pack belongs to a guarded run: it is kept as it is, because its evidence can't be made again.
pub fn is_guarded<R: Read + Seek>(pack: &mut Runpack<R>) -> bool {
    pack.manifest().files.iter().any(|file| file.path == GUARD_RECEIPT)
}

/// Whether rewriting `pack` drops signatures.
pub fn drops_signatures<R: Read + Seek>(pack: &Runpack<R>) -> bool {
    !pack.manifest().signatures.is_empty()
}

/// Writes the records of `pack` in the current form, intents and results one at a time: `spare` gives empty files for
/// them, of nobody else's.
///
/// # Errors
/// [`MigrateError`]
pub fn rewrite<R: Read + Seek>(
    pack: &mut Runpack<R>,
    out: impl Write,
    now: Timestamp,
    keys: &[&PrivateKey],
    mut spare: impl FnMut() -> Result<File, PathError>,
) -> Result<Manifest, MigrateError> {
    let mut run = pack.run.clone();
    run.fill(now);
    let mut spare = || spare().map_err(MigrateError::Spare);
    let mut intents = RecordMember::new(spare()?);
    for intent in pack.intents()? {
        let mut intent = intent?;
        intent.fill(&run);
        intents.push(&intent)?;
    }
    let mut results = RecordMember::new(spare()?);
    for result in pack.results()? {
        let mut result = result?;
        result.fill(&run);
        results.push(&result)?;
    }
    let mut refs = pack.refs()?;
    refs.fill(&run);
    let members = [
        PackMember::bytes("run.json", canonical_bytes(&run).map_err(PackError::from)?),
        PackMember::bytes("refs.json", canonical_bytes(&refs).map_err(PackError::from)?),
        intents.finish()?,
        results.finish()?,
    ];
    drop(refs);
    let capture_mode = match pack.manifest().capture_mode.as_str() {
        "" => "reference",
        mode => mode,
    };
    let facts = PackFacts {
        created_at: run.created_at,
        producer_version: run.producer_version,
        run_id: run.run_id,
        capture_mode: capture_mode.into(),
    };
    Ok(write_pack(out, &facts, &members, keys)?)
}

/// Whether two containers hold the same members: names, order, metadata and content, not compressed bytes.
///
/// # Errors
/// [`MigrateError::Compare`]
pub fn same_members<A: Read + Seek, B: Read + Seek>(
    left: &mut Container<A>,
    right: &mut Container<B>,
) -> Result<bool, MigrateError> {
    let facts = |member: &Member| {
        (member.name.clone(), member.method, member.size, member.modified, member.attributes, member.comment_length)
    };
    if !left.members().iter().map(facts).eq(right.members().iter().map(facts)) {
        return Ok(false);
    }
    let names: Vec<String> = left.members().iter().map(|member| member.name.clone()).collect();
    for name in names {
        let compare = |source| MigrateError::Compare { name: name.clone(), source };
        let (left, right) = (left.read(&name).map_err(compare)?, right.read(&name).map_err(compare)?);
        // Both have all the names.
        let (Some(left), Some(right)) = (left, right) else { return Ok(false) };
        if !same_content(left.buffered(), right.buffered()).map_err(|source| compare(MemberError::Content(source)))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two streams, which are read to the end of the shorter one, give the same.
fn same_content(mut left: impl BufRead, mut right: impl BufRead) -> io::Result<bool> {
    loop {
        let (ours, theirs) = (left.fill_buf()?, right.fill_buf()?);
        let count = ours.len().min(theirs.len());
        if count == 0 {
            return Ok(ours.len() == theirs.len());
        }
        if ours.get(..count) != theirs.get(..count) {
            return Ok(false);
        }
        left.consume(count);
        right.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_the_same_however_they_come() {
        let slow = |text: &'static [u8], size| io::BufReader::with_capacity(size, text);
        assert!(same_content(slow(b"abcdef", 4), slow(b"abcdef", 3)).unwrap());
        for other in [&b""[..], b"abcde", b"abcdef ", b"abcdeg"] {
            assert!(!same_content(slow(b"abcdef", 4), slow(other, 3)).unwrap());
            assert!(!same_content(slow(other, 3), slow(b"abcdef", 4)).unwrap());
        }
    }
}
