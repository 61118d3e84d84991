//! A compiled policy read again from what was kept of it.
//!
//! Nothing is taken on trust: beside the digests every number is checked that a walk follows, so that bytes which are
//! not what was written are an error, and never a policy that panics, or looks at what is not there.

use std::sync::Arc;

use serde::Deserialize;

use super::bytes::STORED;
use super::kind::Kind;
use super::table::Table;
use super::{CompiledKind, CompiledPolicy, Join, KindId, Shape};
use crate::digest::Sha256Hex;
use crate::intent::Context;
use crate::policy::evaluate::Decision;
use crate::policy::model::Verdict;

/// Bytes that are no compiled policy, or not the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are something else, or of another version.
    #[error("no compiled policy of this version")]
    Foreign,
    /// They were compiled from something else.
    #[error("compiled from something else")]
    OtherKey,
    /// They are not what was written.
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

use DecodeError::Damaged;

/// Reads what [`CompiledPolicy::store`] gave for `key`, with the `context` and the `kinds` that it was compiled with. Gives
/// the SHA-256 of its tables too, as whoever kept it found it.
///
/// # Errors
/// [`DecodeError`] for any other bytes, key or kinds.
pub fn decode(
    bytes: &[u8],
    key: &Sha256Hex,
    context: &Arc<Context>,
    kinds: impl IntoIterator<Item = Kind>,
) -> Result<(CompiledPolicy, Sha256Hex), DecodeError> {
    let mut all = Reader(bytes.strip_prefix(STORED).ok_or(DecodeError::Foreign)?);
    let sum = Sha256Hex::from_bytes(*all.array()?);
    if Sha256Hex::of(all.0) != sum {
        return Err(Damaged("digest"));
    }
    if all.array()? != key.as_bytes() {
        return Err(DecodeError::OtherKey);
    }
    let tables_sha256 = Sha256Hex::from_bytes(*all.array()?);
    let records = serde_json::from_slice(all.text()?);
    let (outcomes, records): (Vec<OutcomeRecord>, Vec<KindRecord>) = records.map_err(|_| Damaged("outcomes"))?;
    let mut result = CompiledPolicy::of_nothing(context);
    result.outcomes = outcomes.into_iter().map(Decision::from).collect();
    let mut records = records.into_iter();
    for kind in kinds {
        if result.ids.contains_key(&kind) {
            continue;
        }
        let record = records.next().filter(|record| record.names(&kind)).ok_or(Damaged("kinds"))?;
        let mut prefixes = Vec::new();
        for _ in 0..all.number()? {
            prefixes.push(all.text()?.to_vec());
        }
        result.ids.insert(kind.clone(), KindId(result.kinds.len() as u32));
        result.kinds.push(CompiledKind { kind, shape: record.shape, prefixes });
    }
    for _ in 0..all.number()? {
        result.tables.push(Table::read(&mut all)?);
    }
    for _ in 0..all.number()? {
        let length = all.number()?;
        result.joins.push(all.numbers(length)?.collect());
    }
    if records.next().is_some() || !all.0.is_empty() || !result.is_whole() {
        return Err(Damaged("tables"));
    }
    Ok((result, tables_sha256))
}

impl CompiledPolicy {
    /// Whether every number of a table, join or outcome is that of one, and every end class has its entry.
    fn is_whole(&self) -> bool {
        let is_outcome = |outcome: &u32| (*outcome as usize) < self.outcomes.len();
        let last_ends = |table: u32| self.tables.get(table as usize).map(Table::last_ends);
        let fits = |Join { join, width, .. }: &Join, first: u32, second: u32| {
            let length = self.joins.get(*join as usize).map(|join| join.len() as u64);
            // No product of two numbers of 32 bits and one more is too large for 64.
            second < *width && length == Some((u64::from(first) + 1) * u64::from(*width))
        };
        self.joins.iter().all(|join| join.iter().all(is_outcome))
            && self.kinds.iter().all(|kind| match &kind.shape {
                Shape::Constant(outcome) => is_outcome(outcome),
                Shape::Value(join) | Shape::Path(join) => {
                    last_ends(join.table).is_some_and(|[first, second]| fits(join, first, second))
                }
                Shape::Host { value, join } => {
                    let first = value.map_or(Some(0), |table| Some(last_ends(table)?[0]));
                    let second = last_ends(join.table).map(|[second, _]| second);
                    first.zip(second).is_some_and(|(first, second)| fits(join, first, second))
                }
            })
    }
}

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged("too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Damaged("too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u32, DecodeError> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Bytes after how many there are.
    fn text(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.number()?;
        self.take(length as usize)
    }

    /// So many numbers: no more than there are bytes for.
    pub(super) fn numbers(&mut self, count: u32) -> Result<impl ExactSizeIterator<Item = u32> + use<'a>, DecodeError> {
        Ok(self.records::<1>(count)?.map(|[number]| number))
    }

    /// So many times `N` numbers.
    pub(super) fn records<const N: usize>(
        &mut self,
        count: u32,
    ) -> Result<impl ExactSizeIterator<Item = [u32; N]> + use<'a, N>, DecodeError> {
        let bytes = self.take((count as usize).checked_mul(4 * N).ok_or(Damaged("too short"))?)?;
        let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        Ok(bytes.as_chunks::<4>().0.as_chunks::<N>().0.iter().map(move |numbers| numbers.each_ref().map(number)))
    }
}

/// An outcome, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeRecord {
    matched_rule: Option<String>,
    reason_codes: Vec<String>,
    required_approvals: u64,
    verdict: Verdict,
    violations: Vec<String>,
}

impl From<OutcomeRecord> for Decision {
    fn from(record: OutcomeRecord) -> Self {
        let OutcomeRecord { matched_rule, reason_codes, required_approvals, verdict, violations } = record;
        Self { verdict, reason_codes, violations, matched_rule, required_approvals }
    }
}

/// A kind, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindRecord {
    endpoint_class: String,
    operation: String,
    shape: Shape,
    target_kind: String,
    tool_name: String,
}

impl KindRecord {
    fn names(&self, kind: &Kind) -> bool {
        self.endpoint_class == kind.endpoint_class.as_str()
            && self.operation == kind.operation
            && self.target_kind == kind.target_kind.as_str()
            && self.tool_name == kind.tool_name
    }
}
