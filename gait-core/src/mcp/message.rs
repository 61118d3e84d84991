//! One frame to one message of JSON-RPC 2.0, or why it is none.

use std::fmt;

use serde_json::{Map, Value};

use super::strict;
use crate::canonical::canonical_bytes;
use crate::overlay::fold;

/// The name of a request: equal for equal values, however they are spelt (`1`, `1.0`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

/// Longest id of a client, in bytes of JSON.
const LONGEST_ID: usize = 1024;
/// Beyond this an integer is not the same number for every reader.
const LARGEST_ID: u64 = (1 << 53) - 1;

impl Id {
    /// The id that a client may give: a string, or an integer that every reader reads as the same number.
    pub fn of_client(value: &Value) -> Option<Self> {
        let is_exact = match value {
            Value::String(_) => true,
            Value::Number(number) => number.as_i64().is_some_and(|number| number.unsigned_abs() <= LARGEST_ID),
            _ => false,
        };
        Some(value).filter(|_| is_exact).and_then(Self::of_any).filter(|id| id.0.len() <= LONGEST_ID)
    }

    /// Any id but `null`.
    fn of_any(value: &Value) -> Option<Self> {
        let text = String::from_utf8(canonical_bytes(value).ok()?).ok()?;
        (!value.is_null()).then_some(Self(text))
    }

    /// The bytes of an id as they stand in a message.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::of_client(&strict::read(bytes).ok()?)
    }

    /// Its JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Somebody wants an answer.
    Request {
        /// What the answer is known by.
        id: Id,
        /// What is asked for.
        method: String,
        /// With what.
        params: Option<Value>,
    },
    /// Somebody says something.
    Notification {
        /// What.
        method: String,
        /// With what.
        params: Option<Value>,
    },
    /// An answer.
    Response {
        /// Of which request; none where that could not be told.
        id: Option<Id>,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What a response says.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// `result`
    Result(Value),
    /// `error`
    Error(Value),
}

/// Why a frame is not a message that goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Malformed {
    /// What is wrong.
    pub fault: Fault,
    /// Whom to tell, if that can be told.
    pub id: Option<Id>,
}

/// What can be wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says it all")]
pub enum Fault {
    #[error("not JSON that every reader reads alike: {words}")]
    Parse { words: String },
    #[error("carriage return or NUL inside a message: some readers would see two messages")]
    Control,
    #[error("a batch; the protocol has none since revision 2025-06-18: send each message on a line of its own")]
    Batch,
    #[error("a message must be an object")]
    NotAnObject,
    #[error("`jsonrpc` must be \"2.0\"")]
    Version,
    #[error("unknown member {name:?} of the message")]
    Member { name: String },
    #[error("`params` has members {first:?} and {second:?}, which some readers take for the same")]
    Alike { first: String, second: String },
    #[error("`id` must be a string of at most 1024 bytes or an integer of at most 53 bits")]
    Id,
    #[error("`method` must be a string, and `params` an object or a list")]
    Shape,
    #[error("a message has either `method`, or one of `result` and `error`")]
    Kind,
}

impl Fault {
    /// The code of JSON-RPC.
    pub const fn code(&self) -> i32 {
        match self {
            Self::Parse { .. } | Self::Control => -32700,
            _ => -32600,
        }
    }
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The one whose messages are judged: nothing is accepted that could be read in two ways.
    Client,
    /// The server: what it may send is its own business, as long as it can be told whom it is for.
    Server,
}

/// `line` without the carriage return of a line break.
pub fn without_line_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Message {
    /// Reads a line. Nothing is in a blank one.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn read(line: &[u8], sender: Sender) -> Result<Option<Self>, Malformed> {
        let line = without_line_end(line);
        if line.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Ok(None);
        }
        let malformed = |fault| Malformed { fault, id: None };
        // Readers of lines in several languages take a lone carriage return for a line break: between two tokens it
        // would make a second message of what is one value here.
        if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return Err(malformed(Fault::Control));
        }
        match strict::read(line) {
            Ok(Value::Object(members)) => Self::of(members, sender).map(Some),
            Ok(Value::Array(_)) => Err(malformed(Fault::Batch)),
            Ok(_) => Err(malformed(Fault::NotAnObject)),
            Err(error) => Err(malformed(Fault::Parse { words: error.to_string() })),
        }
    }

    fn of(mut members: Map<String, Value>, sender: Sender) -> Result<Self, Malformed> {
        let given = members.remove("id");
        let id = match sender {
            Sender::Client if members.contains_key("method") => given.as_ref().and_then(Id::of_client),
            _ => given.as_ref().and_then(Id::of_any),
        };
        Self::of_members(members, given.as_ref(), id.clone(), sender).map_err(|fault| Malformed { fault, id })
    }

    fn of_members(
        mut members: Map<String, Value>,
        given: Option<&Value>,
        id: Option<Id>,
        sender: Sender,
    ) -> Result<Self, Fault> {
        if members.remove("jsonrpc") != Some("2.0".into()) {
            return Err(Fault::Version);
        }
        let (method, params) = (members.remove("method"), members.remove("params"));
        let (result, error) = (members.remove("result"), members.remove("error"));
        // Among them names that differ from known ones in their case: some readers take them for these.
        if let (Sender::Client, Some((name, _))) = (sender, members.into_iter().next()) {
            return Err(Fault::Member { name });
        }
        match (method, result, error) {
            (Some(Value::String(method)), None, None) => {
                if !matches!(params, None | Some(Value::Object(_) | Value::Array(_))) {
                    return Err(Fault::Shape);
                }
                if sender == Sender::Client {
                    params.as_ref().and_then(Value::as_object).map_or(Ok(()), unlike)?;
                }
                match (given, id) {
                    (None, _) => Ok(Self::Notification { method, params }),
                    (Some(_), Some(id)) => Ok(Self::Request { id, method, params }),
                    (Some(_), None) => Err(Fault::Id),
                }
            }
            (Some(_), None, None) => Err(Fault::Shape),
            (None, Some(result), None) if params.is_none() => {
                Ok(Self::Response { id, outcome: Outcome::Result(result) })
            }
            (None, None, Some(error)) if params.is_none() => Ok(Self::Response { id, outcome: Outcome::Error(error) }),
            _ => Err(Fault::Kind),
        }
    }
}

