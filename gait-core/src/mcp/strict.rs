//! JSON that every reader understands in the same way.
//!
//! What is judged here is read again by a server that gait does not know, with a parser of its own. So
//! nothing is accepted on which parsers differ: repeated member names (the first, the last or all of them
//! count), bytes that are not UTF-8, escapes of lone surrogates, numbers that no double holds, more than one
//! value, nesting deeper than 128.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads one value and nothing after it.
///
/// # Errors
/// The parser's own, with line and column; `repeated member name` for the second of two equal names in one object,
/// however they are spelt.
pub fn read(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Unlike the visitor of [`Value`] itself, this one gives no member name a meaning of its own.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("repeated member name {name:?}")));
            }
            let value = members.next_value_seed(Strict)?;
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_parsers_differ_on_is_refused() {
        for bad in [
            &br#"{"a":1,"a":1}"#[..],
            br#"{"a":1,"\u0061":2}"#,
            br#"[{"x":{"a":1,"a":2}}]"#,
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\xc0\xaf\"}",
            b"{\"\xed\xa0\x80\":1}",
            br#""\ud800""#,
            br#""\udc00\ud800""#,
            b"1e400",
            b"NaN",
            b"-Infinity",
            b"01",
            b"1.",
            b"{} {}",
            b"{}{}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":1,}",
            b"{'a':1}",
            b"{\"a\":\"\n\"}",
            b"{\"a\":\"\0\"}",
            b"\0{}",
            b"{}\0",
            b"/**/{}",
            b"",
        ] {
            assert!(read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn no_member_name_has_a_meaning_of_its_own() {
        let text = r#"{"$serde_json::private::RawValue":"{\"a\":1}","$serde_json::private::Number":"1"}"#;
        let value = read(text.as_bytes()).unwrap();
        assert_eq!(value.as_object().map(Map::len), Some(2));
        assert!(value["$serde_json::private::RawValue"].is_string());
    }

    #[test]
    fn nesting_has_a_limit_that_is_an_error() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(read(&nested(127)).is_ok());
        assert!(read(&nested(129)).is_err());
        assert!(read(&vec![b'['; 1 << 20]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_another_parser_reads(text in r#"[\[\]{}:,"a-c0-9.eE\\u+ \-]{0,24}"#) {
            if let Ok(value) = read(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
