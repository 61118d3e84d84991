//! Paths without what only their spelling adds.

use std::borrow::Cow;

/// A path without what only its spelling adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanPath<'a> {
    /// No empty segments, no `.`, no `..`, no trailing `/` except for the root itself.
    pub path: Cow<'a, str>,
    /// Whether `..` led above where the path starts.
    pub escapes: Escapes,
}

/// Whether a path leaves the place it starts from by `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escapes {
    /// It stays below.
    No,
    /// It goes above the root, or above where a relative path starts: nobody can tell what it names.
    Yes,
}

/// Resolves empty segments, `.` and `..` of `path` by their spelling, as `path.Clean` of Go does.
///
/// Patterns are matched against this copy (control 16, item 2); digests keep what was written.
pub fn clean(path: &str) -> CleanPath<'_> {
    if is_clean(path) {
        return CleanPath { path: Cow::Borrowed(path), escapes: Escapes::No };
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut escapes = Escapes::No;
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." if kept.pop().is_none() => escapes = Escapes::Yes,
            ".." => {}
            _ => kept.push(segment),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    CleanPath { path: Cow::Owned(format!("{root}{}", kept.join("/"))), escapes }
}

pub(super) fn is_clean(path: &str) -> bool {
    let relative = path.strip_prefix('/').unwrap_or(path);
    relative.is_empty() || relative.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Drops empty and `.` segments of a pattern, which no clean path has. `..` stays and matches nothing.
pub(super) fn clean_pattern(text: &str) -> Cow<'_, str> {
    if is_clean(text) || text.contains(['[', '\\']) {
        return Cow::Borrowed(text);
    }
    let kept: Vec<&str> = text.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    let root = if text.starts_with('/') { "/" } else { "" };
    Cow::Owned(format!("{root}{}", kept.join("/")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_spelling() {
        for (path, cleaned, escapes) in [
            ("/tmp/../etc/passwd", "/etc/passwd", Escapes::No),
            ("//tmp///a/./b/", "/tmp/a/b", Escapes::No),
            ("/", "/", Escapes::No),
            ("/../etc", "/etc", Escapes::Yes),
            ("a/../../b", "b", Escapes::Yes),
            ("./a", "a", Escapes::No),
            ("/a/...", "/a/...", Escapes::No),
        ] {
            assert_eq!(clean(path), CleanPath { path: cleaned.into(), escapes }, "{path}");
        }
    }

    proptest! {
        #[test]
        fn cleaning_is_done_once(path in "[a./]{0,12}") {
            let once = clean(&path);
            let twice = clean(&once.path);
            prop_assert_eq!(&twice.path, &once.path);
            prop_assert_eq!(twice.escapes, Escapes::No);
        }
    }
}
