//! Path and domain patterns of `endpoint` constraints (control 6, "Path patterns").
//!
//! A path pattern is matched against the whole of a *clean* path ([`clean`]). Its meaning is that of
//! Go's `path.Match`, of a trailing `/**`, and of `**` as a whole segment anywhere. A pattern that is
//! no valid glob matches the string that it is and nothing else.
//!
//! [`Token`] is the one definition of what a pattern means: the matcher here walks tokens, and the
//! policy compiler turns the same tokens into an automaton.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// One piece of a pattern; a path matches if the pieces match its parts in order, with nothing left over.
///
/// The unit is the character. In names that come from the kernel one private-use character stands for
/// one raw byte ([`crate::name`]), so it counts as one unit too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// This character.
    Char(char),
    /// `?`: one character that is not `/`.
    AnyChar,
    /// `*`: any run without `/`, the empty one too.
    AnyRun,
    /// `[a-c]` or `[^a-c]`: one character in or outside of the inclusive ranges. As in `path.Match`,
    /// that may be `/`.
    Class {
        /// Whether the ranges are what must not match.
        negated: bool,
        /// Inclusive ranges; one where the first is greater than the last holds nothing.
        ranges: Vec<(char, char)>,
    },
    /// `**` as a whole segment.
    Tree(Tree),
}

/// Where a `**` segment stands, with the separators that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// `**/` at the start: nothing, or anything that ends in `/`.
    Leading,
    /// `/**/`: `/`, or anything that starts and ends with `/` and is longer.
    Middle,
    /// `/**` at the end: nothing, or anything that starts with `/`.
    Trailing,
    /// `**` alone: anything.
    Whole,
}

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

/// Whether a pattern is a valid glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is.
    Glob,
    /// It is not: it matches only the string that it is (and below it, with a trailing `/**`).
    Malformed,
}

/// Whether existing evaluators read a pattern the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The contract's.
    Contract,
    /// It has `**` as a segment elsewhere than at the end, or after a prefix with wildcards.
    DoubleStar,
}

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

/// A pattern of `domain_allowlist` or `domain_denylist`: lower case, `*` for any run of characters. Copies share what was read,
/// when it was first asked.
#[derive(Clone, Debug)]
pub struct DomainPattern(Arc<DomainText>);

#[derive(Debug)]
struct DomainText {
    text: String,
    program: OnceLock<Option<Program>>,
}

impl PartialEq for DomainPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for DomainPattern {}

impl DomainPattern {
    /// A pattern from its text, which the policy has lower-cased. Every text is one.
    pub fn parse(text: &str) -> Self {
        Self(Arc::new(DomainText { text: text.to_owned(), program: OnceLock::new() }))
    }

    /// The pattern as normalised in the policy.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether it is a valid glob.
    pub fn validity(&self) -> Validity {
        if self.program().is_some() { Validity::Glob } else { Validity::Malformed }
    }

    /// What it means: a domain matches if it matches one of these token sequences as a whole.
    pub fn alternatives(&self) -> Vec<Vec<Token>> {
        std::iter::once(literal_chars(self.text())).chain(parse_glob(self.text(), Stars::Runs)).collect()
    }

    /// Whether the lower-case domain `domain` matches. `*.example.com` matches any depth of sub-domain,
    /// but not `example.com` itself.
    pub fn matches(&self, domain: &str) -> bool {
        self.text() == domain || self.program().is_some_and(|program| program.matches(domain))
    }

    fn program(&self) -> Option<&Program> {
        let read = || parse_glob(self.text(), Stars::Runs).map(|tokens| Program::new(&tokens));
        self.0.program.get_or_init(read).as_ref()
    }
}

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

fn is_clean(path: &str) -> bool {
    let relative = path.strip_prefix('/').unwrap_or(path);
    relative.is_empty() || relative.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Drops empty and `.` segments of a pattern, which no clean path has. `..` stays and matches nothing.
fn clean_pattern(text: &str) -> Cow<'_, str> {
    if is_clean(text) || text.contains(['[', '\\']) {
        return Cow::Borrowed(text);
    }
    let kept: Vec<&str> = text.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
    let root = if text.starts_with('/') { "/" } else { "" };
    Cow::Owned(format!("{root}{}", kept.join("/")))
}

