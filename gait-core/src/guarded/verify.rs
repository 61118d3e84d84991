//! Whether a guarded runpack is what a guard wrote (contract guarded-run 3.5).
//!
//! One pass over the journal, then everything else is derived from it again and compared byte for byte,
//! streaming: memory for definitions and intents, not for decisions.

use std::collections::BTreeSet;
use std::io::{BufRead, Read, Seek};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::derive::{Derivation, Spill, part_name};
use super::lines::UnsignedTrace;
use super::receipt::{Counters, GUARD_SCHEMA, Receipt};
use super::{GUARD, RUNTIME};
use crate::canonical::{canonical_bytes, digest_of};
use crate::digest::{Hasher, Sha256Hex};
use crate::journal::{Chain, Checker, Ledger, SEGMENT_LIMIT};
use crate::policy::{Policy, Strictness};
use crate::runpack::container::{Container, MEMBER_LIMIT_BYTES};
use crate::runpack::record::MANIFEST_SCHEMA;
use crate::runpack::verify::{Integrity, MANIFEST};
use crate::signature::{PublicKey, Signature, verify as verify_signature};

/// Longest `guard.json` and `policy.yaml` (contract 1).
const SMALL_LIMIT: u64 = 1 << 20;

/// Whether a pack is one of a guarded run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any other run.
    Plain,
    /// It says that a guard made it, and has no receipt: valid as a plain pack, refused by strict.
    Stripped,
    /// It lists `guard.json`.
    Guarded,
}

/// What a guarded runpack says and whether that holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GuardedReport {
    /// Whether the record of the run is complete.
    pub complete: bool,
    /// Whether somebody else than the guard ended the journal.
    pub sealed: bool,
    /// Last line of the journal that the guard itself attested.
    pub attested_through: u64,
    /// Lines after it that it did not.
    pub unattested: u64,
    /// Counts, as derived.
    #[serde(flatten)]
    pub counters: ReportCounters,
    /// The engine that decided.
    pub engine: String,
    /// Layers that were missing.
    pub degraded: Vec<String>,
    /// Start of the run.
    pub started_at: String,
    /// What does not hold; empty for a pack that a guard wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// The counts of a report.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "as in the receipt's counters")]
pub struct ReportCounters {
    pub decisions: u64,
    pub distinct: u64,
    pub verdicts: std::collections::BTreeMap<String, u64>,
    pub lost: u64,
}

impl From<Counters> for ReportCounters {
    fn from(c: Counters) -> Self {
        Self { decisions: c.decisions, distinct: c.distinct, verdicts: c.verdicts, lost: c.lost }
    }
}

impl GuardedReport {
    /// Whether nothing was found.
    pub fn holds(&self) -> bool {
        self.errors.is_empty()
    }

    /// The line for people (contract 5).
    pub fn line(&self) -> String {
        match (self.holds(), self.complete) {
            (false, _) => format!("guarded: refused, {}", self.errors.join("; ")),
            (true, true) => format!(
                "guarded: complete, {} decisions on {} actions",
                self.counters.decisions, self.counters.distinct
            ),
            (true, false) => format!(
                "guarded: incomplete, attested through {}, {} lines after it not",
                self.attested_through, self.unattested
            ),
        }
    }
}

/// What kind of pack this is.
pub fn kind<R: Read + Seek>(container: &mut Container<R>, integrity: &Integrity) -> Kind {
    if integrity.manifest.files.iter().any(|file| file.path == GUARD) {
        return Kind::Guarded;
    }
    /// All of `run.json` that is looked at; the rest may be large.
    #[derive(Deserialize)]
    struct Head {
        env: Option<Value>,
    }
    let run = container.read_all("run.json", MEMBER_LIMIT_BYTES).ok().flatten().unwrap_or_default();
    let env = match crate::json::read::<Head>(&run) {
        Ok(head) => head.env,
        // A member twice, or a type that it must not have.
        Err(_) => crate::json::read::<Value>(&run).ok().and_then(|run| run.get("env").cloned()),
    };
    match env.as_ref().and_then(|env| env["runtime"].as_str()) {
        Some(RUNTIME) => Kind::Stripped,
        _ => Kind::Plain,
    }
}

/// The key that is embedded in `guard.json`, if it can be read.
pub fn embedded_key<R: Read + Seek>(container: &mut Container<R>) -> Option<PublicKey> {
    let bytes = container.read_all(GUARD, SMALL_LIMIT).ok().flatten()?;
    let receipt: Receipt = serde_json::from_slice(&bytes).ok()?;
    PublicKey::from_base64(&receipt.signing.public_key).ok()
}

