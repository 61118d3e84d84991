//! The policy compiled for one run: automata over path bytes that give the evaluator's verdict.
//!
//! For one run the context is fixed, and so for one [`Kind`] of action a rule comes down to
//! conditions on the value: lists of paths, of exact values, of domains. All lists of a kind become one
//! table of two automata ([`table`]); what the automata say together selects an outcome, which is a
//! whole [`Decision`] that the reference evaluator gave when the table was made. So a decision is a walk
//! over the bytes and one look-up, and its words are the evaluator's own.
//!
//! Bytes are raw, as the kernel has them: the answer for `b` is the evaluator's for `name(b)`
//! (contract guarded-run 2.1).

mod build;
mod byte_dfa;
mod bytes;
mod hash;
mod intent;
mod kind;
mod minimise;
mod nfa;
mod prefix;
mod read;
mod table;
mod tables_view;
mod unit;
mod unit_dfa;
mod walk;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::build::{Builder, undecidable};
pub use self::bytes::Stored;
use self::hash::FastMap;
pub use self::kind::Kind;
pub use self::read::{DecodeError, decode};
use self::table::Table;
pub use self::tables_view::{Ask, Automata};
use super::evaluate::Decision;
use super::model::Policy;
use crate::intent::{Context, EndpointClass, TargetKind};

/// How much a compiled policy may take. What exceeds it is refused with the pattern that costs most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// States of one automaton before it is minimised.
    pub states: usize,
    /// Steps of making automata deterministic, over all tables: bounds the time to compile.
    pub work: usize,
    /// Cells of all tables, 4 bytes each.
    pub cells: usize,
    /// Combinations of what two automata can say, for one kind.
    pub combinations: usize,
}

impl Default for Limits {
    /// 32,768 states, 16 million steps (a quarter of a second at most), 1 million cells (4 MB), 65,536 combinations.
    fn default() -> Self {
        Self { states: 1 << 15, work: 16_000_000, cells: 1 << 20, combinations: 1 << 16 }
    }
}

/// A policy that is too large to compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// An automaton exceeds [`Limits::states`] or [`Limits::work`].
    #[error("the patterns of rule `{rule}` need too large an automaton; `{pattern}` in `{list}` costs most")]
    TooLarge {
        /// Name of the rule whose pattern costs most.
        rule: String,
        /// List of the rule that holds it.
        list: &'static str,
        /// The pattern.
        pattern: String,
    },
    /// The tables together exceed [`Limits::cells`].
    #[error(
        "the policy needs {needed} cells of tables, {limit} are allowed; `{pattern}` in `{list}` of rule `{rule}` costs most"
    )]
    TooManyCells {
        /// Name of the rule whose pattern costs most in the table that was one too many.
        rule: String,
        /// List of the rule that holds it.
        list: &'static str,
        /// The pattern.
        pattern: String,
        /// Cells so far.
        needed: usize,
        /// [`Limits::cells`].
        limit: usize,
    },
    /// The lists of a kind overlap in more ways than [`Limits::combinations`].
    #[error("the rules about `{tool_name}` (`{operation}`) distinguish {needed} cases, {limit} are allowed")]
    TooManyCombinations {
        /// Tool of the kind.
        tool_name: String,
        /// Operation of the kind.
        operation: String,
        /// Combinations.
        needed: usize,
        /// [`Limits::combinations`].
        limit: usize,
    },
}

/// Names a [`Kind`] of one [`CompiledPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KindId(u32);

/// A policy compiled for one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledPolicy {
    tables: Vec<Table>,
    /// What combinations of end classes mean: an index into `outcomes` each.
    joins: Vec<Arc<[u32]>>,
    outcomes: Vec<Decision>,
    kinds: Vec<CompiledKind>,
    ids: FastMap<Kind, KindId>,
    /// What all kinds have in common.
    context: Arc<Context>,
    undecidable: Decision,
}

/// What a policy says about one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CompiledKind {
    kind: Kind,
    shape: Shape,
    /// Directories and files outside of which nothing is allowed.
    prefixes: Vec<Vec<u8>>,
}

/// How a kind is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    /// Always like this: an index into `outcomes`.
    Constant(u32),
    /// By the value.
    Value(Join),
    /// By the value, which is a clean path.
    Path(Join),
    /// By domain, and by value if there is a table for it.
    Host {
        /// For the value.
        value: Option<u32>,
        /// For the domain.
        join: Join,
    },
}

/// A table and what its ends mean: `join[first * width + second]` for two end classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Join {
    table: u32,
    join: u32,
    width: u32,
}

impl CompiledPolicy {
    /// One that has no kinds yet.
    fn of_nothing(context: &Arc<Context>) -> Self {
        Self {
            tables: Vec::new(),
            joins: Vec::new(),
            outcomes: Vec::new(),
            kinds: Vec::new(),
            ids: FastMap::default(),
            context: Arc::clone(context),
            undecidable: undecidable(),
        }
    }

