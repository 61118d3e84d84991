//! Patterns of paths.

use std::sync::{Arc, OnceLock};

use super::clean::{clean_pattern, is_clean};
use super::glob::{Stars, dialect_of, literal_chars, literal_tokens, parse_glob};
use super::program::Program;
use super::{Dialect, Token, Validity};

/// A pattern of `path_allowlist` or `path_denylist`. Copies share what was read.
///
/// A policy has hundreds, of which a run asks few, and most of those are a path with or without `/**`: the others are read when
/// they are first asked.
#[derive(Clone, Debug)]
pub struct PathPattern(Arc<PathText>);

#[derive(Debug)]
struct PathText {
    text: String,
    form: Form,
    read: OnceLock<ReadPath>,
}

/// What the text of a pattern tells without being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A clean path: matches itself.
    Path,
    /// A clean path and `/**`: matches the path, which has so many bytes, and what is below.
    Below(usize),
    /// It has to be read.
    Other,
}

#[derive(Debug)]
struct ReadPath {
    validity: Validity,
    dialect: Dialect,
    alternatives: Vec<Vec<Token>>,
    programs: Vec<Program>,
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for PathPattern {}

impl PathPattern {
    /// A pattern from its text, trimmed. Every text is one; see [`PathPattern::validity`].
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        Self(Arc::new(PathText { text: text.to_owned(), form: Form::of(text), read: OnceLock::new() }))
    }

    /// The pattern as written in the policy.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether it is a valid glob.
    pub fn validity(&self) -> Validity {
        if self.0.form == Form::Other { self.read().validity } else { Validity::Glob }
    }

    /// Whether existing evaluators read it the same way.
    pub fn dialect(&self) -> Dialect {
        if self.0.form == Form::Other { self.read().dialect } else { Dialect::Contract }
    }

    /// What it means: a clean path matches if it matches one of these token sequences as a whole.
    pub fn alternatives(&self) -> &[Vec<Token>] {
        &self.read().alternatives
    }

    /// Whether the clean path `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        let text = self.text();
        match self.0.form {
            Form::Path => path == text,
            Form::Below(length) => {
                path.strip_prefix(&text[..length]).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Form::Other => self.read().programs.iter().any(|program| program.matches(path)),
        }
    }

    fn read(&self) -> &ReadPath {
        self.0.read.get_or_init(|| ReadPath::of(&self.0.text))
    }
}

impl Form {
    fn of(text: &str) -> Self {
        let path = text.strip_suffix("/**");
        if path.unwrap_or(text).contains(['*', '?', '[', '\\']) || !is_clean(text) {
            return Self::Other;
        }
        path.map_or(Self::Path, |path| Self::Below(path.len()))
    }
}

impl ReadPath {
    fn of(text: &str) -> Self {
        let cleaned = clean_pattern(text);
        let glob = parse_glob(&cleaned, Stars::Trees);
        let validity = if glob.is_some() { Validity::Glob } else { Validity::Malformed };
        let tokens = glob.unwrap_or_else(|| literal_tokens(&cleaned));
        let dialect = dialect_of(&tokens);
        let mut programs = vec![Program::new(&tokens)];
        let mut alternatives = vec![tokens];
        // The contract's first rule: a path equal to the pattern's text matches it.
        if !programs[0].matches(&cleaned) {
            let written = literal_chars(&cleaned);
            programs.push(Program::new(&written));
            alternatives.push(written);
        }
        Self { validity, dialect, alternatives, programs }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{clean, escape_glob};
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let pattern = PathPattern::parse(pattern);
        for path in matching {
            assert!(pattern.matches(path), "{pattern:?} should match {path:?}");
        }
        for path in others {
            assert!(!pattern.matches(path), "{pattern:?} should not match {path:?}");
        }
    }

    #[test]
    fn a_trailing_double_star_matches_its_prefix_and_all_below() {
        check("/tmp/**", &["/tmp", "/tmp/", "/tmp/a/b"], &["/tmpx", "/", "/var/tmp", "tmp"]);
        check("/**", &["/", "/a/b"], &["a"]);
        assert_eq!(PathPattern::parse("/tmp/**").dialect(), Dialect::Contract);
    }

    proptest! {
        #[test]
        fn what_is_known_without_reading_is_what_reading_gives(
            text in "[ab./]{0,6}(/[*][*]|[*]|[?]|\\[a\\]|\\[|/[*]|[*][*]/|\\\\a)?[ab/]{0,2}",
            path in "/{0,1}[ab]{0,2}(/[ab.]{1,2}){0,2}",
        ) {
            let (pattern, read) = (PathPattern::parse(&text), ReadPath::of(text.trim()));
            prop_assert_eq!(pattern.validity(), read.validity);
            prop_assert_eq!(pattern.dialect(), read.dialect);
            for path in [path.as_str(), text.as_str(), text.trim_end_matches("/**")] {
                let path = clean(path).path;
                prop_assert_eq!(pattern.matches(&path), read.programs.iter().any(|p| p.matches(&path)), "{}", path);
            }
        }
    }

