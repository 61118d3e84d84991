//! The lines of the four record members as canonical bytes (contract guarded-run 2.3 to 2.6).
//!
//! The members of each line stand in canonical order here, and what goes into them is canonical already; a test writes
//! the same records by way of a tree of values and compares.

use std::collections::HashMap;

use crate::canonical::{CanonicalError, canonical_bytes};
use crate::digest::Sha256Hex;
use crate::journal::{Decided, Enforced, LedgerIntent, Open, Tally};
use crate::policy::Verdict;
use crate::signature::Signature;
use crate::splice::{member, push_number, push_text};

/// The canonical bytes of a trace without its signature.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsignedTrace {
    bytes: Vec<u8>,
    /// Where the signature goes.
    at: usize,
    digest: Sha256Hex,
}

impl UnsignedTrace {
    /// What is signed.
    pub fn digest(&self) -> &Sha256Hex {
        &self.digest
    }

    /// The canonical line of the trace with this signature, and its newline.
    pub fn line(&self, signature: &Signature) -> Vec<u8> {
        let (before, after) = self.bytes.split_at(self.at);
        let mut line = Vec::with_capacity(self.bytes.len() + 320);
        line.extend_from_slice(before);
        let members = [
            (&b",\"signature\":{\"alg\":"[..], &signature.alg),
            (b",\"key_id\":", &signature.key_id),
            (b",\"sig\":", &signature.sig),
            (b",\"signed_digest\":", &signature.signed_digest),
        ];
        for (name, text) in members {
            line.extend_from_slice(name);
            push_text(&mut line, text);
        }
        line.push(b'}');
        line.extend_from_slice(after);
        line.push(b'\n');
        line
    }

    /// Length of the line: every signature is equally long.
    pub(super) fn line_length(&self) -> u64 {
        const SIGNATURE: usize =
            r#","signature":{"alg":"ed25519","key_id":"","sig":"","signed_digest":""}"#.len() + 64 + 88 + 64;
        (self.bytes.len() + SIGNATURE + 1) as u64
    }
}

/// What the lines of one run have in common, as canonical members with a comma behind each.
pub(super) struct Lines {
    created_at: Vec<u8>,
    producer_version: Vec<u8>,
    run_id: Vec<u8>,
    correlation_id: Vec<u8>,
    policy_digest: Sha256Hex,
}

/// One result by the decisions in it: most intents of a run share theirs.
#[derive(Default)]
pub(super) struct Results(HashMap<Vec<usize>, (Vec<u8>, Sha256Hex)>);

/// Results kept; a run with more different ones makes them anew.
const RESULTS_KEPT: usize = 1024;

impl Lines {
    pub(super) fn new(open: &Open) -> Self {
        let member = |name: &str, text: &str| {
            let mut bytes = format!("\"{name}\":").into_bytes();
            push_text(&mut bytes, text);
            bytes.push(b',');
            bytes
        };
        Self {
            created_at: member("created_at", &open.started_at),
            producer_version: member("producer_version", &open.producer_version),
            run_id: member("run_id", &open.run_id),
            correlation_id: member("correlation_id", &open.run_id),
            policy_digest: open.policy_digest,
        }
    }

    /// A line of `intents.jsonl`: the intent of a checked definition without its tool is its `args`.
    pub(super) fn intent(&self, intent: &LedgerIntent) -> Result<Vec<u8>, CanonicalError> {
        let args = body(intent)?;
        let digest = Sha256Hex::of(&args);
        let mut line = Vec::with_capacity(args.len() + 512);
        line.extend_from_slice(b"{\"args\":");
        line.extend_from_slice(&args);
        push_digest(&mut line, b",\"args_digest\":\"", &digest);
        line.push(b',');
        line.extend_from_slice(&self.created_at);
        push_intent_id(&mut line, &intent.digest);
        line.extend_from_slice(&self.producer_version);
        line.extend_from_slice(&self.run_id);
        line.extend_from_slice(b"\"schema_id\":\"gait.runpack.intent\",\"schema_version\":\"1.0.0\",\"tool_name\":");
        push_text(&mut line, &intent.tool_name);
        line.extend_from_slice(b"}\n");
        Ok(line)
    }

    /// A line of `results.jsonl`. `which` are the places of the intent's decisions in `decisions`, in their order.
    pub(super) fn result(
        &self,
        intent: &Sha256Hex,
        which: Vec<usize>,
        decisions: &[Decided],
        known: &mut Results,
    ) -> Result<Vec<u8>, CanonicalError> {
        let allowed = which.iter().all(|at| decisions[*at].enforced == Enforced::Allow);
        let (result, digest) = known.of(which, decisions)?;
        let mut line = Vec::with_capacity(result.len() + 512);
        line.push(b'{');
        line.extend_from_slice(&self.created_at);
        push_intent_id(&mut line, intent);
        line.extend_from_slice(&self.producer_version);
        line.extend_from_slice(b"\"result\":");
        line.extend_from_slice(result);
        push_digest(&mut line, b",\"result_digest\":\"", digest);
        line.push(b',');
        line.extend_from_slice(&self.run_id);
        line.extend_from_slice(b"\"schema_id\":\"gait.runpack.result\",\"schema_version\":\"1.0.0\",\"status\":");
        line.extend_from_slice(if allowed { b"\"ok\"}\n" } else { b"\"error\"}\n" });
        Ok(line)
    }

