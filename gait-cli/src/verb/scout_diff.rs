//! `gait scout diff <left> <right>`: what changed between two snapshots.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::pack;
use crate::render::Outcome;
use gait_core::runpack::record;
use gait_core::scout::drift::{Drift, drift};
use gait_core::scout::snapshot::Snapshot;
use gait_core::{file, json};
use serde::Serialize;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["scout", "diff"],
    label: "scout diff",
    explain: "Compare two inventory snapshots and report tools that were added, removed or changed.",
    positionals: "<left_snapshot.json> <right_snapshot.json>",
    flags: &[
        Flag::value("left", "<path>", "the snapshot on the left; may also be given without the flag"),
        Flag::value("right", "<path>", "the snapshot on the right; may also be given without the flag"),
        Flag::value("out", "<path>", "also write the differences to this file"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[],
    run,
};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    ok: bool,
    left: &'a str,
    right: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    output_path: &'a str,
    diff: &'a Drift<'a>,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let mut words = call.words()?.into_iter();
    let left = call.args.trimmed("left").or_else(|| words.next());
    let right = call.args.trimmed("right").or_else(|| words.next());
    let (Some(left), Some(right), None) = (left, right, words.next()) else {
        return Err(Failure::invalid("expected <left_snapshot.json> <right_snapshot.json>"));
    };
    let (before, after) = (read(left)?, read(right)?);
    let found = drift(&before, &after);
    let output = call.args.trimmed("out").unwrap_or_default();
    if !output.is_empty() {
        let text = json::to_compact_html_safe(&found).map_err(Failure::invalid)?;
        pack::write_file(Path::new(output), text.as_bytes())?;
    }
    let ok = !found.any();
    let line = format!("scout diff {}: {left} vs {right}", if ok { "ok" } else { "changed" });
    let answer = Answer { ok, left, right, output_path: output, diff: &found };
    Ok(Outcome::new(if ok { Exit::Ok } else { Exit::VerificationFailed }, &[line], &answer))
}

fn read(path: &str) -> Result<Snapshot, Failure> {
    let bytes =
        file::read(Path::new(path)).map_err(|error| Failure::invalid(format!("read snapshot {path}: {error}")))?;
    record::parse(&bytes).map_err(|error| Failure::invalid(format!("parse snapshot {path}: {error}")))
}