/// `text` with a backslash before each character that a pattern would not take as itself.
pub fn escape_glob(text: &str) -> Cow<'_, str> {
    const SPECIAL: [char; 4] = ['*', '?', '[', '\\'];
    if !text.contains(SPECIAL) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if SPECIAL.contains(&character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    Cow::Owned(escaped)
}

/// How `**` is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stars {
    /// As a tree where it is a whole segment.
    Trees,
    /// As `*` everywhere.
    Runs,
}

fn parse_glob(text: &str, stars: Stars) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut at_segment_start = true;
    while !rest.is_empty() {
        if stars == Stars::Trees
            && at_segment_start
            && let Some(after) = tree_segment(rest)
        {
            push_tree(&mut tokens, after.is_empty());
            rest = after;
            continue;
        }
        let (token, after) = next_token(rest)?;
        at_segment_start = token == Token::Char('/') && !rest.starts_with('\\');
        if token != Token::AnyRun || tokens.last() != Some(&Token::AnyRun) {
            tokens.push(token);
        }
        rest = after;
    }
    Some(tokens)
}

/// What follows the `**` segment that `rest` starts with, and the separator after it.
fn tree_segment(rest: &str) -> Option<&str> {
    let after = rest.strip_prefix("**")?;
    if after.is_empty() { Some(after) } else { after.strip_prefix('/') }
}

/// Adds a `**` segment; the separator before it, if any, is part of it. Neighbouring ones are one.
fn push_tree(tokens: &mut Vec<Token>, is_last: bool) {
    let tree = match (tokens.last(), is_last) {
        (None, false) => Tree::Leading,
        (None, true) => Tree::Whole,
        (Some(Token::Tree(Tree::Leading)), true) => {
            tokens.pop();
            Tree::Whole
        }
        (Some(Token::Tree(Tree::Middle)), true) => {
            tokens.pop();
            Tree::Trailing
        }
        (Some(Token::Tree(_)), false) => return,
        // A segment starts after a separator, which this tree takes in.
        (Some(_), _) => {
            tokens.pop();
            if is_last { Tree::Trailing } else { Tree::Middle }
        }
    };
    tokens.push(Token::Tree(tree));
}

fn next_token(rest: &str) -> Option<(Token, &str)> {
    let mut characters = rest.chars();
    let first = characters.next()?;
    let after = characters.as_str();
    match first {
        '*' => Some((Token::AnyRun, after)),
        '?' => Some((Token::AnyChar, after)),
        '[' => parse_class(after),
        '\\' => {
            let escaped = characters.next()?;
            Some((Token::Char(escaped), characters.as_str()))
        }
        _ => Some((Token::Char(first), after)),
    }
}

/// Reads a class after its `[`, by the rules of Go's `path.Match`.
fn parse_class(text: &str) -> Option<(Token, &str)> {
    let (negated, mut rest) = match text.strip_prefix('^') {
        Some(after) => (true, after),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty()
            && let Some(after) = rest.strip_prefix(']')
        {
            return Some((Token::Class { negated, ranges }, after));
        }
        let (low, after) = class_member(rest)?;
        let (high, after) = match after.strip_prefix('-') {
            Some(range_end) => class_member(range_end)?,
            None => (low, after),
        };
        ranges.push((low, high));
        rest = after;
    }
}

fn class_member(text: &str) -> Option<(char, &str)> {
    let mut characters = text.chars();
    let member = match characters.next()? {
        '-' | ']' => return None,
        '\\' => characters.next()?,
        plain => plain,
    };
    let rest = characters.as_str();
    (!rest.is_empty()).then_some((member, rest))
}

fn literal_chars(text: &str) -> Vec<Token> {
    text.chars().map(Token::Char).collect()
}

/// A malformed pattern: the string itself, and what is below it if it ends in `/**`.
fn literal_tokens(text: &str) -> Vec<Token> {
    match text.strip_suffix("/**") {
        Some(prefix) => {
            let mut tokens = literal_chars(prefix);
            tokens.push(Token::Tree(Tree::Trailing));
            tokens
        }
        None => literal_chars(text),
    }
}

