//! One table of cells that two automata share: patterns tied to the root, and patterns that float.
//!
//! Anchored patterns and patterns that start with `**` are kept apart because their product grows
//! with the product of their sizes.

use std::sync::OnceLock;

use super::super::pattern::{Token, Tree};
use super::byte_dfa::{ByteDfa, compose};
use super::minimise::{merge_columns, minimise};
use super::nfa::{ListId, Nfa};
use super::read::{DecodeError, Reader};
use super::tables_view::Automata;
use super::unit::{Alphabet, Spelling};
use super::unit_dfa::{Budget, Marks, TooLarge, UnitDfa};
use super::walk::Walker;

/// The two automata, minimised, over common byte classes.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The column of each byte.
    classes: [u8; 256],
    /// See [`Table::cells`].
    cells: OnceLock<Box<[u32]>>,
    width: u32,
    /// The row at which the anchored and the floating automaton start.
    starts: [u32; 2],
    /// The two in the form they are walked in.
    walkers: [Walker; 2],
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        // Starts and cells follow from these.
        (self.classes, self.width, &self.walkers) == (other.classes, other.width, &other.walkers)
    }
}

impl Eq for Table {}

/// By end class of one automaton: the lists matched by the names that end in it.
pub(super) type Ends = Vec<Box<[ListId]>>;

impl Table {
    /// The automata for patterns that each belong to a list.
    pub(super) fn of(patterns: &[(Vec<Token>, ListId)], budget: &mut Budget) -> Result<(Self, [Ends; 2]), TooLarge> {
        let alphabet = Alphabet::of(patterns.iter().map(|(pattern, _)| pattern.as_slice()));
        let spelling = Spelling::of(&alphabet);
        let mut marks = Marks::new();
        let (mut dfas, mut columns) = (Vec::with_capacity(2), Vec::with_capacity(2));
        for floating in [false, true] {
            let mut nfa = Nfa::new(&alphabet);
            for (pattern, list) in patterns.iter().filter(|(pattern, _)| floats(pattern) == floating) {
                nfa.insert(pattern, *list);
            }
            if nfa.len() > budget.states {
                return Err(TooLarge);
            }
            let units = UnitDfa::of(&nfa, &alphabet, &mut marks, budget)?;
            let mut bytes = compose(&units, &alphabet, &spelling, budget)?;
            // Fewer columns first: minimisation looks at each cell more than once.
            let before = merge_columns(&mut bytes);
            let mut smallest = minimise(&bytes);
            let after = merge_columns(&mut smallest);
            columns.push(before.into_iter().map(|column| after[usize::from(column)]).collect());
            dfas.push(smallest);
        }
        Ok(Self::lay_out(spelling.classes(), &dfas, &columns, &marks))
    }

    fn lay_out(byte_classes: &[u8; 256], dfas: &[ByteDfa], columns: &[Vec<u8>], marks: &Marks) -> (Self, [Ends; 2]) {
        // A column of the table is one of each automaton.
        let mut pairs: Vec<Vec<u8>> = Vec::new();
        let classes = byte_classes.map(|class| {
            let pair: Vec<u8> = columns.iter().map(|columns| columns[usize::from(class)]).collect();
            let column = pairs.iter().position(|known| *known == pair).unwrap_or_else(|| {
                pairs.push(pair);
                pairs.len() - 1
            });
            // There are at most 256 classes.
            column as u8
        });
        // States are within the budget and columns at most 257: products stay below 2^32.
        let width = pairs.len() as u32 + 1;
        let mut cells = Vec::new();
        let mut starts = [0; 2];
        let mut ends: [Ends; 2] = Default::default();
        for (which, dfa) in dfas.iter().enumerate() {
            let base = cells.len() as u32;
            // Minimised, it starts in its first state.
            starts[which] = base;
            let mut numbers = Vec::new();
            for (row, mark) in dfa.next.chunks(dfa.width).zip(&dfa.ends) {
                cells.extend(pairs.iter().map(|pair| base + row[usize::from(pair[which])] * width));
                let end = numbers.iter().position(|known| known == mark).unwrap_or_else(|| {
                    numbers.push(*mark);
                    ends[which].push(marks.get(*mark).into());
                    numbers.len() - 1
                });
                cells.push(end as u32);
            }
        }
        let (anchored, floating) = cells.split_at(starts[1] as usize);
        let walkers = [Walker::of(&classes, anchored, width, 0), Walker::of(&classes, floating, width, starts[1])];
        (Self { classes, cells: OnceLock::from(Box::from(cells)), width, starts, walkers }, ends)
    }

