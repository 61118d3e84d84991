//! The string helpers that normalisation is written in (control 2.3), and text that is safe to show.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::name::escaped_byte;

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

/// Whether `character` acts on a display instead of being seen: controls, marks that turn the direction of text, what
/// takes no room, separators of lines and paragraphs.
///
/// Beyond `char::is_control`: the code points that Unicode's `Default_Ignorable_Code_Point` and `Bidi_Control` list,
/// but variation selectors, which only choose between two forms of the character before them.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
                | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Text that can't play tricks on who reads it: controls, and bytes that were none of Unicode's
/// ([`crate::name`]), as `\xNN` (contract guarded-run 2.1), what else is hidden as `\u{..}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| is_hidden(character) || escaped_byte(character).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        // Writing to a string can't fail.
        let _ = match escaped_byte(character) {
            Some(byte) => write!(shown, "\\x{byte:02X}"),
            None if character.is_control() => write!(shown, "\\x{:02X}", u32::from(character)),
            None if is_hidden(character) => write!(shown, "\\u{{{:x}}}", u32::from(character)),
            None => shown.write_char(character),
        };
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_play_tricks_on_who_reads_it() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}1m"), "a\\x1B[2Jb\\x0Ac\\x9B1m");
        assert_eq!(printable("caf\u{10fee9}.txt"), "caf\\xE9.txt");
        assert_eq!(printable("x\u{202e}y\u{200b}\u{2028}\u{e0041}"), "x\\u{202e}y\\u{200b}\\u{2028}\\u{e0041}");
        assert_eq!(printable("/home/\u{fc} \u{65e5}"), "/home/\u{fc} \u{65e5}");
    }

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
