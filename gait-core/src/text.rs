//! The string helpers that normalisation is written in (control 2.3).

use std::borrow::Cow;

/// Lower case code point by code point, as existing implementations have it: `U+0130` becomes `i`, and
/// a final sigma is a sigma like any other. Digests depend on it, so `str::to_lowercase` won't do.
pub fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    if text.chars().all(|character| lower_char(character) == character) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(lower_char).collect())
}

fn lower_char(character: char) -> char {
    let mut mapped = character.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        // U+0130 is the only one whose full mapping is longer than its simple one.
        (Some(first), Some(_)) => first,
        (None, _) => character,
    }
}

/// [`lower`] of `text` without the white space around it.
pub fn lower_trimmed(text: &str) -> Cow<'_, str> {
    lower(text.trim())
}

/// *set*: each trimmed, empty ones dropped, unique, sorted by bytes.
pub fn set<T: AsRef<str>>(list: impl IntoIterator<Item = T>) -> Vec<String> {
    sorted(list.into_iter().map(|text| text.as_ref().trim().to_owned()))
}

/// *lset*: [`set`] of the lower-cased.
pub fn lower_set<T: AsRef<str>>(list: impl IntoIterator<Item = T>) -> Vec<String> {
    sorted(list.into_iter().map(|text| lower_trimmed(text.as_ref()).into_owned()))
}

fn sorted(list: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = list.filter(|text| !text.is_empty()).collect();
    kept.sort_unstable();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_is_simple_not_full() {
        // Control 2.3 names both.
        assert_eq!(lower("\u{130}STANBUL"), "istanbul");
        assert_eq!(lower("ΟΔΟΣ"), "οδοσ");
        assert_eq!(lower("Straße ǅ"), "straße ǆ");
    }

    #[test]
    fn trimming_takes_unicode_white_space_but_no_zero_width_characters() {
        assert_eq!(lower_trimmed("\u{a0}\u{3000}A\u{85}\n"), "a");
        assert_eq!(lower_trimmed("\u{200b}A\u{feff}"), "\u{200b}a\u{feff}");
    }

    #[test]
    fn sets_are_sorted_by_bytes_and_unique() {
        assert_eq!(set([" b", "B", "", "a ", "b", " "]), ["B", "a", "b"]);
        assert_eq!(lower_set([" b", "B", "é", "z"]), ["b", "z", "é"]);
    }
}