    /// Compiles `policy` for a run with `context` and the `kinds` of action that its engine knows.
    ///
    /// # Errors
    /// [`CompileError`] if it takes more than `limits`.
    pub fn compile(
        policy: &Policy,
        context: &Arc<Context>,
        kinds: impl IntoIterator<Item = Kind>,
        limits: &Limits,
    ) -> Result<Self, CompileError> {
        let mut builder = Builder::new(policy, context, limits);
        builder.add_all(kinds)?;
        Ok(builder.finish())
    }

    /// The id of a kind, if it was compiled.
    pub fn kind(&self, kind: &Kind) -> Option<KindId> {
        self.ids.get(kind).copied()
    }

    /// Decides about one action. Doesn't allocate.
    ///
    /// `value` is what the kernel has: a path is clean (no empty segment, no `.` or `..`, no final `/`), a
    /// host is `domain:port` or `[domain]:port`, and its `domain` lower case without final dot. What is not
    /// like that is blocked (`guard_engine_undecidable`).
    pub fn decide(&self, kind: KindId, value: &[u8], domain: Option<&[u8]>) -> &Decision {
        let outcome = self.kinds.get(kind.0 as usize).and_then(|kind| self.outcome(kind, value, domain));
        outcome.and_then(|outcome| self.outcomes.get(outcome as usize)).unwrap_or(&self.undecidable)
    }

    fn outcome(&self, kind: &CompiledKind, value: &[u8], domain: Option<&[u8]>) -> Option<u32> {
        match kind.shape {
            Shape::Path(_) if !is_clean(value) => None,
            _ => self.outcome_of_clean(kind, value, domain),
        }
    }

    /// The outcome, if a value that is a path is clean.
    fn outcome_of_clean(&self, kind: &CompiledKind, value: &[u8], domain: Option<&[u8]>) -> Option<u32> {
        match kind.shape {
            Shape::Constant(outcome) => Some(outcome),
            Shape::Path(join) | Shape::Value(join) => {
                let ends = self.tables.get(join.table as usize)?.walk(value);
                self.joined(join, ends)
            }
            Shape::Host { value: table, join } => {
                let domain = domain.filter(|domain| names_host(value, domain))?;
                let first = match table {
                    Some(table) => self.tables.get(table as usize)?.walk_anchored(value),
                    None => 0,
                };
                let [second, _] = self.tables.get(join.table as usize)?.walk(domain);
                self.joined(join, [first, second])
            }
        }
    }

    fn joined(&self, join: Join, [first, second]: [u32; 2]) -> Option<u32> {
        self.joins.get(join.join as usize)?.get((first * join.width + second) as usize).copied()
    }

    /// Directories and files outside of which the policy allows no program to run, for Landlock: a
    /// superset of what it allows. `/` means that there is no such bound; no entry, that none may run.
    pub fn exec_prefixes(&self) -> Vec<&[u8]> {
        self.prefixes(EndpointClass::ProcExec)
    }

    /// As [`CompiledPolicy::exec_prefixes`], for reading and listing.
    pub fn read_prefixes(&self) -> Vec<&[u8]> {
        self.prefixes(EndpointClass::FsRead)
    }

    /// As [`CompiledPolicy::exec_prefixes`], for all that makes or changes a name or what is behind it.
    pub fn write_prefixes(&self) -> Vec<&[u8]> {
        self.prefixes(EndpointClass::FsWrite)
    }

    fn prefixes(&self, class: EndpointClass) -> Vec<&[u8]> {
        let of_class =
            |kind: &&CompiledKind| kind.kind.endpoint_class == class && kind.kind.target_kind == TargetKind::Path;
        let all = self.kinds.iter().filter(of_class).flat_map(|kind| kind.prefixes.iter().map(Vec::as_slice));
        prefix::outermost(all.collect())
    }
}

/// Whether a path has no empty segment, no `.`, no `..`: those of the kernel never do.
fn is_clean(path: &[u8]) -> bool {
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    let Some((first, after)) = relative.split_first() else { return true };
    // No branch per byte: hardly a path has a segment that begins like this.
    let is_suspect = |before: u8, byte: u8| (before == b'/') & ((byte == b'/') | (byte == b'.'));
    let pairs = relative.iter().zip(after);
    let has_suspect = pairs.fold(is_suspect(b'/', *first), |found, (before, byte)| found | is_suspect(*before, *byte));
    match relative.last() {
        Some(b'/') => false,
        _ => !has_suspect || relative.split(|byte| *byte == b'/').all(|segment| !matches!(segment, b"" | b"." | b"..")),
    }
}

/// Whether `value` is `domain` and a port, and the domain is in the one form that names it.
fn names_host(value: &[u8], domain: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"/?#\\@[]".contains(byte);
    let port = match value.strip_prefix(b"[") {
        Some(rest) => rest.strip_prefix(domain).and_then(|rest| rest.strip_prefix(b"]:")),
        None if domain.contains(&b':') => None,
        None => value.strip_prefix(domain).and_then(|rest| rest.strip_prefix(b":")),
    };
    port.is_some_and(|port| port.iter().all(u8::is_ascii_digit))
        && domain.iter().all(is_plain)
        && domain.last().is_some_and(|last| *last != b'.')
}