/// Refuses two members whose names differ in case only.
fn unlike(params: &Map<String, Value>) -> Result<(), Fault> {
    let mut seen: Vec<(String, &String)> = Vec::with_capacity(params.len());
    // Readers look for these, in any case.
    for name in ["name", "arguments", "_meta", "task"] {
        if let Some(other) = params.keys().find(|other| *other != name && fold(other) == name) {
            return Err(Fault::Alike { first: other.clone(), second: name.to_owned() });
        }
    }
    for name in params.keys() {
        seen.push((fold(name), name));
    }
    seen.sort();
    match seen.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Fault::Alike { first: pair[0].1.clone(), second: pair[1].1.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(line: &str) -> Result<Option<Message>, String> {
        Message::read(line.as_bytes(), Sender::Client).map_err(|malformed| {
            let id = malformed.id.as_ref().map_or("null", Id::as_json);
            format!("{} {id} {}", malformed.fault.code(), malformed.fault)
        })
    }

    #[test]
    fn each_kind_of_message_is_known_by_its_members() {
        let id = |text: &str| Id(text.to_owned());
        let method = || "ping".to_owned();
        for (line, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
                Message::Request { id: id("1"), method: method(), params: None },
            ),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"p\\u0069ng\"}\r",
                Message::Request { id: id("\"a\""), method: method(), params: None },
            ),
            (
                r#"{"method":"ping","jsonrpc":"2.0","params":[]}"#,
                Message::Notification { method: method(), params: Some(Value::Array(vec![])) },
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
                Message::Response { id: Some(id("1")), outcome: Outcome::Result(Value::Object(Map::new())) },
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{}}"#,
                Message::Response { id: None, outcome: Outcome::Error(Value::Object(Map::new())) },
            ),
        ] {
            assert_eq!(client(line), Ok(Some(expected)), "{line}");
        }
        for blank in ["", " \t ", "\r"] {
            assert_eq!(client(blank), Ok(None));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_message() {
        for (line, start) in [
            ("{", "-32700 null not JSON"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, "-32700 null not JSON"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}"#,
                "-32700 null not JSON",
            ),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\r\"method\":\"ping\"}", "-32700 null carriage return"),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\0", "-32700 null carriage return"),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "-32600 null a batch"),
            ("[[]]", "-32600 null a batch"),
            ("7", "-32600 null a message must be an object"),
            (r#"{"id":1,"method":"ping"}"#, "-32600 1 `jsonrpc`"),
            (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, "-32600 1 `jsonrpc`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, "-32600 1 unknown member \"Method\""),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","ID":2}"#, "-32600 1 unknown member \"ID\""),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, "-32600 1 `method`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#, "-32600 1 `method`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#, "-32600 1 `method`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, "-32600 1 a message has either"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, "-32600 1 a message has either"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, "-32600 1 a message has either"),
            (r#"{"jsonrpc":"2.0","id":1}"#, "-32600 1 a message has either"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"Name":"a"}}"#,
                "-32600 1 `params` has members \"Name\" and \"name\"",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"n":"a","N":"b"}}"#,
                "-32600 1 `params` has members \"N\" and \"n\"",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"tasK":"a"}}"#, "-32600 1 `params` has members"),
        ] {
            let error = client(line).unwrap_err();
            assert!(error.starts_with(start), "{line}: {error}");
        }
    }

    #[test]
    fn ids_are_strings_and_exact_integers() {
        for bad in [
            "null",
            "true",
            "1.5",
            "1.0",
            "1e0",
            "-0",
            "9007199254740992",
            "-9007199254740992",
            "[1]",
            "{}",
            "18446744073709551615",
        ] {
            let error = client(&format!(r#"{{"jsonrpc":"2.0","id":{bad},"method":"ping"}}"#)).unwrap_err();
            assert!(error.starts_with("-32600 null `id`"), "{bad}: {error}");
        }
        let long = "x".repeat(1025);
        assert!(client(&format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"ping"}}"#)).is_err());
        for (good, id) in [("0", "0"), ("-7", "-7"), ("9007199254740991", "9007199254740991"), (r#""\u0061""#, "\"a\"")]
        {
            match client(&format!(r#"{{"jsonrpc":"2.0","id":{good},"method":"ping"}}"#)) {
                Ok(Some(Message::Request { id: read, .. })) => assert_eq!(read.as_json(), id),
                other => panic!("{good}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_server_may_say_more_as_long_as_it_can_be_told_whom_it_is_for() {
        let line = br#"{"jsonrpc":"2.0","id":1.0,"result":{},"trace":1}"#;
        let expected =
            Message::Response { id: Some(Id("1".into())), outcome: Outcome::Result(Value::Object(Map::new())) };
        assert_eq!(Message::read(line, Sender::Server), Ok(Some(expected)));
        assert!(Message::read(br#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#, Sender::Server).is_err());
    }
}
