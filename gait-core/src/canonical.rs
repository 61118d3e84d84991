//! RFC 8785 canonical JSON: the bytes that are hashed and signed.
//!
//! Keys are sorted by UTF-16 code units, there is no white space, strings carry the fewest escapes and
//! numbers print as ECMAScript prints the double. Two values that are equal as JSON give equal bytes.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

use crate::digest::{Hasher, Sha256Hex};

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
#[error("no canonical JSON form")]
pub struct CanonicalError(#[from] serde_json::Error);

/// Canonical bytes of `value` (control 2.2).
///
/// Numbers are IEEE 754 doubles: integers beyond 2^53 lose digits here, so write them as strings
/// before they reach this function. JSON has no NaN and no infinity: inside a record they come out as
/// `null`.
///
/// # Errors
/// [`CanonicalError`] for map keys that are not strings and for values whose own serialisation fails.
pub fn canonical_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut bytes = Vec::with_capacity(256);
    if write_in_order(value, &mut bytes).is_err() {
        bytes.clear();
        serde_json_canonicalizer::to_writer(&value, &mut bytes)?;
    }
    Ok(bytes)
}

/// Writes the canonical bytes of `value` to `out`.
///
/// # Errors
/// As [`canonical_bytes`], and where `out` can't be written.
pub fn write_canonical<T: Serialize + ?Sized>(value: &T, out: &mut impl Write) -> Result<(), CanonicalError> {
    let mut bytes = Vec::with_capacity(512);
    if write_in_order(value, &mut bytes).is_ok() {
        return Ok(out.write_all(&bytes).map_err(serde_json::Error::io)?);
    }
    Ok(serde_json_canonicalizer::to_writer(&value, out)?)
}

/// SHA-256 of the canonical bytes of `value`: every digest of a record is this.
///
/// # Errors
/// As [`canonical_bytes`].
pub fn digest_of<T: Serialize + ?Sized>(value: &T) -> Result<Sha256Hex, CanonicalError> {
    let mut ordered = BufWriter::with_capacity(4096, Hasher::new());
    if write_in_order(value, &mut ordered).is_ok()
        && let Ok(hasher) = ordered.into_inner()
    {
        return Ok(hasher.finish());
    }
    let mut hasher = Hasher::new();
    serde_json_canonicalizer::to_writer(&value, &mut hasher)?;
    Ok(hasher.finish())
}

/// Writes a value whose members happen to come in canonical order already, as those of records do.
///
/// That order is checked while writing; at the first member out of order, and at anything else that plain JSON may
/// spell otherwise, it gives up: then only the canonicalizer knows. What was written until then is of no use.
fn write_in_order<T: Serialize + ?Sized>(value: &T, out: &mut impl Write) -> Result<(), serde_json::Error> {
    value.serialize(&mut Serializer::with_formatter(out, InOrder::default()))
}

/// Compact JSON, or an error where a member does not come after the one before it.
#[derive(Default)]
struct InOrder {
    /// For each open object, the last key seen; one after the other.
    keys: Vec<u8>,
    /// Where in `keys` that of each open object starts.
    starts: Vec<usize>,
    /// Where in `keys` the key starts that is being written.
    key: Option<usize>,
}

/// Integers up to here are written by their digits; beyond, as the nearest double.
const EXACT: u64 = 1 << 53;

fn give_up() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

impl InOrder {
    fn integer<W: ?Sized + Write>(&self, out: &mut W, exact: bool, value: impl std::fmt::Display) -> io::Result<()> {
        // As a key it would be a text to the one and an error to the other.
        if exact && self.key.is_none() { write!(out, "{value}") } else { Err(give_up()) }
    }
}

impl Formatter for InOrder {
    fn write_i8<W: ?Sized + Write>(&mut self, out: &mut W, value: i8) -> io::Result<()> {
        self.integer(out, true, value)
    }

