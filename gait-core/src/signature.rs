//! Ed25519 keys and signatures over canonical digests.
//!
//! Control 3: a signature is made over the 32 raw bytes of a SHA-256 digest, never over hex or JSON.
//! Which key to use and where it comes from is the caller's business.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::digest::Sha256Hex;

/// The one algorithm there is, as written in `alg`.
pub const ALGORITHM: &str = "ed25519";

/// SHA-256 of the 32 raw bytes of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Sha256Hex);

impl KeyId {
    /// Reads 64 lower-case hex characters.
    ///
    /// # Errors
    /// [`crate::digest::DigestError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, crate::digest::DigestError> {
        Sha256Hex::parse(text).map(Self)
    }

    /// The digest that the id is.
    pub const fn digest(&self) -> &Sha256Hex {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is not a key. The messages are those of control 3.1; who reads the key says which half it was.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Not standard base64.
    #[error("decode {half} key: {cause}")]
    Encoding {
        /// `private` or `public`.
        half: &'static str,
        /// Where the text stops being base64.
        cause: Base64Error,
    },
    /// Not 64 (private) or 32 (public) bytes.
    #[error("invalid {half} key length: {length}")]
    Length {
        /// `private` or `public`.
        half: &'static str,
        /// Bytes found.
        length: usize,
    },
    /// The last 32 bytes are not the public key of the first 32.
    #[error("invalid private key: its public half does not belong to its seed")]
    HalvesDiffer,
    /// The 32 bytes are no point of the curve, or one of small order.
    #[error("invalid public key: not a point that signatures can be checked with")]
    NotAPoint,
}

/// Base64 that stops making sense at a byte of the text, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data at input byte {at}")]
pub struct Base64Error {
    at: usize,
}

fn decode_base64(text: &str) -> Result<Zeroizing<Vec<u8>>, Base64Error> {
    use base64::DecodeError;
    STANDARD.decode(text).map(Zeroizing::new).map_err(|cause| Base64Error {
        at: match cause {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(length) => length / 4 * 4,
            DecodeError::InvalidPadding => text.trim_end_matches('=').len(),
        },
    })
}

/// Base64 of a key file: surrounding blanks don't count, nor do the line breaks of wrapped base64.
fn decode_key(half: &'static str, text: &str) -> Result<Zeroizing<Vec<u8>>, SignError> {
    let mut compact = Zeroizing::new(String::with_capacity(text.len()));
    compact.extend(
        text.trim_matches([' ', '\t', '\r', '\n']).chars().filter(|character| !matches!(character, '\r' | '\n')),
    );
    decode_base64(&compact).map_err(|cause| SignError::Encoding { half, cause })
}

/// A private key. It is wiped from memory when dropped and never shown.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads base64 of 64 bytes: the seed, then the public key.
    ///
    /// # Errors
    /// [`SignError`] if the text is not that, or if the two halves don't belong together: signing with
    /// a foreign public half would reveal the key.
    pub fn from_base64(text: &str) -> Result<Self, SignError> {
        let bytes = decode_key("private", text)?;
        let (Some((seed, public)), 64) = (bytes.split_first_chunk::<32>(), bytes.len()) else {
            return Err(SignError::Length { half: "private", length: bytes.len() });
        };
        let key = SigningKey::from_bytes(seed);
        if key.verifying_key().as_bytes() != public {
            return Err(SignError::HalvesDiffer);
        }
        Ok(Self(key))
    }

    /// Base64 of seed and public key, for the key file. Wiped when dropped.
    pub fn to_base64(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(self.0.to_keypair_bytes());
        Zeroizing::new(STANDARD.encode(bytes.as_slice()))
    }

    /// Another copy, wiped on its own: for a second thread that signs.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs the 32 raw bytes of `digest`. Equal keys and digests give equal signatures.
    pub fn sign_digest(&self, digest: &Sha256Hex) -> Signature {
        Signature::of_bytes(&self.public().id(), digest, &self.sign_bytes(digest))
    }

    /// The 64 raw bytes of the signature over `digest`.
    pub(crate) fn sign_bytes(&self, digest: &Sha256Hex) -> [u8; 64] {
        self.0.sign(digest.as_bytes()).to_bytes()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public().id())
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads base64 of the 32 raw bytes.
    ///
    /// # Errors
    /// [`SignError`] if the text is not that, or if no signature could be trusted under the key.
    pub fn from_base64(text: &str) -> Result<Self, SignError> {
        let bytes = decode_key("public", text)?;
        let bytes: &[u8; 32] =
            bytes.as_slice().try_into().map_err(|_| SignError::Length { half: "public", length: bytes.len() })?;
        match VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(SignError::NotAPoint),
        }
    }

    /// Base64 of the 32 raw bytes.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0.as_bytes())
    }

    /// The id by which signatures name this key.
    pub fn id(&self) -> KeyId {
        KeyId(Sha256Hex::of(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_base64())
    }
}

