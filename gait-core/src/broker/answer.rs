//! What a broker command answers.

use super::Credential;
use crate::json;
use crate::overlay::records;

/// Longest answer that is read.
pub const MAX_ANSWER_BYTES: usize = 16_384;

/// Longest name of a credential or of who issued it.
const MAX_NAME_BYTES: usize = 256;

records! {
    /// The document that a command prints.
    AnswerDocument ("a credential") {
        issued_by: String,
        credential_ref: String,
    }
}

/// Why an answer names no credential. Says nothing of what was answered: that may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// More than [`MAX_ANSWER_BYTES`].
    #[error("the broker's answer is too long")]
    TooLong,
    /// Not exactly one JSON object with texts.
    #[error("the broker's answer is not one JSON object with issued_by and credential_ref")]
    NotAnAnswer,
    /// No name, or one that is too long or has line breaks or tabs.
    #[error("the broker's answer names no credential")]
    NoName,
}

/// The credential that an answer names.
///
/// # Errors
/// [`AnswerError`].
pub fn read_answer(answer: &[u8]) -> Result<Credential, AnswerError> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(AnswerError::TooLong);
    }
    let document: AnswerDocument = json::read(answer).map_err(|_| AnswerError::NotAnAnswer)?;
    if !answer.trim_ascii_start().starts_with(b"{") {
        return Err(AnswerError::NotAnAnswer);
    }
    let issuer = match document.issued_by.trim() {
        "" => "command",
        named => named,
    };
    let reference = document.credential_ref.trim();
    let is_name = |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(['\r', '\n', '\t']);
    if !is_name(reference) || !is_name(issuer) {
        return Err(AnswerError::NoName);
    }
    Ok(Credential { issuer: issuer.to_owned(), reference: reference.to_owned() })
}
