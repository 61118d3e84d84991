//! Every decision of a run in the order it was made: chained blocks of lines with signed checkpoints
//! (contract guarded-run 3).
//!
//! A journal is the concatenation of segments of canonical JSON lines. [`Writer`] appends to it and
//! signs a checkpoint over each block; [`Checker`] reads it back in one pass and refuses the first
//! line that a guard would not have written there; [`Ledger`] is what the lines add up to, from which
//! all other records of the run are derived. Both keep their place with the same [`Chain`]. [`Entry`]
//! is a line of a journal that was checked before.
//!
//! Where segments are kept is the caller's business ([`Segments`]), and so are time and keys.

mod chain;
mod checker;
mod decision_line;
mod define_line;
mod entry;
mod ledger;
mod line;
#[cfg(test)]
mod tests;
mod writer;

pub use chain::Chain;
pub use checker::{Checker, JournalError, LINE_LIMIT, Step};
pub use define_line::DefineParts;
pub use entry::Entry;
pub use ledger::{Ending, Ledger, LedgerIntent, Tally};
pub use line::{
    Attribution, Body, Checkpoint, Close, CloseReason, Decided, DecisionLine, Define, Disagreement, Enforced,
    EngineName, Exec, Exit, Fork, Hold, Lost, LostOutcome, Open, Seal, Source, Totals,
};
pub use writer::{Ended, SEGMENT_LIMIT, Segments, WriteError, Writer};

/// The schema id of the journal.
pub const JOURNAL_SCHEMA: &str = "gait.exec.journal";