/// A signature as artifacts carry it: unchecked until [`verify`] has seen it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signature {
    /// `ed25519`.
    pub alg: String,
    /// Hex of the [`KeyId`].
    pub key_id: String,
    /// Standard base64 of 64 bytes.
    pub sig: String,
    /// Hex of the digest that was signed.
    pub signed_digest: String,
}

impl Signature {
    /// The record of the signature with these bytes.
    pub(crate) fn of_bytes(key_id: &KeyId, digest: &Sha256Hex, bytes: &[u8; 64]) -> Self {
        Self {
            alg: ALGORITHM.to_owned(),
            key_id: key_id.to_string(),
            sig: STANDARD.encode(bytes),
            signed_digest: digest.to_string(),
        }
    }
}

/// Why a signature does not hold. Texts and order are those of control 3 and artifacts 3.5.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The signature does not say what it was made over.
    #[error("missing signed_digest")]
    MissingDigest,
    /// It was made over something else.
    #[error("signed_digest mismatch")]
    DigestMismatch,
    /// Another algorithm than Ed25519.
    #[error("unsupported alg: {alg}")]
    UnsupportedAlgorithm {
        /// What `alg` says.
        alg: String,
    },
    /// Made by another key, or by one it does not name.
    #[error("key id mismatch")]
    KeyMismatch,
    /// `sig` is not base64.
    #[error("decode sig: {0}")]
    Encoding(Base64Error),
    /// `sig` is not 64 bytes.
    #[error("invalid signature length: {length}")]
    Length {
        /// Bytes found.
        length: usize,
    },
    /// Everything fits but the signature itself.
    #[error("signature verification failed")]
    Failed,
}

