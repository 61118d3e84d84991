//! Signatures of traces, made while the run still goes on.
//!
//! Most intents are decided in one way only. Their trace is known with their definition, so that it can be signed at
//! once, on a processor that has nothing else to do, instead of when everybody waits for the runpack.

use std::collections::HashMap;

use super::lines::{Lines, UnsignedTrace};
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

    /// The signature of each trace by `key`, which must be the key of the [`Presigner`]; those that are not there yet are
    /// made, side by side.
    pub(super) fn signatures(&self, traces: &[&UnsignedTrace], key: &PrivateKey) -> Vec<Signature> {
        let missing: Vec<&UnsignedTrace> =
            traces.iter().copied().filter(|trace| !self.0.contains_key(trace.digest())).collect();
        let sign = |part: &[&UnsignedTrace]| -> Vec<Presignature> {
            part.iter().map(|trace| Presignature::of(trace, key)).collect()
        };
        let made: HashMap<Sha256Hex, [u8; 64]> = std::thread::scope(|scope| {
            let parts = missing.chunks(missing.len().div_ceil(THREADS).max(ALONE));
            let started: Vec<_> = parts
                .map(|part| std::thread::Builder::new().spawn_scoped(scope, move || sign(part)).map_err(|_| part))
                .collect();
            let done = started.into_iter().flat_map(|started| match started {
                Ok(thread) => thread.join().unwrap_or_default(),
                Err(part) => sign(part),
            });
            done.map(|Presignature(digest, bytes)| (digest, bytes)).collect()
        });
        let bytes = |trace: &UnsignedTrace| {
            let known = self.0.get(trace.digest()).or_else(|| made.get(trace.digest()));
            known.copied().unwrap_or_else(|| key.sign_bytes(trace.digest()))
        };
        let key_id = key.public().id();
        traces.iter().map(|trace| Signature::of_bytes(&key_id, trace.digest(), &bytes(trace))).collect()
    }
}

/// Threads that sign what is missing; fewer than this many signatures are not worth another one.
const THREADS: usize = 4;
const ALONE: usize = 64;
