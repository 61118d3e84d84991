//! Artifacts encrypted for keeping: AES-256-GCM in a JSON record (contract, control 14.5).

use crate::canonical::{CanonicalError, canonical_bytes};
use crate::digest::Sha256Hex;
use crate::time::Timestamp;
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Schema id of an encrypted artifact.
pub const ENCRYPTED_SCHEMA: &str = "gait.guard.encrypted_artifact";
/// The one algorithm there is.
pub const ALGORITHM: &str = "aes-256-gcm";
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;

/// A key. Its bytes are wiped when it goes.
pub struct ArtifactKey(Zeroizing<[u8; KEY_BYTES]>);

/// Where a key comes from; never the key itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeySource {
    /// `env` or `command`.
    pub mode: String,
    /// The variable.
    #[serde(rename = "ref", skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// The command, without its arguments: they may be secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command: String,
}

/// The record in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the members are those of the contract, control 14.5")]
pub struct EncryptedArtifact {
    pub schema_id: String,
    pub schema_version: String,
    pub created_at: Timestamp,
    pub producer_version: String,
    pub algorithm: String,
    pub key_source: KeySource,
    pub nonce: String,
    pub ciphertext: String,
    pub plain_sha256: String,
    pub plain_size: u64,
}

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is not base64.
    #[error("{0}")]
    Base64(#[from] base64::DecodeError),
    /// It has another length.
    #[error("expected 32-byte key, got {0}")]
    Length(usize),
}

/// Why bytes were not encrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// They are more than the cipher takes (64 GiB).
    #[error("artifact is too large to encrypt")]
    TooLarge,
    /// Never: all members are texts and numbers.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// Why an artifact was not decrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is no such record, or has members that the schema has not.
    #[error("parse encrypted artifact: {0}")]
    Parse(#[source] serde_json::Error),
    /// It is another kind of record.
    #[error("unsupported encrypted artifact {member}: {found:?}, expected {expected:?}")]
    Unsupported {
        /// The member that says so.
        member: &'static str,
        /// What it says.
        found: String,
        /// What it would say.
        expected: &'static str,
    },
    /// A member that is no base64.
    #[error("decode encrypted artifact {member}: {source}")]
    Base64 {
        /// The member.
        member: &'static str,
        /// Why.
        #[source]
        source: base64::DecodeError,
    },
    /// The cipher has nonces of 12 bytes.
    #[error("invalid nonce length: {0}, expected 12")]
    Nonce(usize),
    /// Another key, or changed bytes.
    #[error("decrypt artifact: cipher: message authentication failed")]
    Authentication,
    /// What came out is not what the record says.
    #[error("decrypted payload digest mismatch")]
    Digest,
}

impl ArtifactKey {
    /// Reads the base64 of 32 bytes; white space around it does not count.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim())?);
        let key: [u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| KeyError::Length(bytes.len()))?;
        Ok(Self(Zeroizing::new(key)))
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(*self.0))
    }
}

/// The record of `plain` under `key`, as it is written to a file. `nonce` must be random and never be used again with
/// this key.
///
/// # Errors
/// [`SealError`].
pub fn seal(
    plain: &[u8],
    key: &ArtifactKey,
    nonce: [u8; NONCE_BYTES],
    key_source: KeySource,
    created_at: Timestamp,
) -> Result<Vec<u8>, SealError> {
    let ciphertext = key.cipher().encrypt(&Nonce::from(nonce), plain).map_err(|_| SealError::TooLarge)?;
    let record = EncryptedArtifact {
        schema_id: ENCRYPTED_SCHEMA.into(),
        schema_version: "1.0.0".into(),
        created_at,
        producer_version: crate::PRODUCER_VERSION.into(),
        algorithm: ALGORITHM.into(),
        key_source,
        nonce: STANDARD.encode(nonce),
        ciphertext: STANDARD.encode(ciphertext),
        plain_sha256: Sha256Hex::of(plain).to_string(),
        plain_size: plain.len() as u64,
    };
    Ok(canonical_bytes(&record)?)
}

/// Reads the record of an encrypted artifact and checks all that can be checked without a key.
///
/// # Errors
/// [`OpenError`].
pub fn read(bytes: &[u8]) -> Result<EncryptedArtifact, OpenError> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        // The parser would take the elements of an array for the members in their order.
        return Err(OpenError::Parse(serde::de::Error::custom("expected an object, found an array")));
    }
    let record: EncryptedArtifact = serde_json::from_slice(bytes).map_err(OpenError::Parse)?;
    for (member, found, expected) in [
        ("schema_id", &record.schema_id, ENCRYPTED_SCHEMA),
        ("schema_version", &record.schema_version, "1.0.0"),
        ("algorithm", &record.algorithm, ALGORITHM),
    ] {
        if found != expected {
            return Err(OpenError::Unsupported { member, found: found.clone(), expected });
        }
    }
    Ok(record)
}

