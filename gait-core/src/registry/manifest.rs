//! `registry_pack.json`: what a pack is and who says so (contract, control 15.1).

use crate::canonical::{CanonicalError, canonical_bytes, digest_of};
use crate::digest::Sha256Hex;
use crate::json;
use crate::overlay::{Overlay, records};
use crate::signature::{PublicKey, Signature, verify as verify_signature};
use crate::text::lower_trimmed;
use crate::time::Timestamp;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Schema id of a manifest.
pub const PACK_SCHEMA: &str = "gait.registry.pack";

records! {
    /// A manifest as it was read.
    ManifestRequest ("a registry manifest") {
        schema_id: String,
        schema_version: String,
        created_at: Timestamp,
        producer_version: String,
        pack_name: String,
        pack_version: String,
        pack_type: String,
        publisher: String,
        source: String,
        risk_class: String,
        use_case: String,
        compatibility: Vec<String>,
        provenance: Map<String, Value>,
        artifacts: Artifacts,
        signatures: Vec<Signature>,
    }

    /// An artifact as it was read.
    ArtifactRequest ("an artifact") {
        path: String,
        sha256: String,
        media_type: String,
    }
}

/// A list that is digested as `null` where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Artifacts(Option<Vec<ArtifactRequest>>);

impl<'de> Overlay<'de> for Artifacts {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        self.0 = Option::deserialize(deserializer)?;
        Ok(())
    }
}

/// A manifest in the form that is digested and kept. Members and order are those of the contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, control 15.1")]
pub struct RegistryManifest {
    pub schema_id: String,
    pub schema_version: String,
    pub created_at: Timestamp,
    pub producer_version: String,
    pub pack_name: String,
    pub pack_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pack_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub publisher: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub risk_class: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub use_case: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compatibility: Vec<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub provenance: Map<String, Value>,
    pub artifacts: Option<Vec<Artifact>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
}

/// One file that a pack is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, control 15.1")]
pub struct Artifact {
    pub path: String,
    pub sha256: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub media_type: String,
}

/// Why a document is no manifest that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is no manifest.
    #[error("parse registry manifest: {0}")]
    Parse(#[source] serde_json::Error),
    /// It is of another schema.
    #[error("unsupported schema_id {0:?}")]
    SchemaId(String),
    /// It is of another version.
    #[error("unsupported schema_version {0:?}")]
    SchemaVersion(String),
    /// It has no name.
    #[error("pack_name is required")]
    NoName,
    /// It has no version.
    #[error("pack_version is required")]
    NoVersion,
    /// Skills must say where they come from.
    #[error("skill pack requires publisher and source")]
    Skill,
    /// A name that is more than a name.
    #[error("{member} {value:?} is not the name of a folder")]
    Unsafe {
        /// `pack_name` or `pack_version`.
        member: &'static str,
        /// What it says.
        value: String,
    },
    /// Never: all members were read from JSON.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// Why no signature of a manifest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// There is none.
    #[error("registry manifest has no signatures")]
    Unsigned,
    /// None is by this key over this manifest.
    #[error("no valid signature for manifest digest")]
    Invalid,
}

