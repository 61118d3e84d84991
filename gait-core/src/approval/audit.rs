//! The record of which tokens a decision was shown and which of them counted (control 10.4).

use serde::Serialize;

use super::assess::Assessment;
use super::fault::TokenFault;
use super::token::ApprovalToken;
use crate::digest::Sha256Hex;
use crate::json::{self, WriteError};
use crate::text::set;
use crate::time::Timestamp;

/// One audit record. Not signed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of control 10.4, under the same names")]
pub struct ApprovalAudit {
    pub schema_id: &'static str,
    pub schema_version: &'static str,
    pub created_at: Timestamp,
    pub producer_version: String,
    pub trace_id: String,
    pub tool_name: String,
    pub intent_digest: Sha256Hex,
    pub policy_digest: Sha256Hex,
    pub required_approvals: u64,
    pub valid_approvals: u64,
    pub approved: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    pub entries: Vec<AuditEntry>,
}

/// One token of an audit record.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of control 10.4, under the same names")]
pub struct AuditEntry {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub approver_identity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason_code: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    pub expires_at: Timestamp,
    pub valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<&'static str>,
}

impl AuditEntry {
    pub(super) fn of(token: ApprovalToken, fault: Option<TokenFault>) -> Self {
        Self {
            token_id: token.token_id,
            approver_identity: token.approver_identity,
            reason_code: token.reason_code,
            scope: set(token.scope),
            expires_at: token.expires_at,
            valid: fault.is_none(),
            error_code: fault.map(TokenFault::code),
        }
    }

    pub(super) fn sort_key(&self) -> impl Ord + use<> {
        let expires = (self.expires_at.unix_seconds(), self.expires_at.nanos());
        let [id, approver, reason] =
            [&self.token_id, &self.approver_identity, &self.reason_code].map(|text| text.to_owned());
        (id, approver, reason, expires, self.scope.join(","))
    }
}

/// What an audit record is about.
#[derive(Clone, Debug)]
pub struct AuditFacts<'a> {
    /// The time of the decision's trace.
    pub created_at: Timestamp,
    /// Version of the program that decides.
    pub producer_version: &'a str,
    /// The trace of the decision.
    pub trace_id: &'a str,
    /// The tool, normalised.
    pub tool_name: &'a str,
    /// The intent.
    pub intent_digest: Sha256Hex,
    /// The policy.
    pub policy_digest: Sha256Hex,
    /// How many approvals the action needs.
    pub required: u64,
}

impl ApprovalAudit {
    /// The record of a decision for which tokens were looked at, or none were (`assessment` is absent).
    pub fn new(facts: &AuditFacts<'_>, assessment: Option<&Assessment>) -> Self {
        Self {
            schema_id: "gait.gate.approval_audit_record",
            schema_version: "1.0.0",
            created_at: facts.created_at.utc_or_fallback(),
            producer_version: facts.producer_version.to_owned(),
            trace_id: facts.trace_id.to_owned(),
            tool_name: facts.tool_name.to_owned(),
            intent_digest: facts.intent_digest,
            policy_digest: facts.policy_digest,
            required_approvals: facts.required,
            valid_approvals: assessment.map_or(0, |assessment| assessment.valid),
            approved: assessment.map_or(facts.required == 0, |assessment| assessment.audit_approved),
            approvers: assessment.map_or_else(Vec::new, |found| found.approvers.iter().cloned().collect()),
            entries: assessment.map_or_else(Vec::new, |found| found.entries.clone()),
        }
    }

    /// The file form: indented, in declaration order.
    ///
    /// # Errors
    /// [`WriteError`] never for a record made by [`ApprovalAudit::new`].
    pub fn to_file_text(&self) -> Result<String, WriteError> {
        json::to_indented_html_safe(self)
    }
}
