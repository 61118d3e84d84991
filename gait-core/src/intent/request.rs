//! An intent request as it was read, by the decoding rules of existing readers ([`crate::overlay`]).

use serde::de::Error as _;
use serde_json::Value;

use super::{Args, Context, Provenance, Skill, Target};
use crate::json;
use crate::overlay::records;
use crate::time::Timestamp;

records! {
    /// An intent request, not yet normalised.
    IntentRequest ("an intent request") {
        created_at: Timestamp,
        tool_name: String,
        args: Args,
        targets: Vec<TargetRequest>,
        arg_provenance: Vec<ProvenanceRequest>,
        skill_provenance: Option<SkillRequest>,
        context: ContextRequest,
    }

    /// A target of a request.
    TargetRequest ("a target") {
        kind: String,
        value: String,
        operation: String,
        sensitivity: String,
        endpoint_class: String,
        endpoint_domain: String,
        destructive: bool,
    }

    /// Provenance of one argument of a request.
    ProvenanceRequest ("argument provenance") {
        arg_path: String,
        source: String,
        source_ref: String,
        integrity_digest: String,
    }

    /// The skill of a request.
    SkillRequest ("skill provenance") {
        skill_name: String,
        skill_version: String,
        source: String,
        publisher: String,
        digest: String,
        signature_key_id: String,
    }

    /// The context of a request.
    ContextRequest ("a context") {
        identity: String,
        workspace: String,
        risk_class: String,
        session_id: String,
        request_id: String,
    }
}

/// Why a document is not an intent request.
#[derive(Debug, thiserror::Error)]
#[error("parse intent json: {cause}")]
pub struct RequestError {
    cause: serde_json::Error,
}

impl IntentRequest {
    /// Reads one JSON document.
    ///
    /// # Errors
    /// [`RequestError`] if it is not one JSON object, or if a member has the wrong type.
    pub fn read(document: &[u8]) -> Result<Self, RequestError> {
        Self::read_value(document).map_err(|cause| RequestError { cause })
    }

    fn read_value(document: &[u8]) -> Result<Self, serde_json::Error> {
        let text = json::repair(document);
        if text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') {
            return Err(serde_json::Error::custom("expected an intent request as an object, found an array"));
        }
        serde_json::from_str(&text)
    }

    /// The request that a recorded intent stands for: its tool and the members of its `args`
    /// (guarded-run 2.3).
    ///
    /// # Errors
    /// [`RequestError`] if a member has the wrong type.
    pub fn from_record(tool_name: &str, body: Value) -> Result<Self, RequestError> {
        let mut request: Self = serde_json::from_value(body).map_err(|cause| RequestError { cause })?;
        request.tool_name = tool_name.to_owned();
        Ok(request)
    }
}

impl From<&Target> for TargetRequest {
    fn from(target: &Target) -> Self {
        Self {
            kind: target.kind.to_string(),
            value: target.value.clone(),
            operation: target.operation.to_string(),
            sensitivity: target.sensitivity.to_string(),
            endpoint_class: target.endpoint_class.to_string(),
            endpoint_domain: target.endpoint_domain.clone(),
            destructive: target.destructive,
        }
    }
}

impl From<&Provenance> for ProvenanceRequest {
    fn from(provenance: &Provenance) -> Self {
        Self {
            arg_path: provenance.arg_path.to_string(),
            source: provenance.source.to_string(),
            source_ref: provenance.source_ref.to_string(),
            integrity_digest: provenance.integrity_digest.to_string(),
        }
    }
}

impl From<&Skill> for SkillRequest {
    fn from(skill: &Skill) -> Self {
        Self {
            skill_name: skill.skill_name.clone(),
            skill_version: skill.skill_version.clone(),
            source: skill.source.clone(),
            publisher: skill.publisher.clone(),
            digest: skill.digest.clone(),
            signature_key_id: skill.signature_key_id.clone(),
        }
    }
}

impl From<&Context> for ContextRequest {
    fn from(context: &Context) -> Self {
        Self {
            identity: context.identity.clone(),
            workspace: context.workspace.clone(),
            risk_class: context.risk_class.clone(),
            session_id: context.session_id.clone(),
            request_id: context.request_id.clone(),
        }
    }
}
