//! Kernel names are bytes, intents are Unicode: the total, injective map between the two.
//!
//! Guarded-run 2.1. One unit of a name is one character of its text, so that `*` and `?` of a path
//! pattern mean the same on both sides. Nearly all names map to themselves.

use std::str;

/// Why a text is not the name of any bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the text of any kernel name")]
pub struct NameError {
    text: String,
}

/// First of the 256 private-use characters that stand for one raw byte each.
const ESCAPE_BASE: u32 = 0x10_FE00;
/// Last of them.
const ESCAPE_LAST: u32 = 0x10_FEFF;

/// Whether `character` stands for one raw byte.
pub const fn is_escape(character: char) -> bool {
    let code = character as u32;
    ESCAPE_BASE <= code && code <= ESCAPE_LAST
}

/// The character that stands for the raw byte `byte`.
pub const fn escape(byte: u8) -> char {
    match char::from_u32(ESCAPE_BASE + byte as u32) {
        Some(character) => character,
        None => char::REPLACEMENT_CHARACTER,
    }
}

/// The raw byte that `character` stands for, if it is an escape.
pub const fn escaped_byte(character: char) -> Option<u8> {
    if is_escape(character) { Some((character as u32 - ESCAPE_BASE) as u8) } else { None }
}

/// The text of the kernel name `bytes`. Never fails, and no two names share a text.
pub fn name(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if is_plain(text) => text.to_owned(),
        _ => escape_name(bytes),
    }
}

/// Whether `text` maps to itself.
fn is_plain(text: &str) -> bool {
    let edge = |character: Option<char>| character.is_some_and(char::is_whitespace);
    !edge(text.chars().next())
        && !edge(text.chars().next_back())
        // Escapes start with byte F4: names without it and without NUL need no closer look.
        && (!text.bytes().any(|byte| byte == 0 || byte == 0xF4)
            || !text.chars().any(|character| character == '\0' || is_escape(character)))
}

fn escape_name(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\0' || is_escape(character) {
                push_escaped(&mut text, character);
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(escape));
    }
    escape_edges(&text)
}

/// Escapes white space at both ends, which readers of intents would trim away.
fn escape_edges(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    if let Some(first) = text.chars().next().filter(|character| character.is_whitespace()) {
        push_escaped(&mut out, first);
        rest = &text[first.len_utf8()..];
    }
    match rest.chars().next_back().filter(|character| character.is_whitespace()) {
        Some(last) => {
            out.push_str(&rest[..rest.len() - last.len_utf8()]);
            push_escaped(&mut out, last);
        }
        None => out.push_str(rest),
    }
    out
}

fn push_escaped(text: &mut String, character: char) {
    let mut buffer = [0; 4];
    text.extend(character.encode_utf8(&mut buffer).bytes().map(escape));
}

/// The bytes whose text is `text`: the inverse of [`name`].
///
/// # Errors
/// [`NameError`] if [`name`] gives this text for no bytes, for instance ` x` with its bare space.
pub fn unname(text: &str) -> Result<Vec<u8>, NameError> {
    let bytes = raw_bytes(text);
    if name(&bytes) == text { Ok(bytes) } else { Err(NameError { text: text.to_owned() }) }
}

/// The bytes that `text` spells, escapes read as raw bytes, without asking whether [`name`] would
/// give this text. For pieces of names: a piece may begin or end with white space.
pub fn raw_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for character in text.chars() {
        match escaped_byte(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_contract_hold() {
        assert_eq!(name(b"caf\xE9.txt"), "caf\u{10FEE9}.txt");
        assert_eq!(name(b".env "), ".env\u{10FE20}");
        assert_eq!(name("naïve.txt".as_bytes()), "naïve.txt");
    }

    #[test]
    fn white_space_is_escaped_at_the_edges_only() {
        assert_eq!(name(b" a b "), "\u{10FE20}a b\u{10FE20}");
        assert_eq!(name(b"  a"), "\u{10FE20} a");
        assert_eq!(name(b" "), "\u{10FE20}");
        assert_eq!(name("\u{2003}x".as_bytes()), "\u{10FEE2}\u{10FE80}\u{10FE83}x");
        assert_eq!(name(b""), "");
    }

    #[test]
    fn nul_and_the_escapes_themselves_are_escaped() {
        assert_eq!(name(b"a\0b"), "a\u{10FE00}b");
        assert_eq!(name("\u{10FE41}".as_bytes()), "\u{10FEF4}\u{10FE8F}\u{10FEB9}\u{10FE81}");
        assert_eq!(name("\u{10FF41}".as_bytes()), "\u{10FF41}");
    }

    #[test]
    fn surrogates_and_overlong_forms_are_bytes_not_characters() {
        assert_eq!(name(b"\xED\xA0\x80"), "\u{10FEED}\u{10FEA0}\u{10FE80}");
        assert_eq!(name(b"\xC0\xAF"), "\u{10FEC0}\u{10FEAF}");
    }

    #[test]
    fn texts_that_no_name_has_are_refused() {
        for text in [" x", "x\n", "a\0", "\u{10FE41}", "\u{10FEC3}\u{10FEA9}"] {
            assert!(unname(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_reads_back_as_its_bytes(bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(b' '), Just(0xF4), Just(0x8F), Just(0xB8), Just(0x80), Just(0)], 0..24)) {
            prop_assert_eq!(unname(&name(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn a_text_that_reads_back_is_the_name_of_its_bytes(text in any::<String>()) {
            if let Ok(bytes) = unname(&text) {
                prop_assert_eq!(name(&bytes), text);
            }
        }

        #[test]
        fn a_name_has_nothing_to_trim(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            let text = name(&bytes);
            prop_assert_eq!(text.trim(), text.as_str());
        }
    }
}