    #[test]
    fn single_stars_and_question_marks_stop_at_slashes() {
        check("/srv/data/*", &["/srv/data/x", "/srv/data/.x"], &["/srv/data", "/srv/data/x/y"]);
        check("/a?c", &["/abc", "/aéc", "/a\u{10FEE9}c"], &["/a/c", "/ac", "/abbc"]);
        check("*.pem", &["a.pem", ".pem"], &["/a.pem", "x/a.pem"]);
        check("/**.pem", &["/a.pem"], &["/x/a.pem"]);
        check("/a*b*c", &["/abc", "/axbxbxc"], &["/ab", "/a/bc"]);
    }

    #[test]
    fn classes_and_escapes_are_those_of_path_match() {
        check("/[a-c]x", &["/ax", "/cx"], &["/dx", "/x", "/[a-c]y"]);
        check("/[^a]x", &["/bx", "//x"], &["/ax"]);
        check("/[]a]x", &["/[]a]x"], &["/ax"]);
        check("/[a\\]]x", &["/ax", "/]x"], &["/\\x"]);
        check("/\\*x", &["/*x", "/\\*x"], &["/ax"]);
        check("/[c-a]", &["/[c-a]"], &["/b"]);
        // The table of Go's own test suite, `path/match_test.go`.
        for (pattern, path, want) in [
            ("abc", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[^b-d]", "abc", false),
            ("a\\*b", "ab", false),
            ("a???b", "a☺b", false),
            ("a[^a][^a][^a]b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[]a]", "]", false),
            ("[-]", "-", false),
            ("[x-]", "x", false),
            ("[-x]", "x", false),
            ("\\", "a", false),
            ("[a-b-c]", "a", false),
            ("[", "a", false),
            ("a[", "ab", false),
            ("*x", "xxx", true),
        ] {
            assert_eq!(PathPattern::parse(pattern).matches(path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn a_malformed_pattern_matches_only_itself() {
        check("/a[", &["/a["], &["/a", "/a[/x", "/ab"]);
        check("/a[/**", &["/a[", "/a[/x"], &["/a", "/ab"]);
        assert_eq!(PathPattern::parse("/a[").validity(), Validity::Malformed);
        assert_eq!(PathPattern::parse("/a\\").validity(), Validity::Malformed);
    }

    #[test]
    fn a_double_star_segment_matches_any_depth() {
        check("**/.env", &[".env", "/.env", "/a/.env", "/a/b/.env"], &["/a/x.env", "/a/.env/b", "/.envx"]);
        check("/a/**/b", &["/a/b", "/a/x/b", "/a/x/y/b"], &["/ab", "/a/xb", "/a/b/c", "/x/a/b"]);
        check("**/.ssh/**", &["/root/.ssh", "/root/.ssh/id", ".ssh/x"], &["/root/.sshx", "/root/x.ssh"]);
        check("/home/*/.aws/**", &["/home/a/.aws", "/home/a/.aws/x/y"], &["/home/.aws", "/home/a/b/.aws/x"]);
        check("**", &["/", "/a/b", "x", ""], &[]);
        check("a/**/**/b/**/**", &["a/b", "a/x/b/y/z"], &["a/x"]);
        check("**/**", &["/a", ""], &[]);
        check("/x/**/*.pem", &["/x/a.pem", "/x/y/a.pem"], &["/x/a.pem/b"]);
    }

    #[test]
    fn only_what_go_would_read_otherwise_is_the_double_star_dialect() {
        for contract in ["/tmp/**", "/a/*", "/a**b", "/a[bc]/x", "/a[/**"] {
            assert_eq!(PathPattern::parse(contract).dialect(), Dialect::Contract, "{contract}");
        }
        for extended in ["**", "**/x", "/a/**/b", "/a/*/**", "/a\\[1]/**/x", "/a/**/*"] {
            assert_eq!(PathPattern::parse(extended).dialect(), Dialect::DoubleStar, "{extended}");
        }
    }

    #[test]
    fn a_pattern_is_cleaned_too() {
        check("/tmp/", &["/tmp"], &["/tmp/a"]);
        check("/srv//data/./*", &["/srv/data/x"], &[]);
    }

    proptest! {
        #[test]
        fn an_escaped_text_matches_itself_and_nothing_else(text in "[a*?\\[\\]\\\\^-]{1,8}", other in "[a*?\\[\\]\\\\^-]{1,8}") {
            let escaped = escape_glob(&text);
            let pattern = PathPattern::parse(&escaped);
            prop_assert!(pattern.matches(&text));
            prop_assert_eq!(pattern.matches(&other), other == text || other == escaped);
        }
    }
}
