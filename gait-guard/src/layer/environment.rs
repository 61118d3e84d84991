//! What the agent gets of the environment: no secrets, nothing that makes programs load or run something else.
//!
//! Names are matched without regard to case. A kept name passes whatever it looks like.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Parts of names of secrets.
const SECRET_PARTS: [&[u8]; 9] =
    [b"TOKEN", b"SECRET", b"PASSWORD", b"PASSWD", b"PASSPHRASE", b"CREDENTIAL", b"APIKEY", b"API_KEY", b"PRIVATE_KEY"];
/// Ends of names of secrets.
const SECRET_ENDS: [&[u8]; 7] = [b"_KEY", b"_KEYS", b"_PASS", b"_PWD", b"_AUTH", b"_DSN", b"_COOKIE"];
/// Starts of names that belong to clouds and their tools.
const CLOUD_STARTS: [&[u8]; 9] =
    [b"AWS_", b"AZURE_", b"ARM_CLIENT_", b"GOOGLE_", b"GCP_", b"GCLOUD_", b"CLOUDFLARE_", b"DIGITALOCEAN_", b"VAULT_"];
/// Whole names: agents' sockets, secrets by habit, databases.
const SECRET_NAMES: [&[u8]; 9] = [
    b"SSH_AUTH_SOCK",
    b"SSH_AGENT_PID",
    b"GPG_AGENT_INFO",
    b"DATABASE_URL",
    b"REDIS_URL",
    b"MONGODB_URI",
    b"KUBECONFIG",
    b"NETRC",
    b"PGPASSFILE",
];
/// Names that make a program load or run what its command line does not name.
const INJECTION_NAMES: [&[u8]; 26] = [
    b"LD_PRELOAD",
    b"LD_AUDIT",
    b"LD_PROFILE",
    b"LD_DEBUG_OUTPUT",
    b"GCONV_PATH",
    b"LOCPATH",
    b"NLSPATH",
    b"BASH_ENV",
    b"ENV",
    b"PROMPT_COMMAND",
    b"PYTHONSTARTUP",
    b"PYTHONINSPECT",
    b"PERL5OPT",
    b"PERL5DB",
    b"RUBYOPT",
    b"NODE_OPTIONS",
    b"JAVA_TOOL_OPTIONS",
    b"_JAVA_OPTIONS",
    b"GIT_SSH",
    b"GIT_SSH_COMMAND",
    b"GIT_ASKPASS",
    b"SSH_ASKPASS",
    b"GIT_EXTERNAL_DIFF",
    b"GIT_PROXY_COMMAND",
    b"GIT_EXEC_PATH",
    b"LESSOPEN",
];

/// What was left of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Given to the agent.
    pub passed: Vec<(OsString, OsString)>,
    /// Names that were withheld. Not for the record: only their number is.
    pub removed: Vec<OsString>,
}

/// Separates what the agent gets from what it does not; names in `keep` are passed.
pub fn scrub(variables: impl IntoIterator<Item = (OsString, OsString)>, keep: &[OsString]) -> Scrubbed {
    let mut scrubbed = Scrubbed::default();
    for (name, value) in variables {
        if keep.contains(&name) || !(is_unsafe(&name) || holds_a_secret(&value)) {
            scrubbed.passed.push((name, value));
        } else {
            scrubbed.removed.push(name);
        }
    }
    scrubbed
}

fn is_unsafe(name: &OsStr) -> bool {
    let name = name.as_bytes().to_ascii_uppercase();
    // A shell takes exported functions from such names.
    let is_function = name.starts_with(b"BASH_FUNC_");
    let has = |part: &&[u8]| name.windows(part.len()).any(|window| window == *part);
    is_function
        || SECRET_PARTS.iter().any(has)
        || SECRET_ENDS.iter().any(|end| name.ends_with(end))
        || CLOUD_STARTS.iter().any(|start| name.starts_with(start))
        || SECRET_NAMES.iter().chain(&INJECTION_NAMES).any(|whole| name == *whole)
}

/// A private key, or an address with a password in it.
fn holds_a_secret(value: &OsStr) -> bool {
    let text = value.to_string_lossy();
    let is_key = text.contains("-----BEGIN") && text.contains("PRIVATE KEY");
    let has_password = text.match_indices("://").any(|(at, separator)| {
        let rest = &text[at + separator.len()..];
        let authority = rest.split(['/', ' ', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    is_key || has_password
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(name: &str, value: &str) -> bool {
        !scrub([(name.into(), value.into())], &[]).passed.is_empty()
    }

    #[test]
    fn secrets_are_withheld() {
        let names = [
            "GITHUB_TOKEN",
            "github_token",
            "CLIENT_SECRET",
            "DB_PASSWORD",
            "OPENAI_API_KEY",
            "SIGNING_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_PROFILE",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "SSH_AUTH_SOCK",
            "DATABASE_URL",
        ];
        for name in names {
            assert!(!passed(name, "x"), "{name}");
        }
        assert!(!passed("HARMLESS", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc"));
        assert!(!passed("HTTP_PROXY", "http://me:pass@proxy:3128/"));
    }

    #[test]
    fn what_makes_programs_run_something_else_is_withheld() {
        for name in ["LD_PRELOAD", "LD_AUDIT", "BASH_ENV", "PYTHONSTARTUP", "GIT_SSH_COMMAND", "BASH_FUNC_ls%%"] {
            assert!(!passed(name, "x"), "{name}");
        }
    }

    #[test]
    fn the_rest_passes() {
        for name in ["PATH", "HOME", "LANG", "TERM", "USER", "KEYBOARD", "MONKEY", "VIRTUAL_ENV", "PYTHONPATH", "CI"] {
            assert!(passed(name, "x"), "{name}");
        }
        assert!(passed("ORIGIN", "https://example.com/a@b:c"));
        assert!(passed("REMOTE", "ssh://git@example.com:22/x"));
    }

    #[test]
    fn a_kept_name_passes_and_no_other() {
        let variables = [("A_TOKEN".into(), "1".into()), ("B_TOKEN".into(), "2".into())];
        let scrubbed = scrub(variables, &["A_TOKEN".into()]);
        assert_eq!(scrubbed.passed, [("A_TOKEN".into(), "1".into())]);
        assert_eq!(scrubbed.removed, [OsString::from("B_TOKEN")]);
    }
}
