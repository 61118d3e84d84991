//! Whose signatures on tokens count.

use super::fault::TokenFault;
use super::token::ApprovalToken;
use crate::canonical::CanonicalError;
use crate::signature::{KeyId, PublicKey, SignatureError, verify};

/// What makes two approvers two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinct {
    /// The names that the tokens claim. One key can claim any number of them.
    Names,
    /// The keys that signed: a name proves nothing.
    Keys,
}

/// The keys that are trusted to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    keys: Vec<TrustedKey>,
    distinct: Distinct,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct TrustedKey {
    key: PublicKey,
    /// The only approver that it may sign for, where one is named.
    approver: Option<String>,
}

impl KeyRing {
    /// One key for all approvers, who are told apart by name.
    pub fn shared(key: PublicKey) -> Self {
        Self { keys: vec![TrustedKey { key, approver: None }], distinct: Distinct::Names }
    }

    /// No key yet; approvers are told apart by key.
    pub const fn of_approvers() -> Self {
        Self { keys: Vec::new(), distinct: Distinct::Keys }
    }

    /// Trusts `key`, for `approver` alone where one is named.
    pub fn add(&mut self, key: PublicKey, approver: Option<String>) {
        self.keys.push(TrustedKey { key, approver });
    }

    /// What makes two approvers two.
    pub const fn distinct(&self) -> Distinct {
        self.distinct
    }

    /// Whether `key` is trusted.
    pub fn holds(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|trusted| trusted.key == *key)
    }

    /// The key that signed the normalised `token`.
    ///
    /// # Errors
    /// [`TokenFault::SignatureMissing`], [`TokenFault::SignatureInvalid`] or [`TokenFault::ApproverMismatch`].
    pub fn signer_of(&self, token: &ApprovalToken) -> Result<KeyId, TokenFault> {
        let signature = token.signature.as_ref().ok_or(TokenFault::SignatureMissing)?;
        let digest = token.signable_digest().map_err(|_: CanonicalError| TokenFault::SignatureInvalid)?;
        let signed = |trusted: &&TrustedKey| -> Result<(), SignatureError> { verify(signature, &digest, &trusted.key) };
        let mut signers = self.keys.iter().filter(|trusted| signed(trusted).is_ok()).peekable();
        let id = signers.peek().ok_or(TokenFault::SignatureInvalid)?.key.id();
        let may = |approver: &Option<String>| approver.as_ref().is_none_or(|name| *name == token.approver_identity);
        if signers.any(|trusted| may(&trusted.approver)) { Ok(id) } else { Err(TokenFault::ApproverMismatch) }
    }
}
