//! The approval token: the record, how it is read, normalised and minted (control 10.1 and 10.2).

use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, digest_of};
use crate::digest::Sha256Hex;
use crate::json::{self, WriteError};
use crate::overlay::{Record, record};
use crate::signature::{PrivateKey, Signature};
use crate::text::{lower_set, lower_trimmed};
use crate::time::Timestamp;

/// Schema of a token.
pub const SCHEMA_ID: &str = "gait.gate.approval_token";
/// The one version there is.
pub const SCHEMA_VERSION: &str = "1.0.0";

/// A token as it was read: unchecked until [`super::assess()`] has seen it. The members are declared in the order of
/// the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of control 10.2, under the same names")]
pub struct ApprovalToken {
    pub schema_id: String,
    pub schema_version: String,
    pub created_at: Timestamp,
    pub producer_version: String,
    pub token_id: String,
    pub approver_identity: String,
    pub reason_code: String,
    pub intent_digest: String,
    pub policy_digest: String,
    pub scope: Vec<String>,
    pub expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

record!(
    ApprovalToken,
    "an approval token",
    schema_id,
    schema_version,
    created_at,
    producer_version,
    token_id,
    approver_identity,
    reason_code,
    intent_digest,
    policy_digest,
    scope,
    expires_at,
    signature
);

impl<'de> Deserialize<'de> for ApprovalToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut token = Self::default();
        token.overlay_or_null(deserializer)?;
        Ok(token)
    }
}

/// Why a document is no token.
#[derive(Debug, thiserror::Error)]
#[error("parse approval token: {cause}")]
pub struct TokenReadError {
    cause: serde_json::Error,
}

/// What a token is minted from.
#[derive(Clone, Debug)]
pub struct MintRequest<'a> {
    /// Now.
    pub created_at: Timestamp,
    /// Nanoseconds that it is good for, more than zero.
    pub ttl_nanos: i64,
    /// Version of the program that mints.
    pub producer_version: &'a str,
    /// 64 hex characters, in any case.
    pub intent_digest: &'a str,
    /// As `intent_digest`.
    pub policy_digest: &'a str,
    /// Who approves.
    pub approver: &'a str,
    /// Why.
    pub reason_code: &'a str,
    /// `tool:<tool name>` or `*`, at least one.
    pub scope: &'a [String],
}

/// Why no token was minted. The texts are those of control 10.1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// No scope is left.
    #[error("scope is required")]
    Scope,
    /// A digest is not 64 hex characters.
    #[error("{member} must be sha256 hex")]
    Digest {
        /// `intent_digest` or `policy_digest`.
        member: &'static str,
    },
    /// Nobody approves.
    #[error("approver identity is required")]
    Approver,
    /// No reason is given.
    #[error("reason code is required")]
    Reason,
    /// It would be good for no time, or until after the year 9999.
    #[error("invalid --ttl, expected positive duration")]
    Ttl,
    /// The token can't be written.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl ApprovalToken {
    /// A new token, signed by `key`.
    ///
    /// # Errors
    /// [`MintError`], the first that applies.
    pub fn mint(request: &MintRequest<'_>, key: &PrivateKey) -> Result<Self, MintError> {
        let scope = lower_set(request.scope);
        if scope.is_empty() {
            return Err(MintError::Scope);
        }
        let intent_digest = hex_digest(request.intent_digest, "intent_digest")?;
        let policy_digest = hex_digest(request.policy_digest, "policy_digest")?;
        let approver_identity = request.approver.trim().to_owned();
        if approver_identity.is_empty() {
            return Err(MintError::Approver);
        }
        let reason_code = request.reason_code.trim().to_owned();
        if reason_code.is_empty() {
            return Err(MintError::Reason);
        }
        if request.ttl_nanos <= 0 {
            return Err(MintError::Ttl);
        }
        let created_at = request.created_at.to_utc();
        let expires_at = created_at.plus_nanos(request.ttl_nanos).ok_or(MintError::Ttl)?;
        let mut token = Self {
            schema_id: SCHEMA_ID.to_owned(),
            schema_version: SCHEMA_VERSION.to_owned(),
            created_at,
            producer_version: request.producer_version.to_owned(),
            token_id: String::new(),
            approver_identity,
            reason_code,
            intent_digest,
            policy_digest,
            scope,
            expires_at,
            signature: None,
        };
        token.token_id = token.derived_id();
        token.signature = Some(key.sign_digest(&token.signable_digest()?));
        Ok(token)
    }

    /// Reads one token file, by the decoding rules of control 2.1.
    ///
    /// # Errors
    /// [`TokenReadError`] if it is not one JSON object, or if a member has the wrong type.
    pub fn read(document: &[u8]) -> Result<Self, TokenReadError> {
        json::read(document).map_err(|cause| TokenReadError { cause })
    }

    /// The form that is signed and judged: texts trimmed, digests and scopes in lower case, scopes sorted and unique,
    /// the names of the schema where they were left out.
    pub fn normalized(&self) -> Self {
        let trimmed = |text: &str| text.trim().to_owned();
        let or = |text: &str, default: &str| if text.trim().is_empty() { default.to_owned() } else { trimmed(text) };
        Self {
            schema_id: or(&self.schema_id, SCHEMA_ID),
            schema_version: or(&self.schema_version, SCHEMA_VERSION),
            created_at: self.created_at,
            producer_version: trimmed(&self.producer_version),
            token_id: trimmed(&self.token_id),
            approver_identity: trimmed(&self.approver_identity),
            reason_code: trimmed(&self.reason_code),
            intent_digest: lower_trimmed(&self.intent_digest).into_owned(),
            policy_digest: lower_trimmed(&self.policy_digest).into_owned(),
            scope: lower_set(&self.scope),
            expires_at: self.expires_at,
            signature: self.signature.clone(),
        }
    }

    /// The id that the contents give: the first 24 hex characters of the digest of
    /// `intent:policy:approver:reason:scope1,scope2:expires_at`.
    pub fn derived_id(&self) -> String {
        let parts = [
            self.intent_digest.as_str(),
            &self.policy_digest,
            &self.approver_identity,
            &self.reason_code,
            &self.scope.join(","),
            &self.expires_at.to_utc().to_string(),
        ];
        Sha256Hex::of(parts.join(":")).short(24)
    }

    /// The digest that a signature is made over: all members but the signature.
    ///
    /// # Errors
    /// [`CanonicalError`] never for a token that was read or minted here.
    pub fn signable_digest(&self) -> Result<Sha256Hex, CanonicalError> {
        digest_of(&Self { signature: None, ..self.clone() })
    }

    /// The file form: indented, in declaration order.
    ///
    /// # Errors
    /// [`WriteError`] never for a token that was read or minted here.
    pub fn to_file_text(&self) -> Result<String, WriteError> {
        json::to_indented_html_safe(self)
    }
}

fn hex_digest(text: &str, member: &'static str) -> Result<String, MintError> {
    let digest = lower_trimmed(text).into_owned();
    Sha256Hex::parse(&digest).map_err(|_| MintError::Digest { member })?;
    Ok(digest)
}
