//! From an action to its definition without translating it again.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, Hash, Hasher};

use gait_core::canonical::{CanonicalError, canonical_bytes};
use gait_core::journal::Decided;
use gait_core::policy::Verdict;

use super::Ruling;

/// Entries kept; then all are forgotten and definitions are repeated, so that an agent that makes up
/// names can't make the guard grow.
const CAPACITY: usize = 1 << 19;

/// A keyed 128-bit hash of an action: the agent picks names, but knows neither key nor hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64, u64);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Makes keys.
#[derive(Debug, Default)]
pub(super) struct Keys(RandomState, RandomState);

impl Keys {
    pub(super) fn of(&self, action: impl Hash) -> Key {
        Key(self.0.hash_one(&action), self.1.hash_one(&action))
    }
}

/// What was decided about an action.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Its definition in the journal.
    pub def: u64,
    /// The final verdict.
    pub verdict: Verdict,
    /// What the engine is told.
    pub ruling: Ruling,
}

/// Definitions by action.
#[derive(Default)]
pub(super) struct KnownActions {
    entries: HashMap<Key, Known, Spread>,
}

impl KnownActions {
    pub(super) fn get(&self, key: Key) -> Option<Known> {
        self.entries.get(&key).copied()
    }

    pub(super) fn insert(&mut self, key: Key, known: Known) {
        if self.entries.len() >= CAPACITY {
            self.entries.clear();
        }
        self.entries.insert(key, known);
    }
}

/// Decisions as canonical bytes: the definitions of a run share few.
#[derive(Default)]
pub(super) struct Spellings(HashMap<Decided, Box<[u8]>>);

/// Spellings kept; then all are forgotten.
const SPELLINGS: usize = 4096;

impl Spellings {
    pub(super) fn of(&mut self, decision: &Decided) -> Result<&[u8], CanonicalError> {
        if self.0.len() >= SPELLINGS && !self.0.contains_key(decision) {
            self.0.clear();
        }
        Ok(match self.0.entry(decision.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(canonical_bytes(decision)?.into()),
        })
    }
}

/// Keys are hashes already.
#[derive(Clone, Copy, Default)]
struct Spread;

#[derive(Default)]
struct Same(u64);

impl BuildHasher for Spread {
    type Hasher = Same;

    fn build_hasher(&self) -> Same {
        Same::default()
    }
}

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}
