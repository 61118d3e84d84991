//! JSON objects with arrays too large to hold: read part by part.
//!
//! The bytes of a part are found by brackets and quotes alone; whoever takes a part parses it, and so finds what is
//! wrong with it.

use std::io::{self, BufRead};

use memchr::memchr2;

/// A piece of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A member that is held whole: its name and the bytes of its value.
    Member(&'a str, &'a [u8]),
    /// An array begins; of repeated members the last counts.
    Array(&'static str),
    /// The next element of an array: the name of the member and the bytes of the element.
    Element(&'static str, &'a [u8]),
}

/// Why an object could not be read, or was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError<E: std::error::Error + 'static> {
    /// The stream broke off or is damaged.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// Not an object.
    #[error("expected {expected} at byte {at}")]
    Syntax {
        /// What should be there.
        expected: &'static str,
        /// Counted from 0.
        at: u64,
    },
    /// A part that is larger than wanted.
    #[error("a value of more than {limit_bytes} bytes")]
    TooLong {
        /// Most bytes of a part.
        limit_bytes: usize,
    },
    /// What the taker of the parts said.
    #[error(transparent)]
    Refused(E),
}

/// Reads one object and nothing after it; `null` counts as an empty one. Members called like one of `arrays`, and which are arrays, are given element
/// by element; all others whole. No part is larger than `limit_bytes`.
///
/// # Errors
/// [`PartsError`]
pub fn for_each_part<E: std::error::Error>(
    source: impl BufRead,
    arrays: &[&'static str],
    limit_bytes: usize,
    mut take: impl FnMut(Part<'_>) -> Result<(), E>,
) -> Result<(), PartsError<E>> {
    let mut scanner = Scanner { source, at: 0, limit_bytes };
    let (mut key, mut value) = (Vec::new(), Vec::new());
    if scanner.peek()? == Some(b'n') {
        scanner.value(&mut value)?;
        return match scanner.peek()? {
            None if value == b"null" => Ok(()),
            _ => Err(scanner.syntax("an object")),
        };
    }
    scanner.expect(b'{', "an object")?;
    let mut first = true;
    while !scanner.closes(b'}', first)? {
        first = false;
        if scanner.peek()? != Some(b'"') {
            return Err(scanner.syntax("a member"));
        }
        scanner.value(&mut key)?;
        let name: String = crate::json::read(&key).map_err(|_| scanner.syntax("the name of a member"))?;
        scanner.expect(b':', "`:`")?;
        let array = arrays.iter().find(|array| **array == name).copied();
        match array {
            Some(name) if scanner.peek()? == Some(b'[') => {
                scanner.expect(b'[', "an array")?;
                take(Part::Array(name)).map_err(PartsError::Refused)?;
                let mut first = true;
                while !scanner.closes(b']', first)? {
                    first = false;
                    scanner.value(&mut value)?;
                    take(Part::Element(name, &value)).map_err(PartsError::Refused)?;
                }
            }
            _ => {
                scanner.value(&mut value)?;
                take(Part::Member(&name, &value)).map_err(PartsError::Refused)?;
            }
        }
    }
    match scanner.peek()? {
        None => Ok(()),
        Some(_) => Err(scanner.syntax("nothing after the object")),
    }
}

struct Scanner<R> {
    source: R,
    at: u64,
    limit_bytes: usize,
}

impl<R: BufRead> Scanner<R> {
    fn syntax<E: std::error::Error>(&self, expected: &'static str) -> PartsError<E> {
        PartsError::Syntax { expected, at: self.at }
    }

    fn chunk<E: std::error::Error>(&mut self) -> Result<&[u8], PartsError<E>> {
        while let Err(error) = self.source.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(PartsError::Io(error));
            }
        }
        self.source.fill_buf().map_err(PartsError::Io)
    }

    fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.at += count as u64;
    }

    /// The next byte that is no white space; `None` at the end.
    fn peek<E: std::error::Error>(&mut self) -> Result<Option<u8>, PartsError<E>> {
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let blank = chunk.iter().take_while(|byte| is_blank(**byte)).count();
            let next = chunk.get(blank).copied();
            self.consume(blank);
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    fn expect<E: std::error::Error>(&mut self, byte: u8, expected: &'static str) -> Result<(), PartsError<E>> {
        if self.peek()? != Some(byte) {
            return Err(self.syntax(expected));
        }
        self.consume(1);
        Ok(())
    }

    /// Whether the object or array ends here, with `end`; if not, its next part follows.
    fn closes<E: std::error::Error>(&mut self, end: u8, first: bool) -> Result<bool, PartsError<E>> {
        match self.peek()? {
            Some(byte) if byte == end => {
                self.consume(1);
                Ok(true)
            }
            Some(b',') if !first => {
                self.consume(1);
                Ok(false)
            }
            Some(_) if first => Ok(false),
            _ => Err(self.syntax("`,` or an end")),
        }
    }

    /// Reads the bytes of the next value, as far as brackets and quotes tell.
    fn value<E: std::error::Error>(&mut self, out: &mut Vec<u8>) -> Result<(), PartsError<E>> {
        out.clear();
        self.peek()?;
        let mut state = State::default();
        loop {
            let limit_bytes = self.limit_bytes;
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                // A word or number has no end of its own.
                if state.is_between() && !out.is_empty() {
                    break;
                }
                return Err(self.syntax("the rest of a value"));
            }
            let used = state.advance(chunk);
            if out.len() + used > limit_bytes {
                return Err(PartsError::TooLong { limit_bytes });
            }
            out.extend_from_slice(chunk.get(..used).unwrap_or_default());
            self.consume(used);
            if state.done {
                break;
            }
        }
        if out.is_empty() { Err(self.syntax("a value")) } else { Ok(()) }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Where in a value the scanner is.
#[derive(Default)]
struct State {
    depth: usize,
    in_string: bool,
    escaped: bool,
    done: bool,
}

impl State {
    /// Neither in a string nor in brackets.
    fn is_between(&self) -> bool {
        self.depth == 0 && !self.in_string && !self.escaped
    }

    /// How many bytes of `chunk` belong to the value.
    fn advance(&mut self, chunk: &[u8]) -> usize {
        let mut used = 0;
        while let Some(byte) = chunk.get(used).copied() {
            if self.escaped {
                self.escaped = false;
                used += 1;
            } else if self.in_string {
                let Some(found) = memchr2(b'"', b'\\', chunk.get(used..).unwrap_or_default()) else {
                    return chunk.len();
                };
                used += found + 1;
                self.escaped = chunk.get(used - 1) == Some(&b'\\');
                self.in_string = self.escaped;
                self.done = !self.in_string && self.depth == 0;
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' if self.depth > 0 => {
                        self.depth -= 1;
                        self.done = self.depth == 0;
                    }
                    b'}' | b']' | b',' if self.depth == 0 => {
                        self.done = true;
                        return used;
                    }
                    _ if self.depth == 0 && is_blank(byte) => {
                        self.done = true;
                        return used;
                    }
                    _ => {}
                }
                used += 1;
            }
            if self.done {
                return used;
            }
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    type Never = std::convert::Infallible;

    /// The parts put together again, by a reader that gives one byte at a time if `slow`.
    fn rebuilt(text: &str, slow: bool) -> Result<Value, PartsError<serde_json::Error>> {
        let source = io::BufReader::with_capacity(if slow { 1 } else { 4096 }, text.as_bytes());
        let (mut object, mut elements) = (serde_json::Map::new(), Vec::new());
        for_each_part(source, &["a"], 1 << 20, |part| {
            match part {
                Part::Member(name, value) => drop(object.insert(name.into(), serde_json::from_slice(value)?)),
                Part::Array(_) => elements.clear(),
                Part::Element(_, value) => elements.push(serde_json::from_slice::<Value>(value)?),
            }
            Ok(())
        })?;
        if !elements.is_empty() {
            object.insert("a".into(), elements.into());
        }
        Ok(object.into())
    }

    proptest::proptest! {
        #[test]
        fn parts_give_what_a_parser_gives(
            a in proptest::collection::vec("[a-z\"\\\\{}\\[\\],: \u{e9}]{0,6}", 1..5),
            b in "[a-z\"\\\\{}\\[\\],:]{0,8}",
            pretty in proptest::bool::ANY,
            slow in proptest::bool::ANY,
        ) {
            let elements: Vec<Value> =
                a.iter().map(|text| json!([text, {"k": text, text.as_str(): [1.5, null]}, -3])).collect();
            let value = json!({"a": elements, "b": b.as_str(), b.as_str(): {"a": [b.as_str()]}, "n": 12, "t": true});
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            proptest::prop_assert_eq!(rebuilt(&text.unwrap(), slow).unwrap(), value);
        }

        #[test]
        fn what_a_parser_refuses_is_refused(text in "[\\{\\}\\[\\]\",:a1 ]{0,12}") {
            let text = format!("{{\"a\":{text}");
            if serde_json::from_str::<Value>(&text).is_err() {
                proptest::prop_assert!(rebuilt(&text, false).is_err(), "{}", text);
            }
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in [
            "",
            " ",
            "[]",
            "nul",
            "null {}",
            "1",
            "{",
            "{}x",
            "{,}",
            r#"{"a":[1,]}"#,
            r#"{"a":[,1]}"#,
            r#"{"a":[1 2]}"#,
        ] {
            assert!(rebuilt(text, true).is_err(), "{text}");
        }
        for text in [" { } ", "null", " null\n"] {
            assert_eq!(rebuilt(text, true).unwrap(), json!({}), "{text}");
        }
    }

    #[test]
    fn an_endless_value_is_refused_before_it_fills_the_memory() {
        let endless = io::BufReader::new(io::Read::chain(&b"{\"x\":\""[..], io::repeat(b'x')));
        let refused = for_each_part::<Never>(endless, &[], 1000, |_| Ok(()));
        assert!(matches!(refused, Err(PartsError::TooLong { limit_bytes: 1000 })));
    }

    #[test]
    fn a_repeated_array_begins_again() {
        assert_eq!(rebuilt(r#"{"a":[1],"a":[2,3]}"#, false).unwrap(), json!({"a": [2, 3]}));
    }
}