fn dialect_of(tokens: &[Token]) -> Dialect {
    let is_plain = |token: &Token| matches!(token, Token::Char(_));
    let trees = tokens.iter().filter(|token| matches!(token, Token::Tree(_))).count();
    let contract = match tokens.split_last() {
        Some((Token::Tree(Tree::Trailing), prefix)) => prefix.iter().all(is_plain),
        _ => trees == 0,
    };
    if contract { Dialect::Contract } else { Dialect::DoubleStar }
}

/// A pattern ready to be run over a path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    /// What every match starts with.
    prefix: String,
    steps: Vec<Step>,
    /// What is somewhere in every match, after the prefix: to look for it is cheaper than to run the steps, and most paths
    /// don't have it.
    needle: String,
}

/// One state of a non-deterministic automaton. Every jump without input goes forward, so one pass over
/// the states in order closes a set of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    One(Token),
    /// Any run of characters but `/`.
    Run,
    /// Any run of characters.
    All,
    /// The next so many steps may be left out.
    Optional(usize),
}

impl Program {
    fn new(tokens: &[Token]) -> Self {
        let literal = tokens.iter().take_while(|token| matches!(token, Token::Char(_))).count();
        let (literal, rest) = tokens.split_at(literal);
        let prefix = literal.iter().filter_map(|token| if let Token::Char(c) = token { Some(*c) } else { None });
        let mut steps = Vec::with_capacity(rest.len() + 4);
        let slash = || Step::One(Token::Char('/'));
        for token in rest {
            match token {
                Token::AnyRun => steps.push(Step::Run),
                Token::Tree(Tree::Leading) => steps.extend([Step::Optional(2), Step::All, slash()]),
                Token::Tree(Tree::Middle) => steps.extend([slash(), Step::Optional(2), Step::All, slash()]),
                Token::Tree(Tree::Trailing) => steps.extend([Step::Optional(2), slash(), Step::All]),
                Token::Tree(Tree::Whole) => steps.push(Step::All),
                Token::Char(_) | Token::AnyChar | Token::Class { .. } => steps.push(Step::One(token.clone())),
            }
        }
        Self { prefix: prefix.collect(), needle: needle(&steps), steps }
    }

    fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(self.prefix.as_str()) else { return false };
        match self.steps.as_slice() {
            [] => rest.is_empty(),
            [Step::Optional(2), Step::One(Token::Char('/')), Step::All] => rest.is_empty() || rest.starts_with('/'),
            steps => rest.contains(&self.needle) && run(steps, rest),
        }
    }
}

/// The longest run of characters that no way through the steps leaves out.
///
/// A jump over optional steps leads to the step after them, so never into the middle of such a run.
fn needle(steps: &[Step]) -> String {
    let (mut longest, mut current, mut optional) = (String::new(), String::new(), 0_usize);
    for step in steps {
        match step {
            Step::One(Token::Char(character)) if optional == 0 => current.push(*character),
            _ => current.clear(),
        }
        optional = if let Step::Optional(count) = step { *count } else { optional.saturating_sub(1) };
        if current.len() > longest.len() {
            longest.clone_from(&current);
        }
    }
    longest
}

/// Runs the automaton over `text`: time is states times characters, whatever the pattern.
fn run(steps: &[Step], text: &str) -> bool {
    let mut states = vec![false; steps.len() + 1];
    let mut next = states.clone();
    states[0] = true;
    close(steps, &mut states);
    for character in text.chars() {
        next.fill(false);
        let mut alive = false;
        for (index, step) in steps.iter().enumerate().filter(|(index, _)| states[*index]) {
            let target = match step {
                Step::One(token) if accepts(token, character) => index + 1,
                Step::Run if character != '/' => index,
                Step::All => index,
                _ => continue,
            };
            next[target] = true;
            alive = true;
        }
        if !alive {
            return false;
        }
        close(steps, &mut next);
        std::mem::swap(&mut states, &mut next);
    }
    states[steps.len()]
}

fn close(steps: &[Step], states: &mut [bool]) {
    for (index, step) in steps.iter().enumerate() {
        if states[index] {
            match step {
                Step::Run | Step::All => states[index + 1] = true,
                Step::Optional(count) => {
                    states[index + 1] = true;
                    states[index + 1 + count] = true;
                }
                Step::One(_) => {}
            }
        }
    }
}