    /// A line of `counts.jsonl`: the tallies in the order of the result, with the verdict of each.
    pub(super) fn count<'t>(&self, intent: &Sha256Hex, tallies: impl Iterator<Item = (&'t Tally, Verdict)>) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        line.extend_from_slice(b"{\"counts\":[");
        for (place, (tally, verdict)) in tallies.enumerate() {
            line.extend_from_slice(if place == 0 { b"{\"count\":" } else { b",{\"count\":" });
            push_number(&mut line, tally.count);
            line.extend_from_slice(b",\"first_seq\":");
            push_number(&mut line, tally.first_seq);
            line.extend_from_slice(b",\"last_seq\":");
            push_number(&mut line, tally.last_seq);
            line.extend_from_slice(b",\"trace_id\":\"");
            line.extend_from_slice(&self.trace_id(intent, verdict));
            line.extend_from_slice(b"\"}");
        }
        line.extend_from_slice(b"],");
        line.extend_from_slice(&self.created_at);
        push_intent_id(&mut line, intent);
        line.extend_from_slice(&self.producer_version);
        line.extend_from_slice(&self.run_id);
        line.extend_from_slice(b"\"schema_id\":\"gait.exec.count\",\"schema_version\":\"1.0.0\"}\n");
        line
    }

    /// The trace of an intent's final verdict. `violations` and `approvals` are sorted and unique.
    pub(super) fn trace(
        &self,
        intent: &LedgerIntent,
        verdict: Verdict,
        violations: &[&str],
        approvals: &[&str],
    ) -> Result<UnsignedTrace, CanonicalError> {
        let args = member(&intent.canonical, "args").ok_or_else(no_intent)?;
        let mut bytes = Vec::with_capacity(768);
        bytes.push(b'{');
        if !approvals.is_empty() {
            bytes.extend_from_slice(b"\"approval_token_ref\":");
            push_text(&mut bytes, &approvals.join(","));
            bytes.push(b',');
        }
        push_digest(&mut bytes, b"\"args_digest\":\"", &Sha256Hex::of(args));
        bytes.push(b',');
        // A trace names its run as `correlation_id`: other members would not be part of its signature.
        bytes.extend_from_slice(&self.correlation_id);
        bytes.extend_from_slice(&self.created_at);
        push_digest(&mut bytes, b"\"intent_digest\":\"", &intent.digest);
        push_digest(&mut bytes, b",\"policy_digest\":\"", &self.policy_digest);
        bytes.push(b',');
        bytes.extend_from_slice(&self.producer_version);
        bytes.extend_from_slice(b"\"schema_id\":\"gait.gate.trace\",\"schema_version\":\"1.0.0\"");
        let at = bytes.len();
        bytes.extend_from_slice(b",\"tool_name\":");
        push_text(&mut bytes, &intent.tool_name);
        bytes.extend_from_slice(b",\"trace_id\":\"");
        bytes.extend_from_slice(&self.trace_id(&intent.digest, verdict));
        bytes.extend_from_slice(b"\",\"verdict\":");
        push_text(&mut bytes, verdict.as_str());
        for (place, violation) in violations.iter().enumerate() {
            bytes.extend_from_slice(if place == 0 { b",\"violations\":[" } else { b"," });
            push_text(&mut bytes, violation);
        }
        bytes.extend_from_slice(if violations.is_empty() { b"}" } else { b"]}" });
        let digest = Sha256Hex::of(&bytes);
        Ok(UnsignedTrace { bytes, at, digest })
    }

    /// Control 9: the first 24 hex digits of SHA-256 over policy, intent and final verdict.
    fn trace_id(&self, intent: &Sha256Hex, verdict: Verdict) -> [u8; 24] {
        let mut text = [b':'; 64 + 1 + 64 + 1];
        text[..64].copy_from_slice(&self.policy_digest.to_hex());
        text[65..129].copy_from_slice(&intent.to_hex());
        let hex = Sha256Hex::of([&text[..], verdict.as_str().as_bytes()].concat()).to_hex();
        let mut id = [0; 24];
        id.copy_from_slice(&hex[..24]);
        id
    }
}

impl Results {
    fn of(&mut self, which: Vec<usize>, decisions: &[Decided]) -> Result<&(Vec<u8>, Sha256Hex), CanonicalError> {
        use std::collections::hash_map::Entry;
        if self.0.len() >= RESULTS_KEPT && !self.0.contains_key(&which) {
            self.0.clear();
        }
        match self.0.entry(which) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let list: Vec<&Decided> = place.key().iter().map(|at| &decisions[*at]).collect();
                let result = canonical_bytes(&std::collections::BTreeMap::from([("decisions", list)]))?;
                let digest = Sha256Hex::of(&result);
                Ok(place.insert((result, digest)))
            }
        }
    }
}

/// The intent without its tool name, which is its last member.
fn body(intent: &LedgerIntent) -> Result<Vec<u8>, CanonicalError> {
    let mut tail = b",\"tool_name\":".to_vec();
    push_text(&mut tail, &intent.tool_name);
    tail.push(b'}');
    let before = intent.canonical.strip_suffix(&*tail).ok_or_else(no_intent)?;
    Ok([before, b"}"].concat())
}

/// A ledger holds intents of the contract's shape only.
fn no_intent() -> CanonicalError {
    use serde::ser::Error;
    CanonicalError::from(serde_json::Error::custom("an intent that is not of the five members"))
}

fn push_digest(out: &mut Vec<u8>, before: &[u8], digest: &Sha256Hex) {
    out.extend_from_slice(before);
    out.extend_from_slice(&digest.to_hex());
    out.push(b'"');
}

fn push_intent_id(out: &mut Vec<u8>, digest: &Sha256Hex) {
    push_digest(out, b"\"intent_id\":\"intent_", digest);
    out.push(b',');
}
