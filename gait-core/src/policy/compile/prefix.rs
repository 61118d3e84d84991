//! Directory prefixes that bound what patterns match, for layers that know only hierarchies.

use super::super::pattern::{PathPattern, Token, Tree};
use crate::name::unname;

/// A path such that everything `pattern` matches is that path or lies below it; `/` if there is none
/// tighter.
pub(super) fn of_pattern(pattern: &PathPattern) -> Vec<Vec<u8>> {
    pattern.alternatives().iter().map(|tokens| of_tokens(tokens)).collect()
}

fn of_tokens(tokens: &[Token]) -> Vec<u8> {
    let literal: String =
        tokens.iter().map_while(|token| if let Token::Char(unit) = token { Some(*unit) } else { None }).collect();
    let whole = match &tokens[literal.chars().count()..] {
        [] | [Token::Tree(Tree::Trailing), ..] => Some(literal.as_str()),
        // `/a/**/b`: the separator belongs to what follows, so `/a` is a whole name too.
        [Token::Tree(Tree::Middle), ..] => Some(literal.as_str()),
        _ => literal.rfind('/').map(|end| &literal[..end]),
    };
    of_text(whole.unwrap_or_default())
}

/// The bytes of an absolute path; `/` for what is none, or no name's text.
pub(super) fn of_text(text: &str) -> Vec<u8> {
    match unname(text) {
        Ok(bytes) if bytes.starts_with(b"/") => bytes,
        _ => b"/".to_vec(),
    }
}

/// Those that lie below no other, sorted, each once.
pub(super) fn outermost(mut prefixes: Vec<&[u8]>) -> Vec<&[u8]> {
    prefixes.sort_unstable();
    prefixes.dedup();
    let all = prefixes.clone();
    let is_below = |path: &[u8], other: &[u8]| {
        path != other && (other == b"/" || path.strip_prefix(other).is_some_and(|rest| rest.first() == Some(&b'/')))
    };
    prefixes.retain(|path| !all.iter().any(|other| is_below(path, other)));
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_first_wildcard() {
        for (pattern, prefix) in [
            ("/usr/bin/**", "/usr/bin"),
            ("/usr/bin/env", "/usr/bin/env"),
            ("/usr/*/x", "/usr"),
            ("/usr/b?n", "/usr"),
            ("/a/**/b", "/a"),
            ("**/x", "/"),
            ("/**", "/"),
            ("/*", "/"),
            ("**", "/"),
            ("relative/x", "/"),
        ] {
            assert_eq!(of_pattern(&PathPattern::parse(pattern)), [prefix.as_bytes()], "{pattern}");
        }
    }

    #[test]
    fn what_lies_below_another_is_dropped() {
        let paths: Vec<&[u8]> = vec![b"/usr/bin", b"/usr", b"/usrx", b"/opt", b"/opt"];
        assert_eq!(outermost(paths), [b"/opt" as &[u8], b"/usr", b"/usrx"]);
        assert_eq!(outermost(vec![b"/", b"/a"]), [b"/"]);
    }
}
