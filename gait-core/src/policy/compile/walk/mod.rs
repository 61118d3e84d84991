//! A table in the form it is walked in: one automaton each, with as little memory touched as can be.
//!
//! Most states of a policy's automata have one way on, or none: names that are spelt out, and what comes after all
//! is decided. Rows of cells for them would fill caches with copies of one number. So a state is a [`Node`]: spelt out
//! text is compared at once, what can't change any more ends the walk, and a state that waits for one byte looks for
//! it. Only states that really branch have a row, and most of those only of the few ways that are not the usual one. What a walk
//! answers is what the cells say, state by state.

mod few;
mod kept;

use memchr::memchr;

use self::few::Few;

/// One automaton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walker {
    /// The column of each byte.
    columns: [u8; 256],
    nodes: Box<[Node]>,
    /// Texts of [`Way::Text`].
    text: Box<[u8]>,
    /// Rows of [`Way::Row`] and [`Way::Few`].
    rows: Box<[u32]>,
    start: u32,
}

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    way: Way,
    /// The end class of a name that ends here.
    end: u32,
}

/// What becomes of the bytes that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Nothing changes any more.
    Over,
    /// `length` bytes of text from `at` lead to `next`; others to `other`, where nothing changes any more. A name that
    /// ends inside the text ends as it would here.
    Text { at: u32, length: u32, next: u32, other: u32 },
    /// Until this byte nothing changes; it leads to `next`.
    Until { byte: u8, next: u32 },
    /// By column: from here in `rows` the node of each.
    Row(u32),
    /// By column, of which most are alike.
    Few(Few),
}

impl Walker {
    /// The automaton of `cells`, in rows of a cell for each column and the end class; a cell is where its row begins, plus `base`.
    /// `classes` gives the column of a byte. It starts in the first row.
    pub(super) fn of(classes: &[u8; 256], cells: &[u32], width: u32, base: u32) -> Self {
        let columns = width as usize - 1;
        let mut only = vec![None; columns];
        let mut count = vec![0_usize; columns];
        for (byte, class) in (0..=255_u8).zip(classes) {
            count[usize::from(*class)] += 1;
            only[usize::from(*class)] = Some(byte);
        }
        for (only, count) in only.iter_mut().zip(&count) {
            *only = only.filter(|_| *count == 1);
        }
        let rows = Rows { cells, width: width as usize, base };
        let states = rows.len();
        let mut maker = Maker { rows, only: &only, nodes: vec![None; states], text: Vec::new() };
        (0..states).for_each(|state| maker.make(state));
        let mut branches = Vec::new();
        let nodes = maker.nodes.iter().enumerate().map(|(state, way)| {
            let way = way.unwrap_or_else(|| {
                // As many cells as the table has, at most.
                let at = branches.len() as u32;
                let row: Vec<u32> = maker.rows.row(state).iter().map(|cell| maker.rows.number(*cell)).collect();
                Few::of(&row, &mut branches).map(Way::Few).unwrap_or_else(|| {
                    branches.extend(row);
                    Way::Row(at)
                })
            });
            Node { way, end: maker.rows.end(state) }
        });
        let nodes = nodes.collect();
        Self { columns: *classes, nodes, text: maker.text.into(), rows: branches.into(), start: 0 }
    }

    /// The greatest end class of a state.
    pub(super) fn last_end(&self) -> u32 {
        self.nodes.iter().map(|node| node.end).max().unwrap_or(0)
    }

    /// The end class of `bytes`.
    #[inline]
    pub(super) fn walk(&self, bytes: &[u8]) -> u32 {
        let mut rest = bytes;
        let mut node = self.nodes[self.start as usize];
        loop {
            let next = match node.way {
                Way::Over => return node.end,
                Way::Row(row) => {
                    let Some((byte, after)) = rest.split_first() else { return node.end };
                    rest = after;
                    self.rows[row as usize + usize::from(self.columns[usize::from(*byte)])]
                }
                Way::Few(few) => {
                    let Some((byte, after)) = rest.split_first() else { return node.end };
                    rest = after;
                    few.get(self.columns[usize::from(*byte)], &self.rows)
                }
                Way::Text { at, length, next, other } => {
                    let text = &self.text[at as usize..(at + length) as usize];
                    match rest.split_at_checked(text.len()) {
                        Some((spelt, after)) if is_same(spelt, text) => {
                            rest = after;
                            next
                        }
                        None if text.starts_with(rest) => return node.end,
                        _ => return self.nodes[other as usize].end,
                    }
                }
                Way::Until { byte, next } => {
                    let Some(at) = memchr(byte, rest) else { return node.end };
                    rest = &rest[at + 1..];
                    next
                }
            };
            node = self.nodes[next as usize];
        }
    }
}

