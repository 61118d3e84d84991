//! JSON as people and existing readers expect it on standard output and in plain files.
//!
//! Artifacts 1.1: compact or indented, members in declaration order or sorted, and always *HTML-safe*:
//! `<`, `>`, `&`, U+2028 and U+2029 are written as `\u003c` and so on. Numbers print as ECMAScript
//! prints the double. What is hashed or signed goes through [`crate::canonical`] instead.
//!
//! Also here: reading JSON text with the leniency about broken Unicode that existing readers have.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::weight::{self, Reading};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Why a value can't be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("can't be written as JSON")]
pub struct WriteError(#[from] serde_json::Error);

/// One line, members in declaration order, no line break at the end.
///
/// # Errors
/// [`WriteError`] where serialisation itself fails.
pub fn to_compact_html_safe<T: Serialize + ?Sized>(value: &T) -> Result<String, WriteError> {
    write(value, HtmlSafe(CompactFormatter))
}

/// The same, written to `out` instead of held in memory.
///
/// # Errors
/// [`WriteError`] where serialisation itself fails or `out` can't be written.
pub fn write_compact_html_safe<T: Serialize + ?Sized>(value: &T, out: &mut impl Write) -> Result<(), WriteError> {
    Ok(value.serialize(&mut Serializer::with_formatter(out, HtmlSafe(CompactFormatter)))?)
}

/// Indented by two spaces, members in declaration order, one line break at the end.
///
/// # Errors
/// [`WriteError`] where serialisation itself fails.
pub fn to_indented_html_safe<T: Serialize + ?Sized>(value: &T) -> Result<String, WriteError> {
    let mut text = write(value, HtmlSafe(PrettyFormatter::with_indent(b"  ")))?;
    text.push('\n');
    Ok(text)
}

/// The `--json` form of standard output: one line, members sorted by bytes at every level, with its
/// line break.
///
/// # Errors
/// [`WriteError`] where serialisation itself fails.
pub fn to_line_html_safe_sorted<T: Serialize + ?Sized>(value: &T) -> Result<String, WriteError> {
    let mut sorted = serde_json::to_value(value)?;
    sorted.sort_all_objects();
    let mut line = write(&sorted, HtmlSafe(CompactFormatter))?;
    line.push('\n');
    Ok(line)
}

/// The inside of `text` as an HTML-safe JSON string, without the quotes around it.
pub fn string_body_html_safe(text: &str) -> String {
    match to_compact_html_safe(text) {
        Ok(quoted) => quoted[1..quoted.len() - 1].to_owned(),
        // A string always serialises.
        Err(_) => String::new(),
    }
}

fn write<T: Serialize + ?Sized>(value: &T, formatter: impl Formatter) -> Result<String, WriteError> {
    let mut out = Vec::with_capacity(256);
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter))?;
    Ok(String::from_utf8(out).unwrap_or_default())
}

struct HtmlSafe<F>(F);

impl<F: Formatter> Formatter for HtmlSafe<F> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            let mut characters = tail.chars();
            let unsafe_code = characters.next().map_or(0, u32::from);
            write!(out, "{plain}\\u{unsafe_code:04x}")?;
            rest = characters.as_str();
        }
        out.write_all(rest.as_bytes())
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        let text = serde_json_canonicalizer::to_vec(&value).map_err(io::Error::other)?;
        out.write_all(&text)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

/// Reads one JSON value and nothing after it, with [`repair`] applied first.
///
/// # Errors
/// The parser's own, with line and column; and for text that would take too much memory ([`crate::weight`]).
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    read_as(bytes, Reading::Tree)
}

/// The same, for a type that is known to take less than a tree of values.
///
/// # Errors
/// As [`read`].
pub fn read_as<T: DeserializeOwned>(bytes: &[u8], reading: Reading) -> Result<T, serde_json::Error> {
    if weight::is_too_heavy(bytes, reading) {
        return Err(serde::de::Error::custom(format_args!(
            "would need more than {} MiB and {} times its {} bytes in memory",
            weight::BASE_BYTES >> 20,
            weight::FACTOR,
            bytes.len()
        )));
    }
    serde_json::from_str(&repair(bytes))
}

/// `bytes` as text that a strict JSON parser takes: invalid UTF-8 and escapes of lone surrogates become
/// U+FFFD, one for each bad byte or escape (control 2.1).
pub fn repair(bytes: &[u8]) -> Cow<'_, str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(replace_invalid(bytes)),
    };
    if !text.contains("\\u") {
        return text;
    }
    match replace_lone_surrogates(&text) {
        Some(repaired) => Cow::Owned(repaired),
        None => text,
    }
}

