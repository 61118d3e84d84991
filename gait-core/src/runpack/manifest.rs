//! The manifest: its digest, its signatures, what they are worth.

use super::record::Manifest;
use crate::canonical::{CanonicalError, canonical_bytes, digest_of};
use crate::digest::Sha256Hex;
use crate::signature::{self, PrivateKey, PublicKey, Signature};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// What the signatures of a manifest or pack are worth (contract, artifacts 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureStatus {
    /// There is none.
    Missing,
    /// There are some, but no key to check them with.
    Skipped,
    /// At least one holds.
    Verified,
    /// None holds.
    Failed,
}

impl SignatureStatus {
    /// The word in answers.
    pub fn word(self) -> &'static str {
        match self {
            SignatureStatus::Missing => "missing",
            SignatureStatus::Skipped => "skipped",
            SignatureStatus::Verified => "verified",
            SignatureStatus::Failed => "failed",
        }
    }
}

/// The outcome of checking all signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureReport {
    /// The verdict over all of them.
    pub status: SignatureStatus,
    /// One text per signature that does not hold, sorted.
    pub errors: Vec<String>,
    /// How many there are.
    pub total: usize,
    /// How many hold.
    pub valid: usize,
}

impl Manifest {
    /// The digest that `manifest_digest` must be: of the manifest without signatures and with that member empty
    /// (contract, artifacts 3.2).
    ///
    /// # Errors
    /// [`CanonicalError`], which no manifest causes.
    pub fn computed_digest(&self) -> Result<Sha256Hex, CanonicalError> {
        digest_of(&Manifest { manifest_digest: String::new(), signatures: Vec::new(), ..self.clone() })
    }

    /// Sets `manifest_digest` and makes one signature per key.
    ///
    /// # Errors
    /// As [`Manifest::computed_digest`].
    pub fn seal(&mut self, keys: &[&PrivateKey]) -> Result<(), CanonicalError> {
        self.signatures.clear();
        self.manifest_digest = self.computed_digest()?.to_string();
        let digest = digest_of(self)?;
        self.signatures = keys.iter().map(|key| key.sign_digest(&digest)).collect();
        Ok(())
    }

    /// The bytes of `manifest.json`.
    ///
    /// # Errors
    /// As [`Manifest::computed_digest`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical_bytes(self)
    }
}

/// The digest that signatures of a record cover: all of it, unknown members too, but `signatures`.
///
/// # Errors
/// As [`digest_of`].
pub fn signable_digest(raw: &Value) -> Result<Sha256Hex, CanonicalError> {
    match raw {
        Value::Object(members) => digest_of(&Unsigned(members)),
        other => digest_of(other),
    }
}

/// A record without its signatures; not copied, because one that lists many members is large.
struct Unsigned<'a>(&'a Map<String, Value>);

impl Serialize for Unsigned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(|(name, _)| *name != "signatures"))
    }
}

/// Checks `signatures` over `digest`.
pub fn check_signatures(signatures: &[Signature], digest: &Sha256Hex, key: Option<&PublicKey>) -> SignatureReport {
    let total = signatures.len();
    let report = |status, errors, valid| SignatureReport { status, errors, total, valid };
    let Some(key) = key.filter(|_| total > 0) else {
        return match total {
            0 => report(SignatureStatus::Missing, Vec::new(), 0),
            _ => report(SignatureStatus::Skipped, vec!["public key not configured".into()], 0),
        };
    };
    let mut errors: Vec<String> =
        signatures.iter().filter_map(|one| check_one(one, digest, key).err()).map(|error| error.to_string()).collect();
    errors.sort();
    let valid = total - errors.len();
    let status = if valid > 0 { SignatureStatus::Verified } else { SignatureStatus::Failed };
    report(status, errors, valid)
}

