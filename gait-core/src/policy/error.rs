//! Why a policy was not accepted.

use std::fmt;

use super::fault::{Fault, FaultKind};
use super::model::Position;

/// A fault of the YAML text or of its shape, before its source is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    pub at: Position,
    pub message: String,
}

impl YamlError {
    pub fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    at: Option<Position>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// With the lines around the fault, as the contract's readers show them.
    Yaml { message: String, excerpt: String },
    /// One of the texts of control 5.2, to the letter.
    Invalid { message: String },
}

impl PolicyError {
    pub(super) fn of(fault: Fault, source: &str) -> Self {
        match fault.kind {
            FaultKind::Shape => Self::yaml(YamlError::new(fault.at, fault.message), source),
            FaultKind::Meaning => Self::invalid(fault.at, fault.message),
        }
    }

    pub(super) fn yaml(error: YamlError, source: &str) -> Self {
        let excerpt = excerpt(source, error.at);
        Self { at: Some(error.at), kind: Kind::Yaml { message: error.message, excerpt } }
    }

    pub(super) fn invalid(at: impl Into<Option<Position>>, message: impl Into<String>) -> Self {
        Self { at: at.into(), kind: Kind::Invalid { message: message.into() } }
    }

    /// What is wrong, without the place and the lines around it.
    pub fn message(&self) -> &str {
        match &self.kind {
            Kind::Yaml { message, .. } | Kind::Invalid { message } => message,
        }
    }

    /// Where in the file, if it can be told.
    pub const fn position(&self) -> Option<Position> {
        self.at
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, self.at) {
            (Kind::Yaml { message, excerpt }, Some(at)) => write!(f, "parse policy yaml: {at} {message}{excerpt}"),
            (Kind::Yaml { message, .. }, None) => write!(f, "parse policy yaml: {message}"),
            (Kind::Invalid { message }, _) => f.write_str(message),
        }
    }
}

impl std::error::Error for PolicyError {}

/// The line of the fault with one before it and a mark below the column. Tabs and other controls show
/// as blanks, long lines are cut.
pub fn excerpt(source: &str, at: Position) -> String {
    const WIDTH: usize = 160;
    let shown = |line: &str| -> String {
        line.chars().take(WIDTH).map(|character| if character.is_control() { ' ' } else { character }).collect()
    };
    let mut lines = source.lines().skip(at.line.saturating_sub(2));
    let mut text = String::new();
    if at.line > 1 {
        let before = lines.next().unwrap_or_default();
        text.push_str(&format!("\n{:4} | {}", at.line - 1, shown(before)));
    }
    let Some(line) = lines.next() else { return text };
    text.push_str(&format!("\n>{:3} | {}", at.line, shown(line)));
    if at.column <= WIDTH {
        text.push_str(&format!("\n{:1$}^", "", at.column + 6));
    }
    text.push('\n');
    text
}