/// A guarded runpack whose every part was checked.
pub struct Loaded {
    /// `guard.json`.
    pub receipt: Receipt,
    /// What the journal adds up to.
    pub ledger: Ledger,
    /// Where it ended.
    pub chain: Chain,
}

/// Checks a guarded runpack like `verify` without a key, and gives what is in it.
///
/// # Errors
/// What does not hold, in words.
pub fn load<R: Read + Seek>(source: R) -> Result<Loaded, String> {
    let mut container = Container::open(source).map_err(text)?;
    let integrity = crate::runpack::verify::integrity(&mut container).map_err(text)?;
    demand(kind(&mut container, &integrity) == Kind::Guarded, "not the runpack of a guarded run")?;
    let report = check(&mut container, &integrity);
    if !report.holds() {
        return Err(report.errors.join("; "));
    }
    let (receipt, _) = read_receipt(&mut container)?;
    let (ledger, chain) = read_journal(&mut container, &segment_names(&integrity)?)?;
    Ok(Loaded { receipt, ledger, chain })
}

/// Why a pack is refused, inside of this module.
type Finding = String;

/// Checks all of contract 3.5 but the signature of the manifest, which is the business of trust.
pub fn check<R: Read + Seek>(container: &mut Container<R>, integrity: &Integrity) -> GuardedReport {
    let mut report = GuardedReport::default();
    // Content that is not what was signed is not worth reading.
    let finding = if !integrity.holds() {
        Some("members differ from the manifest".to_owned())
    } else if let Some(inexact) = container.inexact() {
        Some(format!("container: {inexact}"))
    } else {
        check_content(container, integrity, &mut report).err()
    };
    report.errors.extend(finding);
    report
}

fn check_content<R: Read + Seek>(
    container: &mut Container<R>,
    integrity: &Integrity,
    report: &mut GuardedReport,
) -> Result<(), Finding> {
    let (receipt, plan_digest) = read_receipt(container)?;
    report.engine.clone_from(&receipt.plan.engine);
    report.degraded.clone_from(&receipt.plan.degraded);
    report.started_at.clone_from(&receipt.run.started_at);
    let segments = segment_names(integrity)?;
    let (ledger, chain) = read_journal(container, &segments)?;
    let derivation = Derivation::new(&ledger, &chain).map_err(text)?;
    report.complete = derivation.complete();
    report.sealed = derivation.sealed();
    (report.attested_through, report.unattested) = derivation.attested();
    report.counters = derivation.counters().into();
    check_manifest(container, integrity, &ledger, &receipt)?;
    check_receipt(&receipt, &plan_digest, &ledger, &derivation, segments.len() as u64)?;
    check_policy(container, &receipt)?;
    check_fixed_members(container, &receipt, &derivation)?;
    let key = PublicKey::from_base64(&ledger.open().public_key).map_err(text)?;
    let parts = check_records(container, integrity, &derivation, &key)?;
    check_member_set(integrity, segments.len(), parts)
}

fn text(error: impl std::fmt::Display) -> Finding {
    error.to_string()
}

fn demand(holds: bool, finding: &str) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err(finding.to_owned()) }
}

fn read_member<R: Read + Seek>(container: &mut Container<R>, name: &str, limit: u64) -> Result<Vec<u8>, Finding> {
    container.read_all(name, limit).map_err(|e| format!("{name}: {e}"))?.ok_or_else(|| format!("{name} is missing"))
}

/// The receipt and the digest of its plan as it stands, unknown members included.
fn read_receipt<R: Read + Seek>(container: &mut Container<R>) -> Result<(Receipt, Sha256Hex), Finding> {
    let bytes = read_member(container, GUARD, SMALL_LIMIT)?;
    let mut value: Value = serde_json::from_slice(&bytes).map_err(|e| format!("{GUARD}: {e}"))?;
    demand(canonical_bytes(&value).is_ok_and(|canonical| canonical == bytes), "guard.json is not canonical")?;
    let receipt: Receipt = serde_json::from_slice(&bytes).map_err(|e| format!("{GUARD}: {e}"))?;
    demand(
        canonical_bytes(&receipt).is_ok_and(|canonical| canonical == bytes),
        "guard.json has members that this format does not have",
    )?;
    if let Some(plan) = value["plan"].as_object_mut() {
        plan.remove("digest");
    }
    let plan_digest = digest_of(&value["plan"]).map_err(text)?;
    Ok((receipt, plan_digest))
}

/// The segments 000001.. without gap.
fn segment_names(integrity: &Integrity) -> Result<Vec<String>, Finding> {
    let names: Vec<String> = integrity
        .manifest
        .files
        .iter()
        .map(|file| file.path.clone())
        .filter(|path| path.starts_with("decisions/"))
        .collect();
    let expected = (1..=names.len()).map(|number| format!("decisions/{number:06}.jsonl"));
    demand(!names.is_empty() && names.iter().cloned().eq(expected), "journal segments are not 1..n")?;
    Ok(names)
}

