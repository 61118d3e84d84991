//! The tables for others who walk them: an engine that decides in the kernel.

use super::{CompiledPolicy, Join, KindId, Shape};
use crate::policy::Verdict;

/// A pair of automata over common byte classes: patterns tied to the root, and patterns that float.
///
/// Walk: start at both of `starts`; for each byte take `cells[row + classes[byte]]` as the next row; at the end
/// `cells[row + width - 1]` of both are the two end classes.
#[derive(Clone, Copy, Debug)]
pub struct Automata<'a> {
    /// The column of each byte.
    pub classes: &'a [u8; 256],
    /// Rows of `width` cells.
    pub cells: &'a [u32],
    /// Cells of a row.
    pub width: u32,
    /// First cells of the rows in which the two start.
    pub starts: [u32; 2],
}

/// How a kind is decided, in numbers of automata, joins and outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Always with this outcome.
    Constant(u32),
    /// `joins[join][first * width + second]` for the end classes of the value. A value that is not a clean path is
    /// undecidable if `is_path`.
    Value {
        /// Number of the automata.
        automata: u32,
        /// Number of the join.
        join: u32,
        /// Of the join.
        width: u32,
        /// Whether values are paths.
        is_path: bool,
    },
    /// The same for the first end class of the value (0 if there are no automata for it) and the first of the domain.
    Host {
        /// Number of the automata of the value.
        value: Option<u32>,
        /// Number of the automata of the domain.
        domain: u32,
        /// Number of the join.
        join: u32,
        /// Of the join.
        width: u32,
    },
}

impl CompiledPolicy {
    /// All automata, by number.
    pub fn automata(&self) -> impl ExactSizeIterator<Item = Automata<'_>> {
        self.tables.iter().map(super::table::Table::view)
    }

    /// All joins, by number: outcomes.
    pub fn joins(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.joins.iter().map(|join| &**join)
    }

    /// The verdict of an outcome, by number.
    pub fn verdicts(&self) -> impl ExactSizeIterator<Item = Verdict> {
        self.outcomes.iter().map(|outcome| outcome.verdict)
    }

    /// How a kind is decided.
    pub fn ask(&self, kind: KindId) -> Option<Ask> {
        let value = |Join { table, join, width }, is_path| Ask::Value { automata: table, join, width, is_path };
        Some(match self.kinds.get(kind.0 as usize)?.shape {
            Shape::Constant(outcome) => Ask::Constant(outcome),
            Shape::Value(join) => value(join, false),
            Shape::Path(join) => value(join, true),
            Shape::Host { value, join: Join { table, join, width } } => Ask::Host { value, domain: table, join, width },
        })
    }
}
