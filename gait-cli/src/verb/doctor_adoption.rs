//! `gait doctor adoption`: which first steps an adoption log shows, and which are left.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::render::Outcome;
use gait_core::runpack::open::open_file;
use gait_core::scout::adoption::adoption;
use serde_json::json;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["doctor", "adoption"],
    label: "doctor adoption",
    explain: "Summarize local activation milestones and blockers from GAIT_ADOPTION_LOG events.",
    positionals: "",
    flags: &[
        Flag::value(
            "from",
            "<events.jsonl>",
            "the log that GAIT_ADOPTION_LOG named; may also be given without the flag",
        )
        .required(),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &["note: the log stays on this machine; nothing is sent anywhere."],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let from = match (call.args.trimmed("from"), words.as_slice()) {
        (Some(from), []) => from,
        (None, [from]) => from,
        (None, []) => return Err(Failure::invalid("missing required --from <events.jsonl>")),
        _ => return Err(Failure::invalid("unexpected positional arguments")),
    };
    let log = open_file(Path::new(from)).map_err(|error| Failure::invalid(format!("open adoption log: {error}")))?;
    let report = adoption(from, log).map_err(Failure::invalid)?;
    let mut lines = vec![format!(
        "doctor adoption: source={from} total_events={} activation_complete={}",
        report.total_events, report.activation_complete
    )];
    if !report.blockers.is_empty() {
        lines.push(format!("blockers: {}", report.blockers.join("; ")));
    }
    Ok(Outcome::new(Exit::Ok, &lines, &json!({ "ok": true, "report": report })))
}
