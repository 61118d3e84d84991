//! Exit codes: the one list of what the number means.
//!
//! Scripts branch on these numbers, so they never change meaning (contract, artifacts 2.6 and control 1.1).

/// How gait itself ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success.
    Ok = 0,
    /// Internal or input/output failure, a full disk for instance.
    Internal = 1,
    /// Verification failed, a diff found changes, a replay misses results, an inventory drifted.
    VerificationFailed = 2,
    /// The policy blocked the action.
    PolicyBlocked = 3,
    /// The action needs an approval that is not there.
    ApprovalRequired = 4,
    /// A regression grader failed.
    RegressFailed = 5,
    /// Wrong usage, a missing file, an unreadable or malformed artifact.
    InvalidInput = 6,
    /// Something gait depends on is missing on this machine.
    DependencyMissing = 7,
    /// An unsafe replay was refused.
    UnsafeOperation = 8,
}

impl Exit {
    /// The number given to the parent process.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The exit of this number.
    pub fn from_code(code: u8) -> Option<Self> {
        use Exit::*;
        [
            Ok,
            Internal,
            VerificationFailed,
            PolicyBlocked,
            ApprovalRequired,
            RegressFailed,
            InvalidInput,
            DependencyMissing,
            UnsafeOperation,
        ]
        .into_iter()
        .find(|exit| exit.code() == code)
    }

    /// The words of the error envelope that belong to this code (contract, artifacts 2.5).
    pub fn envelope(self) -> Option<Envelope> {
        let (code, category, hint) = match self {
            Exit::Ok => return None,
            Exit::Internal => ("internal_failure", Category::InternalFailure, RETRY),
            Exit::VerificationFailed => {
                ("verification_failed", Category::VerificationFailed, "re-run verify after checking artifact integrity")
            }
            Exit::PolicyBlocked => {
                ("policy_blocked", Category::PolicyBlocked, "inspect reason_codes and adjust policy or intent")
            }
            Exit::ApprovalRequired => {
                ("approval_required", Category::ApprovalRequired, "provide a valid approval token and retry")
            }
            Exit::RegressFailed => ("regress_failed", Category::InternalFailure, RETRY),
            Exit::InvalidInput => ("invalid_input", Category::InvalidInput, "check command usage and input schema"),
            Exit::DependencyMissing => (
                "dependency_missing",
                Category::DependencyMissing,
                "install or configure the missing dependency and retry",
            ),
            Exit::UnsafeOperation => (
                "unsafe_operation",
                Category::InternalFailure,
                "pass explicit unsafe flags only for approved replay paths",
            ),
        };
        Some(Envelope { code, category, hint })
    }
}

const RETRY: &str = "retry after checking local environment and logs";

/// `error_code`, `error_category` and `hint` of an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub code: &'static str,
    pub category: Category,
    pub hint: &'static str,
}

/// What kind of thing went wrong, for programs that read the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    InvalidInput,
    VerificationFailed,
    PolicyBlocked,
    ApprovalRequired,
    DependencyMissing,
    /// A file could not be written or the disk is full.
    IoFailure,
    /// Another process held what was needed for too long.
    StateContention,
    /// A server could not be reached or had no time.
    NetworkTransient,
    InternalFailure,
}

impl Category {
    /// Whether the same call may succeed later.
    pub fn is_retryable(self) -> bool {
        matches!(self, Category::StateContention | Category::NetworkTransient)
    }

    /// The word in the envelope.
    pub fn word(self) -> &'static str {
        match self {
            Category::InvalidInput => "invalid_input",
            Category::VerificationFailed => "verification_failed",
            Category::PolicyBlocked => "policy_blocked",
            Category::ApprovalRequired => "approval_required",
            Category::DependencyMissing => "dependency_missing",
            Category::IoFailure => "io_failure",
            Category::StateContention => "state_contention",
            Category::NetworkTransient => "network_transient",
            Category::InternalFailure => "internal_failure",
        }
    }
}

/// What the process ends with: gait's own code, or the status of the agent it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Gait(Exit),
    /// The agent's exit status, 128 + n when signal n ended it; passed through unchanged.
    Agent(u8),
}

impl Status {
    /// The number given to the parent process.
    pub fn code(self) -> u8 {
        match self {
            Status::Gait(exit) => exit.code(),
            Status::Agent(code) => code,
        }
    }
}

impl From<Exit> for Status {
    fn from(exit: Exit) -> Self {
        Status::Gait(exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_exit_codes_has_the_words_of_the_envelope() {
        let page = include_str!("../../docs/exit-codes.md");
        let rows: Vec<Vec<&str>> = page
            .lines()
            .filter(|line| line.starts_with("| ") && line.as_bytes().get(2).is_some_and(u8::is_ascii_digit))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), 9);
        for row in rows {
            let exit = Exit::from_code(row[0].parse().unwrap()).unwrap();
            let word = |text: &'static str| format!("`{text}`");
            let (code, category) =
                exit.envelope().map_or_else(Default::default, |e| (word(e.code), word(e.category.word())));
            assert!(row[3] == code && row[4].starts_with(&category), "{row:?}");
        }
    }
}
