//! The known word that a mistyped one was probably meant to be.

/// The nearest of `known` to `word`, if it is near enough to be what was meant: by typing slips, else as its start.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    mistyped(word, &known).or_else(|| begun(word, &known))
}

/// The shortest word that starts with `word`.
fn begun<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let longer = known.iter().filter(|candidate| word.len() >= 3 && candidate.starts_with(word));
    longer.min_by_key(|candidate| candidate.len()).copied()
}

fn mistyped<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = 1 + word.chars().count() / 4;
    if limit > 9 {
        return None;
    }
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = last[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_slip_finds_its_word() {
        let known = ["json", "public-key", "public-key-env", "profile"];
        assert_eq!(nearest("jsno", known), Some("json"));
        assert_eq!(nearest("publickey", known), Some("public-key"));
        assert_eq!(nearest("prfile", known), Some("profile"));
    }

    #[test]
    fn the_start_of_a_word_finds_the_shortest_that_goes_on() {
        assert_eq!(nearest("public", ["private-key", "public-key-env", "public-key"]), Some("public-key"));
        assert_eq!(nearest("out", ["output", "privacy"]), Some("output"));
        assert_eq!(nearest("pu", ["public-key"]), None);
    }

    #[test]
    fn a_different_word_finds_nothing() {
        assert_eq!(nearest("bogus", ["json", "profile", "demo"]), None);
    }
}
