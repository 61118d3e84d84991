//! From a journal that has its end to the signed runpack (contract guarded-run 1, 3.3).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use super::derive::{Derivation, Records, Spill, part_name};
use super::presign::Presigned;
use super::receipt::Receipt;
use crate::canonical::{CanonicalError, canonical_bytes};
use crate::journal::{Chain, Ledger};
use crate::runpack::record::Manifest;
use crate::runpack::write::{Content, PackError, PackFacts, PackMember, write_pack};
use crate::signature::PrivateKey;
use crate::time::{TimeError, Timestamp};

/// What a runpack of a guarded run is made of.
pub struct PackSource<'a> {
    /// What the journal adds up to.
    pub ledger: &'a Ledger,
    /// Where it ended.
    pub chain: &'a Chain,
    /// Its segments in order, copied unchanged.
    pub segments: &'a [PathBuf],
    /// `guard.json` as it was written before the start.
    pub initial: &'a Receipt,
    /// `policy.yaml`.
    pub policy_yaml: &'a [u8],
    /// Signs traces and manifest: the key of the journal.
    pub key: &'a PrivateKey,
    /// Signatures by `key` that are there already.
    pub presigned: &'a Presigned,
}

/// What was packed.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The manifest, signed.
    pub manifest: Manifest,
    /// `guard.json`.
    pub receipt: Receipt,
}

/// Why a run could not be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardedPackError {
    /// The container.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A derived record.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The journal's start.
    #[error(transparent)]
    Time(#[from] TimeError),
}

/// Derives all other members from the journal and writes the signed pack.
///
/// The same source gives the same bytes.
///
/// # Errors
/// [`GuardedPackError`]; what was written to `out` is then of no use.
pub fn write_guarded_pack(out: impl Write, source: &PackSource<'_>) -> Result<Packed, GuardedPackError> {
    let derivation = Derivation::new(source.ledger, source.chain)?;
    let receipt = derivation.receipt(source.initial, source.segments.len() as u64);
    let finished_at = receipt.run.finished_at.clone().unwrap_or_default();
    let mut members = vec![
        PackMember::bytes("run.json", derivation.run_json(&finished_at, "linux", arch(&receipt.host.machine))?),
        PackMember::bytes("refs.json", derivation.refs_json()?),
        PackMember::bytes("guard.json", canonical_bytes(&receipt)?),
        PackMember::bytes("policy.yaml", source.policy_yaml.to_vec()),
    ];
    members.extend(record_members(&derivation, source.key, source.presigned, Spill::default())?);
    members.extend(source.segments.iter().enumerate().map(|(index, path)| PackMember {
        name: format!("decisions/{:06}.jsonl", index + 1),
        content: Content::File(path.clone()),
    }));
    let open = source.ledger.open();
    let facts = PackFacts {
        created_at: Timestamp::parse(&open.started_at)?,
        producer_version: open.producer_version.clone(),
        run_id: open.run_id.clone(),
        capture_mode: receipt.plan.capture_mode.clone(),
    };
    let manifest = write_pack(out, &facts, &members, &[source.key])?;
    Ok(Packed { manifest, receipt })
}

/// The four record members in all their parts.
fn record_members(
    derivation: &Derivation<'_>,
    key: &PrivateKey,
    presigned: &Presigned,
    mut spill: Spill,
) -> Result<Vec<PackMember>, CanonicalError> {
    let all = derivation.all_records()?;
    let traces: Vec<_> = all.iter().flat_map(|records| &records.traces).collect();
    let mut lines = presigned.lines(&traces, key).into_iter();
    let mut parts: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for records in all {
        let part = spill.place(&records);
        let Records { intent, result, count, traces } = records;
        let traces = lines.by_ref().take(traces.len());
        let mut append = |member: &str, lines: &mut dyn Iterator<Item = Vec<u8>>| {
            parts.entry(part_name(member, part)).or_default().extend(lines);
        };
        append("intents", &mut std::iter::once(intent));
        append("results", &mut result.into_iter());
        append("counts", &mut count.into_iter());
        append("traces", &mut traces.into_iter());
    }
    Ok(parts.into_iter().map(|(name, lines)| PackMember { name, content: Content::Lines(lines) }).collect())
}

/// The machine in the spelling of Go, as `run.json` has it.
fn arch(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Checker;

    const JOURNAL: &[u8] = include_bytes!("../../tests/data/guarded/complete.jsonl");

    #[test]
    fn all_four_record_members_are_cut_at_the_same_intent() {
        let mut checker = Checker::new();
        checker.segment(&mut &*JOURNAL).unwrap();
        let (ledger, chain) = checker.finish().unwrap();
        let derivation = Derivation::new(&ledger, &chain).unwrap();
        let key = PrivateKey::from_seed([1; 32]);
        let whole = record_members(&derivation, &key, &Presigned::default(), Spill::default()).unwrap();
        for (spill, expected) in [(Spill::at(MEMBER, 8), 4), (Spill::at(6000, 1000), 4)] {
            let parts = record_members(&derivation, &key, &Presigned::default(), spill).unwrap();
            let names: Vec<&str> = parts.iter().map(|member| member.name.as_str()).collect();
            for member in ["counts", "intents", "results", "traces"] {
                let mine: Vec<&PackMember> = parts.iter().filter(|part| part.name.starts_with(member)).collect();
                assert!(mine.len() >= expected, "{names:?}");
                let joined: Vec<u8> = mine.iter().flat_map(|part| bytes(part)).collect();
                let one = whole.iter().find(|part| part.name == format!("{member}.jsonl")).unwrap();
                // `.` sorts before `/`: part 1 comes first.
                assert_eq!(joined, bytes(one));
                assert!(mine.iter().all(|part| bytes(part).len() <= 20_000));
            }
        }
    }

    const MEMBER: u64 = 64 << 20;

    fn bytes(member: &PackMember) -> Vec<u8> {
        match &member.content {
            Content::Lines(lines) => lines.concat(),
            _ => panic!("records are held in memory"),
        }
    }
}
