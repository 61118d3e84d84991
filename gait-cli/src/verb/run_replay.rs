//! `gait run replay`: what each intent of a run gave, as stubs; nothing is ever executed.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order};
use crate::pack::OpenPack;
use crate::progress::Progress;
use crate::render::{Form, Outcome, Streamed};
use crate::{locate, pack};
use gait_core::file;
use gait_core::guarded::Derivation;
use gait_core::guarded::redecide::{Compare, divergences, expand};
use gait_core::guarded::verify::load;
use gait_core::policy::{Policy, Strictness};
use gait_core::runpack::open::open_file;
use gait_core::runpack::replay::{Replay, Step};
use serde::Serialize;
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["run", "replay"],
    label: "replay",
    explain: "Replay a runpack deterministically with stubs and report intents whose results are missing.",
    positionals: "<run_id|path>",
    flags: &[
        JSON,
        Flag::value("policy", "<policy.yaml>", "decide every recorded action of a guarded run again under this policy")
            .hidden(),
        Flag::switch("real-tools", "ask for real tools; they are not implemented"),
        Flag::switch("unsafe-real-tools", "confirm --real-tools"),
        Flag::value("allow-tools", "<csv>", "tools that --real-tools may call"),
        Flag::value("unsafe-real-tools-env", "<VAR>", "variable that must be 1 for --real-tools")
            .default("GAIT_ALLOW_REAL_REPLAY"),
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
    if let Some(policy) = call.args.trimmed("policy") {
        return redecide(input, policy);
    }
    let warnings = guard(&call.args)?;
    let requested_unsafe = call.args.is_on("unsafe-real-tools");
    let marked = |failure: Failure| match requested_unsafe {
        true => failure.with_field("requested_unsafe", true),
        false => failure,
    };
    let _progress = Progress::of("replaying");
    let (mut pack, _) = pack::open(input).map_err(marked)?;
    let replay = Replay::of(&mut pack).map_err(|error| marked(Failure::invalid(error)))?;
    let ok = replay.missing_results.is_empty();
    let answer = Answer {
        ok,
        run_id: &replay.run_id,
        mode: "stub",
        missing_results: &replay.missing_results,
        warnings: &warnings,
        requested_unsafe,
    };
    let exit = if ok { Exit::Ok } else { Exit::VerificationFailed };
    let outcome = Outcome::new(exit, &lines(&replay, &warnings), &answer);
    if call.form == Form::Text || replay.steps == 0 {
        return Ok(outcome);
    }
    Ok(outcome.with_streamed(Streamed::new("steps", move |out| write_steps(&replay, &mut pack, out))))
}

/// Writes the steps as one array.
fn write_steps(replay: &Replay, pack: &mut OpenPack, out: &mut dyn Write) -> io::Result<()> {
    let (mut written, mut separator) = (Ok(()), "[");
    let mut write = |step: &Step| -> io::Result<()> {
        let step = gait_core::json::to_line_html_safe_sorted(step).map_err(io::Error::other)?;
        out.write_all(std::mem::replace(&mut separator, ",").as_bytes())?;
        out.write_all(step.trim_end().as_bytes())
    };
    replay
        .each_step(pack, |step| {
            if written.is_ok() {
                written = write(&step);
            }
        })
        .map_err(io::Error::other)?;
    written?;
    out.write_all(b"]")
}

/// Every recorded decision of a guarded run made again under `policy`; exit 2 on the first that differs.
fn redecide(input: &str, policy: &str) -> Result<Outcome, Failure> {
    let path = locate::runpack(input)?;
    let bytes = file::read(Path::new(policy)).map_err(|error| Failure::invalid(format!("read policy: {error}")))?;
    let policy = Policy::parse_bytes(&bytes, Strictness::Strict).map_err(Failure::invalid)?;
    let source = open_file(&path).map_err(|error| Failure::invalid(format!("open zip: {error}")))?;
    let loaded = load(source).map_err(Failure::invalid)?;
    let policy = expand(&policy, &loaded.receipt.plan).map_err(Failure::invalid)?;
    let derivation = Derivation::new(&loaded.ledger, &loaded.chain).map_err(Failure::invalid)?;
    let found = divergences(&loaded.ledger, &derivation, &policy, Compare::Verdict).map_err(Failure::invalid)?;
    let run_id = &loaded.receipt.run_id;
    let mut lines = vec![match found.len() {
        0 => format!("replay ok: {run_id} (policy)"),
        count => format!("replay diverged: {run_id} ({count} actions)"),
    }];
    // Names come from the agent: debug form shows what a terminal would act on.
    lines.extend(found.first().map(|first| {
        format!("first divergence: {} {:?}: {} -> {}", first.tool_name, first.value, first.was, first.now)
    }));
    let mut answer = json!({
        "ok": found.is_empty(),
        "run_id": run_id,
        "mode": "policy",
        "policy_digest": policy.digest().map_err(Failure::invalid)?,
        "divergences": found.len(),
    });
    if let Some(first) = found.first() {
        answer["first_divergence"] = json!(first);
    }
    let exit = if found.is_empty() { Exit::Ok } else { Exit::VerificationFailed };
    Ok(Outcome::new(exit, &lines, &answer))
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
