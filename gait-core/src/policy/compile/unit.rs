//! The alphabet of names, and how bytes spell it.
//!
//! Patterns are written over *units*: a unit is one character of text, or one odd byte, which
//! `name` (contract guarded-run 2.1) writes as one private-use character. Characters that no
//! pattern tells apart form one class, so that an automaton over classes stays small.

use super::super::pattern::Token;
use super::hash::FastMap;

/// A set of units that no pattern tells apart.
pub(super) type UnitClass = u16;

/// What an odd byte becomes: this character plus the byte.
const ODD: u32 = 0x10_FE00;

/// The character that `name` writes for an odd byte.
pub(super) fn odd(byte: u8) -> char {
    char::from_u32(ODD + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The classes of all units.
pub(super) struct Alphabet {
    /// First code point of each range and its class; ascending, starts at 0.
    ranges: Vec<(u32, UnitClass)>,
    classes: u16,
    slash: UnitClass,
}

impl Alphabet {
    /// The coarsest classes that tell apart whatever `patterns` tell apart, and `/`.
    pub(super) fn of<'a>(patterns: impl Iterator<Item = &'a [Token]>) -> Self {
        let mut cuts = vec![(u32::from('/'), u32::from('/') + 1)];
        for token in patterns.flatten() {
            match token {
                Token::Char(unit) => cuts.push((u32::from(*unit), u32::from(*unit) + 1)),
                Token::Class { ranges, .. } => {
                    cuts.extend(ranges.iter().map(|(low, high)| (u32::from(*low), u32::from(*high) + 1)));
                }
                _ => {}
            }
        }
        cuts.retain(|(low, end)| low < end);
        let mut edges: Vec<u32> = cuts.iter().flat_map(|(low, end)| [*low, *end]).chain([0]).collect();
        edges.sort_unstable();
        edges.dedup();
        let mut ranges: Vec<(u32, UnitClass)> = Vec::with_capacity(edges.len());
        cuts.sort_unstable();
        cuts.dedup();
        let (mut classes, mut next_cut, mut covered_to) = (1, 0, 0);
        for edge in edges {
            while let Some((_, end)) = cuts.get(next_cut).filter(|(low, _)| *low <= edge) {
                covered_to = covered_to.max(*end);
                next_cut += 1;
            }
            if edge < covered_to {
                ranges.push((edge, classes));
                classes += 1;
            } else {
                ranges.push((edge, 0));
            }
        }
        let mut alphabet = Self { ranges, classes, slash: 0 };
        alphabet.slash = alphabet.class('/');
        alphabet
    }

    /// How many classes there are. Class 0 holds every unit that no pattern names.
    pub(super) fn len(&self) -> u16 {
        self.classes
    }

    /// The class of `/` alone.
    pub(super) fn slash(&self) -> UnitClass {
        self.slash
    }

    /// The class of a character.
    pub(super) fn class(&self, unit: char) -> UnitClass {
        self.ranges[self.range_at(u32::from(unit))].1
    }

    /// By class, whether it is inside `ranges`, or outside if `negated`.
    pub(super) fn members(&self, negated: bool, ranges: &[(char, char)]) -> Vec<bool> {
        let mut members = vec![negated; usize::from(self.classes)];
        for (start, class) in &self.ranges {
            if *class != 0 {
                // A class that has a number is one range, all of whose units are alike.
                members[usize::from(*class)] =
                    ranges.iter().any(|(low, high)| (u32::from(*low)..=u32::from(*high)).contains(start)) != negated;
            }
        }
        members
    }

    /// The classes that hold a unit beyond ASCII, odd bytes included.
    pub(super) fn beyond_ascii(&self) -> Vec<UnitClass> {
        let mut classes: Vec<UnitClass> = self.ranges[self.range_at(0x80)..].iter().map(|(_, class)| *class).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    fn range_at(&self, point: u32) -> usize {
        self.ranges.partition_point(|(start, _)| *start <= point) - 1
    }

    /// The class of all of `low..=high`, if they have one in common.
    fn common(&self, low: u32, high: u32) -> Option<UnitClass> {
        let first = self.range_at(low);
        let class = self.ranges[first].1;
        self.ranges[first..].iter().take_while(|(start, _)| *start <= high).all(|(_, c)| *c == class).then_some(class)
    }
}

/// Where a byte leads in the tree of UTF-8 spellings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// It can't follow here.
    Broken,
    /// A character is complete.
    Unit(UnitClass),
    /// A white space character is complete: at either end of a name its bytes are odd.
    Space(UnitClass),
    /// A private-use character is complete that `name` itself uses: its bytes are odd.
    Reserved,
    /// More is needed.
    Node(u16),
}

/// How bytes spell units: the tree of UTF-8, with equal subtrees merged.
pub(super) struct Spelling {
    /// By node, then by byte class. Node 0 is where each unit starts.
    steps: Vec<Vec<Step>>,
    /// The class of each byte.
    classes: [u8; 256],
    /// One byte of each class.
    representatives: Vec<u8>,
    /// The unit class of each byte class as an odd byte.
    odd: Vec<UnitClass>,
}

impl Spelling {
    /// The spelling of `alphabet`.
    pub(super) fn of(alphabet: &Alphabet) -> Self {
        let mut builder = Builder {
            alphabet,
            nodes: vec![[Step::Broken; 256]],
            known: FastMap::default(),
            uniform: FastMap::default(),
        };
        let mut root = [Step::Broken; 256];
        for byte in 1..=0x7f_u8 {
            root[usize::from(byte)] = builder.leaf(u32::from(byte));
        }
        for lead in 0xc2..=0xf4_u8 {
            root[usize::from(lead)] = match lead {
                0xc2..=0xdf => builder.node(u32::from(lead & 0x1f) << 6, 1),
                0xe0 => builder.first_node(0, 2, 0xa0..=0xbf),
                0xed => builder.first_node(0xd000, 2, 0x80..=0x9f),
                0xe1..=0xec | 0xee | 0xef => builder.node(u32::from(lead & 0x0f) << 12, 2),
                0xf0 => builder.first_node(0, 3, 0x90..=0xbf),
                0xf4 => builder.first_node(0x10_0000, 3, 0x80..=0x8f),
                _ => builder.node(u32::from(lead & 0x07) << 18, 3),
            };
        }
        builder.nodes[0] = root;
        Self::compressed(alphabet, &builder.nodes)
    }

    /// Merges the bytes that no node tells apart.
    fn compressed(alphabet: &Alphabet, nodes: &[[Step; 256]]) -> Self {
        let mut known: FastMap<(UnitClass, Vec<Step>), u8> = FastMap::default();
        let mut classes = [0; 256];
        let mut representatives = Vec::new();
        for byte in 0..=255_u8 {
            let column = nodes.iter().map(|node| node[usize::from(byte)]).collect();
            // There are at most 256 classes, so the last one is 255.
            let fresh = u8::try_from(known.len()).unwrap_or(u8::MAX);
            classes[usize::from(byte)] = *known.entry((alphabet.class(odd(byte)), column)).or_insert_with(|| {
                representatives.push(byte);
                fresh
            });
        }
        Self {
            steps: nodes.iter().map(|node| representatives.iter().map(|b| node[usize::from(*b)]).collect()).collect(),
            classes,
            odd: representatives.iter().map(|byte| alphabet.class(odd(*byte))).collect(),
            representatives,
        }
    }

    /// How many byte classes there are.
    pub(super) fn len(&self) -> usize {
        self.representatives.len()
    }

    /// The class of each byte.
    pub(super) fn classes(&self) -> &[u8; 256] {
        &self.classes
    }

    /// Whether a byte class lies beyond ASCII.
    pub(super) fn is_beyond_ascii(&self, byte_class: usize) -> bool {
        self.representatives[byte_class] >= 0x80
    }

    /// Where a byte class leads from `node`.
    pub(super) fn step(&self, node: u16, byte_class: usize) -> Step {
        self.steps[usize::from(node)][byte_class]
    }

    /// The unit class of a byte class as an odd byte.
    pub(super) fn odd(&self, byte_class: usize) -> UnitClass {
        self.odd[byte_class]
    }
}

struct Builder<'a> {
    alphabet: &'a Alphabet,
    nodes: Vec<[Step; 256]>,
    known: FastMap<Box<[Step]>, u16>,
    /// Nodes of units that are all of one class, by that and the number of bytes that are missing.
    uniform: FastMap<(UnitClass, u32), Step>,
}

