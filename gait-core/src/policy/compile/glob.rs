//! Reads path and domain patterns into elements, for the automaton.
//!
//! The reference evaluator has a reader of its own: the two are compared by property tests, so a
//! mistake in one of them shows.

/// One step of a pattern, over the units of a name: one character of text or one odd byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// This character.
    Unit(char),
    /// `?`: any unit but `/`.
    Any,
    /// `*`: any run of units without `/`.
    Run,
    /// `[a-c]`, `[^a]`: one unit inside, or outside, the ranges. As in the contract it can be `/`.
    Set(CharSet),
    /// `**/` at the start of a segment: any number of whole segments.
    Segments,
    /// `/**` at the end: nothing more, or `/` and anything.
    Below,
    /// `**` alone: anything.
    Everything,
}

/// The inside of `[...]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CharSet {
    /// Matches what is outside the ranges.
    pub(super) negated: bool,
    /// First and last character of each range; an upside-down one is empty.
    pub(super) ranges: Vec<(char, char)>,
}

impl CharSet {
    /// Whether `unit` belongs.
    pub(super) fn contains(&self, unit: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&unit)) != self.negated
    }
}

/// The pattern breaks the syntax: it matches nothing but its own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads a path pattern: contract control 6, and `**` as a whole segment anywhere.
pub(super) fn path_elements(pattern: &str) -> Result<Vec<Element>, Malformed> {
    let text: Vec<char> = pattern.chars().collect();
    if pattern == "**" {
        return Ok(vec![Element::Everything]);
    }
    let (body, below) = match pattern.strip_suffix("/**") {
        Some(prefix) => (&text[..prefix.chars().count()], true),
        None => (&text[..], false),
    };
    let mut elements = read(body, Segments::Understood)?;
    if below {
        elements.push(Element::Below);
    }
    Ok(elements)
}

/// Reads a domain pattern; `*.suffix` needs nothing special, because `*` runs over dots.
pub(super) fn domain_elements(pattern: &str) -> Result<Vec<Element>, Malformed> {
    let text: Vec<char> = pattern.chars().collect();
    read(&text, Segments::Plain)
}

/// Whether a pattern can match at any depth, so that it belongs into the floating automaton.
pub(super) fn floats(elements: &[Element]) -> bool {
    matches!(elements.first(), Some(Element::Segments | Element::Everything))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Segments {
    /// `**` as a whole segment is [`Element::Segments`].
    Understood,
    /// `**` is `*`.
    Plain,
}

fn read(text: &[char], segments: Segments) -> Result<Vec<Element>, Malformed> {
    let mut elements = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(unit) = text.get(at) {
        let starts_segment = at == 0 || text[at - 1] == '/' && elements.last() != Some(&Element::Run);
        if segments == Segments::Understood && starts_segment && text[at..].starts_with(&['*', '*', '/']) {
            elements.push(Element::Segments);
            at += 3;
            continue;
        }
        match unit {
            '*' => {
                if elements.last() != Some(&Element::Run) {
                    elements.push(Element::Run);
                }
                at += 1;
            }
            '?' => {
                elements.push(Element::Any);
                at += 1;
            }
            '[' => {
                let (set, next) = read_set(text, at + 1)?;
                elements.push(Element::Set(set));
                at = next;
            }
            '\\' => {
                elements.push(Element::Unit(*text.get(at + 1).ok_or(Malformed)?));
                at += 2;
            }
            unit => {
                elements.push(Element::Unit(*unit));
                at += 1;
            }
        }
    }
    Ok(elements)
}

/// Reads `[...]` from behind the bracket; gives the position behind the closing one.
fn read_set(text: &[char], start: usize) -> Result<(CharSet, usize), Malformed> {
    let negated = text.get(start) == Some(&'^');
    let mut at = if negated { start + 1 } else { start };
    let mut ranges = Vec::new();
    loop {
        if text.get(at) == Some(&']') && !ranges.is_empty() {
            return Ok((CharSet { negated, ranges }, at + 1));
        }
        let (low, next) = read_set_char(text, at)?;
        at = next;
        let mut high = low;
        if text.get(at) == Some(&'-') {
            (high, at) = read_set_char(text, at + 1)?;
        }
        ranges.push((low, high));
    }
}

fn read_set_char(text: &[char], at: usize) -> Result<(char, usize), Malformed> {
    let (unit, next) = match text.get(at) {
        None | Some('-' | ']') => return Err(Malformed),
        Some('\\') => (*text.get(at + 1).ok_or(Malformed)?, at + 2),
        Some(unit) => (*unit, at + 1),
    };
    if next >= text.len() { Err(Malformed) } else { Ok((unit, next)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<Element> {
        text.chars().map(Element::Unit).collect()
    }

    #[test]
    fn a_final_double_star_means_the_prefix_and_all_below() {
        assert_eq!(path_elements("/a/**"), Ok([units("/a"), vec![Element::Below]].concat()));
        assert_eq!(path_elements("/**"), Ok(vec![Element::Below]));
        assert_eq!(path_elements("**"), Ok(vec![Element::Everything]));
    }

    #[test]
    fn a_double_star_is_special_only_as_a_whole_segment() {
        assert_eq!(path_elements("**/.x"), Ok([vec![Element::Segments], units(".x")].concat()));
        assert_eq!(path_elements("/a/**/b"), Ok([units("/a/"), vec![Element::Segments], units("b")].concat()));
        assert_eq!(path_elements("a**/b"), Ok([units("a"), vec![Element::Run], units("/b")].concat()));
        assert_eq!(domain_elements("**/b"), Ok([vec![Element::Run], units("/b")].concat()));
    }

    #[test]
    fn sets_follow_the_contract() {
        let set = |negated, ranges: &[(char, char)]| Element::Set(CharSet { negated, ranges: ranges.to_vec() });
        assert_eq!(path_elements("[a-c]"), Ok(vec![set(false, &[('a', 'c')])]));
        assert_eq!(path_elements("[^ab]"), Ok(vec![set(true, &[('a', 'a'), ('b', 'b')])]));
        assert_eq!(path_elements("[\\]]"), Ok(vec![set(false, &[(']', ']')])]));
        assert_eq!(path_elements("\\*"), Ok(units("*")));
        for malformed in ["[", "[]", "[]a]", "[-a]", "[a-]", "[a", "[a-b", "a\\", "[\\", "[^]"] {
            assert_eq!(path_elements(malformed), Err(Malformed), "{malformed}");
        }
    }
}
