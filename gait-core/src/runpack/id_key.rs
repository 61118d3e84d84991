//! Ids of any length in 16 bytes, for sets of them.

use crate::digest::Sha256Hex;

/// Half of the SHA-256 of an id. Two ids of one key would have to be searched for with 2^64 tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct IdKey([u8; 16]);

impl IdKey {
    /// The key of `id`.
    pub fn of(id: impl AsRef<[u8]>) -> Self {
        Self::half(&Sha256Hex::of(id))
    }

    /// The key of whatever has this digest.
    pub fn half(digest: &Sha256Hex) -> Self {
        let mut half = [0; 16];
        half.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        IdKey(half)
    }
}