/// Whether both are equal. Texts are short: this is decided sooner than a call of the C library begins.
#[inline]
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let word = |bytes: &[u8]| bytes.first_chunk::<8>().map(|word| u64::from_ne_bytes(*word));
    match a.len() {
        0..8 => a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0,
        // The last word overlaps the one before.
        8..=16 => word(a) == word(b) && a.last_chunk::<8>() == b.last_chunk::<8>(),
        _ => a == b,
    }
}

/// Where most columns of a row lead, and the one byte that leads elsewhere.
enum Shape {
    Same(u32),
    AllBut(u32, u8, u32),
    Branching,
}

/// Rows of cells, each of which leads to one of them.
struct Rows<'a> {
    cells: &'a [u32],
    width: usize,
    base: u32,
}

impl<'a> Rows<'a> {
    fn len(&self) -> usize {
        self.cells.len() / self.width
    }

    fn row(&self, state: usize) -> &'a [u32] {
        &self.cells[state * self.width..(state + 1) * self.width - 1]
    }

    fn end(&self, state: usize) -> u32 {
        self.cells[(state + 1) * self.width - 1]
    }

    /// The number of the row to which a cell leads.
    fn number(&self, cell: u32) -> u32 {
        (cell - self.base) / self.width as u32
    }

    /// The cell that leads to a row.
    fn cell(&self, state: usize) -> u32 {
        self.base + (state * self.width) as u32
    }
}

struct Maker<'a> {
    rows: Rows<'a>,
    /// The byte of each column that has one only.
    only: &'a [Option<u8>],
    nodes: Vec<Option<Way>>,
    text: Vec<u8>,
}