fn accepts(token: &Token, character: char) -> bool {
    match token {
        Token::Char(wanted) => *wanted == character,
        Token::AnyChar => character != '/',
        Token::Class { negated, ranges } => {
            ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated
        }
        Token::AnyRun | Token::Tree(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn what_a_match_must_have_is_the_longest_run_that_nothing_leaves_out() {
        let needle = |pattern: &str| ReadPath::of(pattern).programs[0].needle.clone();
        assert_eq!(needle("**/.ssh/**"), ".ssh");
        assert_eq!(needle("/a/**/bc/*.pem"), ".pem");
        assert_eq!(needle("**/*secret*"), "secret");
        assert_eq!(needle("/a/**"), "");
        assert_eq!(needle("/srv/*"), "");
    }

    proptest! {
        #[test]
        fn to_look_for_it_changes_no_answer(
            pattern in "[ab/]{0,4}(\\*\\*/|\\*|\\?|\\[ab\\]|/\\*\\*|[ab/]{1,3}){0,5}",
            texts in prop::collection::vec("/?[ab/]{0,12}", 32),
        ) {
            for program in &ReadPath::of(&pattern).programs {
                for text in &texts {
                    let rest = text.strip_prefix(program.prefix.as_str());
                    prop_assert_eq!(program.matches(text), rest.is_some_and(|rest| run(&program.steps, rest)));
                }
            }
        }
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

    #[test]
    fn a_pattern_is_cleaned_too() {
        check("/tmp/", &["/tmp"], &["/tmp/a"]);
        check("/srv//data/./*", &["/srv/data/x"], &[]);
    }

    #[test]
    fn domains_match_as_the_contract_says() {
        for (pattern, domain, want) in [
            ("example.com", "example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*", "anything.example", true),
            ("api?.example.com", "api1.example.com", true),
            ("[", "[", true),
            ("[", "a", false),
        ] {
            assert_eq!(DomainPattern::parse(pattern).matches(domain), want, "{pattern} {domain}");
        }
    }

    /// The same meaning, written as the obvious recursion.
    fn obvious(tokens: &[Token], path: &[char]) -> bool {
        let Some((token, rest)) = tokens.split_first() else { return path.is_empty() };
        let any_split = |allowed: &dyn Fn(&[char]) -> bool| {
            (0..=path.len()).any(|at| allowed(&path[..at]) && obvious(rest, &path[at..]))
        };
        match token {
            Token::AnyRun => any_split(&|part| !part.contains(&'/')),
            Token::Tree(Tree::Whole) => any_split(&|_| true),
            Token::Tree(Tree::Leading) => any_split(&|part| part.is_empty() || part.ends_with(&['/'])),
            Token::Tree(Tree::Trailing) => any_split(&|part| part.is_empty() || part.starts_with(&['/'])),
            Token::Tree(Tree::Middle) => any_split(&|part| {
                part == ['/'] || (part.len() > 1 && part.starts_with(&['/']) && part.ends_with(&['/']))
            }),
            one => path.split_first().is_some_and(|(first, others)| accepts(one, *first) && obvious(rest, others)),
        }
    }

    proptest! {
        #[test]
        fn the_automaton_agrees_with_the_obvious_recursion(
            pattern in "(\\*\\*/|/\\*\\*|/|a|b|\\*|\\?|\\[ab\\]|\\[\\^a\\]){0,7}", path in "[ab/]{0,9}"
        ) {
            let pattern = PathPattern::parse(&pattern);
            let characters: Vec<char> = path.chars().collect();
            let want = pattern.alternatives().iter().any(|tokens| obvious(tokens, &characters));
            prop_assert_eq!(pattern.matches(&path), want);
        }

        #[test]
        fn an_escaped_text_matches_itself_and_nothing_else(text in "[a*?\\[\\]\\\\^-]{1,8}", other in "[a*?\\[\\]\\\\^-]{1,8}") {
            let escaped = escape_glob(&text);
            let pattern = PathPattern::parse(&escaped);
            prop_assert!(pattern.matches(&text));
            prop_assert_eq!(pattern.matches(&other), other == text || other == escaped);
        }

        #[test]
        fn cleaning_is_done_once(path in "[a./]{0,12}") {
            let once = clean(&path);
            let twice = clean(&once.path);
            prop_assert_eq!(&twice.path, &once.path);
            prop_assert_eq!(twice.escapes, Escapes::No);
        }
    }
}