/// What is encrypted in `record`.
///
/// # Errors
/// [`OpenError`]; never a panic, whatever the record holds.
pub fn open(record: &EncryptedArtifact, key: &ArtifactKey) -> Result<Vec<u8>, OpenError> {
    let decode = |member, text: &str| STANDARD.decode(text).map_err(|source| OpenError::Base64 { member, source });
    let nonce = decode("nonce", &record.nonce)?;
    let nonce: [u8; NONCE_BYTES] = nonce.as_slice().try_into().map_err(|_| OpenError::Nonce(nonce.len()))?;
    let ciphertext = decode("ciphertext", &record.ciphertext)?;
    let plain = key.cipher().decrypt(&Nonce::from(nonce), ciphertext.as_slice());
    let plain = plain.map_err(|_| OpenError::Authentication)?;
    let is_as_said = Sha256Hex::of(&plain).to_string().eq_ignore_ascii_case(&record.plain_sha256)
        && plain.len() as u64 == record.plain_size;
    if is_as_said { Ok(plain) } else { Err(OpenError::Digest) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> ArtifactKey {
        ArtifactKey::from_base64(&STANDARD.encode([byte; KEY_BYTES])).unwrap()
    }

    fn sealed(plain: &[u8]) -> EncryptedArtifact {
        let source = KeySource { mode: "env".into(), reference: "K".into(), command: String::new() };
        read(&seal(plain, &key(1), [7; NONCE_BYTES], source, Timestamp::ZERO).unwrap()).unwrap()
    }

    #[test]
    fn the_cipher_is_that_of_the_standard() {
        // Test case 13 of the GCM specification (McGrew and Viega): key and nonce zero, no text.
        let cipher = key(0).cipher();
        let tag = cipher.encrypt(&Nonce::from([0; NONCE_BYTES]), &b""[..]).unwrap();
        assert_eq!(Sha256Hex::of(&tag), Sha256Hex::of(hex("530f8afbc74536b9a963b4f1c4cb738b")));
        // Test case 14: one block of zeros.
        let text = cipher.encrypt(&Nonce::from([0; NONCE_BYTES]), &[0; 16][..]).unwrap();
        assert_eq!(text, hex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"));
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn another_key_and_records_that_are_not_as_said_are_refused() {
        let record = sealed(b"secret");
        assert!(matches!(open(&record, &key(2)), Err(OpenError::Authentication)));
        for nonce in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
            let wrong = EncryptedArtifact { nonce: nonce.into(), ..record.clone() };
            assert!(matches!(open(&wrong, &key(1)), Err(OpenError::Nonce(_))), "{nonce}");
        }
        let wrong = EncryptedArtifact { nonce: "!".into(), ..record.clone() };
        assert!(matches!(open(&wrong, &key(1)), Err(OpenError::Base64 { member: "nonce", .. })));
        let wrong = EncryptedArtifact { plain_size: 7, ..record.clone() };
        assert!(matches!(open(&wrong, &key(1)), Err(OpenError::Digest)));
        let wrong = EncryptedArtifact { ciphertext: String::new(), ..record.clone() };
        assert!(matches!(open(&wrong, &key(1)), Err(OpenError::Authentication)));
        let wrong = EncryptedArtifact { algorithm: "aes-128-gcm".into(), ..record };
        let error = read(&serde_json::to_vec(&wrong).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("unsupported encrypted artifact algorithm"), "{error}");
        assert!(read(br#"{"schema_id":"gait.guard.encrypted_artifact","x":1}"#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again_and_one_changed_bit_never(plain in prop::collection::vec(any::<u8>(), 0..80), bit in 0_usize..10_000) {
            let record = sealed(&plain);
            prop_assert_eq!(open(&record, &key(1)).unwrap(), plain);
            let mut bytes = STANDARD.decode(&record.ciphertext).unwrap();
            let at = bit % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            let changed = EncryptedArtifact { ciphertext: STANDARD.encode(bytes), ..record };
            prop_assert!(matches!(open(&changed, &key(1)), Err(OpenError::Authentication)));
        }

        #[test]
        fn no_bytes_at_all_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(record) = read(&bytes) {
                let _ = open(&record, &key(1));
            }
        }
    }
}