fn read_journal<R: Read + Seek>(container: &mut Container<R>, segments: &[String]) -> Result<(Ledger, Chain), Finding> {
    let mut checker = Checker::new();
    for name in segments {
        let size = container.member(name).map_or(0, |member| member.size);
        demand(size <= SEGMENT_LIMIT, "a journal segment is too large")?;
        let member = container.read(name).map_err(text)?.ok_or_else(|| format!("{name} is missing"))?;
        checker.segment(&mut member.buffered()).map_err(text)?;
    }
    checker.finish().map_err(text)
}

fn check_manifest<R: Read + Seek>(
    container: &mut Container<R>,
    integrity: &Integrity,
    ledger: &Ledger,
    receipt: &Receipt,
) -> Result<(), Finding> {
    let (manifest, open) = (&integrity.manifest, ledger.open());
    let bytes = read_member(container, MANIFEST, MEMBER_LIMIT_BYTES)?;
    let canonical = canonical_bytes(&manifest).map_err(text)?;
    demand(bytes == canonical, "manifest.json is not canonical or has additional members")?;
    demand(
        (&*manifest.schema_id, &*manifest.schema_version) == (MANIFEST_SCHEMA, "1.0.0")
            && manifest.created_at.to_string() == open.started_at
            && (&manifest.producer_version, &manifest.run_id) == (&open.producer_version, &open.run_id),
        "the manifest is of another run than the journal",
    )?;
    demand(
        manifest.capture_mode == receipt.plan.capture_mode && ["reference", "raw"].contains(&&*manifest.capture_mode),
        "the capture mode is not that of the plan",
    )?;
    let sorted = manifest.files.windows(2).all(|pair| pair[0].path < pair[1].path);
    demand(sorted, "the manifest's files are not in order")
}

fn check_receipt(
    receipt: &Receipt,
    plan_digest: &Sha256Hex,
    ledger: &Ledger,
    derivation: &Derivation<'_>,
    segments: u64,
) -> Result<(), Finding> {
    let (open, plan) = (ledger.open(), &receipt.plan);
    demand(
        (&*receipt.schema_id, &*receipt.schema_version) == (GUARD_SCHEMA, "1.0.0")
            && (&receipt.run_id, &receipt.created_at, &receipt.producer_version)
                == (&open.run_id, &open.started_at, &open.producer_version)
            && (&receipt.run.nonce, &receipt.run.started_at) == (&open.nonce, &open.started_at),
        "guard.json is of another run than the journal",
    )?;
    demand(
        (&receipt.signing.key_id, &receipt.signing.public_key) == (&open.key_id, &open.public_key),
        "guard.json and journal name different keys",
    )?;
    demand(
        *plan_digest == open.plan_digest && plan.digest == plan_digest.to_string(),
        "the plan is not that of the journal",
    )?;
    demand(plan.policy.digest == open.policy_digest.to_string(), "the policy is not that of the journal")?;
    let context = serde_json::to_value(&plan.context).map_err(text)?;
    demand(open.intent["context"] == context, "the context is not that of the journal")?;
    let command = &plan.command;
    let args = &open.intent["args"];
    demand(
        (args["argc"].as_u64(), args["argv_digest"].as_str(), args["program"].as_str())
            == (Some(command.argc), Some(&*command.argv_digest), Some(&*command.program)),
        "the command is not that of the journal",
    )?;
    demand(
        plan.degraded.iter().all(|layer| plan.allow_degraded.contains(layer)),
        "a layer is missing that nobody permitted to be missing",
    )?;
    let mut derived = derivation.receipt(receipt, segments);
    if !derivation.sealed() {
        // By the clock of the guard; only `run.json` says the same.
        derived.run.finished_at.clone_from(&receipt.run.finished_at);
    }
    demand(derived == *receipt, "guard.json does not follow from the journal")
}

fn check_policy<R: Read + Seek>(container: &mut Container<R>, receipt: &Receipt) -> Result<(), Finding> {
    let bytes = read_member(container, "policy.yaml", SMALL_LIMIT)?;
    let plan = &receipt.plan.policy;
    demand(Sha256Hex::of(&bytes).to_string() == plan.file_sha256, "policy.yaml is not the policy of the plan")?;
    let policy = Policy::parse_bytes(&bytes, Strictness::Lenient).map_err(|e| format!("policy.yaml: {e}"))?;
    let digest = policy.digest().map_err(text)?.to_string();
    demand(digest == plan.digest, "policy.yaml has another policy digest than the plan")
}

