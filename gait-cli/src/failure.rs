//! Errors become words, a hint and an exit code here and nowhere else.

use crate::exit::{Category, Exit};
use serde_json::{Map, Value};
use std::fmt::Display;

/// Why a verb could not give an answer.
///
/// A negative answer (`verify` found a mismatch, `run diff` found a change) is not a failure: it is an
/// [`Outcome`](crate::render::Outcome) with its own exit code.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub exit: Exit,
    /// The category, where it is not the one of the exit code.
    pub category: Option<Category>,
    /// What failed: lower case, no full stop.
    pub message: String,
    /// The next step, where there is a better one than that of the exit code.
    pub hint: Option<String>,
    /// The next step for people alone, where the JSON answer has the hint of the contract.
    pub advice: Option<String>,
    /// Members of the JSON answer that are given even with an error.
    pub fields: Map<String, Value>,
}

impl Failure {
    /// A failure with the words of its exit code.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Failure { exit, category: None, message: message.to_string(), hint: None, advice: None, fields: Map::new() }
    }

    /// Wrong usage, a missing or malformed input: exit 6.
    pub fn invalid(message: impl Display) -> Self {
        Self::new(Exit::InvalidInput, message)
    }

    /// A file that could not be written: exit 1, category `io_failure`.
    pub fn io(message: impl Display) -> Self {
        Failure { category: Some(Category::IoFailure), ..Self::new(Exit::Internal, message) }
    }

    /// Something that another process holds: exit 1, category `state_contention`. The same call may succeed later.
    pub fn contention(message: impl Display) -> Self {
        Failure { category: Some(Category::StateContention), ..Self::new(Exit::Internal, message) }
    }

    /// The same failure of another category than that of its exit code.
    pub fn of_category(self, category: Category) -> Self {
        Failure { category: Some(category), ..self }
    }

    /// The same failure with a next step of its own.
    pub fn with_hint(self, hint: impl Display) -> Self {
        Failure { hint: Some(hint.to_string()), ..self }
    }

    /// The same failure with a next step that only people are told.
    pub fn with_advice(self, advice: impl Display) -> Self {
        Failure { advice: Some(advice.to_string()), ..self }
    }

    /// The same failure, with what was being done in front.
    pub fn within(self, doing: &str) -> Self {
        Failure { message: format!("{doing}: {}", self.message), ..self }
    }

    /// The same failure with a member in its JSON answer.
    pub fn with_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_string(), value.into());
        self
    }
}
