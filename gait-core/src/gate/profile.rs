//! How strict the gate is about its own configuration (control 8.1).

use crate::broker::BrokerKind;
use crate::policy::{Policy, Rule, Verdict};
use crate::text::lower_trimmed;

/// A set of demands on a call of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// None besides the policy's own.
    Standard,
    /// Real keys, nothing simulated, and credentials for whatever may be grave.
    OssProd,
}

/// A word that names no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported --profile value {word:?} (expected standard or oss-prod)")]
pub struct UnknownProfile {
    word: String,
}

/// Which demand of the profile `oss-prod` is not met. The texts are the contract's, where it has the demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says it all")]
pub enum ProfileError {
    #[error("oss-prod profile does not allow --simulate")]
    Simulate,
    #[error("oss-prod profile requires --key-mode prod")]
    KeyMode,
    #[error("oss-prod profile requires --private-key or --private-key-env")]
    NoPrivateKey,
    #[error("oss-prod profile requires high-risk allow/approval rules to set require_broker_credential: true")]
    RuleWithoutCredential,
    #[error("oss-prod profile requires --credential-broker for high-risk policies")]
    NoBroker,
    #[error("oss-prod profile requires default_verdict block or require_approval")]
    LenientDefault,
    #[error(
        "oss-prod profile requires explicit approval verify key (--approval-public-key/--approval-public-key-env or \
         approval private key source)"
    )]
    NoApprovalKey,
    #[error("oss-prod profile requires an approval key other than the trace signing key")]
    SameKey,
}

impl Profile {
    /// The profile that `word` names; no word names the standard.
    ///
    /// # Errors
    /// [`UnknownProfile`] for any other word, as it was given.
    pub fn parse(word: &str) -> Result<Self, UnknownProfile> {
        match lower_trimmed(word).as_ref() {
            "" | "standard" => Ok(Self::Standard),
            "oss-prod" => Ok(Self::OssProd),
            _ => Err(UnknownProfile { word: word.to_owned() }),
        }
    }

    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::OssProd => "oss-prod",
        }
    }

    /// Whether `policy` may be used under this profile with this broker.
    ///
    /// Stricter than the existing gate in two points (control 16, item 9): a rule without risk classes is about grave
    /// calls too, and so is the default verdict.
    ///
    /// # Errors
    /// [`ProfileError`], the first demand that is not met.
    pub fn check_policy(self, policy: &Policy, broker: BrokerKind) -> Result<(), ProfileError> {
        if self == Self::Standard {
            return Ok(());
        }
        let mut grave = policy.rules().iter().filter(|rule| is_grave(rule)).peekable();
        let needs_broker = grave.peek().is_some();
        if grave.any(|rule| !rule.require_broker_credential) {
            return Err(ProfileError::RuleWithoutCredential);
        }
        if needs_broker && broker == BrokerKind::Off {
            return Err(ProfileError::NoBroker);
        }
        match policy.default_verdict() {
            Verdict::Allow | Verdict::DryRun => Err(ProfileError::LenientDefault),
            Verdict::RequireApproval | Verdict::Block => Ok(()),
        }
    }
}

/// Whether a rule may let a call of a grave risk class go on.
fn is_grave(rule: &Rule) -> bool {
    let classes = &rule.matcher.risk_classes;
    let is_about_grave = classes.is_empty() || classes.iter().any(|class| class == "high" || class == "critical");
    rule.effect != Verdict::Block && is_about_grave
}