impl Builder<'_> {
    fn leaf(&self, point: u32) -> Step {
        let Some(unit) = char::from_u32(point) else { return Step::Broken };
        let class = self.alphabet.class(unit);
        match point {
            ODD..=0x10_FEFF => Step::Reserved,
            _ if unit.is_whitespace() => Step::Space(class),
            _ => Step::Unit(class),
        }
    }

    /// The node at which `more` continuation bytes are missing of the units from `base` on.
    fn node(&mut self, base: u32, more: u32) -> Step {
        match self.uniform(base, base + (1 << (6 * more)) - 1) {
            Some(class) => self.uniform_node(class, more),
            None => self.first_node(base, more, 0x80..=0xbf),
        }
    }

    /// As `node`, where the next byte must be one of `next`.
    fn first_node(&mut self, base: u32, more: u32, next: std::ops::RangeInclusive<u8>) -> Step {
        let mut steps = [Step::Broken; 256];
        for byte in next {
            let low = base + (u32::from(byte & 0x3f) << (6 * (more - 1)));
            steps[usize::from(byte)] = if more == 1 { self.leaf(low) } else { self.node(low, more - 1) };
        }
        self.intern(&steps)
    }

    /// The node at which `more` bytes are missing of a unit that is of `class` whatever they are.
    fn uniform_node(&mut self, class: UnitClass, more: u32) -> Step {
        if let Some(step) = self.uniform.get(&(class, more)) {
            return *step;
        }
        let mut step = Step::Unit(class);
        for more in 1..=more {
            let mut steps = [Step::Broken; 256];
            steps[0x80..0xc0].fill(step);
            step = self.intern(&steps);
            self.uniform.insert((class, more), step);
        }
        step
    }

    /// The class that all of `low..=high` have, if none of them needs special care.
    fn uniform(&self, low: u32, high: u32) -> Option<UnitClass> {
        let special = SPACES.iter().chain([&(ODD, 0x10_FEFF)]).any(|(first, last)| *first <= high && low <= *last);
        if special { None } else { self.alphabet.common(low, high) }
    }

    fn intern(&mut self, steps: &[Step; 256]) -> Step {
        // Merged as they are made, there are far fewer than 2^16 nodes: at most 51 * 65 before that.
        let fresh = u16::try_from(self.nodes.len()).unwrap_or(u16::MAX);
        let id = *self.known.entry(steps[0x80..0xc0].into()).or_insert(fresh);
        if id == fresh {
            self.nodes.push(*steps);
        }
        Step::Node(id)
    }
}

