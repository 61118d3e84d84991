//! Who vouches for a guarded runpack (contract guarded-run 5).

use crate::digest::Sha256Hex;
use crate::runpack::manifest::{SignatureReport, SignatureStatus, check_signatures};
use crate::signature::{PublicKey, Signature};

/// How far the signatures of a pack can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A key given by flag verifies manifest, checkpoints and traces.
    Pinned,
    /// The key is this machine's own, and verifies.
    Local,
    /// The embedded key verifies everything; nobody says whose it is.
    SelfAttested,
    /// There is no signature.
    Unsigned,
    /// The flag's key or the embedded one does not verify.
    Refused,
}

impl Trust {
    /// The word of the contract.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Local => "local",
            Self::SelfAttested => "self_attested",
            Self::Unsigned => "unsigned",
            Self::Refused => "refused",
        }
    }
}

/// The keys that can vouch.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// From a flag: then no other counts.
    pub pinned: Option<&'a PublicKey>,
    /// This machine's own: counts only if it is the embedded one.
    pub local: Option<&'a PublicKey>,
    /// In `guard.json`; checkpoints and traces were checked with it.
    pub embedded: Option<&'a PublicKey>,
}

/// Trust and what `verify` says of the manifest's signatures.
pub fn trust(signatures: &[Signature], signable: &Sha256Hex, keys: Keys<'_>) -> (Trust, SignatureReport) {
    let by = |key: Option<&PublicKey>| check_signatures(signatures, signable, key);
    if signatures.is_empty() {
        return (Trust::Unsigned, by(keys.pinned));
    }
    if let Some(pinned) = keys.pinned {
        let mut report = by(Some(pinned));
        if report.status == SignatureStatus::Verified && keys.embedded != Some(pinned) {
            // The manifest is theirs, checkpoints and traces are somebody else's.
            report.status = SignatureStatus::Failed;
            report.errors.push("key id mismatch".into());
        }
        let trust = if report.status == SignatureStatus::Verified { Trust::Pinned } else { Trust::Refused };
        return (trust, report);
    }
    let report = keys.embedded.map(|embedded| by(Some(embedded)));
    match report {
        Some(report) if report.status == SignatureStatus::Verified && keys.local == keys.embedded => {
            (Trust::Local, report)
        }
        Some(report) if report.status == SignatureStatus::Verified => (Trust::SelfAttested, by(None)),
        Some(report) => (Trust::Refused, report),
        None => (Trust::Refused, SignatureReport { status: SignatureStatus::Failed, ..by(None) }),
    }
}
