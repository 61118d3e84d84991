//! The record that a credential was issued for a decision.

use serde::Serialize;

use super::Credential;
use crate::json::{self, WriteError};
use crate::time::Timestamp;

/// One evidence record (control 11). Not signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of control 11, under the same names")]
pub struct CredentialEvidence {
    pub schema_id: &'static str,
    pub schema_version: &'static str,
    pub created_at: Timestamp,
    pub producer_version: String,
    pub trace_id: String,
    pub tool_name: String,
    pub identity: String,
    pub broker: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    pub credential_ref: String,
}

/// What the record says besides the credential.
#[derive(Clone, Debug)]
pub struct EvidenceFacts<'a> {
    /// The time of the decision's trace.
    pub created_at: Timestamp,
    /// Version of the program that decides.
    pub producer_version: &'a str,
    /// The trace of the decision.
    pub trace_id: &'a str,
    /// The tool, normalised.
    pub tool_name: &'a str,
    /// Who calls.
    pub identity: &'a str,
    /// What was asked for, or empty.
    pub reference: String,
    /// Sorted, unique, in the case given.
    pub scope: Vec<String>,
}

impl CredentialEvidence {
    /// The record of `credential`.
    pub fn new(facts: EvidenceFacts<'_>, credential: &Credential) -> Self {
        Self {
            schema_id: "gait.gate.broker_credential_record",
            schema_version: "1.0.0",
            created_at: facts.created_at.utc_or_fallback(),
            producer_version: facts.producer_version.to_owned(),
            trace_id: facts.trace_id.to_owned(),
            tool_name: facts.tool_name.to_owned(),
            identity: facts.identity.to_owned(),
            broker: credential.issuer.clone(),
            reference: facts.reference,
            scope: facts.scope,
            credential_ref: credential.reference.clone(),
        }
    }

    /// The file form: indented, in declaration order.
    ///
    /// # Errors
    /// [`WriteError`] never: the members are texts.
    pub fn to_file_text(&self) -> Result<String, WriteError> {
        json::to_indented_html_safe(self)
    }
}