    fn write_i16<W: ?Sized + Write>(&mut self, out: &mut W, value: i16) -> io::Result<()> {
        self.integer(out, true, value)
    }

    fn write_i32<W: ?Sized + Write>(&mut self, out: &mut W, value: i32) -> io::Result<()> {
        self.integer(out, true, value)
    }

    fn write_i64<W: ?Sized + Write>(&mut self, out: &mut W, value: i64) -> io::Result<()> {
        self.integer(out, value.unsigned_abs() <= EXACT, value)
    }

    fn write_i128<W: ?Sized + Write>(&mut self, _: &mut W, _: i128) -> io::Result<()> {
        Err(give_up())
    }

    fn write_u8<W: ?Sized + Write>(&mut self, out: &mut W, value: u8) -> io::Result<()> {
        self.integer(out, true, value)
    }

    fn write_u16<W: ?Sized + Write>(&mut self, out: &mut W, value: u16) -> io::Result<()> {
        self.integer(out, true, value)
    }

    fn write_u32<W: ?Sized + Write>(&mut self, out: &mut W, value: u32) -> io::Result<()> {
        self.integer(out, true, value)
    }

    fn write_u64<W: ?Sized + Write>(&mut self, out: &mut W, value: u64) -> io::Result<()> {
        self.integer(out, value <= EXACT, value)
    }

    fn write_u128<W: ?Sized + Write>(&mut self, _: &mut W, _: u128) -> io::Result<()> {
        Err(give_up())
    }

    fn write_f32<W: ?Sized + Write>(&mut self, _: &mut W, _: f32) -> io::Result<()> {
        Err(give_up())
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        if self.key.is_some() {
            return Err(give_up());
        }
        out.write_all(&serde_json_canonicalizer::to_vec(&value).map_err(io::Error::other)?)
    }

    fn write_bool<W: ?Sized + Write>(&mut self, out: &mut W, value: bool) -> io::Result<()> {
        if self.key.is_some() {
            return Err(give_up());
        }
        out.write_all(if value { b"true" } else { b"false" })
    }

    fn write_number_str<W: ?Sized + Write>(&mut self, _: &mut W, _: &str) -> io::Result<()> {
        Err(give_up())
    }

