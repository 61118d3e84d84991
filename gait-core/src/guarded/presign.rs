//! Signatures of traces, made while the run still goes on.
//!
//! Most intents are decided in one way only. Their trace is known with their definition, so that it can be signed at
//! once, on a processor that has nothing else to do, instead of when everybody waits for the runpack.

use std::collections::HashMap;

use super::lines::{Lines, UnsignedTrace};
use super::threads::side_by_side;
use crate::digest::Sha256Hex;
use crate::journal::{Decided, LedgerIntent, Open};
use crate::signature::{PrivateKey, Signature};

/// Signatures kept: some 10 MB. What is beyond is signed when it is packed.
const KEPT: usize = 1 << 17;

/// Signs what may become the traces of a run.
pub struct Presigner {
    lines: Lines,
    key: PrivateKey,
}

/// Signatures by the digest that they were made over.
#[derive(Debug, Default)]
pub struct Presigned(HashMap<Sha256Hex, [u8; 64]>);

/// One signature.
#[derive(Debug)]
pub struct Presignature(Sha256Hex, [u8; 64]);

impl Presigner {
    /// One for the run that `open` opens, which signs with `key`.
    pub fn new(open: &Open, key: PrivateKey) -> Self {
        Self { lines: Lines::new(open), key }
    }

    /// Signs the trace that `intent` has if it is never decided in any other way. A guess that turns out wrong is only
    /// of no use.
    pub fn sign(&self, intent: &LedgerIntent, decision: &Decided) -> Option<Presignature> {
        let violations: Vec<&str> = decision.violations.iter().map(String::as_str).collect();
        let approvals: Vec<&str> = decision.approval_ref.iter().map(String::as_str).collect();
        let trace = self.lines.trace(intent, decision.verdict, &violations, &approvals).ok()?;
        Some(Presignature::of(&trace, &self.key))
    }
}

impl Presignature {
    fn of(trace: &UnsignedTrace, key: &PrivateKey) -> Self {
        Self(*trace.digest(), key.sign_bytes(trace.digest()))
    }
}

impl Presigned {
    /// Keeps a signature, unless there are too many.
    pub fn keep(&mut self, Presignature(digest, bytes): Presignature) {
        if self.0.len() < KEPT {
            self.0.insert(digest, bytes);
        }
    }

    /// The line of each trace, signed by `key`, which must be the key of the [`Presigner`]; signatures that are not there
    /// yet are made. Side by side, if there are many.
    pub(super) fn lines(&self, traces: &[&UnsignedTrace], key: &PrivateKey) -> Vec<Vec<u8>> {
        let key_id = key.public().id();
        let line = |trace: &UnsignedTrace| {
            let known = self.0.get(trace.digest()).copied();
            let bytes = known.unwrap_or_else(|| key.sign_bytes(trace.digest()));
            trace.line(&Signature::of_bytes(&key_id, trace.digest(), &bytes))
        };
        side_by_side(traces, |piece| piece.iter().map(|trace| line(trace)).collect::<Vec<_>>())
            .into_iter()
            .flatten()
            .collect()
    }
}
