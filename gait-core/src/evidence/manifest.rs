//! `pack_manifest.json` (contract, control 14.1).

use crate::canonical::{CanonicalError, digest_of};
use crate::runpack::record::or_zero;
use crate::signature::{PrivateKey, Signature};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Schema id of [`PackManifest`].
pub const PACK_SCHEMA: &str = "gait.guard.pack_manifest";

/// What belongs to the pack, by digest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the members are those of the contract, control 14.1")]
pub struct PackManifest {
    #[serde(deserialize_with = "or_zero")]
    pub schema_id: String,
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: String,
    pub created_at: Timestamp,
    #[serde(deserialize_with = "or_zero")]
    pub producer_version: String,
    #[serde(deserialize_with = "or_zero")]
    pub pack_id: String,
    #[serde(deserialize_with = "or_zero")]
    pub run_id: String,
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "String::is_empty")]
    pub case_id: String,
    pub generated_at: Timestamp,
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "String::is_empty")]
    pub template_id: String,
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "Vec::is_empty")]
    pub control_index: Vec<Control>,
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "Vec::is_empty")]
    pub evidence_pointers: Vec<Pointer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident_window: Option<Window>,
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "Vec::is_empty")]
    pub rendered_artifacts: Vec<Rendered>,
    #[serde(deserialize_with = "or_zero")]
    pub contents: Vec<Content>,
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
}

/// A control of a standard and the evidence for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the members are those of the contract, control 14.1")]
pub struct Control {
    pub control_id: String,
    pub title: String,
    pub evidence_paths: Vec<String>,
}

/// One piece of evidence by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the members are those of the contract, control 14.1")]
pub struct Pointer {
    pub pointer_id: String,
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub sha256: String,
}

/// One member of the pack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the members are those of the contract, control 14.1")]
pub struct Content {
    #[serde(deserialize_with = "or_zero")]
    pub path: String,
    #[serde(deserialize_with = "or_zero")]
    pub sha256: String,
    #[serde(rename = "type", deserialize_with = "or_zero")]
    pub kind: String,
}

/// A page made of the evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the members are those of the contract, control 14.1")]
pub struct Rendered {
    #[serde(deserialize_with = "or_zero")]
    pub format: String,
    #[serde(deserialize_with = "or_zero")]
    pub path: String,
    #[serde(deserialize_with = "or_zero")]
    pub sha256: String,
}

/// The time around an incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the members are those of the contract, control 14.1")]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
    pub window_seconds: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selection_anchor: String,
}

impl PackManifest {
    /// `pack_` and the start of the digest of run and contents.
    ///
    /// # Errors
    /// [`CanonicalError`], which no manifest causes.
    pub fn computed_id(&self) -> Result<String, CanonicalError> {
        let form: Value = json!({"run_id": self.run_id, "contents": self.contents});
        Ok(format!("pack_{}", digest_of(&form)?.short(16)))
    }

    /// Makes one signature per key.
    ///
    /// # Errors
    /// As [`PackManifest::computed_id`].
    pub fn sign(&mut self, keys: &[&PrivateKey]) -> Result<(), CanonicalError> {
        self.signatures.clear();
        let digest = digest_of(self)?;
        self.signatures = keys.iter().map(|key| key.sign_digest(&digest)).collect();
        Ok(())
    }
}
