//! A record as far as it must be understood to be counted, compared and judged: borrowed from its line, its free-form
//! object not taken apart.
//!
//! What a glance accepts, [`parse`] accepts, and the other way round: where a line is not as plain as ours are, it is
//! parsed, and the glance is one at the record.

use super::record::{IntentRecord, Object, ResultRecord, parse};
use crate::canonical::canonical_bytes;
use crate::time::Timestamp;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::borrow::Cow;

/// A kind of record that a runpack has one of per line.
pub trait LineRecord: DeserializeOwned + Serialize {
    /// Where they are.
    const MEMBER: &'static str;
    /// What errors call them.
    const WHAT: &'static str;

    /// The same as a glance.
    fn glance(self) -> Glance<'static>;
}

/// What there is to see of an intent or a result. What the other of the two has is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance<'a> {
    /// As in the record.
    pub schema_id: Cow<'a, str>,
    /// As in the record.
    pub schema_version: Cow<'a, str>,
    /// As in the record.
    pub created_at: Timestamp,
    /// As it is written, where the line was plain.
    pub(crate) created_text: &'a str,
    /// As in the record.
    pub producer_version: Cow<'a, str>,
    /// As in the record.
    pub run_id: Cow<'a, str>,
    /// As in the record.
    pub intent_id: Cow<'a, str>,
    /// `tool_name` or `status`.
    pub word: Cow<'a, str>,
    /// `args_digest` or `result_digest`.
    pub digest: Cow<'a, str>,
    /// `args` or `result` as text; empty if there is none. Other text may be the same object.
    pub object: Cow<'a, str>,
}

impl<'a> Glance<'a> {
    /// Looks at one line.
    ///
    /// # Errors
    /// Those of [`parse`].
    pub fn at<T: LineRecord>(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        match Plain::read(line).and_then(|plain| plain.glance::<T>()) {
            Some(glance) => Ok(glance),
            None => parse::<T>(line).map(T::glance),
        }
    }

    /// Whether `other` is `line`, which this is a glance at, but for what differs between any two runs: time, producer
    /// and run. Then it need not be looked at itself. `false` may also mean that this can't be told.
    pub fn is_same_but_for_origin(&self, line: &[u8], other: &[u8]) -> bool {
        let (Cow::Borrowed(producer), Cow::Borrowed(run)) = (&self.producer_version, &self.run_id) else {
            return false;
        };
        let start = |text: &str| (text.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
        let mut holes = [self.created_text, producer, run].map(|text| (start(text), text.len()));
        let created = holes[0];
        holes.sort_unstable();
        let (mut at, mut theirs) = (0, other);
        for hole in holes {
            let (start, length) = hole;
            let Some(piece) = line.get(at..start).filter(|_| start < line.len()) else { return false };
            let Some(rest) = theirs.strip_prefix(piece) else { return false };
            let Some(end) = memchr::memchr(b'"', rest) else { return false };
            let (value, rest) = rest.split_at(end);
            let plain = value.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\');
            let is_time = || std::str::from_utf8(value).is_ok_and(|text| Timestamp::parse(text).is_ok());
            if !plain || (hole == created && !is_time()) {
                return false;
            }
            (at, theirs) = (start + length, rest);
        }
        line.get(at..) == Some(theirs)
    }
}

/// The members of a line as ours are written, borrowed.
#[derive(Default)]
struct Plain<'a> {
    texts: [Option<&'a str>; TEXTS.len()],
    objects: [Option<&'a str>; OBJECTS.len()],
}

/// Members that are strings, and their place in [`Plain::texts`].
const TEXTS: [&str; 10] = [
    "schema_id",
    "schema_version",
    "created_at",
    "producer_version",
    "run_id",
    "intent_id",
    "tool_name",
    "args_digest",
    "status",
    "result_digest",
];
/// Members that are objects, and their place in [`Plain::objects`].
const OBJECTS: [&str; 2] = ["args", "result"];

/// Where in [`TEXTS`] a name is.
fn text_at(name: &str) -> Option<usize> {
    // A search through the list takes longer than all the rest.
    Some(match name {
        "schema_id" => 0,
        "schema_version" => 1,
        "created_at" => 2,
        "producer_version" => 3,
        "run_id" => 4,
        "intent_id" => 5,
        "tool_name" => 6,
        "args_digest" => 7,
        "status" => 8,
        "result_digest" => 9,
        _ => return None,
    })
}

impl<'a> Plain<'a> {
    /// `None` for a line that is otherwise than ours: not text, with escapes, white space, `null`, or a member twice.
    fn read(line: &'a [u8]) -> Option<Self> {
        // Without a way out of the loop it is done for many bytes at once.
        if line.iter().fold(false, |odd, byte| odd | (*byte < b' ') | (*byte == b'\\')) {
            return None;
        }
        let mut rest = after(std::str::from_utf8(line).ok()?, b'{')?.strip_suffix('}')?;
        let mut plain = Plain::default();
        while !rest.is_empty() {
            let (key, value) = quoted(rest)?;
            rest = after(value, b':')?;
            let is_text = rest.as_bytes().first() == Some(&b'"');
            let slot = if is_text {
                text_at(key).and_then(|at| plain.texts.get_mut(at))
            } else {
                OBJECTS.iter().position(|name| *name == key).and_then(|at| plain.objects.get_mut(at))
            }?;
            let (value, behind) = if is_text { quoted(rest)? } else { object(rest)? };
            if slot.replace(value).is_some() {
                return None;
            }
            rest = match after(behind, b',') {
                // Something has to follow.
                Some(more) if !more.is_empty() => more,
                None if behind.is_empty() => behind,
                _ => return None,
            };
        }
        Some(plain)
    }

    /// `None` where a member is not what the kind of record needs.
    fn glance<T: LineRecord>(&self) -> Option<Glance<'a>> {
        let text = |text: Option<&'a str>| Cow::Borrowed(text.unwrap_or_default());
        let [schema_id, schema_version, created_at, producer_version, run_id, intent_id, tool, args, status, result] =
            self.texts;
        let (word, digest, object) = if T::MEMBER == IntentRecord::MEMBER {
            (tool, args, self.objects[0])
        } else {
            (status, result, self.objects[1])
        };
        Some(Glance {
            created_at: created_at.map_or(Some(Timestamp::ZERO), |text| Timestamp::parse(text).ok())?,
            created_text: created_at.unwrap_or_default(),
            schema_id: text(schema_id),
            schema_version: text(schema_version),
            producer_version: text(producer_version),
            run_id: text(run_id),
            intent_id: text(intent_id),
            word: text(word),
            digest: text(digest),
            object: text(object),
        })
    }
}

/// What follows `byte`, which is ASCII and `text` starts with. A pattern of the library compares by a call, which takes
/// a quarter of the time of a comparison of two runs.
fn after(text: &str, byte: u8) -> Option<&str> {
    if text.as_bytes().first() == Some(&byte) { text.get(1..) } else { None }
}

/// The string that `text` starts with, which has no escapes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inside = after(text, b'"')?;
    let end = memchr::memchr(b'"', inside.as_bytes())?;
    Some((inside.get(..end)?, inside.get(end + 1..)?))
}

