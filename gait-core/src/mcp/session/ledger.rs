//! What a session writes down, and before what.

use serde_json::{Value, json};

use crate::approval::audit::{ApprovalAudit, AuditFacts};
use crate::broker::{CredentialEvidence, EvidenceFacts};
use crate::canonical::{CanonicalError, canonical_bytes};
use crate::digest::Sha256Hex;
use crate::intent::Intent;
use crate::mcp::judge::Applied;
use crate::mcp::record::{Capture, intent_record, object, result_record, verdict_of};
use crate::policy::Decision;
use crate::runpack::record::{IntentRecord, ResultRecord};
use crate::trace::TraceRecord;

/// Arguments and answers of more bytes than this are known by their digest even in raw capture: a line of a runpack must
/// stay one that its readers take.
const MOST_RAW_BYTES: usize = 4 << 20;

/// Where decisions are kept.
pub trait Ledger {
    /// Keeps a decision. Only then is it acted upon.
    ///
    /// # Errors
    /// [`LedgerError`]: then the call is not made.
    fn decided(&mut self, call: &Call) -> Result<(), LedgerError>;

    /// Keeps what came of a call.
    ///
    /// # Errors
    /// [`LedgerError`]
    fn ended(&mut self, judged: &Judged, ended: &Ended) -> Result<(), LedgerError>;
}

/// Why something could not be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LedgerError(pub String);

/// A tool call that was judged.
#[derive(Clone, Debug)]
pub struct Call {
    /// What was decided.
    pub judged: Judged,
    /// What it was decided about.
    pub intent: Intent,
    /// Digest of its arguments.
    pub args_digest: Sha256Hex,
    /// Digest of `intent`.
    pub intent_digest: Sha256Hex,
    /// Digest of the policy.
    pub policy_digest: Sha256Hex,
    /// The signed trace.
    pub trace: TraceRecord,
}

/// What was decided about a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Calls are numbered from 1.
    pub number: u64,
    /// The decision.
    pub decision: Decision,
    /// What the controls had to say.
    pub applied: Applied,
    /// The trace of it.
    pub trace_id: String,
    /// Digest of the line as it was read and, if it is allowed, passed on.
    pub request_sha256: Sha256Hex,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// In a word.
    pub outcome: Outcome,
    /// Digest of `result` or `error` of the response.
    pub response_digest: Option<Sha256Hex>,
    /// That itself.
    pub response: Option<Value>,
}

/// How a call ended, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tool gave a result.
    Answered,
    /// The tool gave a result that says `isError`.
    ToolError,
    /// The server gave an error.
    ProtocolError,
    /// The policy did not allow it.
    Refused,
    /// No answer came.
    Unanswered,
}

impl Outcome {
    /// Its word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ToolError => "tool_error",
            Self::ProtocolError => "protocol_error",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

impl Ended {
    /// An end without a response of the server.
    pub const fn without(outcome: Outcome) -> Self {
        Self { outcome, response_digest: None, response: None }
    }
}

impl Call {
    /// Its intent as a record of a runpack.
    pub fn to_record(&self, capture: Capture) -> IntentRecord {
        let args = Some(self.intent.args()).filter(|args| capture == Capture::Raw && is_short(args));
        intent_record(self.judged.number, &self.intent, self.args_digest, args)
    }

    /// The audit record of a call that approvals were asked for (control 10.4).
    pub fn approval_audit(&self) -> Option<ApprovalAudit> {
        let assessment = self.judged.applied.assessment.as_ref()?;
        let facts = AuditFacts {
            created_at: self.trace.created_at,
            producer_version: &self.trace.producer_version,
            trace_id: &self.trace.trace_id,
            tool_name: &self.trace.tool_name,
            intent_digest: self.intent_digest,
            policy_digest: self.policy_digest,
            required: self.judged.decision.required_approvals,
        };
        Some(ApprovalAudit::new(&facts, Some(assessment)))
    }

    /// The evidence record of a call that a credential was issued for (control 11).
    pub fn credential_evidence(&self) -> Option<CredentialEvidence> {
        let issued = self.judged.applied.issued.as_ref()?;
        let facts = EvidenceFacts {
            created_at: self.trace.created_at,
            producer_version: &self.trace.producer_version,
            trace_id: &self.trace.trace_id,
            tool_name: &self.trace.tool_name,
            identity: &self.intent.context().identity,
            reference: issued.reference.clone(),
            scope: issued.scope.clone(),
        };
        Some(CredentialEvidence::new(facts, &issued.credential))
    }
}

impl Judged {
    /// What came of it as a record of a runpack.
    ///
    /// # Errors
    /// [`CanonicalError`] never.
    pub fn to_record(&self, ended: &Ended, capture: Capture) -> Result<ResultRecord, CanonicalError> {
        let mut result = object(verdict_of(&self.decision, &self.trace_id));
        result.extend(self.controls());
        let mut more = json!({"outcome": ended.outcome.as_str(), "request_sha256": self.request_sha256});
        if let Some(digest) = ended.response_digest {
            more["response_digest"] = digest.to_string().into();
        }
        if let Some(response) = ended.response.as_ref().filter(|response| capture == Capture::Raw && is_short(response))
        {
            more["response"] = response.clone();
        }
        result.extend(object(more));
        let status = if ended.outcome == Outcome::Answered { "ok" } else { "error" };
        result_record(self.number, status, result)
    }
}

impl Judged {
    /// What the controls had to say, under the names of the answer of `gate eval` (control 8.2).
    fn controls(&self) -> crate::runpack::record::Object {
        let Applied { step, assessment, issued, .. } = &self.applied;
        let mut said = json!({});
        if let Some(step) = step {
            said["rate_limit_scope"] = step.scope.clone().into();
            said["rate_limit_key"] = step.key.clone().into();
            said["rate_limit_used"] = step.used.into();
            said["rate_limit_remaining"] = step.remaining.into();
        }
        if let Some(assessment) = assessment {
            said["required_approvals"] = self.decision.required_approvals.into();
            said["valid_approvals"] = assessment.valid.into();
        }
        let approval_ref = self.applied.approval_ref();
        if !approval_ref.is_empty() {
            said["approval_ref"] = approval_ref.into();
        }
        if let Some(issued) = issued {
            said["credential_issuer"] = issued.credential.issuer.clone().into();
            said["credential_ref"] = issued.credential.reference.clone().into();
        }
        object(said)
    }
}

fn is_short(value: &impl serde::Serialize) -> bool {
    canonical_bytes(value).is_ok_and(|bytes| bytes.len() <= MOST_RAW_BYTES)
}
