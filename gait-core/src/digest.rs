//! SHA-256 digests as a type of their own.
//!
//! A digest in an artifact is 64 lower-case hex characters; in memory it is 32 bytes that can't be
//! mistaken for any other string.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest. Written and read as 64 lower-case hex characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Hex([u8; 32]);

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 lower-case hex characters, found `{found}`")]
pub struct DigestError {
    found: String,
}

impl Sha256Hex {
    /// The digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// A digest from its 32 raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 lower-case hex characters.
    ///
    /// # Errors
    /// [`DigestError`] for any other length or character; upper-case hex too, because existing
    /// readers compare digests as strings.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let refuse = || DigestError { found: text.chars().take(80).collect() };
        let pairs = text.as_bytes().chunks_exact(2);
        if text.len() != 64 {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (nibble(pair[0]).ok_or_else(refuse)?, nibble(pair[1]).ok_or_else(refuse)?);
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }

    /// The 32 raw bytes: what an Ed25519 signature is made over.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first `count` hex characters (at most 64), as used in trace and correlation ids.
    pub fn short(&self, count: usize) -> String {
        let mut hex = self.to_string();
        hex.truncate(count);
        hex
    }

    /// The 64 hex characters as ASCII bytes, without allocating.
    pub fn to_hex(&self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }
}

fn nibble(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.to_hex();
        f.write_str(std::str::from_utf8(&hex).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Hex({self})")
    }
}

impl FromStr for Sha256Hex {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl Serialize for Sha256Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hex = self.to_hex();
        serializer.serialize_str(std::str::from_utf8(&hex).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Sha256Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Digests a stream piece by piece. Also an [`io::Write`], so that anything that writes can be hashed.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// A hasher that has seen no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in `bytes` after what came before.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Sha256Hex {
        Sha256Hex(self.0.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract vectors (artifacts 1.2).
    const QUERY_1: &str = "8d26786e78884f230bfa85f4909203158ab8ee8d1594552d44683022f3648cde";
    const CONTENT_1: &str = "1ef0ae7bbe4ce6c99ab744fe8c27582178d69c660538ef6a4b201cf5a944e17a";

    #[test]
    fn raw_bytes_hash_as_the_contract_says() {
        assert_eq!(Sha256Hex::of("query-1").to_string(), QUERY_1);
        assert_eq!(Sha256Hex::of("content-1").to_string(), CONTENT_1);
    }

    #[test]
    fn a_stream_hashes_like_its_whole() {
        let mut hasher = Hasher::new();
        hasher.update("query");
        hasher.update("-1");
        assert_eq!(hasher.finish(), Sha256Hex::parse(QUERY_1).unwrap());
    }

    #[test]
    fn only_64_lower_case_hex_characters_are_a_digest() {
        for bad in
            ["", "12", &QUERY_1.to_uppercase(), &QUERY_1[1..], &format!("{QUERY_1}0"), &QUERY_1.replace('8', "g")]
        {
            assert!(Sha256Hex::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_holds_the_hex_string() {
        let digest = Sha256Hex::parse(QUERY_1).unwrap();
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{QUERY_1}\""));
        assert_eq!(serde_json::from_str::<Sha256Hex>(&json).unwrap(), digest);
    }
}
