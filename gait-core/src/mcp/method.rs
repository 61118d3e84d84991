//! The methods that a client may call without being asked why.
//!
//! `tools/call` is decided by policy. What else the protocol has is known and passes: it lists, reads and talks. A
//! method that nobody knows could do anything, so it is refused unless it was allowed by name.

use crate::text::lower;

/// The one method that is judged.
pub const TOOLS_CALL: &str = "tools/call";

/// Methods of clients in the revisions 2024-11-05 to 2026-07-28, `tools/call` apart.
const KNOWN: &[&str] = &[
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tools/list",
];

/// What is done with a method of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It is a tool call.
    Judged,
    /// It goes on.
    Free,
    /// It does not.
    Refused,
}

/// What is done with `method`, where `allowed` was allowed by name.
pub fn passage(method: &str, allowed: &[String]) -> Passage {
    if method == TOOLS_CALL {
        return Passage::Judged;
    }
    // A server may be less exact about names than we are.
    if folded(method) == folded(TOOLS_CALL) {
        return Passage::Refused;
    }
    let is_known = KNOWN.contains(&method) || allowed.iter().any(|known| known == method);
    if is_known { Passage::Free } else { Passage::Refused }
}

/// The letters and digits of a name, lower case.
fn folded(name: &str) -> String {
    lower(name).chars().filter(|character| character.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_is_judged_and_what_looks_like_it_is_never_let_through() {
        assert_eq!(passage("tools/call", &[]), Passage::Judged);
        for near in
            ["Tools/Call", "tools/call ", " tools/call", "tools//call", "tools/call\0", "tools.call", "toolscall"]
        {
            assert_eq!(passage(near, &[near.to_owned()]), Passage::Refused, "{near:?}");
        }
    }

    #[test]
    fn methods_of_the_protocol_pass_and_others_only_if_they_are_named() {
        assert!(KNOWN.is_sorted());
        assert!(KNOWN.iter().all(|known| passage(known, &[]) == Passage::Free));
        assert_eq!(passage("x/run", &[]), Passage::Refused);
        assert_eq!(passage("x/run", &["x/run".into()]), Passage::Free);
        assert_eq!(passage("Ping", &[]), Passage::Refused);
    }
}
