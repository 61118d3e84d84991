//! Canonical JSON put together from pieces that are canonical already, and taken apart into them.
//!
//! A run makes, checks and derives a record per distinct action; going through a tree of values for each costs more than
//! the hash. What is written here has the bytes that [`crate::canonical`] gives: tests hold one against the other.

/// JSON numbers beyond this lose digits (contract guarded-run 3.1: `t` is below 2^53).
pub(crate) const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Appends `text` as a canonical string.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for piece in text.as_bytes().split_inclusive(|byte| needs_escape(*byte)) {
        match piece.split_last() {
            Some((last, plain)) if needs_escape(*last) => {
                out.extend_from_slice(plain);
                push_escape(out, *last);
            }
            _ => out.extend_from_slice(piece),
        }
    }
    out.push(b'"');
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend([b'\\', short]);
}

/// Appends an integer. Canonical up to [`MAX_INTEGER`].
pub(crate) fn push_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A canonical integer at the start of `text` (no sign, no leading zero, at most [`MAX_INTEGER`]), and what follows.
pub(crate) fn take_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 || len > 16 || (len > 1 && text[0] == b'0') {
        return None;
    }
    let n = text[..len].iter().fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
    (n <= MAX_INTEGER).then(|| (n, &text[len..]))
}

/// A string without escapes at the start of `text`, without its quotes, and what follows. Such a string is canonical.
pub(crate) fn take_plain_text(text: &[u8]) -> Option<(&str, &[u8])> {
    let inside = text.strip_prefix(b"\"")?;
    let len = inside.iter().position(|byte| needs_escape(*byte))?;
    let (plain, rest) = inside.split_at(len);
    Some((str::from_utf8(plain).ok()?, rest.strip_prefix(b"\"")?))
}

/// Length of the JSON value at the start of `text`, which must be valid JSON without white space.
pub(crate) fn value_length(text: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0usize, 0);
    loop {
        match *text.get(at)? {
            b'"' => {
                at += 1;
                while *text.get(at)? != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 && matches!(text.get(at), None | Some(b',' | b'}' | b']')) {
            return Some(at);
        }
    }
}

/// The value of member `name` of the canonical object `object`, as it stands. `name` must need no escape.
pub(crate) fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = object.strip_prefix(b"{")?;
    loop {
        let key = value_length_of_key(rest)?;
        let value = rest.get(key + 1..)?;
        let length = value_length(value)?;
        if &rest[1..key - 1] == name.as_bytes() {
            return Some(&value[..length]);
        }
        rest = value[length..].strip_prefix(b",")?;
    }
}

/// Length of the quoted key that `text` starts with.
fn value_length_of_key(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    text.strip_prefix(b"\"")?;
    while *text.get(at)? != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    Some(at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::canonical::canonical_bytes;

    proptest! {
        #[test]
        fn a_pushed_text_is_the_canonical_one(text in any::<String>()) {
            let mut out = Vec::new();
            push_text(&mut out, &text);
            prop_assert_eq!(out, canonical_bytes(&text).unwrap());
        }

        #[test]
        fn numbers_read_back_and_are_canonical(n in 0..=MAX_INTEGER) {
            let mut out = Vec::new();
            push_number(&mut out, n);
            prop_assert_eq!(&out, &canonical_bytes(&n).unwrap());
            out.extend_from_slice(b",1");
            prop_assert_eq!(take_number(&out), Some((n, &b",1"[..])));
        }

        #[test]
        fn a_plain_text_is_taken_as_it_stands(text in any::<String>()) {
            let canonical = canonical_bytes(&text).unwrap();
            match take_plain_text(&canonical) {
                Some((plain, rest)) => prop_assert_eq!((plain, rest), (&*text, &b""[..])),
                None => prop_assert!(canonical.contains(&b'\\')),
            }
        }

        #[test]
        fn a_member_is_found_wherever_it_stands(
            texts in prop::collection::vec(any::<String>(), 3),
            keys in prop::collection::btree_set(any::<String>(), 0..4),
        ) {
            let mut object = json!({"args": {"k,\"args\":{}": [texts[0], {"args": texts[1]}], "n": 1.5}, "tool": texts[2]});
            for key in keys {
                object[&key] = json!([key, {}, [], null, true]);
            }
            let canonical = canonical_bytes(&object).unwrap();
            for (key, value) in object.as_object().unwrap() {
                if canonical_bytes(key).unwrap().len() == key.len() + 2 {
                    prop_assert_eq!(member(&canonical, key).map(<[u8]>::to_vec), Some(canonical_bytes(value).unwrap()));
                }
            }
            let absent: Option<&Value> = object.get("not there");
            prop_assert_eq!(member(&canonical, "not there").is_some(), absent.is_some());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (member(&bytes, "a"), take_number(&bytes), take_plain_text(&bytes));
            let object = [b"{\"a\":", &*bytes].concat();
            let _ = member(&object, "a");
        }
    }

    #[test]
    fn other_spellings_of_numbers_are_not_taken() {
        for text in ["01", "", "-1", "9007199254740992", "x"] {
            assert_eq!(take_number(text.as_bytes()), None, "{text}");
        }
    }
}
