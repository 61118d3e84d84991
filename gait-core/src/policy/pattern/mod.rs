//! Path and domain patterns of `endpoint` constraints (control 6, "Path patterns").
//!
//! A path pattern is matched against the whole of a *clean* path ([`clean`]). Its meaning is that of
//! Go's `path.Match`, of a trailing `/**`, and of `**` as a whole segment anywhere. A pattern that is
//! no valid glob matches the string that it is and nothing else.
//!
//! [`Token`] is the one definition of what a pattern means: the matcher here walks tokens, and the
//! policy compiler turns the same tokens into an automaton.

mod clean;
mod domain;
mod glob;
mod path;
mod program;

pub use clean::{CleanPath, Escapes, clean};
pub use domain::DomainPattern;
pub use glob::escape_glob;
pub use path::PathPattern;

/// One piece of a pattern; a path matches if the pieces match its parts in order, with nothing left over.
///
/// The unit is the character. In names that come from the kernel one private-use character stands for
/// one raw byte ([`crate::name`]), so it counts as one unit too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// This character.
    Char(char),
    /// `?`: one character that is not `/`.
    AnyChar,
    /// `*`: any run without `/`, the empty one too.
    AnyRun,
    /// `[a-c]` or `[^a-c]`: one character in or outside of the inclusive ranges. As in `path.Match`,
    /// that may be `/`.
    Class {
        /// Whether the ranges are what must not match.
        negated: bool,
        /// Inclusive ranges; one where the first is greater than the last holds nothing.
        ranges: Vec<(char, char)>,
    },
    /// `**` as a whole segment.
    Tree(Tree),
}

/// Where a `**` segment stands, with the separators that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// `**/` at the start: nothing, or anything that ends in `/`.
    Leading,
    /// `/**/`: `/`, or anything that starts and ends with `/` and is longer.
    Middle,
    /// `/**` at the end: nothing, or anything that starts with `/`.
    Trailing,
    /// `**` alone: anything.
    Whole,
}

/// Whether a pattern is a valid glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is.
    Glob,
    /// It is not: it matches only the string that it is (and below it, with a trailing `/**`).
    Malformed,
}

/// Whether existing evaluators read a pattern the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The contract's.
    Contract,
    /// It has `**` as a segment elsewhere than at the end, or after a prefix with wildcards.
    DoubleStar,
}
