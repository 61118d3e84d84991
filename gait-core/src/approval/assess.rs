//! What a set of tokens is worth for one decision (control 10.3).

use std::collections::BTreeSet;

use super::audit::AuditEntry;
use super::fault::TokenFault;
use super::keys::{Distinct, KeyRing};
use super::token::{ApprovalToken, SCHEMA_ID, SCHEMA_VERSION};
use super::uses::TokenUses;
use crate::digest::Sha256Hex;
use crate::signature::KeyId;
use crate::time::Timestamp;

/// How far the clock of who mints may be ahead of the one of who judges.
pub const CLOCK_SKEW_NANOS: i64 = 60_000_000_000;

/// What the tokens are asked to permit.
#[derive(Clone, Debug)]
pub struct Demand<'a> {
    /// The intent.
    pub intent_digest: Sha256Hex,
    /// The policy.
    pub policy_digest: Sha256Hex,
    /// The tool, normalised.
    pub tool_name: &'a str,
    /// How many approvals, at least one.
    pub required: u64,
    /// Whether they must come from different approvers.
    pub require_distinct: bool,
    /// Now.
    pub now: Timestamp,
}

/// What tokens are worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Whether the demand is met.
    pub granted: bool,
    /// Why, or why not: codes of the contract.
    pub reasons: Vec<&'static str>,
    /// Tokens that count.
    pub valid: u64,
    /// Who approved by them: sorted, unique.
    pub approvers: BTreeSet<String>,
    /// Their ids: sorted, unique.
    pub token_ids: BTreeSet<String>,
    /// Digest and end of each of them, to remember that it was used.
    pub uses: Vec<(Sha256Hex, Timestamp)>,
    /// `approved` of the audit record.
    pub audit_approved: bool,
    /// One for each token, sorted.
    pub entries: Vec<AuditEntry>,
}

/// A token that counts.
struct Valid {
    signer: KeyId,
    digest: Sha256Hex,
}

/// Judges `tokens` by `demand`. Tokens that `used` remembers don't count again.
pub fn assess(tokens: &[ApprovalToken], ring: &KeyRing, used: &TokenUses, demand: &Demand<'_>) -> Assessment {
    let mut entries = Vec::new();
    let mut reasons = BTreeSet::new();
    let (mut approvers, mut token_ids) = (BTreeSet::new(), BTreeSet::new());
    let (mut signers, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut uses = Vec::new();
    for token in tokens {
        let token = token.normalized();
        let judged = check(&token, ring, demand).and_then(|valid| {
            let is_new = !used.holds(&valid.digest) && seen.insert(valid.digest);
            if is_new { Ok(valid) } else { Err(TokenFault::Replayed) }
        });
        match &judged {
            Ok(valid) => {
                signers.insert(valid.signer);
                approvers.insert(token.approver_identity.clone());
                token_ids.insert(token.token_id.clone());
                uses.push((valid.digest, token.expires_at));
            }
            Err(fault) => {
                reasons.insert(fault.code());
            }
        }
        entries.push(AuditEntry::of(token, judged.err()));
    }
    entries.sort_by_cached_key(AuditEntry::sort_key);
    let valid = uses.len() as u64;
    let different = match ring.distinct() {
        Distinct::Names => approvers.len() as u64,
        Distinct::Keys => signers.len() as u64,
    };
    let is_enough = valid >= demand.required;
    let is_distinct = !demand.require_distinct || demand.required <= 1 || different >= demand.required;
    if tokens.is_empty() {
        reasons.insert("approval_token_missing");
    } else {
        reasons.extend((!is_enough).then_some("approval_chain_insufficient"));
        reasons.extend((!is_distinct).then_some("approval_distinct_approvers_required"));
    }
    let granted = is_enough && is_distinct && !tokens.is_empty();
    reasons.extend(granted.then_some("approval_granted"));
    Assessment {
        granted,
        reasons: reasons.into_iter().collect(),
        valid,
        approvers,
        token_ids,
        uses,
        // Where approvers are told apart by name, existing readers expect the count alone (control 10.4).
        audit_approved: is_enough && (is_distinct || ring.distinct() == Distinct::Names),
        entries,
    }
}

/// The first fault of a normalised token, looked for in the order of control 10.3.
fn check(token: &ApprovalToken, ring: &KeyRing, demand: &Demand<'_>) -> Result<Valid, TokenFault> {
    if !is_whole(token) {
        return Err(TokenFault::Invalid);
    }
    let signer = ring.signer_of(token)?;
    let digest = token.signable_digest().map_err(|_| TokenFault::SignatureInvalid)?;
    if token.intent_digest.as_bytes() != demand.intent_digest.to_hex() {
        return Err(TokenFault::IntentMismatch);
    }
    if token.policy_digest.as_bytes() != demand.policy_digest.to_hex() {
        return Err(TokenFault::PolicyMismatch);
    }
    if !demand.now.is_before(&token.expires_at) {
        return Err(TokenFault::Expired);
    }
    if demand.now.plus_nanos(CLOCK_SKEW_NANOS).is_some_and(|latest| latest.is_before(&token.created_at)) {
        return Err(TokenFault::NotYetValid);
    }
    if !token.scope.iter().any(|scope| scope == "*" || scope.strip_prefix("tool:") == Some(demand.tool_name)) {
        return Err(TokenFault::ScopeMismatch);
    }
    if token.token_id != token.derived_id() {
        return Err(TokenFault::IdMismatch);
    }
    Ok(Valid { signer, digest })
}

fn is_whole(token: &ApprovalToken) -> bool {
    let is_digest = |text: &str| Sha256Hex::parse(text).is_ok();
    token.schema_id == SCHEMA_ID
        && token.schema_version == SCHEMA_VERSION
        && ![&token.token_id, &token.approver_identity, &token.reason_code].iter().any(|text| text.is_empty())
        && is_digest(&token.intent_digest)
        && is_digest(&token.policy_digest)
        && !token.scope.is_empty()
        && !token.created_at.is_zero()
        && !token.expires_at.is_zero()
}