/// The object that `text` starts with, and what follows it.
fn object(text: &str) -> Option<(&str, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (object, rest) = text.split_at_checked(values.byte_offset())?;
    is_plain_object(object).then_some((object, rest))
}

/// Whether JSON that is well-formed is an object with nothing in it that a parser may still object to: numbers
/// beyond a double, or deep nesting. An empty one is none: it counts as absent.
fn is_plain_object(text: &str) -> bool {
    const DEEP: usize = 100;
    const DIGITS: usize = 300;
    if !text.starts_with('{') || text.len() <= 2 {
        return false;
    }
    let (mut depth, mut digits) = (0usize, 0usize);
    let mut bytes = text.as_bytes();
    while let Some((byte, rest)) = bytes.split_first() {
        bytes = rest;
        match byte {
            b'"' => {
                let Some(end) = memchr::memchr(b'"', rest) else { return false };
                bytes = rest.get(end + 1..).unwrap_or_default();
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            // `1e9`, and harmlessly `true` and `false`'s last letters, where no digit comes before.
            b'e' | b'E' if digits > 0 => return false,
            _ => {}
        }
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        if depth > DEEP || digits > DIGITS {
            return false;
        }
    }
    true
}

fn text_of(object: &Object) -> Cow<'static, str> {
    if object.is_empty() {
        return Cow::Borrowed("");
    }
    // What was parsed can be written.
    let bytes = canonical_bytes(object).unwrap_or_default();
    Cow::Owned(String::from_utf8(bytes).unwrap_or_default())
}

impl LineRecord for IntentRecord {
    const MEMBER: &'static str = "intents.jsonl";
    const WHAT: &'static str = "intents";

    fn glance(self) -> Glance<'static> {
        Glance {
            object: text_of(&self.args),
            schema_id: self.schema_id.into(),
            schema_version: self.schema_version.into(),
            created_at: self.created_at,
            created_text: "",
            producer_version: self.producer_version.into(),
            run_id: self.run_id.into(),
            intent_id: self.intent_id.into(),
            word: self.tool_name.into(),
            digest: self.args_digest.into(),
        }
    }
}

impl LineRecord for ResultRecord {
    const MEMBER: &'static str = "results.jsonl";
    const WHAT: &'static str = "results";

