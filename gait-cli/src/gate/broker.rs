//! The credential broker that the flags name.

use super::command;
use crate::failure::Failure;
use crate::flags::Args;
use crate::keys;
use gait_core::broker::{BrokerKind, Credential, CredentialRequest, Wanted, from_env, read_answer, stub, variable};
use gait_core::file::clean;
use gait_core::gate::CredentialRefusal;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable that lists the commands that may be run.
const ALLOWLIST: &str = "GAIT_CREDENTIAL_COMMAND_ALLOWLIST";

/// A broker, ready to be asked.
#[derive(Debug)]
pub struct Broker {
    kind: BrokerKind,
    env_prefix: String,
    command: Command,
}

/// What [`BrokerKind::Command`] runs.
#[derive(Debug, Default)]
struct Command {
    program: PathBuf,
    args: Vec<String>,
    /// Variables that hold our own keys.
    hidden: Vec<OsString>,
}

impl Broker {
    /// The broker that `--credential-broker` and its flags name.
    ///
    /// # Errors
    /// An unknown broker, and a command that is missing or may not be run: exit 6.
    pub fn of(args: &Args) -> Result<Self, Failure> {
        let kind = BrokerKind::parse(args.text("credential-broker")).map_err(Failure::invalid)?;
        let command = match kind {
            BrokerKind::Command => Command::of(args)?,
            _ => Command::default(),
        };
        Ok(Broker { kind, env_prefix: args.text("credential-env-prefix").to_owned(), command })
    }

    /// Which one it is.
    pub fn kind(&self) -> BrokerKind {
        self.kind
    }

    /// Asks for a credential.
    ///
    /// # Errors
    /// [`CredentialRefusal`]; the broker's own words are dropped, because they may hold a secret.
    pub fn issue(&self, request: &CredentialRequest) -> Result<Credential, CredentialRefusal> {
        match self.kind {
            BrokerKind::Off => Err(CredentialRefusal::NoBroker),
            BrokerKind::Stub => Ok(stub(request)),
            BrokerKind::Env => {
                let variable = variable(&self.env_prefix, request);
                let value = std::env::var_os(&variable).unwrap_or_default();
                from_env(&variable, &value.to_string_lossy()).ok_or(CredentialRefusal::NotIssued)
            }
            BrokerKind::Command => self.command.ask(request).ok_or(CredentialRefusal::NotIssued),
        }
    }
}

/// What a call asks for besides its rule.
pub fn wanted(args: &Args) -> Wanted {
    Wanted { reference: args.text("credential-ref").to_owned(), scopes: args.csv("credential-scopes") }
}

impl Command {
    fn of(args: &Args) -> Result<Self, Failure> {
        let Some(program) = args.trimmed("credential-command") else {
            return Err(Failure::invalid("command broker requires --credential-command"));
        };
        if program.contains([' ', '\t', '\r', '\n']) {
            return Err(Failure::invalid("command broker command must not contain blanks")
                .with_advice("give its arguments with --credential-command-args"));
        }
        let allowed = std::env::var_os(ALLOWLIST).unwrap_or_default();
        if !may_run(Path::new(program), &allowed.to_string_lossy()) {
            return Err(Failure::invalid(format!("command broker command is not in allowlist {ALLOWLIST}")));
        }
        let args_given = args.csv("credential-command-args");
        Ok(Command { program: PathBuf::from(program), args: args_given, hidden: keys::private_variables(args) })
    }

    fn ask(&self, request: &CredentialRequest) -> Option<Credential> {
        let input = request.to_json().ok()?;
        let answer = command::output(&self.program, &self.args, &self.hidden, input.into_bytes())?;
        read_answer(&answer).ok()
    }
}

/// Whether `allowed`, a list of paths and base names separated by commas, lets `program` run. An empty list lets any.
fn may_run(program: &Path, allowed: &str) -> bool {
    let entries: Vec<PathBuf> = allowed
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| clean(Path::new(entry)))
        .collect();
    let program = clean(program);
    let is_listed = |entry: &PathBuf| *entry == program || Some(entry.as_os_str()) == program.file_name();
    entries.is_empty() || entries.iter().any(is_listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_commands_holds_paths_and_base_names() {
        for (allowed, may) in [
            ("", true),
            (" , ", true),
            ("ok.sh", true),
            ("other.sh,ok.sh", true),
            ("./bin/ok.sh", true),
            ("bin//x/../ok.sh", true),
            ("other.sh", false),
            ("/bin/ok.sh", false),
            ("ok", false),
        ] {
            assert_eq!(may_run(Path::new("./bin/ok.sh"), allowed), may, "{allowed}");
        }
    }
}