    /// Rows of `width` cells: a cell holds the index of the first cell of the next row, and the last of a row the number of the
    /// end class of its state. The walkers are the same as these, which are what is digested, and what a kernel walks.
    fn cells(&self) -> &[u32] {
        let [anchored, floating] = &self.walkers;
        let made = || anchored.cells(self.width, 0).chain(floating.cells(self.width, self.starts[1])).collect();
        self.cells.get_or_init(made)
    }

    /// The end classes of `bytes` in both automata.
    #[inline]
    pub(super) fn walk(&self, bytes: &[u8]) -> [u32; 2] {
        [self.walkers[0].walk(bytes), self.walkers[1].walk(bytes)]
    }

    /// The end class of `bytes` in the anchored automaton alone.
    #[inline]
    pub(super) fn walk_anchored(&self, bytes: &[u8]) -> u32 {
        self.walkers[0].walk(bytes)
    }

    /// As [`Table::walk`], by the cells.
    #[cfg(test)]
    fn walk_cells(&self, bytes: &[u8]) -> [u32; 2] {
        let [mut anchored, mut floating] = self.starts;
        for byte in bytes {
            let column = u32::from(self.classes[usize::from(*byte)]);
            anchored = self.cells()[(anchored + column) as usize];
            floating = self.cells()[(floating + column) as usize];
        }
        [anchored, floating].map(|row| self.cells()[(row + self.width - 1) as usize])
    }

    /// For others who walk it.
    pub(super) fn view(&self) -> Automata<'_> {
        Automata { classes: &self.classes, cells: self.cells(), width: self.width, starts: self.starts }
    }

    /// The greatest end class of each automaton.
    pub(super) fn last_ends(&self) -> [u32; 2] {
        [self.walkers[0].last_end(), self.walkers[1].last_end()]
    }

    /// How many cells there are.
    pub(super) fn len(&self) -> usize {
        self.walkers.iter().map(Walker::states).sum::<usize>() * self.width as usize
    }

    /// The canonical form: column of each byte, width, both starts, number of cells, cells; numbers
    /// are 32 bits, little-endian.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.classes);
        let head = [self.width, self.starts[0], self.starts[1], self.cells().len() as u32];
        out.extend(head.iter().chain(self.cells()).flat_map(|number| number.to_le_bytes()));
    }

    /// The form that is kept: column of each byte, width, and both walkers ([`Walker::write`]).
    pub(super) fn write_walkers(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.classes);
        out.extend(self.width.to_le_bytes());
        self.walkers.iter().for_each(|walker| walker.write(out));
    }

    /// What [`Table::write_walkers`] wrote.
    ///
    /// # Errors
    /// [`DecodeError::Damaged`]
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let classes = *reader.array()?;
        let width = reader.number()?;
        let columns = width.checked_sub(1).filter(|columns| *columns <= 256).ok_or(DecodeError::Damaged("width"))?;
        if classes.iter().any(|column| u32::from(*column) >= columns) {
            return Err(DecodeError::Damaged("columns"));
        }
        let walkers = [Walker::read(reader, &classes, width)?, Walker::read(reader, &classes, width)?];
        let rows = walkers.each_ref().map(|walker| u32::try_from(walker.states()).ok()?.checked_mul(width));
        let [Some(floating), Some(rest)] = rows else { return Err(DecodeError::Damaged("states")) };
        floating.checked_add(rest).ok_or(DecodeError::Damaged("states"))?;
        Ok(Self { classes, cells: OnceLock::new(), width, starts: [0, floating], walkers })
    }
}

/// Whether a pattern can match at any depth, so that it belongs into the floating automaton.
fn floats(pattern: &[Token]) -> bool {
    matches!(pattern.first(), Some(Token::Tree(Tree::Leading | Tree::Whole)))
}

#[cfg(test)]
mod tests {
    use super::super::super::pattern::PathPattern;
    use super::*;
    use proptest::prelude::*;

    fn build(patterns: &[(Vec<Token>, ListId)]) -> Result<(Table, [Ends; 2]), TooLarge> {
        Table::of(patterns, &mut Budget { states: 20_000, work: 4_000_000 })
    }

