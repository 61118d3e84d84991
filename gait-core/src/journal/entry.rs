//! Lines of a journal that was checked before, read again for what they say.

use serde::de::Error as _;
use serde_json::Value;

use super::decision_line;
use super::line::Body;

/// One line: its number, when it was written, and what it says.
///
/// Nothing is checked that [`super::Checker`] checks: order, chain, signatures, canonical form.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Number of the line, from 1.
    pub seq: u64,
    /// Nanoseconds since the journal was opened.
    pub t: u64,
    /// What it says.
    pub body: Body,
}

impl Entry {
    /// Reads a line without its newline.
    ///
    /// # Errors
    /// It is no line of a journal.
    pub fn parse(line: &[u8]) -> serde_json::Result<Self> {
        if let Some((seq, t, decision)) = decision_line::parse(line) {
            return Ok(Self { seq, t, body: Body::Decision(decision) });
        }
        let mut value: Value = serde_json::from_slice(line)?;
        let members = value.as_object_mut().ok_or_else(|| serde_json::Error::custom("not an object"))?;
        let mut number = |name: &'static str| match members.remove(name).as_ref().and_then(Value::as_u64) {
            Some(number) => Ok(number),
            None => Err(serde_json::Error::custom(format_args!("`{name}` is no number"))),
        };
        let (seq, t) = (number("seq")?, number("t")?);
        match members.remove("type") {
            Some(Value::String(kind)) => Ok(Self { seq, t, body: Body::parse(&kind, value)? }),
            _ => Err(serde_json::Error::custom("`type` is no text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{DecisionLine, Exit};

    #[test]
    fn a_line_is_read_with_and_without_the_common_form() {
        let parsed = |text: &str| Entry::parse(text.as_bytes());
        let exit = parsed(r#"{"code":3,"proc":1,"seq":9,"signal":0,"t":5,"type":"exit"}"#).unwrap();
        assert_eq!(exit, Entry { seq: 9, t: 5, body: Body::Exit(Exit { proc: 1, code: 3, signal: 0 }) });
        let common = parsed(r#"{"def":1,"proc":2,"seq":4,"t":7,"type":"decision"}"#).unwrap();
        let decision = DecisionLine { def: 1, proc: 2, ..DecisionLine::default() };
        assert_eq!(common, Entry { seq: 4, t: 7, body: Body::Decision(decision.clone()) });
        let held = parsed(r#"{"def":1,"hold":3,"proc":2,"seq":4,"t":7,"type":"decision"}"#).unwrap();
        assert_eq!(held.body, Body::Decision(DecisionLine { hold: Some(3), ..decision }));
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        for text in
            ["", "[]", "{}", r#"{"seq":1,"t":0}"#, r#"{"seq":-1,"t":0,"type":"x"}"#, r#"{"seq":1,"t":0,"type":"exit"}"#]
        {
            assert!(Entry::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