fn replace_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// The text with each escaped lone surrogate replaced, or nothing if there is none.
fn replace_lone_surrogates(text: &str) -> Option<String> {
    let mut repaired: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match escaped_unit(&text[at..]) {
            Some(0xD800..=0xDBFF) if matches!(escaped_unit(&text[at + 6..]), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                let out = repaired.get_or_insert_with(|| String::with_capacity(text.len()));
                out.push_str(&text[copied..at]);
                out.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            Some(_) => at += 6,
            // Another escape: step over the character after the backslash too.
            None => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    let mut out = repaired?;
    out.push_str(&text[copied..]);
    Some(out)
}

/// The code unit of a leading `\uXXXX`.
fn escaped_unit(text: &str) -> Option<u16> {
    let hex = text.strip_prefix("\\u")?.as_bytes().get(..4)?;
    hex.iter().try_fold(0, |unit: u16, &digit| Some(unit << 4 | u16::try_from(char::from(digit).to_digit(16)?).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize)]
    struct Declared {
        zebra: &'static str,
        apple: Vec<u8>,
        empty: serde_json::Map<String, Value>,
        ratio: f64,
    }

    fn declared() -> Declared {
        Declared { zebra: "<run_id|path> & \u{2028}", apple: vec![], empty: serde_json::Map::new(), ratio: 1e21 }
    }

    #[test]
    fn compact_keeps_the_declaration_order_and_is_html_safe() {
        let want = r#"{"zebra":"\u003crun_id|path\u003e \u0026 \u2028","apple":[],"empty":{},"ratio":1e+21}"#;
        assert_eq!(to_compact_html_safe(&declared()).unwrap(), want);
    }

    #[test]
    fn standard_output_is_sorted_at_every_level_and_ends_with_a_line_break() {
        let value = json!({"b": {"z": 1, "a": "<"}, "a": [{"d": 1, "c": 2}]});
        let want = "{\"a\":[{\"c\":2,\"d\":1}],\"b\":{\"a\":\"\\u003c\",\"z\":1}}\n";
        assert_eq!(to_line_html_safe_sorted(&value).unwrap(), want);
    }

    #[test]
    fn indented_prints_empty_containers_on_one_line() {
        let want = "{\n  \"zebra\": \"\\u003crun_id|path\\u003e \\u0026 \\u2028\",\n  \"apple\": [],\n  \"empty\": {},\n  \"ratio\": 1e+21\n}\n";
        assert_eq!(to_indented_html_safe(&declared()).unwrap(), want);
    }

    #[test]
    fn controls_are_escaped_and_delete_is_literal() {
        assert_eq!(
            to_compact_html_safe("\u{8}\u{c}\n\r\t\u{1f}\u{7f}\"\\").unwrap(),
            "\"\\b\\f\\n\\r\\t\\u001f\u{7f}\\\"\\\\\""
        );
    }

    #[test]
    fn numbers_print_as_ecmascript_does() {
        let numbers: Value = serde_json::from_str("[1e3,1.0,-0.0,1e-7,0.000001,5e-324]").unwrap();
        assert_eq!(to_compact_html_safe(&numbers).unwrap(), "[1000,1,0,1e-7,0.000001,5e-324]");
    }

    #[test]
    fn broken_unicode_is_read_as_replacement_characters() {
        let read_text = |bytes: &[u8]| read::<String>(bytes).unwrap();
        assert_eq!(read_text(b"\"a\xFF\xE2\x82z\""), "a\u{fffd}\u{fffd}\u{fffd}z");
        assert_eq!(read_text(br#""\ud800""#), "\u{fffd}");
        assert_eq!(read_text(br#""\udc00\ud83d\ude00\ud83dx""#), "\u{fffd}\u{1f600}\u{fffd}x");
        assert_eq!(read_text(br#""\\ud800""#), "\\ud800");
        assert_eq!(read_text(br#""\ud800\ud83d\ude00""#), "\u{fffd}\u{1f600}");
    }

    #[test]
    fn text_that_would_fill_the_memory_is_refused_unread() {
        let many = format!("[{}0]", "{\"\":0},".repeat(1_000_000));
        let error = read::<Value>(many.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("would need more than 64 MiB and 3 times its 7000003 bytes in memory"), "{error}");
        let long = format!("[\"{}\"]", "{[,".repeat(1_000_000));
        assert!(read::<Value>(long.as_bytes()).is_ok());
    }

    #[test]
    fn more_than_one_value_or_none_is_an_error() {
        for text in ["", "{} x", "{}{}", "\u{feff}{}"] {
            assert!(read::<Value>(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
