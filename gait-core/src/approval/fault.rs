//! Why a token does not count.

/// The first thing that is wrong with a token, in the order in which they are looked at (control 10.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenFault {
    /// A member is missing or has no meaning.
    Invalid,
    /// Nobody signed it.
    SignatureMissing,
    /// No trusted key signed it as it is.
    SignatureInvalid,
    /// It is signed by a key of somebody else than the approver that it names.
    ApproverMismatch,
    /// It is about another intent.
    IntentMismatch,
    /// It is about another policy.
    PolicyMismatch,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for other tools.
    ScopeMismatch,
    /// Its id is not the one of its contents.
    IdMismatch,
    /// It has been used before, or is shown twice.
    Replayed,
}

impl TokenFault {
    /// The reason code, which is also the `error_code` of the audit record.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "approval_token_invalid",
            Self::SignatureMissing => "approval_token_signature_missing",
            Self::SignatureInvalid => "approval_token_signature_invalid",
            Self::ApproverMismatch => "approval_token_approver_mismatch",
            Self::IntentMismatch => "approval_token_intent_mismatch",
            Self::PolicyMismatch => "approval_token_policy_mismatch",
            Self::Expired => "approval_token_expired",
            Self::NotYetValid => "approval_token_not_yet_valid",
            Self::ScopeMismatch => "approval_token_scope_mismatch",
            Self::IdMismatch => "approval_token_id_mismatch",
            Self::Replayed => "approval_token_replayed",
        }
    }
}
