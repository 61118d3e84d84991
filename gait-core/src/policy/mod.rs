//! The Gate policy: parse, normalise, digest, evaluate, compile.
//!
//! [`Policy::parse`] reads the YAML a person wrote and gives the normalised policy; [`evaluate`] judges
//! an intent by it. `compile` turns one into tables that give the same answers.

pub mod compile;
mod digest;
mod document;
mod error;
mod evaluate;
mod example;
mod expand;
mod explain;
mod fault;
pub mod inspect;
pub mod layout;
mod model;
mod normalize;
pub mod pattern;
mod scalar;
mod write;
mod yaml;

pub use document::Strictness;
pub use error::PolicyError;
pub use evaluate::{Decision, evaluate, evaluate_request};
pub use example::{Action, ActionError};
pub use expand::{UnknownVariable, Variables};
pub use explain::{Condition, Explanation, RuleExplanation, Standing, explain};
pub use model::{Dataflow, Endpoint, FailClosed, Match, Policy, Position, RateLimit, RequiredField, Rule, Verdict};
pub(crate) use write::quoted;

/// Schema of a policy file.
pub const SCHEMA_ID: &str = "gait.gate.policy";
/// The one version there is.
pub const SCHEMA_VERSION: &str = "1.0.0";

impl Policy {
    /// Reads a policy (control 5). An empty text is the empty policy; of several documents the first
    /// counts.
    ///
    /// # Errors
    /// [`PolicyError`] with line and column: text that is no YAML, values of a wrong type or meaning,
    /// and where `strictness` asks for it keys that the language does not have.
    pub fn parse(text: &str, strictness: Strictness) -> Result<Self, PolicyError> {
        let reading = reading(text, strictness);
        match reading.faults.into_iter().next() {
            Some(fault) => Err(PolicyError::of(fault, text)),
            None => Ok(reading.policy),
        }
    }

    /// Reads a policy file: [`Policy::parse`] of bytes that must be UTF-8.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn parse_bytes(bytes: &[u8], strictness: Strictness) -> Result<Self, PolicyError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(text, strictness),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                Err(PolicyError::yaml(not_text(&valid), &valid))
            }
        }
    }
}

/// The error of a file whose text ends after `valid`.
fn not_text(valid: &str) -> error::YamlError {
    let line = valid.matches('\n').count() + 1;
    let column = valid.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    error::YamlError::new(Position { line, column }, "the file is not UTF-8 from here on")
}

/// What a text gives: of use as a policy only if there are no faults.
struct Reading {
    document: document::PolicyDocument,
    policy: Policy,
    faults: Vec<fault::Fault>,
}

fn reading(text: &str, strictness: Strictness) -> Reading {
    let faults = fault::Faults::default();
    let root = yaml::first_document(text, &faults).unwrap_or_else(|error| {
        faults.shape(error);
        None
    });
    let document = document::PolicyDocument::read_root(root.as_deref(), strictness, &faults);
    let policy = normalize::normalize(&document, strictness, &faults);
    Reading { document, policy, faults: faults.into_vec() }
}

#[cfg(test)]
mod tests;
