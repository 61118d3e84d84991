//! `gait run replay`: what each intent of a run gave, as stubs; nothing is ever executed.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order};
use crate::pack;
use crate::render::Outcome;
use gait_core::runpack::replay::{Replay, Step, replay};
use serde::Serialize;

pub static VERB: Verb = Verb {
    path: &["run", "replay"],
    label: "replay",
    explain: "Replay a runpack deterministically with stubs and report intents whose results are missing.",
    positionals: "<run_id|path>",
    flags: &[
        JSON,
        Flag::switch("real-tools", "ask for real tools; they are not implemented"),
        Flag::switch("unsafe-real-tools", "confirm --real-tools"),
        Flag::value("allow-tools", "<csv>", "tools that --real-tools may call"),
        Flag::value(
            "unsafe-real-tools-env",
            "<VAR>",
            "variable that must be 1 for --real-tools (GAIT_ALLOW_REAL_REPLAY)",
        ),
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &["note: replay executes deterministic stubs; real tool execution is intentionally not implemented."],
    run,
};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    ok: bool,
    run_id: &'a str,
    mode: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    steps: &'a [Step],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    missing_results: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    requested_unsafe: bool,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let [input] = words.as_slice() else {
        return Err(Failure::invalid("expected run_id or path"));
    };
    let warnings = guard(&call.args)?;
    let requested_unsafe = call.args.is_on("unsafe-real-tools");
    let marked = |failure: Failure| match requested_unsafe {
        true => failure.with_field("requested_unsafe", true),
        false => failure,
    };
    let (mut pack, _) = pack::open(input).map_err(marked)?;
    let replay = replay(&mut pack).map_err(|error| marked(Failure::invalid(error)))?;
    let ok = replay.missing_results.is_empty();
    let answer = Answer {
        ok,
        run_id: &replay.run_id,
        mode: "stub",
        steps: &replay.steps,
        missing_results: &replay.missing_results,
        warnings: &warnings,
        requested_unsafe,
    };
    let exit = if ok { Exit::Ok } else { Exit::VerificationFailed };
    Ok(Outcome::new(exit, &lines(&replay, &warnings), &answer))
}

/// The conditions of `--real-tools`, which then still replays stubs; gives the warnings that say so.
fn guard(args: &Args) -> Result<Vec<String>, Failure> {
    let (real, unsafe_too) = (args.is_on("real-tools"), args.is_on("unsafe-real-tools"));
    let refuse = |message: String| Failure::new(Exit::UnsafeOperation, message);
    if !real {
        return Ok(Vec::new());
    }
    if !unsafe_too {
        return Err(refuse("real tool execution requires --unsafe-real-tools".into()));
    }
    let marked = |message: String| refuse(message).with_field("requested_unsafe", true);
    let tools = args.csv("allow-tools");
    if tools.is_empty() {
        return Err(marked("real tool execution requires --allow-tools with explicit tool names".into()));
    }
    let variable = args.trimmed("unsafe-real-tools-env").unwrap_or("GAIT_ALLOW_REAL_REPLAY");
    if std::env::var(variable).unwrap_or_default().trim() != "1" {
        return Err(marked(format!("real tool execution requires {variable}=1")));
    }
    Ok(vec!["real tools not implemented; replaying stubs".into(), format!("allow_tools={}", tools.join(","))])
}

fn lines(replay: &Replay, warnings: &[String]) -> Vec<String> {
    let mut lines = if replay.missing_results.is_empty() {
        vec![format!("replay ok: {} (stub)", replay.run_id)]
    } else {
        vec![
            format!("replay failed: {}", replay.run_id),
            format!("missing results: {}", replay.missing_results.join(", ")),
        ]
    };
    if !warnings.is_empty() {
        lines.push(format!("warnings: {}", warnings.join("; ")));
    }
    lines
}