/// White space beyond ASCII (contract control 2.3).
const SPACES: [(u32, u32); 8] = [
    (0x85, 0x85),
    (0xa0, 0xa0),
    (0x1680, 0x1680),
    (0x2000, 0x200a),
    (0x2028, 0x2029),
    (0x202f, 0x202f),
    (0x205f, 0x205f),
    (0x3000, 0x3000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spaces_are_those_of_unicode() {
        let listed = |point: u32| SPACES.iter().any(|(low, high)| (*low..=*high).contains(&point));
        for unit in '\u{80}'..=char::MAX {
            assert_eq!(unit.is_whitespace(), listed(u32::from(unit)), "{unit:?}");
        }
    }

    #[test]
    fn only_units_that_a_pattern_names_have_a_class_of_their_own() {
        let pattern = [Token::Char('a'), Token::Class { negated: false, ranges: vec![('c', 'e')] }];
        let alphabet = Alphabet::of([&pattern[..]].into_iter());
        assert_eq!(alphabet.len(), 4);
        assert_eq!(alphabet.class('c'), alphabet.class('e'));
        assert_eq!(alphabet.class('b'), alphabet.class('\u{20ac}'));
        assert_ne!(alphabet.class('a'), alphabet.class('/'));
        assert_eq!(alphabet.beyond_ascii(), [0]);
    }

    #[test]
    fn the_tree_spells_every_character() {
        let pattern = [Token::Char('\u{20ac}'), Token::Char('\u{10348}')];
        let alphabet = Alphabet::of([&pattern[..]].into_iter());
        let spelling = Spelling::of(&alphabet);
        for unit in '\u{1}'..=char::MAX {
            let mut step = Step::Node(0);
            for byte in unit.encode_utf8(&mut [0; 4]).bytes() {
                let Step::Node(node) = step else { panic!("{unit:?} ends early") };
                step = spelling.step(node, usize::from(spelling.classes()[usize::from(byte)]));
            }
            let expected = match unit {
                '\u{10fe00}'..='\u{10feff}' => Step::Reserved,
                _ if unit.is_whitespace() => Step::Space(alphabet.class(unit)),
                _ => Step::Unit(alphabet.class(unit)),
            };
            assert_eq!(step, expected, "{unit:?}");
        }
    }
}
