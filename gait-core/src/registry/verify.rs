//! Whether a pack in the cache still is what was installed (contract, control 15.4).

use super::allow_publisher;
use super::cache::{Cache, is_pin_of, read_limited};
use super::manifest::{ManifestError, RegistryManifest};
use crate::digest::Sha256Hex;
use crate::file::PathError;
use crate::signature::PublicKey;
use crate::time::Timestamp;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Schema id of a report.
pub const REPORT_SCHEMA: &str = "gait.registry.verification_report";

/// What was found about one pack.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The manifest.
    pub manifest: RegistryManifest,
    /// Its digest.
    pub digest: Sha256Hex,
    /// Where it is.
    pub metadata_path: PathBuf,
    /// Where its pin would be, and what it says.
    pub pin_path: PathBuf,
    /// What the pin says, if there is one.
    pub pin: Option<String>,
    /// Whether a signature by the key holds.
    pub signature_verified: bool,
    /// Whether the publisher is accepted.
    pub publisher_allowed: bool,
    /// Why the first of these two does not hold, else the second.
    pub signature_error: String,
}

/// Why a pack can't be checked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It can't be read.
    #[error("read registry metadata: {0}")]
    File(#[from] PathError),
    /// It is no manifest that can be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// `gait.registry.verification_report`; its time is always 1980, so that equal findings are equal files.
#[derive(Serialize)]
struct Report<'a> {
    schema_id: &'static str,
    schema_version: &'static str,
    created_at: Timestamp,
    producer_version: &'static str,
    pack_name: &'a str,
    pack_version: &'a str,
    digest: String,
    metadata_path: String,
    pin_path: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pin_digest: &'a str,
    pin_present: bool,
    pin_verified: bool,
    signature_verified: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    signature_error: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    publisher: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'a str,
    publisher_allowed: bool,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failure_reasons: Vec<&'static str>,
}

impl Verification {
    /// Checks the manifest at `path` in `cache`.
    ///
    /// # Errors
    /// [`VerifyError`]; anything else is a finding.
    pub fn of(path: &Path, cache: &Cache, key: &PublicKey, publishers: &[String]) -> Result<Self, VerifyError> {
        let manifest = RegistryManifest::read(&read_limited(path)?)?;
        let digest = manifest.digest().map_err(ManifestError::from)?;
        let trusted = manifest.trusted(&digest, key);
        let allowed = allow_publisher(&manifest.publisher, publishers);
        let signature_error = match (&trusted, &allowed) {
            (Err(error), _) => error.to_string(),
            (_, Err(error)) => error.to_string(),
            _ => String::new(),
        };
        Ok(Self {
            pin_path: cache.pin_path(&manifest.pack_name),
            pin: cache.pin(&manifest.pack_name)?,
            signature_verified: trusted.is_ok(),
            publisher_allowed: allowed.is_ok(),
            signature_error,
            metadata_path: path.to_path_buf(),
            manifest,
            digest,
        })
    }

    /// Whether there is a pin and it is of this very pack.
    pub fn pin_verified(&self) -> bool {
        self.pin.as_ref().is_some_and(|pin| is_pin_of(pin, &self.digest.to_string()))
    }

    /// Whether everything holds. A pack without a pin may be any.
    pub fn holds(&self) -> bool {
        self.failure_reasons().is_empty()
    }

    fn failure_reasons(&self) -> Vec<&'static str> {
        let reasons = [
            (!self.signature_verified, "signature_not_verified"),
            (self.pin.is_some() && !self.pin_verified(), "pin_mismatch"),
            (!self.publisher_allowed, "publisher_not_allowed"),
        ];
        reasons.into_iter().filter(|(fails, _)| *fails).map(|(_, reason)| reason).collect()
    }

    /// The findings as a record.
    pub fn report(&self) -> impl Serialize + '_ {
        let failure_reasons = self.failure_reasons();
        Report {
            schema_id: REPORT_SCHEMA,
            schema_version: "1.0.0",
            created_at: Timestamp::FALLBACK,
            producer_version: crate::PRODUCER_VERSION,
            pack_name: &self.manifest.pack_name,
            pack_version: &self.manifest.pack_version,
            digest: self.digest.to_string(),
            metadata_path: self.metadata_path.display().to_string(),
            pin_path: self.pin_path.display().to_string(),
            pin_digest: self.pin.as_deref().unwrap_or_default(),
            pin_present: self.pin.is_some(),
            pin_verified: self.pin_verified(),
            signature_verified: self.signature_verified,
            signature_error: if self.signature_verified { "" } else { &self.signature_error },
            publisher: &self.manifest.publisher,
            source: &self.manifest.source,
            publisher_allowed: self.publisher_allowed,
            status: if failure_reasons.is_empty() { "pass" } else { "fail" },
            failure_reasons,
        }
    }
}