/// A signature of a runpack need not name its key, but must then hold all the same (contract, artifacts 12, A12).
fn check_one(one: &Signature, digest: &Sha256Hex, key: &PublicKey) -> Result<(), signature::SignatureError> {
    if !one.key_id.is_empty() {
        return signature::verify(one, digest, key);
    }
    signature::verify(&Signature { key_id: key.id().to_string(), ..one.clone() }, digest, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::record::parse;

    /// Artifacts 3.2: the input of the demo's manifest digest, and what it gives.
    const DEMO: &str = r#"{"capture_mode":"reference","created_at":"2026-02-05T00:00:00Z","files":[{"path":"intents.jsonl","sha256":"b63c61111b49e2d46a0e68cfa8555487be3c3d0fa1465796552d7f5d2d0d39c8"},{"path":"refs.json","sha256":"c9a5a48f92871af09ba1d12cd549d6be77f5175f879fb6aabb60d4b9278c3ace"},{"path":"results.jsonl","sha256":"6370b53298b8a326d9b43cc8435e5fa9d5b4e382e3761ffe9ff79352f2106240"},{"path":"run.json","sha256":"3b4a95934a26c509618c07761cb6312473a376059d5000de008fca3ad8287925"}],"manifest_digest":"","producer_version":"0.0.0-dev","run_id":"run_demo","schema_id":"gait.runpack.manifest","schema_version":"1.0.0"}"#;
    const DEMO_DIGEST: &str = "88913ed84855671786b9ecc3eab94f760332a6c19a3ff2195ab8afd914d57725";
    const DEMO_SIGNED_DIGEST: &str = "cf80c58317bfd2dcb627987947458243d8a095db2f9503931946f0708303bac5";

    fn demo() -> Manifest {
        parse(DEMO.as_bytes()).unwrap()
    }

    #[test]
    fn the_digests_of_the_demo_are_those_of_the_contract() {
        let mut manifest = demo();
        let key = PrivateKey::from_seed([1; 32]);
        manifest.seal(&[&key]).unwrap();
        assert_eq!(manifest.manifest_digest, DEMO_DIGEST);
        assert_eq!(manifest.signatures[0].signed_digest, DEMO_SIGNED_DIGEST);
        let raw = serde_json::to_value(&manifest).unwrap();
        assert_eq!(signable_digest(&raw).unwrap().to_string(), DEMO_SIGNED_DIGEST);
    }

    #[test]
    fn one_good_signature_among_bad_ones_is_verified_with_their_errors() {
        let (mut manifest, key) = (demo(), PrivateKey::from_seed([1; 32]));
        manifest.seal(&[&PrivateKey::from_seed([2; 32]), &key]).unwrap();
        let digest = signable_digest(&serde_json::to_value(&manifest).unwrap()).unwrap();
        let report = check_signatures(&manifest.signatures, &digest, Some(&key.public()));
        assert_eq!((report.status, report.total, report.valid), (SignatureStatus::Verified, 2, 1));
        assert_eq!(report.errors, ["key id mismatch"]);
    }

    #[test]
    fn a_signature_that_names_no_key_counts_only_if_it_holds() {
        let (mut manifest, key) = (demo(), PrivateKey::from_seed([1; 32]));
        manifest.seal(&[&key]).unwrap();
        manifest.signatures[0].key_id.clear();
        let digest = Sha256Hex::parse(DEMO_SIGNED_DIGEST).unwrap();
        let status = |key: &PrivateKey| check_signatures(&manifest.signatures, &digest, Some(&key.public())).status;
        assert_eq!(status(&key), SignatureStatus::Verified);
        assert_eq!(status(&PrivateKey::from_seed([2; 32])), SignatureStatus::Failed);
    }

    #[test]
    fn signatures_without_a_key_are_skipped_and_none_are_missing() {
        let (mut manifest, digest) = (demo(), Sha256Hex::of(""));
        assert_eq!(check_signatures(&manifest.signatures, &digest, None).status, SignatureStatus::Missing);
        manifest.seal(&[&PrivateKey::from_seed([1; 32])]).unwrap();
        let report = check_signatures(&manifest.signatures, &digest, None);
        assert_eq!(
            (report.status, report.errors),
            (SignatureStatus::Skipped, vec!["public key not configured".into()])
        );
    }
}
