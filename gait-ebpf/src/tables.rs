//! The compiled policy as the kernel walks it: one value of one array map, filled through a mapping.
//!
//! The cells are those of gait-core's compiled policy (`automaton.md` layout d3): a cell holds the index of the first
//! cell of the next row, the last of a row the number of the end class. Two automata (patterns tied to the root, patterns
//! that float) share classes and cells; what their ends mean together is looked up in a join.
//!
//! Most bytes of most paths change nothing: in the middle of a name that no pattern has, only what could begin one, or end
//! the name, leads anywhere. So a row is named with a limit ([`LIMIT`]): only the columns before it lead out of the row, and
//! columns stand in an order that makes limits low.

/// Entries for kinds of action; [`crate::op::Op`] numbers them.
pub const KINDS: usize = 64;
/// Automata at most.
pub const AUTOMATA: usize = 32;
/// Entries of all joins at most.
pub const JOINS: usize = 1 << 17;
/// Cells of all automata at most: 4 MiB.
pub const CELLS: usize = 1 << 20;
/// Longest path that can be walked, in bytes: the kernel's own limit of a path.
pub const PATH_BYTES: usize = 4096;
/// Bytes that must follow a path in memory: it is walked by blocks whose first byte alone is looked at for being in it.
pub const BLOCK: usize = 64;

/// How a kind is decided.
pub mod shape {
    /// Not by these tables: denied.
    pub const NONE: u32 = 0;
    /// Always with the outcome in `first`.
    pub const CONSTANT: u32 = 1;
    /// By walking its value.
    pub const VALUE: u32 = 2;
    /// By walking its domain, and its value if [`super::KindEntry::automaton`] is not [`super::NO_AUTOMATON`].
    pub const HOST: u32 = 3;
}

/// No automaton.
pub const NO_AUTOMATON: u32 = u32::MAX;

/// One kind of action.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindEntry {
    /// One of [`shape`].
    pub shape: u32,
    /// Index of the automaton of the value.
    pub automaton: u32,
    /// First entry of its join, or the outcome itself.
    pub first: u32,
    /// Ends of the floating automaton, or of the domain's: the width of the join.
    pub width: u32,
    /// Index of the domain's automaton, for [`shape::HOST`].
    pub domain: u32,
    /// Nothing.
    pub reserved: [u32; 3],
}

/// A pair of automata over common classes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Automaton {
    /// The rows in which the anchored and the floating automaton start, as cells name them.
    pub starts: [u32; 2],
    /// The rows that both are in after a slash, with which each path begins.
    pub rooted: [u32; 2],
    /// Column of the end class.
    pub end: u32,
    /// Nothing.
    pub reserved: [u32; 3],
    /// The column of each byte.
    pub classes: [u8; 256],
}

/// A cell is the index of a row and, from this bit on, how many columns can lead out of that: the first ones. 0: none does, so
/// the end class is known.
pub const LIMIT: u32 = 20;

/// All tables of one policy.
#[repr(C)]
pub struct Tables {
    /// Rows of all automata. At the start, where a program needs nothing but the index to get at a cell.
    pub cells: [u32; CELLS],
    /// By [`crate::op::Op`].
    pub kinds: [KindEntry; KINDS],
    /// By [`KindEntry::automaton`].
    pub automata: [Automaton; AUTOMATA],
    /// Outcomes.
    pub joins: [u32; JOINS],
}

/// What a decision comes to, the two low bits of an outcome; the rest is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Effect {
    /// Nothing is let through.
    Deny = 0,
    /// It happens.
    Allow = 1,
    /// Somebody has to be asked.
    Ask = 2,
}

/// The outcome of what no table decides: a denial with a number that no table has.
pub const UNDECIDED: u32 = !3;

/// Kinds of the floor, which is asked before the policy: by what an operation does.
pub mod floor {
    /// Looking at something.
    pub const LOOK: u32 = 40;
    /// Changing something.
    pub const CHANGE: u32 = 41;
    /// Taking something from its place, or putting it in the place of something.
    pub const MOVE: u32 = 42;
}

/// The outcome of a floor denial that the path alone explains.
pub const FLOOR_PATH: u32 = 0xffff_ff00;
/// Of one aimed at a process that is not of the tree.
pub const FLOOR_OUTSIDER: u32 = 0xffff_ff04;
/// Of one that would gain privilege.
pub const FLOOR_PRIVILEGE: u32 = 0xffff_ff08;
/// Of an object whose path could not be had.
pub const FLOOR_UNRESOLVED: u32 = 0xffff_ff0c;
/// Of something made while a folder is moved, or of moving one: nothing may come to be in it, or come with it, unseen.
pub const ENGINE_MOVING: u32 = 0xffff_ff10;

/// An outcome from its number and effect.
pub const fn outcome(number: u32, effect: Effect) -> u32 {
    number << 2 | effect as u32
}

/// Whether an outcome lets the action happen.
pub const fn allows(outcome: u32) -> bool {
    outcome & 3 == Effect::Allow as u32
}

/// The number of an outcome.
pub const fn number(outcome: u32) -> u32 {
    outcome >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_table_decides_is_denied() {
        assert!(!allows(UNDECIDED));
        assert!(!allows(0));
        for denial in [FLOOR_PATH, FLOOR_OUTSIDER, FLOOR_PRIVILEGE, FLOOR_UNRESOLVED, ENGINE_MOVING] {
            assert!(!allows(denial));
        }
        assert!(allows(outcome(7, Effect::Allow)));
        assert_eq!(number(outcome(7, Effect::Ask)), 7);
    }

    #[test]
    fn nothing_is_padded() {
        assert_eq!(size_of::<KindEntry>(), 32);
        assert_eq!(CELLS, 1 << LIMIT);
        assert_eq!(size_of::<Automaton>(), 288);
        assert_eq!(size_of::<Tables>(), 32 * KINDS + 288 * AUTOMATA + 4 * (JOINS + CELLS));
    }
}