impl RegistryManifest {
    /// Reads a manifest and checks what can be checked without a key.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        let request: ManifestRequest = json::read(bytes).map_err(ManifestError::Parse)?;
        let artifact =
            |one: ArtifactRequest| Artifact { path: one.path, sha256: one.sha256, media_type: one.media_type };
        let lower = |text: &str| lower_trimmed(text).into_owned();
        let manifest = Self {
            pack_type: lower(&request.pack_type),
            publisher: lower(&request.publisher),
            source: lower(&request.source),
            schema_id: request.schema_id,
            schema_version: request.schema_version,
            created_at: request.created_at,
            producer_version: request.producer_version,
            pack_name: request.pack_name,
            pack_version: request.pack_version,
            risk_class: request.risk_class,
            use_case: request.use_case,
            compatibility: request.compatibility,
            provenance: request.provenance,
            artifacts: request.artifacts.0.map(|list| list.into_iter().map(artifact).collect()),
            signatures: request.signatures,
        };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.schema_id != PACK_SCHEMA {
            return Err(ManifestError::SchemaId(self.schema_id.clone()));
        }
        if self.schema_version != "1.0.0" {
            return Err(ManifestError::SchemaVersion(self.schema_version.clone()));
        }
        if self.pack_name.trim().is_empty() {
            return Err(ManifestError::NoName);
        }
        if self.pack_version.trim().is_empty() {
            return Err(ManifestError::NoVersion);
        }
        if self.pack_type == "skill" && (self.publisher.is_empty() || self.source.is_empty()) {
            return Err(ManifestError::Skill);
        }
        for (member, value) in [("pack_name", &self.pack_name), ("pack_version", &self.pack_version)] {
            // `pins` is where the cache keeps its pins.
            if !is_folder_name(value) || (member == "pack_name" && value == "pins") {
                return Err(ManifestError::Unsafe { member, value: value.clone() });
            }
        }
        Ok(())
    }

    /// The digest that signatures and pins name: of all members but `signatures`.
    ///
    /// # Errors
    /// [`CanonicalError`] never for a manifest that was read.
    pub fn digest(&self) -> Result<Sha256Hex, CanonicalError> {
        digest_of(&Self { signatures: Vec::new(), ..self.clone() })
    }

    /// The manifest as it is kept.
    ///
    /// # Errors
    /// As [`RegistryManifest::digest`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical_bytes(self)
    }

    /// Whether a signature by `key` covers `digest`, which is that of this manifest.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn trusted(&self, digest: &Sha256Hex, key: &PublicKey) -> Result<(), Untrusted> {
        if self.signatures.is_empty() {
            return Err(Untrusted::Unsigned);
        }
        let holds = |one: &Signature| {
            let signed_digest = one.signed_digest.to_ascii_lowercase();
            verify_signature(&Signature { signed_digest, ..one.clone() }, digest, key).is_ok()
        };
        if self.signatures.iter().any(holds) { Ok(()) } else { Err(Untrusted::Invalid) }
    }
}

/// Whether a text can only name a folder right where it is put, on any system.
pub fn is_folder_name(text: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    !text.is_empty()
        && text.len() <= 128
        && text.trim() == text
        && !text.starts_with('.')
        && !text.ends_with('.')
        && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(member: &str, value: &str) -> Result<RegistryManifest, ManifestError> {
        let mut manifest = serde_json::json!({"schema_id": PACK_SCHEMA, "schema_version": "1.0.0", "pack_name": "a",
            "pack_version": "1", "artifacts": []});
        manifest[member] = value.into();
        RegistryManifest::read(&serde_json::to_vec(&manifest).unwrap())
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for value in ["../../esc", "..", ".", "a/b", "a\\b", "/abs", "C:x", ".hidden", "a\u{0}b", " a", "x.", "pins"] {
            assert!(matches!(with("pack_name", value), Err(ManifestError::Unsafe { .. })), "{value}");
        }
        assert!(matches!(with("pack_version", "../1"), Err(ManifestError::Unsafe { member: "pack_version", .. })));
        assert!(with("pack_version", "1.2.3-rc.1+b").is_ok() && with("pack_name", "Ä pack_1").is_ok());
    }

    #[test]
    fn no_artifacts_and_an_empty_list_are_two_digests() {
        let read = |artifacts: &str| {
            let text = format!(
                r#"{{"schema_id":"{PACK_SCHEMA}","schema_version":"1.0.0","pack_name":"a","pack_version":"1"{artifacts}}}"#
            );
            RegistryManifest::read(text.as_bytes()).unwrap().digest().unwrap()
        };
        assert_eq!(read(""), read(r#","artifacts":null"#));
        assert_ne!(read(""), read(r#","artifacts":[]"#));
        assert_eq!(read(r#","Publisher":" ACME ""#), read(r#","publisher":"acme","unknown":1"#));
    }
}