fn check_fixed_members<R: Read + Seek>(
    container: &mut Container<R>,
    receipt: &Receipt,
    derivation: &Derivation<'_>,
) -> Result<(), Finding> {
    let run = read_member(container, "run.json", SMALL_LIMIT)?;
    let value: Value = serde_json::from_slice(&run).map_err(|e| format!("run.json: {e}"))?;
    let word = |name: &str| value["env"][name].as_str().unwrap_or_default().to_owned();
    let finished_at = receipt.run.finished_at.clone().unwrap_or_default();
    let expected = derivation.run_json(&finished_at, &word("os"), &word("arch")).map_err(text)?;
    demand(run == expected, "run.json does not follow from the journal")?;
    let refs = read_member(container, "refs.json", SMALL_LIMIT)?;
    demand(refs == derivation.refs_json().map_err(text)?, "refs.json does not follow from the journal")
}

/// The four record members, part by part, in one pass. Gives the number of parts.
///
/// Their content has the digests of the manifest, as was checked: so what is derived has to have these digests too.
/// Only traces are read, for their signatures.
fn check_records<R: Read + Seek>(
    container: &mut Container<R>,
    integrity: &Integrity,
    derivation: &Derivation<'_>,
    key: &PublicKey,
) -> Result<u64, Finding> {
    let (mut spill, mut part) = (Spill::default(), 1);
    let mut records = derivation.records().map(|records| records.map_err(text));
    let mut next = records.next().transpose()?;
    while next.is_some() {
        let name = part_name("traces", part);
        let reader = container.read(&name).map_err(text)?.ok_or_else(|| format!("{name} is missing"))?;
        let (mut reader, mut line) = (reader.buffered(), Vec::new());
        let mut hashers = [Hasher::new(), Hasher::new(), Hasher::new()];
        while let Some(derived) = next.take() {
            let mut ahead = spill.clone();
            if ahead.place(&derived) != part {
                next = Some(derived);
                break;
            }
            spill = ahead;
            let lines = [Some(&derived.intent), derived.result.as_ref(), derived.count.as_ref()];
            for (hasher, line) in hashers.iter_mut().zip(lines) {
                hasher.update(line.map_or(&b""[..], Vec::as_slice));
            }
            for trace in &derived.traces {
                check_trace(&mut reader, &mut line, trace, key).map_err(|what| format!("{name}: {what}"))?;
            }
            next = records.next().transpose()?;
        }
        line.clear();
        let rest = reader.read_until(b'\n', &mut line).map_err(|e| format!("{name}: {e}"))?;
        demand(rest == 0, &format!("{name} has records that do not follow from the journal"))?;
        for (member, hasher) in ["intents", "results", "counts"].into_iter().zip(hashers) {
            let (name, derived) = (part_name(member, part), hasher.finish().to_string());
            let listed = integrity.manifest.files.iter().find(|file| file.path == name);
            let same = listed.is_some_and(|file| file.sha256.eq_ignore_ascii_case(&derived));
            demand(same, &format!("{name} does not follow from the journal"))?;
        }
        part += u64::from(next.is_some());
    }
    Ok(part)
}

fn check_trace(
    reader: &mut impl BufRead,
    line: &mut Vec<u8>,
    trace: &UnsignedTrace,
    key: &PublicKey,
) -> Result<(), Finding> {
    #[derive(Deserialize)]
    struct Signed {
        signature: Signature,
    }
    next_line(reader, line, MEMBER_LIMIT_BYTES)?;
    let Signed { signature } = serde_json::from_slice(line).map_err(text)?;
    demand(!signature.key_id.is_empty(), "a trace's signature names no key")?;
    demand(*line == trace.line(&signature), "a trace does not follow from the journal")?;
    verify_signature(&signature, trace.digest(), key).map_err(|e| format!("trace signature: {e}"))
}

fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>, limit: u64) -> Result<(), Finding> {
    line.clear();
    reader.take(limit).read_until(b'\n', line).map(drop).map_err(text)
}

/// No other members than those of the contract's table.
fn check_member_set(integrity: &Integrity, segments: usize, parts: u64) -> Result<(), Finding> {
    let mut expected: BTreeSet<String> =
        ["run.json", "refs.json", GUARD, "policy.yaml"].into_iter().map(str::to_owned).collect();
    expected.extend((1..=segments).map(|number| format!("decisions/{number:06}.jsonl")));
    for member in ["intents", "results", "counts", "traces"] {
        expected.extend((1..=parts).map(|part| part_name(member, part)));
    }
    let listed: BTreeSet<String> = integrity.manifest.files.iter().map(|file| file.path.clone()).collect();
    demand(expected == listed, "members are listed that a guarded run does not have")
}
