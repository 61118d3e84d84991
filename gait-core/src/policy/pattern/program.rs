//! Tokens, made ready to be run over a text.

use super::{Token, Tree};

/// A pattern ready to be run over a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
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
    pub(super) fn new(tokens: &[Token]) -> Self {
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

    pub(super) fn matches(&self, text: &str) -> bool {
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

    use super::super::glob::{Stars, parse_glob};
    use super::*;

    fn tokens(pattern: &str) -> Vec<Token> {
        parse_glob(pattern, Stars::Trees).unwrap()
    }

    #[test]
    fn what_a_match_must_have_is_the_longest_run_that_nothing_leaves_out() {
        let needle = |pattern: &str| Program::new(&tokens(pattern)).needle;
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
            let program = Program::new(&tokens(&pattern));
            for text in &texts {
                let rest = text.strip_prefix(program.prefix.as_str());
                prop_assert_eq!(program.matches(text), rest.is_some_and(|rest| run(&program.steps, rest)));
            }
        }

        #[test]
        fn the_automaton_agrees_with_the_obvious_recursion(
            pattern in "(\\*\\*/|/\\*\\*|/|a|b|\\*|\\?|\\[ab\\]|\\[\\^a\\]){0,7}", path in "[ab/]{0,9}"
        ) {
            let tokens = tokens(&pattern);
            let characters: Vec<char> = path.chars().collect();
            prop_assert_eq!(Program::new(&tokens).matches(&path), obvious(&tokens, &characters));
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
}
