//! Globs: from their text to tokens.

use std::borrow::Cow;

use super::{Dialect, Token, Tree};

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
pub(super) enum Stars {
    /// As a tree where it is a whole segment.
    Trees,
    /// As `*` everywhere.
    Runs,
}

pub(super) fn parse_glob(text: &str, stars: Stars) -> Option<Vec<Token>> {
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

pub(super) fn literal_chars(text: &str) -> Vec<Token> {
    text.chars().map(Token::Char).collect()
}

/// A malformed pattern: the string itself, and what is below it if it ends in `/**`.
pub(super) fn literal_tokens(text: &str) -> Vec<Token> {
    match text.strip_suffix("/**") {
        Some(prefix) => {
            let mut tokens = literal_chars(prefix);
            tokens.push(Token::Tree(Tree::Trailing));
            tokens
        }
        None => literal_chars(text),
    }
}

pub(super) fn dialect_of(tokens: &[Token]) -> Dialect {
    let is_plain = |token: &Token| matches!(token, Token::Char(_));
    let trees = tokens.iter().filter(|token| matches!(token, Token::Tree(_))).count();
    let contract = match tokens.split_last() {
        Some((Token::Tree(Tree::Trailing), prefix)) => prefix.iter().all(is_plain),
        _ => trees == 0,
    };
    if contract { Dialect::Contract } else { Dialect::DoubleStar }
}
