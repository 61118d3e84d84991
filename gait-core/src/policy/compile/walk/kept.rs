//! A walker as bytes, and as the cells that it is the same as.
//!
//! Cells take ten times as much, and as much longer to be read, digested and checked. So what is kept of a table are its
//! walkers; its cells follow from them, for who needs those.

use super::super::read::{DecodeError, Reader};
use super::{Few, Node, Walker, Way};

const OVER: u32 = 0;
const TEXT: u32 = 1;
const UNTIL: u32 = 2;
const ROW: u32 = 3;
const FEW: u32 = 4;

impl Walker {
    /// Nodes of six numbers each, the texts, the rows, each after how many there are: all numbers are 32 bits, little-endian. The
    /// columns of bytes are the table's.
    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        let mut put = |numbers: &[u32]| out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        // A table has at most as many cells as 32 bits can tell.
        put(&[self.nodes.len() as u32, self.text.len() as u32, self.rows.len() as u32]);
        for Node { way, end } in &self.nodes {
            put(&match *way {
                Way::Over => [OVER, *end, 0, 0, 0, 0],
                Way::Text { at, length, next, other } => [TEXT, *end, at, length, next, other],
                Way::Until { byte, next } => [UNTIL, *end, byte.into(), next, 0, 0],
                Way::Row(at) => [ROW, *end, at, 0, 0, 0],
                Way::Few(Few { columns: [low, high], usual, at }) => [FEW, *end, low, high, usual, at],
            });
        }
        put(&self.rows);
        out.extend_from_slice(&self.text);
    }

    /// What [`Walker::write`] wrote, for bytes in these columns: every number is checked that a walk follows.
    ///
    /// # Errors
    /// [`DecodeError::Damaged`]
    pub(in super::super) fn read(
        reader: &mut Reader<'_>,
        columns: &[u8; 256],
        width: u32,
    ) -> Result<Self, DecodeError> {
        let [nodes, text, rows] = [reader.number()?, reader.number()?, reader.number()?];
        let nodes = reader.records(nodes)?.map(node).collect::<Option<Box<[Node]>>>();
        let rows = reader.numbers(rows)?.collect();
        let text = reader.take(text as usize)?.into();
        let walker = nodes.map(|nodes| Self { columns: *columns, nodes, text, rows, start: 0 });
        walker.filter(|walker| walker.is_whole(width)).ok_or(DecodeError::Damaged("walker"))
    }

    /// Whether every way leads to a node, and texts are spelt by nodes that follow each other.
    fn is_whole(&self, width: u32) -> bool {
        let node = |state: u32| self.nodes.get(state as usize);
        let is_over = |state: u32| node(state).is_some_and(|node| node.way == Way::Over);
        let spelling = self.spelling();
        let is_spelt = |at: u32, length: u32, next: u32, other: u32| {
            let rest = spelling.get(at as usize + 1).and_then(|state| node(*state));
            let expected = Way::Text { at: at + 1, length: length - 1, next, other };
            length == 1 || rest.is_some_and(|rest| rest.way == expected)
        };
        let columns = width.wrapping_sub(1) as usize;
        let are_nodes = |states: Option<&[u32]>| {
            states.is_some_and(|states| states.iter().all(|state| (*state as usize) < self.nodes.len()))
        };
        let leads = |Node { way, .. }: &Node| match *way {
            Way::Over => true,
            Way::Text { at, length, next, other } => {
                let is_there = u64::from(at) + u64::from(length) <= self.text.len() as u64;
                length > 0 && is_there && node(next).is_some() && is_over(other) && is_spelt(at, length, next, other)
            }
            Way::Until { next, .. } => node(next).is_some(),
            Way::Row(at) => are_nodes(self.rows.get(at as usize..).and_then(|rows| rows.get(..columns))),
            Way::Few(few) => columns <= Few::COLUMNS && node(few.usual).is_some() && are_nodes(few.others(&self.rows)),
        };
        !self.nodes.is_empty() && self.nodes.iter().all(leads)
    }

    /// By place in the texts, the node that begins there.
    fn spelling(&self) -> Vec<u32> {
        let mut spelling = vec![0; self.text.len()];
        for (state, node) in (0..).zip(&self.nodes) {
            if let Way::Text { at, .. } = node.way
                && let Some(place) = spelling.get_mut(at as usize)
            {
                *place = state;
            }
        }
        spelling
    }

    /// How many states there are.
    pub(in super::super) fn states(&self) -> usize {
        self.nodes.len()
    }

    /// The cells that [`Walker::of`] gives this walker for.
    pub(in super::super) fn cells(&self, width: u32, base: u32) -> impl Iterator<Item = u32> {
        // What has no columns has no cells but ends.
        let columns = width.saturating_sub(1) as usize;
        let spelling = self.spelling();
        let mut row = vec![0; columns];
        (0..).zip(&self.nodes).flat_map(move |(state, Node { way, end })| {
            let mut all_but = |usual: u32, byte: u8, next: u32| {
                row.fill(usual);
                row[usize::from(self.columns[usize::from(byte)])] = next;
            };
            match *way {
                Way::Over => row.fill(state),
                Way::Until { byte, next } => all_but(state, byte, next),
                Way::Text { at, length: 1, next, other } => all_but(other, self.text[at as usize], next),
                Way::Text { at, other, .. } => all_but(other, self.text[at as usize], spelling[at as usize + 1]),
                Way::Row(at) => row.copy_from_slice(&self.rows[at as usize..at as usize + columns]),
                Way::Few(few) => (0..).zip(&mut row).for_each(|(column, cell)| *cell = few.get(column, &self.rows)),
            }
            let cells: Vec<u32> = row.iter().map(|state| base + state * width).chain([*end]).collect();
            cells
        })
    }
}

fn node(numbers: [u32; 6]) -> Option<Node> {
    let [kind, end, numbers @ ..] = numbers;
    let way = match (kind, numbers) {
        (OVER, [0, 0, 0, 0]) => Way::Over,
        (TEXT, [at, length, next, other]) => Way::Text { at, length, next, other },
        (UNTIL, [byte, next, 0, 0]) => Way::Until { byte: byte.try_into().ok()?, next },
        (ROW, [at, 0, 0, 0]) => Way::Row(at),
        (FEW, [low, high, usual, at]) => Way::Few(Few { columns: [low, high], usual, at }),
        _ => return None,
    };
    Some(Node { way, end })
}
