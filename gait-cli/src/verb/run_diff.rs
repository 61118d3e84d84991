//! `gait run diff <left> <right>`: what differs between two runs.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::progress::Progress;
use crate::render::Outcome;
use crate::{locate, pack};
use gait_core::json;
use gait_core::runpack::diff::{DiffSummary, Privacy, diff_files};
use gait_core::runpack::open::{OpenError, Runpack, open_file};
use serde::Serialize;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["run", "diff"],
    label: "diff",
    explain: "Compare two runpacks: intents, results and references by digest, with stable output.",
    positionals: "<left> <right>",
    flags: &[
        Flag::value("privacy", "full|metadata", "metadata: compare digests, not arguments and results").default("full"),
        Flag::value("output", "<diff.json>", "also write the summary to this file"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &["note: run.json (environment, timeline) is not compared, nor is the order of intents."],
    run,
};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    ok: bool,
    privacy: &'static str,
    summary: &'a DiffSummary,
    #[serde(skip_serializing_if = "str::is_empty")]
    output: &'a str,
}

#[derive(Debug, Serialize)]
struct DiffFile<'a> {
    privacy: &'static str,
    summary: &'a DiffSummary,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    compare(call).map_err(|failure| match serde_json::to_value(DiffSummary::default()) {
        Ok(summary) => failure.with_field("summary", summary),
        Err(_) => failure,
    })
}

fn compare(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let [left, right] = words.as_slice() else {
        return Err(Failure::invalid("expected left and right run_id|path"));
    };
    let privacy = Privacy::parse(call.args.text("privacy")).map_err(Failure::invalid)?;
    let left = locate::runpack(left)?;
    let source = open_file(&left).map_err(|error| Failure::invalid(OpenError::from(error)))?;
    let found = locate::runpack(right)
        .and_then(|path| Ok((open_file(&path).map_err(|error| Failure::invalid(OpenError::from(error)))?, path)));
    let (other, right) = match found {
        Ok(found) => found,
        Err(failure) => {
            // What is wrong with the left side is told first.
            Runpack::open(source).map_err(Failure::invalid)?;
            return Err(failure);
        }
    };
    let _progress = Progress::reading("comparing", [left.as_path(), right.as_path()], 1);
    let summary = diff_files(source, other, privacy).map_err(Failure::invalid)?;
    let output = call.args.text("output");
    if !output.is_empty() {
        let file = DiffFile { privacy: privacy.name(), summary: &summary };
        let text = json::to_compact_html_safe(&file).map_err(Failure::invalid)?;
        pack::write_file(Path::new(output), text.as_bytes())?;
    }
    let ok = !summary.changed();
    let sides = format!("{} vs {}", summary.run_id_left, summary.run_id_right);
    let mut lines = vec![format!("diff {}: {sides}", if ok { "ok" } else { "changed" })];
    if !ok && !summary.files_changed.is_empty() {
        lines.push(format!("files changed: {}", summary.files_changed.join(", ")));
    }
    let answer = Answer { ok, privacy: privacy.name(), summary: &summary, output };
    Ok(Outcome::new(if ok { Exit::Ok } else { Exit::VerificationFailed }, &lines, &answer))
}
