//! Credential brokers: who issues the credential that a call needs, and the record of that (control 11).
//!
//! Here is what a broker is asked, what its answer means and how it is recorded. Looking into the environment and
//! running a command are the caller's business. No credential ever enters a record: only a name to find it by.

mod answer;
mod env;
mod evidence;

use serde::Serialize;

use crate::digest::Sha256Hex;
use crate::intent::IntentRequest;
use crate::json::{self, WriteError};
use crate::policy::Rule;
use crate::text::{lower, lower_trimmed, set};

pub use answer::{AnswerError, MAX_ANSWER_BYTES, read_answer};
pub use env::{DEFAULT_PREFIX, variable};
pub use evidence::{CredentialEvidence, EvidenceFacts};

/// Which broker is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerKind {
    /// None: calls that need a credential are blocked.
    Off,
    /// Issues made-up references, for tests and demonstrations.
    Stub,
    /// The environment holds the credentials.
    Env,
    /// A program issues them.
    Command,
}

/// A word that names no broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported credential broker: {word}")]
pub struct UnknownBroker {
    word: String,
}

impl BrokerKind {
    /// The broker that `word` names; no word names none.
    ///
    /// # Errors
    /// [`UnknownBroker`] for any other word.
    pub fn parse(word: &str) -> Result<Self, UnknownBroker> {
        match lower_trimmed(word).as_ref() {
            "" | "off" | "none" => Ok(Self::Off),
            "stub" => Ok(Self::Stub),
            "env" => Ok(Self::Env),
            "command" => Ok(Self::Command),
            other => Err(UnknownBroker { word: other.to_owned() }),
        }
    }
}

/// What a broker is asked for. A command gets it as JSON, the members named as here, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CredentialRequest {
    /// The tool, lower case.
    pub tool_name: String,
    /// Who calls.
    pub identity: String,
    /// Where, as the intent spells it.
    pub workspace: String,
    /// Which session, or empty.
    #[serde(rename = "SessionID")]
    pub session_id: String,
    /// Which request, or empty.
    #[serde(rename = "RequestID")]
    pub request_id: String,
    /// What for.
    pub reference: String,
    /// Lower case, unique.
    pub scope: Vec<String>,
}

/// What the caller asks for besides the rule.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// In place of the rule's reference, unless empty.
    pub reference: String,
    /// Besides the rule's scopes.
    pub scopes: Vec<String>,
}

impl Wanted {
    /// The reference that is asked for under `rule`.
    pub fn reference(&self, rule: &Rule) -> String {
        let own = self.reference.trim();
        if own.is_empty() { rule.broker_reference.clone() } else { own.to_owned() }
    }

    /// The scopes that are asked for under `rule`: sorted, unique, in the case in which they were given.
    pub fn scope(&self, rule: &Rule) -> Vec<String> {
        set(rule.broker_scopes.iter().chain(&self.scopes))
    }
}

impl CredentialRequest {
    /// What a call is asked for under the rule that matched it. `intent` is the request as it was read: its workspace
    /// is passed on with its own separators.
    pub fn new(intent: &IntentRequest, rule: &Rule, wanted: &Wanted) -> Self {
        let trimmed = |text: &str| text.trim().to_owned();
        let mut scope: Vec<String> = Vec::new();
        for word in wanted.scope(rule) {
            let word = lower(&word).into_owned();
            if !scope.contains(&word) {
                scope.push(word);
            }
        }
        Self {
            tool_name: lower_trimmed(&intent.tool_name).into_owned(),
            identity: trimmed(&intent.context.identity),
            workspace: trimmed(&intent.context.workspace),
            session_id: trimmed(&intent.context.session_id),
            request_id: trimmed(&intent.context.request_id),
            reference: wanted.reference(rule),
            scope,
        }
    }

    /// The document that a command reads: one line without its end.
    ///
    /// # Errors
    /// [`WriteError`] never: the members are texts.
    pub fn to_json(&self) -> Result<String, WriteError> {
        json::to_compact_html_safe(self)
    }
}

/// A credential that was issued: by whom, and what to find it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Who issued it.
    pub issuer: String,
    /// What to find it by; never the credential.
    pub reference: String,
}

/// The made-up credential of [`BrokerKind::Stub`]: equal requests get equal references.
pub fn stub(request: &CredentialRequest) -> Credential {
    let parts = [
        request.tool_name.as_str(),
        &request.identity,
        &request.workspace,
        &request.session_id,
        &request.request_id,
        &request.reference,
        &request.scope.join(","),
    ];
    Credential { issuer: "stub".to_owned(), reference: format!("stub:{}", Sha256Hex::of(parts.join("|")).short(24)) }
}

/// The credential of [`BrokerKind::Env`], if the variable named by [`variable`] has a value.
pub fn from_env(variable: &str, value: &str) -> Option<Credential> {
    let value = value.trim();
    let reference = format!("env:{variable}:{}", Sha256Hex::of(value).short(16));
    (!value.is_empty()).then(|| Credential { issuer: "env".to_owned(), reference })
}

#[cfg(test)]
mod tests;
