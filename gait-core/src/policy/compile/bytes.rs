//! A compiled policy as bytes: the form that is digested, and the form that is kept to be read again.

use serde::Serialize;

use super::{CompiledKind, CompiledPolicy, Shape};
use crate::canonical::{CanonicalError, canonical_bytes};
use crate::digest::Sha256Hex;
use crate::intent::{EndpointClass, TargetKind};
use crate::policy::evaluate::Decision;
use crate::policy::model::Verdict;

/// What [`CompiledPolicy::table_bytes`] begin with.
const TABLES: &[u8] = b"gait-tables-1\0";

/// What [`Stored::bytes`] begin with.
pub(super) const STORED: &[u8] = b"gait-compiled-2\0";

/// A compiled policy to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What [`decode`](super::decode) reads: `gait-compiled-2` and a zero byte, and the SHA-256 of all that follows. That is the
    /// key; the SHA-256 of the tables; outcomes and kinds as in the tables; for each kind the number of its prefixes and each; the
    /// number of tables and each in the form that is walked; and the joins as in the tables. Texts come after
    /// their length; all numbers are 32 bits, little-endian.
    pub bytes: Vec<u8>,
    /// The SHA-256 of the [`CompiledPolicy::table_bytes`].
    pub tables_sha256: Sha256Hex,
}

impl CompiledPolicy {
    /// The tables in one canonical form: the same for the same policy, context and kinds on every machine.
    /// Its SHA-256 is `plan.policy.tables_sha256` (contract guarded-run 4).
    ///
    /// The form is `gait-tables-1` and a zero byte; the number of tables and each table; the number of joins
    /// and each join as its length and its entries; and as canonical JSON the outcomes and kinds. All
    /// numbers are 32 bits, little-endian.
    ///
    /// # Errors
    /// [`CanonicalError`] never for a policy that was parsed.
    pub fn table_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        let mut out = TABLES.to_vec();
        put(&mut out, self.tables.len());
        for table in &self.tables {
            table.write(&mut out);
        }
        self.put_joins(&mut out);
        out.extend(self.records()?);
        Ok(out)
    }

    fn put_joins(&self, out: &mut Vec<u8>) {
        put(out, self.joins.len());
        for join in &self.joins {
            put(out, join.len());
            out.extend(join.iter().flat_map(|outcome| outcome.to_le_bytes()));
        }
    }

    /// Outcomes and kinds as canonical JSON.
    fn records(&self) -> Result<Vec<u8>, CanonicalError> {
        let outcomes: Vec<_> = self.outcomes.iter().map(OutcomeRecord::from).collect();
        let kinds: Vec<_> = self.kinds.iter().map(KindRecord::from).collect();
        canonical_bytes(&(outcomes, kinds))
    }

    /// All that it consists of but its context and the names of its kinds, which whoever reads it has to know. `key`
    /// says what it was compiled from.
    ///
    /// # Errors
    /// As [`CompiledPolicy::table_bytes`].
    pub fn store(&self, key: &Sha256Hex) -> Result<Stored, CanonicalError> {
        let tables_sha256 = Sha256Hex::of(self.table_bytes()?);
        let mut kept = [*key.as_bytes(), *tables_sha256.as_bytes()].concat();
        put_text(&mut kept, &self.records()?);
        for kind in &self.kinds {
            put(&mut kept, kind.prefixes.len());
            kind.prefixes.iter().for_each(|prefix| put_text(&mut kept, prefix));
        }
        put(&mut kept, self.tables.len());
        self.tables.iter().for_each(|table| table.write_walkers(&mut kept));
        self.put_joins(&mut kept);
        let bytes = [STORED, Sha256Hex::of(&kept).as_bytes(), &kept].concat();
        Ok(Stored { bytes, tables_sha256 })
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put(out, text.len());
    out.extend_from_slice(text);
}

fn put(out: &mut Vec<u8>, number: usize) {
    // Numbers of tables and joins are bounded by those of kinds and combinations, lengths by those of patterns.
    out.extend((number as u32).to_le_bytes());
}

/// An outcome in [`CompiledPolicy::table_bytes`].
#[derive(Serialize)]
struct OutcomeRecord<'a> {
    matched_rule: Option<&'a str>,
    reason_codes: &'a [String],
    required_approvals: u64,
    verdict: Verdict,
    violations: &'a [String],
}

impl<'a> From<&'a Decision> for OutcomeRecord<'a> {
    fn from(decision: &'a Decision) -> Self {
        Self {
            matched_rule: decision.matched_rule.as_deref(),
            reason_codes: &decision.reason_codes,
            required_approvals: decision.required_approvals,
            verdict: decision.verdict,
            violations: &decision.violations,
        }
    }
}

/// A kind in [`CompiledPolicy::table_bytes`].
#[derive(Serialize)]
struct KindRecord<'a> {
    endpoint_class: EndpointClass,
    operation: &'a str,
    shape: Shape,
    target_kind: TargetKind,
    tool_name: &'a str,
}

impl<'a> From<&'a CompiledKind> for KindRecord<'a> {
    fn from(CompiledKind { kind, shape, .. }: &'a CompiledKind) -> Self {
        Self {
            endpoint_class: kind.endpoint_class,
            operation: &kind.operation,
            shape: *shape,
            target_kind: kind.target_kind,
            tool_name: &kind.tool_name,
        }
    }
}
