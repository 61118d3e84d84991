//! Reads tokens and keys, and asks what they are worth for one decision.

use super::MAX_TOKEN_BYTES;
use crate::clock;
use crate::failure::Failure;
use crate::flags::{Args, Flag};
use crate::keys;
use crate::state_file::LockedState;
use gait_core::approval::{ApprovalToken, Assessment, Demand, KeyRing, TokenUses, assess};
use gait_core::digest::Sha256Hex;
use gait_core::file;
use gait_core::gate::{Profile, ProfileError, Ruling};
use gait_core::signature::PublicKey;
use gait_core::text::set;
use std::ffi::OsStr;
use std::path::Path;

/// `--approver-key`: may be given more than once.
pub const APPROVER_KEY: Flag = Flag::value(
    "approver-key",
    "[<name>=]<path>",
    "public key of an approver, of that name alone where one is given; repeat it: distinct approvers are then distinct keys",
)
.hidden();

/// `--approval-single-use`.
pub const SINGLE_USE: Flag = Flag::value(
    "approval-single-use",
    "<state.json>",
    "let each token count for one decision; remember used ones in this file",
)
.hidden();

/// What a decision is about.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub intent_digest: Sha256Hex,
    pub policy_digest: Sha256Hex,
    pub tool_name: &'a str,
    pub profile: Profile,
    /// The key that signs the trace.
    pub trace_key: PublicKey,
}

/// The token files of a call: each path once, in the order of their bytes.
pub fn token_paths(args: &Args) -> Vec<String> {
    let first = args.text("approval-token").to_owned();
    set(std::iter::once(first).chain(args.csv("approval-token-chain")))
}

/// What the tokens of this call are worth for `ruling`, which awaits approval.
///
/// With `enforced` a token that must count once is remembered as used.
///
/// # Errors
/// Keys and tokens that can't be read, and what the profile demands: exit 6. A memory of used tokens that can't be
/// locked or written: exit 1.
pub fn assessment(args: &Args, ruling: &Ruling, case: &Case, enforced: bool) -> Result<Assessment, Failure> {
    let ring = match key_ring(args, case.profile)? {
        Some(ring) => ring,
        None => KeyRing::shared(case.trace_key.clone()),
    };
    if case.profile == Profile::OssProd && ring.holds(&case.trace_key) {
        return Err(Failure::invalid(ProfileError::SameKey));
    }
    let tokens = token_paths(args).iter().map(|path| read_token(Path::new(path))).collect::<Result<Vec<_>, _>>()?;
    let demand = Demand {
        intent_digest: case.intent_digest,
        policy_digest: case.policy_digest,
        tool_name: case.tool_name,
        required: ruling.required_approvals(),
        require_distinct: ruling.requires_distinct_approvers(),
        now: clock::now(),
    };
    let Some(state) = args.raw("approval-single-use").filter(|path| !path.is_empty()) else {
        return Ok(assess(&tokens, &ring, &TokenUses::default(), &demand));
    };
    assess_remembered(Path::new(state), &tokens, &ring, &TokenUses::default(), &demand, enforced)
}

/// What `tokens` are worth where those that the file `state` or `own` remembers don't count again. With `enforced` those
/// that decided are remembered in the file.
///
/// # Errors
/// The file can't be locked or written: exit 1. It is no such memory: exit 6.
pub fn assess_remembered(
    state: &Path,
    tokens: &[ApprovalToken],
    ring: &KeyRing,
    own: &TokenUses,
    demand: &Demand<'_>,
    enforced: bool,
) -> Result<Assessment, Failure> {
    let locked = LockedState::acquire(state, "approval uses")?;
    let mut used = match locked.read()? {
        Some(bytes) => TokenUses::read(&bytes).map_err(Failure::invalid)?,
        None => TokenUses::default(),
    };
    used.extend(own);
    let found = assess(tokens, ring, &used, demand);
    if found.granted && enforced {
        used.remember(&found.uses, &demand.now);
        locked.write(&used.to_file_text().map_err(Failure::io)?)?;
    }
    Ok(found)
}

/// The keys whose approvals count: those of `--approver-key`, else that of the approval key flags. None of them is an
/// error in production.
///
/// # Errors
/// A key that can't be read, or is demanded and missing: exit 6.
pub fn key_ring(args: &Args, profile: Profile) -> Result<Option<KeyRing>, Failure> {
    let shared = keys::approval_key(args)?;
    let named: Vec<&OsStr> = args.every("approver-key").filter(|word| !word.is_empty()).collect();
    let ring = if named.is_empty() {
        match (shared, profile) {
            (Some(key), _) => KeyRing::shared(key),
            (None, Profile::OssProd) => return Err(Failure::invalid(ProfileError::NoApprovalKey)),
            (None, Profile::Standard) => return Ok(None),
        }
    } else {
        let mut ring = KeyRing::of_approvers();
        for word in named {
            let (approver, path) = approver_and_path(word);
            ring.add(keys::public_key_file(path)?, approver);
        }
        if let Some(key) = shared {
            ring.add(key, None);
        }
        ring
    };
    Ok(Some(ring))
}

/// `kim=keys/kim.pub`, or a path alone. No name has a slash, so a path with `=` in a folder's name is one.
fn approver_and_path(word: &OsStr) -> (Option<String>, &Path) {
    match word.to_str().and_then(|text| text.split_once('=')) {
        Some((name, path)) if !name.trim().is_empty() && !name.contains('/') => {
            (Some(name.trim().to_owned()), Path::new(path))
        }
        _ => (None, Path::new(word)),
    }
}

/// The token in the file at `path`.
///
/// # Errors
/// It can't be read, or is none: exit 6.
pub fn read_token(path: &Path) -> Result<ApprovalToken, Failure> {
    let bytes = file::read_at_most(path, MAX_TOKEN_BYTES)
        .map_err(|error| Failure::invalid(format!("read approval token: {error}")))?;
    ApprovalToken::read(&bytes).map_err(Failure::invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approver_is_named_before_the_path_of_its_key() {
        let split = |word| approver_and_path(OsStr::new(word));
        assert_eq!(split("kim=keys/kim.pub"), (Some("kim".into()), Path::new("keys/kim.pub")));
        assert_eq!(split("keys/kim.pub"), (None, Path::new("keys/kim.pub")));
        assert_eq!(split("./a=b/kim.pub"), (None, Path::new("./a=b/kim.pub")));
        assert_eq!(split("=x"), (None, Path::new("=x")));
    }
}
