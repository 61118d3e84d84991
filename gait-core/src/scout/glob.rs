//! Shell patterns on whole paths, where `*` does not cross `/`.

/// Whether `path` matches the shell pattern, or contains it as text (contract, artifacts 7.1).
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let (pattern_chars, chars): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
    path.contains(pattern) || glob(&pattern_chars, &chars)
}

fn glob(pattern: &[char], text: &[char]) -> bool {
    // Where to go on if the text does not fit: after the last star, with one more character given to it.
    let (mut p, mut t, mut retry) = (0, 0, None);
    loop {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        match text.get(t).and_then(|character| one(pattern, p, *character)) {
            Some(next) => {
                p = next;
                t += 1;
            }
            None => match retry {
                Some((after, from)) if text.get(from).is_some_and(|character| *character != '/') => {
                    retry = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// The place after the pattern element at `p`, if it matches `character`.
fn one(pattern: &[char], p: usize, character: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => (character != '/').then_some(p + 1),
        '\\' => (*pattern.get(p + 1)? == character).then_some(p + 2),
        '[' => class(pattern, p + 1, character),
        plain => (*plain == character).then_some(p + 1),
    }
}

/// The place after a class like `a-z]` or `^ab]` that starts at `p`, if it contains `character`.
fn class(pattern: &[char], mut p: usize, character: char) -> Option<usize> {
    let negated = pattern.get(p) == Some(&'^');
    p += usize::from(negated);
    let (mut found, start) = (false, p);
    loop {
        if pattern.get(p) == Some(&']') && p > start {
            let hit = found != negated && character != '/';
            return hit.then_some(p + 1);
        }
        let (low, next) = class_end(pattern, p)?;
        let (high, next) = if pattern.get(next) == Some(&'-') { class_end(pattern, next + 1)? } else { (low, next) };
        found |= (low..=high).contains(&character);
        p = next;
    }
}

fn class_end(pattern: &[char], p: usize) -> Option<(char, usize)> {
    match pattern.get(p)? {
        '\\' => Some((*pattern.get(p + 1)?, p + 2)),
        ']' | '-' => None,
        plain => Some((*plain, p + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths_or_parts_as_text() {
        for (pattern, path, expected) in [
            ("*.py", "a.py", true),
            ("*.py", "src/a.py", false),
            ("src/*.py", "src/a.py", true),
            ("src", "x/src/a.py", true),
            ("s?c/[a-c].py", "src/b.py", true),
            ("s?c/[^a-c].py", "src/b.py", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXb/Yc", false),
            ("[", "a", false),
            ("\\*", "*", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
