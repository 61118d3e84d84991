//! From what the policy says to what is recorded and done.

use gait_core::journal::{Decided, Enforced, Source};
use gait_core::policy::Verdict;
use rustix::io::Errno;

use super::config::{Enforcement, Said};
use super::{Denial, Floor, Ruling};
use crate::event::{Action, Why};

/// What is recorded for the policy's word.
///
/// * `require_approval`: nobody can be asked in this version, so it stays the final verdict, is denied and
///   says why in the words of the gate (`approval_token_missing`, `approval_not_granted`).
/// * With [`Enforcement::Simulate`] what would be denied is recorded as `dry_run`, because `enforced` has
///   to follow from the verdict; `policy_verdict` keeps what the policy said, and the gate's reasons say
///   that it was not enforced. So a simulated run never has the trace of a real `allow`.
pub(super) fn by_policy(said: Said, enforcement: Enforcement) -> Decided {
    let Said { verdict, mut reason_codes, mut violations, matched_rule } = said;
    let denied = Enforced::of(verdict) == Enforced::Deny;
    let mut decided = verdict;
    let mut policy_verdict = None;
    match (enforcement, denied) {
        (Enforcement::Simulate, true) => {
            reason_codes.push("simulate_mode_non_enforcing".to_owned());
            reason_codes.push(format!("simulated_{}", verdict.as_str()));
            policy_verdict = Some(verdict);
            decided = Verdict::DryRun;
        }
        (Enforcement::Enforce, true) if verdict == Verdict::RequireApproval => {
            reason_codes.push("approval_token_missing".to_owned());
            violations.push("approval_not_granted".to_owned());
        }
        _ => {}
    }
    Decided {
        verdict: decided,
        enforced: Enforced::of(decided),
        source: Source::Policy,
        reason_codes: sorted(reason_codes),
        violations: sorted(violations),
        matched_rule,
        policy_verdict,
        approval_ref: None,
    }
}

fn sorted(mut codes: Vec<String>) -> Vec<String> {
    codes.sort();
    codes.dedup();
    codes
}

/// What is recorded for a denial by the floor.
pub(super) fn by_floor(floor: Floor) -> Decided {
    denied(Source::Floor, floor.reason_code())
}

/// What is recorded when the guard can't decide.
pub(super) fn by_engine(code: &str) -> Decided {
    denied(Source::Engine, code)
}

/// Reason code of a denial of what had happened already: the process was killed before it returned to its own code.
const KILLED: &str = "guard_engine_killed";
/// Reason code of a denial whose target is what the caller called it: the object itself was never there.
const SPELT: &str = "guard_engine_as_spelt";

/// A decision, with what is to be known about how it was enforced if it is a denial.
pub(super) fn denied_by(mut decided: Decided, denial: Denial) -> Decided {
    let code = match denial {
        Denial::Error => None,
        Denial::Spelt => Some(SPELT),
        Denial::Kill => Some(KILLED),
    };
    if let (Some(code), Enforced::Deny) = (code, decided.enforced) {
        decided.reason_codes.push(code.to_owned());
        decided.reason_codes = sorted(decided.reason_codes);
    }
    decided
}

/// Whether it was a kill: then nobody got an error.
pub(super) fn is_kill(decided: &Decided) -> bool {
    decided.reason_codes.iter().any(|code| code == KILLED)
}

/// What is recorded for what was let through without the policy's word.
pub(super) fn passed_by_engine(code: &str) -> Decided {
    Decided {
        verdict: Verdict::Allow,
        enforced: Enforced::Allow,
        violations: Vec::new(),
        ..denied(Source::Engine, code)
    }
}

fn denied(source: Source, code: &str) -> Decided {
    Decided {
        verdict: Verdict::Block,
        enforced: Enforced::Deny,
        source,
        reason_codes: vec![code.to_owned()],
        violations: vec![code.to_owned()],
        matched_rule: None,
        policy_verdict: None,
        approval_ref: None,
    }
}

impl Floor {
    /// The code in reasons and violations.
    pub fn reason_code(self) -> &'static str {
        match self {
            Self::GuardAccess => "guard_floor_guard_access",
            Self::Outsider => "guard_floor_outsider",
            Self::Privilege => "guard_floor_privilege",
            Self::Unmediated => "guard_floor_unmediated",
            Self::Unresolved => "guard_floor_unresolved",
            Self::Unreadable => "guard_floor_unreadable",
        }
    }

    /// The error that the agent gets: what a kernel without the object, call or right would say.
    pub fn errno(self, action: &Action<'_>) -> Errno {
        match (self, action) {
            (Self::Unresolved, Action::Unresolved { why: Why::NameTooLong, .. }) => Errno::NAMETOOLONG,
            (Self::Unmediated, Action::System { object, .. }) if object.class == "socket" => Errno::AFNOSUPPORT,
            (Self::Unmediated, Action::System { object, .. }) if object.class == "syscall" => Errno::NOSYS,
            (Self::Unreadable, _) => Errno::FAULT,
            (_, Action::System { .. }) => Errno::PERM,
            _ => Errno::ACCESS,
        }
    }
}

/// What the engine is told.
pub(super) fn ruling(decided: &Decided, errno: Errno) -> Ruling {
    match decided.enforced {
        Enforced::Allow => Ruling::Allow,
        Enforced::Deny => Ruling::Deny(errno),
    }
}

/// The error for a denial by the policy.
pub(super) fn policy_errno(action: &Action<'_>) -> Errno {
    match action {
        Action::System { .. } => Errno::PERM,
        _ => Errno::ACCESS,
    }
}

/// The name of an error as the contract's `errno` has it.
pub(crate) fn errno_name(errno: Errno) -> String {
    let name = match errno {
        Errno::ACCESS => "EACCES",
        Errno::PERM => "EPERM",
        Errno::NOSYS => "ENOSYS",
        Errno::AFNOSUPPORT => "EAFNOSUPPORT",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::FAULT => "EFAULT",
        Errno::BUSY => "EBUSY",
        Errno::INVAL => "EINVAL",
        Errno::MFILE => "EMFILE",
        Errno::NOENT => "ENOENT",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::PROTONOSUPPORT => "EPROTONOSUPPORT",
        Errno::SRCH => "ESRCH",
        Errno::XDEV => "EXDEV",
        other => return format!("E{}", other.raw_os_error()),
    };
    name.to_owned()
}