    fn glance(self) -> Glance<'static> {
        Glance {
            object: text_of(&self.result),
            schema_id: self.schema_id.into(),
            schema_version: self.schema_version.into(),
            created_at: self.created_at,
            created_text: "",
            producer_version: self.producer_version.into(),
            run_id: self.run_id.into(),
            intent_id: self.intent_id.into(),
            word: self.status.into(),
            digest: self.result_digest.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether a glance and the parser agree about the line, as one kind of record.
    fn agree<T: LineRecord + PartialEq + std::fmt::Debug>(line: &[u8]) {
        let shown = String::from_utf8_lossy(line);
        match (Glance::at::<T>(line), parse::<T>(line)) {
            (Ok(glance), Ok(record)) => {
                let expected = record.glance();
                let object = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
                assert_eq!(object(&glance.object), object(&expected.object), "{shown}");
                assert_eq!(Glance { object: expected.object.clone(), created_text: "", ..glance }, expected, "{shown}");
            }
            (Err(_), Err(_)) => {}
            (glance, record) => panic!("{shown}: {glance:?} {record:?}"),
        }
    }

    fn both(line: &[u8]) {
        agree::<IntentRecord>(line);
        agree::<ResultRecord>(line);
    }

    #[test]
    fn every_name_has_its_place() {
        assert!(TEXTS.iter().enumerate().all(|(at, name)| text_at(name) == Some(at)));
        assert_eq!(text_at("args"), None);
    }

    #[test]
    fn odd_lines_are_seen_as_the_parser_sees_them() {
        let deep = format!(r#"{{"args":{{"a":{}{}}}}}"#, "[".repeat(200), "]".repeat(200));
        let long = format!(r#"{{"args":{{"a":{}}}}}"#, "1".repeat(400));
        for line in [
            "{}",
            "[]",
            "null",
            "",
            " {}",
            r#"{"args":{}}"#,
            r#"{"args":null,"tool_name":null,"intent_id":null,"created_at":null}"#,
            r#"{"args":[]}"#,
            r#"{"args":{"a":1e999}}"#,
            r#"{"args":{"a":1e9}}"#,
            r#"{"args":{"a":"\ud800"}}"#,
            r#"{"args":{"a":true,"b":false,"e1":[1,2]}}"#,
            r#"{"args":{"a":1,"a":2}}"#,
            r#"{"intent_id":"a","intent_id":"b"}"#,
            r#"{"intent_id":5}"#,
            r#"{"status":5}"#,
            r#"{"tool_name":5}"#,
            r#"{"result":[],"args":{}}"#,
            r#"{"created_at":"yesterday"}"#,
            r#"{"created_at":"2026-02-05T00:00:00+02:00","run_id":"a\"b"}"#,
            r#"{"intent_id":"a"} "#,
            r#"{"intent_id":"a"}x"#,
            deep.as_str(),
            long.as_str(),
        ] {
            both(line.as_bytes());
        }
        both(b"{\"intent_id\":\"\xff\",\"args\":{\"\xe2\x82\":1}}");
    }

    #[test]
    fn lines_that_differ_in_their_origin_only_are_known_unread() {
        let line = |time: &str, run: &str, args: &str| {
            format!(
                r#"{{"args":{{"created_at":"{args}"}},"created_at":"{time}","intent_id":"i","producer_version":"p","run_id":"{run}"}}"#
            )
        };
        let (own, time) = (line("2026-02-05T00:00:00Z", "a", "x"), "2026-02-06T00:00:00.5Z");
        let glance = Glance::at::<IntentRecord>(own.as_bytes()).unwrap();
        let same = |other: &str| glance.is_same_but_for_origin(own.as_bytes(), other.as_bytes());
        assert!(same(&own) && same(&line(time, "another", "x")));
        for other in
            [line(time, "a", "y"), line("yesterday", "a", "x"), line(time, "a\\", "x"), line(time, "\u{e9}", "x")]
        {
            assert!(!same(&other), "{other}");
        }
        assert!(!same("") && !same(&own[..own.len() - 1]) && !same(&format!("{own} ")));
        let bare = Glance::at::<IntentRecord>(b"{}").unwrap();
        assert!(!bare.is_same_but_for_origin(b"{}", b"{}"));
    }

    proptest! {
        #[test]
        fn any_line_is_seen_as_the_parser_sees_it(
            members in prop::collection::vec(
                (
                    "(schema_id|created_at|run_id|intent_id|tool_name|args_digest|args|status|result_digest|result|x)",
                    prop_oneof![
                        Just(String::from("null")),
                        "[0-9]{1,3}(\\.5)?(e[0-9]{1,3})?",
                        "\"[a-z\u{e9}]{0,4}\"",
                        "\\{(\"[ae1]\":(1|\"e\"|\\[\\]|1e400|true))?\\}",
                        "[\\{\\}\\[\\]\":,e1]{0,5}",
                    ],
                ),
                0..5,
            ),
        ) {
            let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            both(format!("{{{}}}", members.join(",")).as_bytes());
        }
    }
}
