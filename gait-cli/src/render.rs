//! Answers become text or one line of JSON here.
//!
//! All answers, errors too, go to stdout: it is data (contract, artifacts 0 and 2.5). Hints in text form go to
//! stderr. A reader that closes the pipe early is not an error.

use crate::exit::{Exit, Status};
use crate::failure::Failure;
use gait_core::json;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, Write};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// What a verb found out.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub status: Status,
    /// Lines for people, each ended by `\n`.
    pub text: String,
    /// Lines for people that go to stderr in text form, because stdout is somebody else's.
    notes: Vec<String>,
    /// Whether stdout is somebody else's in JSON form too.
    is_off_stdout: bool,
    /// The members of the JSON answer; `None` when they could not be encoded.
    fields: Option<Map<String, Value>>,
}

impl Outcome {
    /// An answer with its lines of text and its JSON members, `ok` among them.
    pub fn new(exit: Exit, lines: &[String], members: &impl Serialize) -> Self {
        let fields = match serde_json::to_value(members) {
            Ok(Value::Object(fields)) => Some(fields),
            _ => None,
        };
        Outcome { status: exit.into(), text: with_ends(lines), notes: Vec::new(), is_off_stdout: false, fields }
    }

    /// The same answer with lines for stderr.
    pub fn with_notes(self, notes: &[String]) -> Self {
        Outcome { notes: notes.to_vec(), ..self }
    }

    /// The same answer with this text, as it stands.
    pub fn with_text(self, text: String) -> Self {
        Outcome { text, ..self }
    }

    /// The same answer, of which nothing goes to stdout in either form.
    pub fn off_stdout(self) -> Self {
        Outcome { is_off_stdout: true, ..self }
    }

    /// The same answer with another status.
    pub fn with_status(self, status: Status) -> Self {
        Outcome { status, ..self }
    }
}

fn with_ends(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// Everything that is printed for one call.
#[derive(Debug, PartialEq)]
pub struct Printed {
    pub stdout: String,
    pub stderr: String,
    pub status: Status,
}

/// The answer of a verb in the form asked for.
pub fn answer(form: Form, label: &str, correlation_id: &str, result: Result<Outcome, Failure>) -> Printed {
    match (result, form) {
        (Ok(outcome), Form::Text) => {
            Printed { stderr: with_ends(&outcome.notes), stdout: outcome.text, status: outcome.status }
        }
        (Ok(outcome), Form::Json) => {
            let printed = json_line(outcome.fields, correlation_id, outcome.status);
            if outcome.is_off_stdout {
                return Printed { stdout: String::new(), stderr: printed.stdout, ..printed };
            }
            printed
        }
        (Err(failure), Form::Text) => Printed {
            stdout: format!("{label} error: {}\n", failure.message),
            stderr: failure.hint.or(failure.advice).map(|hint| format!("hint: {hint}\n")).unwrap_or_default(),
            status: failure.exit.into(),
        },
        (Err(failure), Form::Json) => {
            let exit = failure.exit;
            json_line(Some(error_fields(failure)), correlation_id, exit.into())
        }
    }
}

/// The envelope of an error: its members and those of its exit code.
pub fn error_fields(failure: Failure) -> Map<String, Value> {
    let mut fields = failure.fields;
    fields.insert("ok".into(), false.into());
    fields.insert("error".into(), failure.message.into());
    if let Some(words) = failure.exit.envelope() {
        fields.insert("error_code".into(), words.code.into());
        let category = failure.category.unwrap_or(words.category);
        fields.insert("error_category".into(), category.word().into());
        fields.insert("retryable".into(), category.is_retryable().into());
        fields.insert("hint".into(), failure.hint.unwrap_or_else(|| words.hint.into()).into());
    }
    fields
}

/// The line when an answer can't be encoded (contract, artifacts 2.5).
const ENCODE_FAILED: &str = concat!(
    r#"{"ok":false,"error":"failed to encode output","error_code":"encode_failed","#,
    r#""error_category":"internal_failure","retryable":false}"#,
    "\n"
);

fn json_line(fields: Option<Map<String, Value>>, correlation_id: &str, status: Status) -> Printed {
    let line = fields.and_then(|mut fields| {
        fields.entry("correlation_id").or_insert_with(|| correlation_id.into());
        json::to_line_html_safe_sorted(&fields).ok()
    });
    match line {
        Some(line) => Printed { stdout: line, stderr: String::new(), status },
        None => Printed { stdout: ENCODE_FAILED.into(), stderr: String::new(), status: Exit::InvalidInput.into() },
    }
}

/// Writes an answer and gives the status to end with.
pub fn print(printed: &Printed) -> Status {
    let written = write_to(io::stdout().lock(), &printed.stdout);
    // Nobody can be told that stderr is gone.
    let _ = write_to(io::stderr().lock(), &printed.stderr);
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Internal.into(),
        _ => printed.status,
    }
}

fn write_to(mut out: impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}
