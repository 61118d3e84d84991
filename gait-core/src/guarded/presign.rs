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
        let digest = self.lines.trace(intent, decision.verdict, &violations, &approvals).ok()?.digest();
        Some(Presignature(digest, self.key.sign_bytes(&digest)))
    }
}

impl Presigned {
    /// Keeps a signature, unless there are too many.
    pub fn keep(&mut self, Presignature(digest, bytes): Presignature) {
        if self.0.len() < KEPT {
            self.0.insert(digest, bytes);
        }
    }

    /// The signature of `trace` by `key`, which must be the key of the [`Presigner`].
    pub(super) fn signature(&self, trace: &UnsignedTrace, key: &PrivateKey) -> Signature {
        let digest = trace.digest();
        let bytes = self.0.get(&digest).copied().unwrap_or_else(|| key.sign_bytes(&digest));
        key.signature_of(&digest, &bytes)
    }
}
