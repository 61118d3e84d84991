//! `gait completions <shell>`: the script by which a shell completes the words of a command line.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{JSON, Order, nearest};
use crate::render::Outcome;
use crate::shell;
use clap_complete::{Shell, generate};
use serde_json::json;

pub static VERB: Verb = Verb {
    path: &["completions"],
    label: "completions",
    explain: "Print the script by which bash, zsh or fish completes commands, flags and their values.",
    positionals: "<bash|zsh|fish>",
    flags: &[JSON],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &["For this shell only: source <(gait completions bash), or in fish: gait completions fish | source."],
    run,
};

const SHELLS: [(&str, Shell); 3] = [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let [name] = words.as_slice() else {
        return Err(Failure::invalid("expected one of bash, zsh, fish"));
    };
    let Some((name, shell)) = SHELLS.into_iter().find(|(known, _)| known == name) else {
        let failure = Failure::invalid(format!("unsupported shell {name:?} (expected bash, zsh or fish)"));
        return Err(match nearest(name, SHELLS.map(|(known, _)| known)) {
            Some(meant) => failure.with_hint(format!("did you mean `{meant}`?")),
            None => failure,
        });
    };
    let mut script = Vec::new();
    generate(shell, &mut shell::tree(), "gait", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::new(Exit::Internal, error))?;
    let lines: Vec<String> = script.lines().map(str::to_string).collect();
    Ok(Outcome::new(Exit::Ok, &lines, &json!({ "ok": true, "shell": name, "script": script })))
}