    /// A third matcher, as obvious as can be: backtracking over units, no automaton.
    fn naive(pattern: &[Token], units: &[char]) -> bool {
        let Some((token, rest)) = pattern.split_first() else { return units.is_empty() };
        let one = |fits: &dyn Fn(char) -> bool| {
            units.split_first().is_some_and(|(unit, units)| fits(*unit) && naive(rest, units))
        };
        let run = |fits: &dyn Fn(&[char]) -> bool| {
            (0..=units.len()).any(|end| fits(&units[..end]) && naive(rest, &units[end..]))
        };
        match token {
            Token::Char(unit) => one(&|other| other == *unit),
            Token::AnyChar => one(&|other| other != '/'),
            Token::Class { negated, ranges } => {
                one(&|other| ranges.iter().any(|(low, high)| (*low..=*high).contains(&other)) != *negated)
            }
            Token::AnyRun => run(&|part| !part.contains(&'/')),
            Token::Tree(Tree::Leading) => run(&|part| part.is_empty() || part.ends_with(&['/'])),
            Token::Tree(Tree::Middle) => run(&|part| part.starts_with(&['/']) && part.ends_with(&['/'])),
            Token::Tree(Tree::Trailing) => run(&|part| part.is_empty() || part.starts_with(&['/'])),
            Token::Tree(Tree::Whole) => run(&|_| true),
        }
    }

    fn tokens(text: &str, list: usize) -> Vec<(Vec<Token>, ListId)> {
        PathPattern::parse(text).alternatives().iter().map(|tokens| (tokens.clone(), list as ListId)).collect()
    }

    fn matched(table: &Table, ends: &[Ends; 2], bytes: &[u8]) -> Vec<ListId> {
        let [anchored, floating] = table.walk(bytes);
        assert_eq!(table.walk_cells(bytes), [anchored, floating], "{:?}", String::from_utf8_lossy(bytes));
        let mut lists = [&*ends[0][anchored as usize], &*ends[1][floating as usize]].concat();
        lists.sort_unstable();
        lists.dedup();
        lists
    }

    fn pattern() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            8 => prop::sample::select(vec!["a", "b", "/", "/", ".", "*", "?", "**/", "/**", "/**/"]),
            2 => prop::sample::select(vec!["[a-c]", "[^a]", "[^/]", "\\*", "é", "€", "[é-€]", " ", "\u{a0}", "[", "]"]),
            1 => prop::sample::select(vec!["\u{10fe20}", "\u{10fec3}", "[\u{10fe80}-\u{10fec3}]", "\u{10348}", "\u{2003}"]),
        ];
        prop::collection::vec(piece, 1..7).prop_map(|pieces| pieces.concat())
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => prop::sample::select(vec!["a", "b", "/", "/", ".", "*", "**", "c"]).prop_map(|text| text.as_bytes().to_vec()),
            2 => prop::sample::select(vec!["é", "€", "è", " ", "\u{a0}", "\u{10fe20}", "\u{10348}", "\u{2003}", "\u{85}"])
                .prop_map(|text| text.as_bytes().to_vec()),
            2 => prop::collection::vec(any::<u8>(), 1..4),
            1 => prop::sample::select(vec![0x80, 0xc3, 0xe2, 0x82, 0xf0, 0xf4, 0x8f, 0xb8, 0x20, 0, 0xed, 0xa0]).prop_map(|byte| vec![byte]),
        ];
        prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_tables_match_what_backtracking_over_the_name_matches(
            patterns in prop::collection::vec(pattern(), 1..6),
            subjects in prop::collection::vec(bytes(), 30),
        ) {
            let read: Vec<_> = patterns.iter().enumerate().flat_map(|(list, text)| tokens(text, list)).collect();
            let (table, ends) = build(&read).unwrap();
            for subject in subjects {
                let units: Vec<char> = crate::name::name(&subject).chars().collect();
                let mut expected: Vec<ListId> =
                    read.iter().filter(|(pattern, _)| naive(pattern, &units)).map(|(_, list)| *list).collect();
                expected.dedup();
                prop_assert_eq!(matched(&table, &ends, &subject), expected, "{:?} {:?}", patterns, subject);
            }
        }
    }

    #[test]
    fn the_layout_is_the_same_each_time() {
        let patterns: Vec<_> = ["/usr/**", "**/.env", "/a/*/b", "**/*.key"]
            .iter()
            .enumerate()
            .flat_map(|(list, text)| tokens(text, list))
            .collect();
        let bytes = || {
            let mut out = Vec::new();
            build(&patterns).unwrap().0.write(&mut out);
            out
        };
        assert_eq!(bytes(), bytes());
    }

    #[test]
    fn patterns_that_explode_are_refused() {
        let patterns: Vec<_> = (0..40).flat_map(|n| tokens(&format!("**/a{n}/**/b{n}"), 0)).collect();
        assert_eq!(build(&patterns).map(|_| ()), Err(TooLarge));
    }
}
