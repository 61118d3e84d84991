//! Answers become text or one line of JSON here.
//!
//! All answers, errors too, go to stdout: it is data (contract, artifacts 0 and 2.5). Hints in text form go to
//! stderr. A reader that closes the pipe early is not an error.

use crate::exit::{Exit, Status};
use crate::failure::Failure;
use gait_core::json;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;
use std::io::{self, BufWriter, Write};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// What a verb found out.
#[derive(Debug)]
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
    /// A member of the JSON answer that is too large to hold.
    streamed: Option<Streamed>,
}

/// A member of a JSON answer that is made while it is written.
pub struct Streamed {
    name: &'static str,
    write: Box<WriteMember>,
}

/// Writes the value of a member.
type WriteMember = dyn FnOnce(&mut dyn Write) -> io::Result<()>;

impl Streamed {
    /// The member `name`, whose value `write` writes in the form of [`json::to_line_html_safe_sorted`].
    pub fn new(name: &'static str, write: impl FnOnce(&mut dyn Write) -> io::Result<()> + 'static) -> Self {
        Streamed { name, write: Box::new(write) }
    }
}

impl fmt::Debug for Streamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Streamed").field(&self.name).finish()
    }
}

impl Outcome {
    /// An answer with its lines of text and its JSON members, `ok` among them.
    pub fn new(exit: Exit, lines: &[String], members: &impl Serialize) -> Self {
        let fields = match serde_json::to_value(members) {
            Ok(Value::Object(fields)) => Some(fields),
            _ => None,
        };
        Outcome {
            status: exit.into(),
            text: with_ends(lines),
            notes: Vec::new(),
            is_off_stdout: false,
            fields,
            streamed: None,
        }
    }

    /// The same answer with lines for stderr.
    pub fn with_notes(self, notes: &[String]) -> Self {
        Outcome { notes: notes.to_vec(), ..self }
    }

    /// The same answer with this text, as it stands.
    pub fn with_text(self, text: String) -> Self {
        Outcome { text, ..self }
    }

    /// The same answer with one more member in its JSON form.
    pub fn with_streamed(self, streamed: Streamed) -> Self {
        Outcome { streamed: Some(streamed), ..self }
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
#[derive(Debug)]
pub struct Printed {
    pub stdout: String,
    /// What follows on stdout.
    pub rest: Option<Rest>,
    pub stderr: String,
    pub status: Status,
}

/// The rest of an answer: a member that is made while it is written, and what comes after it.
#[derive(Debug)]
pub struct Rest {
    member: Streamed,
    after: String,
}

impl Printed {
    /// This, and nothing made while it is written.
    pub fn new(status: Status, stdout: String, stderr: String) -> Self {
        Printed { stdout, rest: None, stderr, status }
    }
}

/// The answer of a verb in the form asked for.
pub fn answer(form: Form, label: &str, correlation_id: &str, result: Result<Outcome, Failure>) -> Printed {
    match (result, form) {
        (Ok(outcome), Form::Text) => Printed::new(outcome.status, outcome.text, with_ends(&outcome.notes)),
        (Ok(outcome), Form::Json) => {
            let printed = json_line(outcome.fields, outcome.streamed, correlation_id, outcome.status);
            if outcome.is_off_stdout {
                return Printed { stdout: String::new(), stderr: printed.stdout, ..printed };
            }
            printed
        }
        (Err(failure), Form::Text) => Printed::new(
            failure.exit.into(),
            format!("{label} error: {}\n", failure.message),
            failure.hint.or(failure.advice).map(|hint| format!("hint: {hint}\n")).unwrap_or_default(),
        ),
        (Err(failure), Form::Json) => {
            let exit = failure.exit;
            json_line(Some(error_fields(failure)), None, correlation_id, exit.into())
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

fn json_line(
    fields: Option<Map<String, Value>>,
    streamed: Option<Streamed>,
    correlation_id: &str,
    status: Status,
) -> Printed {
    let line = fields.and_then(|mut fields| {
        fields.entry("correlation_id").or_insert_with(|| correlation_id.into());
        let Some(member) = streamed else {
            return Some((json::to_line_html_safe_sorted(&fields).ok()?, None));
        };
        let (before, after) = around(fields, member.name)?;
        Some((before, Some(Rest { member, after })))
    });
    match line {
        Some((line, rest)) => Printed { rest, ..Printed::new(status, line, String::new()) },
        None => Printed::new(Exit::InvalidInput.into(), ENCODE_FAILED.into(), String::new()),
    }
}

/// The line with all `fields`, as far as the value of the member `name`, and from there on.
fn around(fields: Map<String, Value>, name: &str) -> Option<(String, String)> {
    let (before, after): (Map<_, _>, Map<_, _>) = fields.into_iter().partition(|(key, _)| key.as_str() < name);
    let (some_before, some_after) = (!before.is_empty(), !after.is_empty());
    let before = json::to_line_html_safe_sorted(&before).ok()?;
    let after = json::to_line_html_safe_sorted(&after).ok()?;
    let comma = |some: bool| if some { "," } else { "" };
    let head = before.strip_suffix("}\n")?;
    let tail = after.strip_prefix('{')?;
    Some((format!("{head}{}\"{name}\":", comma(some_before)), format!("{}{tail}", comma(some_after))))
}

/// Writes an answer and gives the status to end with.
pub fn print(printed: Printed) -> Status {
    let mut out = io::stdout().lock();
    let written = write_to(&mut out, &printed.stdout).and_then(|()| match printed.rest {
        Some(Rest { member, after }) => {
            let mut out = BufWriter::with_capacity(1 << 16, out);
            (member.write)(&mut out)?;
            write_to(out, &after)
        }
        None => Ok(()),
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_member_that_is_streamed_has_the_place_that_its_name_has() {
        for fields in [json!({"a": "<", "z": 1}), json!({"a": 1}), json!({"z": [1]})] {
            let Value::Object(mut fields) = fields else { return };
            let (before, after) = around(fields.clone(), "steps").unwrap();
            fields.insert("steps".into(), json!([]));
            assert_eq!(format!("{before}[]{after}"), json::to_line_html_safe_sorted(&fields).unwrap());
        }
    }
}