impl Maker<'_> {
    fn shape(&self, state: usize) -> Shape {
        let row = self.rows.row(state);
        let number = |cell: u32| self.rows.number(cell);
        let [first, .., last] = row else {
            return row.first().map_or(Shape::Branching, |cell| Shape::Same(number(*cell)));
        };
        let usual = match (first == last, row.get(1)) {
            (false, Some(second)) if second == last => *last,
            _ => *first,
        };
        let mut unusual = row.iter().enumerate().filter(|(_, target)| **target != usual);
        match (unusual.next(), unusual.next()) {
            (None, _) => Shape::Same(number(usual)),
            (Some((column, target)), None) => match self.only[column] {
                Some(byte) => Shape::AllBut(number(usual), byte, number(*target)),
                None => Shape::Branching,
            },
            _ => Shape::Branching,
        }
    }

    fn is_over(&self, state: u32) -> bool {
        let itself = self.rows.cell(state as usize);
        self.rows.row(state as usize).iter().all(|target| *target == itself)
    }

    fn make(&mut self, state: usize) {
        if self.nodes[state].is_some() {
            return;
        }
        match self.shape(state) {
            Shape::Same(target) if target as usize == state => self.nodes[state] = Some(Way::Over),
            Shape::AllBut(usual, byte, next) if usual as usize == state => {
                self.nodes[state] = Some(Way::Until { byte, next });
            }
            Shape::AllBut(other, byte, next) if self.is_over(other) => self.spell(state, other, byte, next),
            _ => {}
        }
    }

    /// The text that begins at `state`: as long as whatever differs from it is over, and ends are those of `state`.
    fn spell(&mut self, state: usize, other: u32, byte: u8, next: u32) {
        let at = self.text.len() as u32;
        let mut spelt = Vec::new();
        let (mut last, mut byte, mut next) = (state, byte, next);
        loop {
            // Until the text is whole this keeps a state from being spelt twice.
            self.nodes[last] = Some(Way::Over);
            self.text.push(byte);
            spelt.push(last);
            last = next as usize;
            match self.shape(last) {
                Shape::AllBut(usual, more, after)
                    if usual == other && self.nodes[last].is_none() && self.rows.end(last) == self.rows.end(state) =>
                {
                    (byte, next) = (more, after);
                }
                _ => break,
            }
        }
        // Texts are as long as patterns, which a budget bounds.
        let length = spelt.len() as u32;
        for (offset, state) in (0..).zip(spelt) {
            self.nodes[state] = Some(Way::Text { at: at + offset, length: length - offset, next, other });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::Reader;
    use super::*;

    /// Rows over `abc` and anything else, the last column.
    fn walker(rows: &[[u32; 4]], ends: &[u32]) -> Walker {
        let mut classes = [3; 256];
        (0..).zip(b"abc").for_each(|(class, byte)| classes[usize::from(*byte)] = class);
        Walker::of(&classes, &cells(rows, ends, 7), 5, 7)
    }

    /// The same as cells that begin at `base`.
    fn cells(rows: &[[u32; 4]], ends: &[u32], base: u32) -> Vec<u32> {
        let row = |(row, end): (&[u32; 4], &u32)| [row.map(|state| base + state * 5).as_slice(), &[*end]].concat();
        rows.iter().zip(ends).flat_map(row).collect()
    }

    /// What the rows say, byte by byte.
    fn stepwise(rows: &[[u32; 4]], ends: &[u32], bytes: &[u8]) -> u32 {
        let column = |byte: u8| b"abc".iter().position(|known| *known == byte).unwrap_or(3);
        ends[bytes.iter().fold(0, |state, byte| rows[state][column(*byte)] as usize)]
    }

    fn agrees(rows: &[[u32; 4]], ends: &[u32]) -> Walker {
        let walker = walker(rows, ends);
        let mut texts = vec![Vec::new()];
        for _ in 0..6 {
            for text in &texts {
                assert_eq!(walker.walk(text), stepwise(rows, ends, text), "{:?}", String::from_utf8_lossy(text));
            }
            texts = texts.iter().flat_map(|text| b"abcx".map(|byte| [text.as_slice(), &[byte]].concat())).collect();
        }
        assert_eq!(walker.cells(5, 7).collect::<Vec<u32>>(), cells(rows, ends, 7));
        let mut kept = Vec::new();
        walker.write(&mut kept);
        assert_eq!(Walker::read(&mut Reader(&kept), &walker.columns, 5).as_ref(), Ok(&walker));
        walker
    }

    #[test]
    fn a_name_that_is_spelt_out_is_one_text() {
        // `abc` and nothing else.
        let walker = agrees(&[[1, 4, 4, 4], [4, 2, 4, 4], [4, 4, 3, 4], [4, 4, 4, 4], [4, 4, 4, 4]], &[0, 0, 0, 1, 0]);
        assert_eq!(walker.nodes[0].way, Way::Text { at: 0, length: 3, next: 3, other: 4 });
        assert_eq!(walker.nodes[1].way, Way::Text { at: 1, length: 2, next: 3, other: 4 });
        assert_eq!((&*walker.text, walker.rows.len()), (&b"abc"[..], 0));
    }

    #[test]
    fn what_ends_inside_a_text_otherwise_than_before_is_a_text_of_its_own() {
        // `a` and `abc`.
        let walker = agrees(&[[1, 4, 4, 4], [4, 2, 4, 4], [4, 4, 3, 4], [4, 4, 4, 4], [4, 4, 4, 4]], &[0, 1, 0, 1, 0]);
        assert!(matches!(walker.nodes[0].way, Way::Text { length: 1, .. }), "{:?}", walker.nodes[0]);
    }

    #[test]
    fn what_waits_for_one_byte_looks_for_it() {
        // Something after the last `a`.
        let walker = agrees(&[[1, 0, 0, 0], [1, 2, 2, 2], [1, 2, 2, 2]], &[0, 0, 1]);
        assert_eq!(walker.nodes[0].way, Way::Until { byte: b'a', next: 1 });
    }

    #[test]
    fn a_text_that_leads_back_into_itself_ends_there() {
        // `ab` any number of times.
        agrees(&[[1, 2, 2, 2], [2, 0, 2, 2], [2, 2, 2, 2]], &[1, 1, 1]);
        agrees(&[[1, 2, 2, 2], [2, 0, 2, 2], [2, 2, 2, 2]], &[1, 0, 0]);
        agrees(&[[1, 3, 3, 3], [3, 2, 3, 3], [1, 3, 3, 3], [3, 3, 3, 3]], &[0, 0, 0, 1]);
    }
}
