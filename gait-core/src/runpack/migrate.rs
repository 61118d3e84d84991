//! Bringing a runpack to the current form (contract, artifacts 4.10).

use super::container::{Container, Member};
use super::open::{OpenError, Runpack};
use super::write::{PackError, RunRecords, write_pack};
use crate::signature::PrivateKey;
use crate::time::Timestamp;
use std::io::{Read, Seek, Write};

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
        source: super::container::MemberError,
    },
    /// The new container can't be read back.
    #[error("open zip: {0}")]
    Container(#[from] super::container::ContainerError),
}

/// Whether a pack belongs to a guarded run: it is kept as it is, because its evidence can't be made again.
pub fn is_guarded<R: Read + Seek>(pack: &mut Runpack<R>) -> bool {
    pack.manifest().files.iter().any(|file| file.path == GUARD_RECEIPT)
}

/// Whether rewriting `pack` drops signatures.
pub fn drops_signatures<R: Read + Seek>(pack: &Runpack<R>) -> bool {
    !pack.manifest().signatures.is_empty()
}

/// Writes the records of `pack` in the current form and gives them.
///
/// # Errors
/// [`MigrateError`]
pub fn rewrite<R: Read + Seek>(
    pack: &mut Runpack<R>,
    out: impl Write,
    now: Timestamp,
    keys: &[&PrivateKey],
) -> Result<RunRecords, MigrateError> {
    let mut records = pack.load()?;
    records.fill(now);
    let members = records.members().map_err(PackError::from)?;
    write_pack(out, &records.facts(), &members, keys)?;
    Ok(records)
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
        let limit = super::container::MEMBER_LIMIT_BYTES;
        if left.read_all(&name, limit).map_err(compare)? != right.read_all(&name, limit).map_err(compare)? {
            return Ok(false);
        }
    }
    Ok(true)
}