/// Whether `signature` was made by `key` over `digest`, which the caller computed from the record.
///
/// Stricter than the existing reader in one point: a signature that names no key is a
/// [`SignatureError::KeyMismatch`] (control 16, item 10).
///
/// # Errors
/// [`SignatureError`], the first that applies.
pub fn verify(signature: &Signature, digest: &Sha256Hex, key: &PublicKey) -> Result<(), SignatureError> {
    if signature.signed_digest.is_empty() {
        return Err(SignatureError::MissingDigest);
    }
    if signature.signed_digest.as_bytes() != digest.to_hex() {
        return Err(SignatureError::DigestMismatch);
    }
    if signature.alg != ALGORITHM {
        return Err(SignatureError::UnsupportedAlgorithm { alg: signature.alg.clone() });
    }
    if signature.key_id.as_bytes() != key.id().digest().to_hex() {
        return Err(SignatureError::KeyMismatch);
    }
    let bytes = decode_base64(&signature.sig).map_err(SignatureError::Encoding)?;
    let bytes: &[u8; 64] = bytes.as_slice().try_into().map_err(|_| SignatureError::Length { length: bytes.len() })?;
    let sig = ed25519_dalek::Signature::from_bytes(bytes);
    key.0.verify_strict(digest.as_bytes(), &sig).map_err(|_| SignatureError::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Artifacts 3.5: the key of the seed of 32 bytes 01, and the demo manifest's digest.
    const ONES_PUBLIC: &str = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=";
    const DEMO_MANIFEST: &str = "cf80c58317bfd2dcb627987947458243d8a095db2f9503931946f0708303bac5";
    /// Control 9: a trace signature of the Go implementation.
    const TRACE_SEED: &str = "6d5f148c2d7eab60504f25c7b559402ee2ed7f59a5a2eabbdf502026cc3c9aef";
    const TRACE_DIGEST: &str = "58caf027409a2e9143c1be788a0a775299d0ed98dc20ba2f9f843c8194c1f08b";
    const TRACE_SIG: &str = "INvr0Vu8kJr2+eYdkE+gEl8Wrr1kzPaGcM4qM6Vxtui504if50p/WQS1XMBCj0D9wGGEA6tj7T8Fz3kFX3+9CQ==";
    const TRACE_KEY_ID: &str = "977a706d8f72073e4633b17b76f48867049836cff0e8cb6eadc24ae28e06635d";

    fn trace_key() -> PrivateKey {
        PrivateKey::from_seed(*Sha256Hex::parse(TRACE_SEED).unwrap().as_bytes())
    }

    fn trace_signature() -> Signature {
        Signature {
            alg: "ed25519".into(),
            key_id: TRACE_KEY_ID.into(),
            sig: TRACE_SIG.into(),
            signed_digest: TRACE_DIGEST.into(),
        }
    }

    #[test]
    fn the_public_key_of_the_contract_is_derived() {
        assert_eq!(PrivateKey::from_seed([1; 32]).public().to_base64(), ONES_PUBLIC);
    }

    #[test]
    fn the_trace_signature_of_the_contract_is_reproduced_and_verifies() {
        let digest = Sha256Hex::parse(TRACE_DIGEST).unwrap();
        assert_eq!(trace_key().sign_digest(&digest), trace_signature());
        assert_eq!(verify(&trace_signature(), &digest, &trace_key().public()), Ok(()));
    }

    #[test]
    fn the_demo_manifest_is_its_own_signable_form() {
        let key = PrivateKey::from_seed([1; 32]);
        let digest = Sha256Hex::parse(DEMO_MANIFEST).unwrap();
        let signature = key.sign_digest(&digest);
        assert_eq!(signature.signed_digest, DEMO_MANIFEST);
        assert_eq!(verify(&signature, &digest, &PublicKey::from_base64(ONES_PUBLIC).unwrap()), Ok(()));
    }

    #[test]
    fn each_fault_of_a_signature_has_its_own_error_in_the_contracts_order() {
        let digest = Sha256Hex::parse(TRACE_DIGEST).unwrap();
        let key = trace_key().public();
        let check = |fault: &dyn Fn(&mut Signature)| {
            let mut signature = trace_signature();
            fault(&mut signature);
            verify(&signature, &digest, &key).unwrap_err().to_string()
        };
        assert_eq!(check(&|s| *s = Signature::default()), "missing signed_digest");
        assert_eq!(check(&|s| s.signed_digest = s.signed_digest.to_uppercase()), "signed_digest mismatch");
        assert_eq!(check(&|s| s.alg = "rsa".into()), "unsupported alg: rsa");
        assert_eq!(check(&|s| s.key_id = DEMO_MANIFEST.into()), "key id mismatch");
        assert_eq!(check(&|s| s.key_id.clear()), "key id mismatch");
        assert_eq!(check(&|s| s.sig = "AA!A".into()), "decode sig: illegal base64 data at input byte 2");
        assert_eq!(check(&|s| s.sig = "AAAA".into()), "invalid signature length: 3");
        assert_eq!(check(&|s| s.sig.replace_range(0..1, "J")), "signature verification failed");
    }

    #[test]
    fn a_private_key_reads_back_even_from_wrapped_base64() {
        let text = trace_key().to_base64();
        let wrapped = format!("  {}\r\n{}\n", &text[..76], &text[76..]);
        assert_eq!(PrivateKey::from_base64(&wrapped).unwrap().public().id().to_string(), TRACE_KEY_ID);
    }

    #[test]
    fn a_private_key_with_a_foreign_public_half_is_refused() {
        let mut bytes = STANDARD.decode(trace_key().to_base64().as_bytes()).unwrap();
        bytes[40] ^= 1;
        assert_eq!(PrivateKey::from_base64(&STANDARD.encode(&bytes)).unwrap_err(), SignError::HalvesDiffer);
    }

    #[test]
    fn keys_of_another_length_or_encoding_are_refused() {
        let message = |text: &str| PrivateKey::from_base64(text).unwrap_err().to_string();
        assert_eq!(message("AAAA"), "invalid private key length: 3");
        assert_eq!(message("A*AA"), "decode private key: illegal base64 data at input byte 1");
        assert_eq!(PublicKey::from_base64("AAAA").unwrap_err().to_string(), "invalid public key length: 3");
        let identity = STANDARD.encode([&[1_u8][..], &[0; 31]].concat());
        assert_eq!(PublicKey::from_base64(&identity).unwrap_err(), SignError::NotAPoint);
    }

    #[test]
    fn a_private_key_is_never_shown() {
        assert_eq!(format!("{:?}", trace_key()), format!("PrivateKey({TRACE_KEY_ID})"));
    }
}