    fn write_raw_fragment<W: ?Sized + Write>(&mut self, _: &mut W, _: &str) -> io::Result<()> {
        Err(give_up())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if self.key.is_some() {
            // U+E000 and beyond: there UTF-16 units sort otherwise than bytes do.
            if fragment.bytes().any(|byte| byte >= 0xEE) {
                return Err(give_up());
            }
            self.keys.extend_from_slice(fragment.as_bytes());
        }
        out.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        if self.key.is_some() {
            return Err(give_up());
        }
        serde_json::ser::CompactFormatter.write_char_escape(out, escape)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.starts.push(self.keys.len());
        out.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.keys.truncate(self.starts.pop().unwrap_or(0));
        out.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.key = Some(self.keys.len());
        if first { Ok(()) } else { out.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let (Some(start), Some(key)) = (self.starts.last().copied(), self.key.take()) else {
            return Err(give_up());
        };
        let (before, now) = (self.keys.get(start..key), self.keys.get(key..));
        // An empty key before may also be none at all; it sorts before any other but itself.
        if before >= now {
            return Err(give_up());
        }
        self.keys.drain(start..key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn canonical_text(value: &Value) -> String {
        String::from_utf8(canonical_bytes(value).unwrap()).unwrap()
    }

    #[test]
    fn the_contract_vector_of_artifacts_1_1_holds() {
        let input = r#"{"\ud83d\ude00":1,"\ufb33":2,"e":[1e21,1e-7,0.000001,123456789012345680000,-0,5e-324,1.0,"\/","\u007f\u2028<>&",true]}"#;
        let value: Value = serde_json::from_str(input).unwrap();
        let want = "{\"e\":[1e+21,1e-7,0.000001,123456789012345680000,0,5e-324,1,\"/\",\"\u{7f}\u{2028}<>&\",true],\"\u{1f600}\":1,\"\u{fb33}\":2}";
        assert_eq!(canonical_text(&value), want);
    }

    #[test]
    fn the_digest_vectors_of_artifacts_1_2_hold() {
        let query = json!({"query": "gait demo: offline verification"});
        let result = json!({"ok": true, "message": "demo result 1"});
        assert_eq!(
            digest_of(&query).unwrap().to_string(),
            "33d148a7de89102bce5e2be136ca2acc3398ff9970a1f922faa3838eae837e3c"
        );
        assert_eq!(
            digest_of(&result).unwrap().to_string(),
            "0b2abfe8ba8a9dae03e92bcb4fe8fb733661a8b0560dda0ce8d7ac553e7a79a6"
        );
    }

    #[test]
    fn numbers_that_are_not_finite_never_look_like_numbers() {
        assert_eq!(canonical_bytes(&[f64::INFINITY, f64::NAN]).unwrap(), b"[null,null]");
    }

    #[test]
    fn map_keys_that_are_not_strings_have_no_canonical_form() {
        assert!(canonical_bytes(&std::collections::BTreeMap::from([([1, 2], 3)])).is_err());
    }

    #[test]
    fn big_integers_become_doubles() {
        let value: Value = serde_json::from_str("[12345678901234567890, 9007199254740993, 1.50e2]").unwrap();
        assert_eq!(canonical_text(&value), "[12345678901234567000,9007199254740992,150]");
    }

    #[test]
    fn members_out_of_order_are_sorted_wherever_they_are() {
        #[derive(Serialize)]
        struct Inner {
            b: u64,
            a: i64,
        }
        #[derive(Serialize)]
        struct Outer {
            first: Inner,
            second: [Inner; 1],
            third: Option<u8>,
        }
        let value = Outer { first: Inner { b: 1, a: -2 }, second: [Inner { b: 1 << 60, a: 0 }], third: None };
        let want = r#"{"first":{"a":-2,"b":1},"second":[{"a":0,"b":1152921504606846976}],"third":null}"#;
        assert_eq!(String::from_utf8(canonical_bytes(&value).unwrap()).unwrap(), want.replace("6976", "7000"));
    }

    #[test]
    fn keys_are_sorted_by_utf_16_units() {
        let map = std::collections::BTreeMap::from([("\u{ff61}", 1), ("\u{1f600}", 2), ("a\n", 3), ("", 4)]);
        assert_eq!(canonical_text(&json!(map)), "{\"\":4,\"a\\n\":3,\"\u{1f600}\":2,\"\u{ff61}\":1}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_second_implementation_gives_the_same_bytes(value in any_json()) {
            // serde_jcs 0.2 sorts keys by UTF-8 bytes, RFC 8785 by UTF-16 units: they part beyond U+E000.
            prop_assume!(!value.to_string().chars().any(|character| character >= '\u{e000}'));
            prop_assert_eq!(canonical_bytes(&value).unwrap(), serde_jcs::to_vec(&value).unwrap());
        }

        #[test]
        fn what_comes_in_order_is_written_as_the_canonicalizer_does(value in any_json()) {
            prop_assert_eq!(canonical_bytes(&value).unwrap(), serde_json_canonicalizer::to_vec(&value).unwrap());
            let mut written = Vec::new();
            write_canonical(&value, &mut written).unwrap();
            prop_assert_eq!(digest_of(&value).unwrap(), Sha256Hex::of(&written));
            prop_assert_eq!(written, canonical_bytes(&value).unwrap());
        }

        #[test]
        fn canonical_bytes_read_back_as_the_same_value(value in any_json()) {
            let bytes = canonical_bytes(&value).unwrap();
            let again: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(canonical_bytes(&again).unwrap(), bytes);
        }
    }
}
