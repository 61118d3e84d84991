//! `gait incident pack`: a run and what is recorded around it, as one file.

use super::guard_pack::{BESIDE, CASE_ID, RENDER_PDF, pages, write};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::pack;
use crate::render::Outcome;
use gait_core::duration;
use gait_core::evidence::Template;
use gait_core::evidence::build::{Wanted, build};
use gait_core::evidence::incident::{select, window};
use gait_core::time::Timestamp;
use serde_json::{Map, Value, json};

pub static VERB: Verb = Verb {
    path: &["incident", "pack"],
    label: "incident pack",
    explain: "Build an incident evidence pack from a runpack and a deterministic artifact time window.",
    positionals: "",
    flags: &[
        Flag::value("from", "<run_id|path>", "the runpack; may also be given without the flag").required(),
        Flag::value("window", "<duration>", "how long before and after the run records count, e.g. 6h").default("24h"),
        Flag::value("template", "incident_response|soc2|pci", "the standard to index the evidence by")
            .default("incident_response"),
        RENDER_PDF,
        Flag::value("out", "<incident_pack.zip>", "where the pack goes").default(BESIDE),
        CASE_ID,
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &["note: traces, regress results, audits and credential records are taken from beside the runpack."],
    run,
};

const DAY_NANOS: i64 = 24 * 3600 * 1_000_000_000;

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let input = match (call.args.trimmed("from"), words.as_slice()) {
        (Some(input), []) => input,
        (None, [input]) => input,
        _ => return Err(Failure::invalid("expected --from <run_id|path>")),
    };
    let nanos = match call.args.trimmed("window") {
        None => DAY_NANOS,
        Some(text) => duration::parse(text)
            .ok_or_else(|| Failure::invalid(format!("parse --window: time: invalid duration {text:?}")))?,
    };
    let (mut source, path) = pack::open(input)?;
    let folder = pack::parent(&path);
    let around = window(source.run.created_at, if nanos > 0 { nanos } else { DAY_NANOS }, &source.run.run_id);
    let selected = select(folder, &around);
    let counts = [
        ("trace_count", selected.traces.len()),
        ("regress_count", selected.results.len()),
        ("approval_audit_count", selected.audits.len()),
        ("credential_evidence_count", selected.credentials.len()),
    ];
    let wanted = Wanted {
        template: Template::parse(call.args.text("template"), Template::IncidentResponse),
        case_id: call.args.text("case-id").trim().into(),
        traces: selected.traces,
        results: selected.results,
        inventory: Vec::new(),
        audits: selected.audits,
        credentials: selected.credentials,
        window: Some(around.clone()),
        pdf: pages(&call.args),
    };
    let mut evidence = build(&mut source, &wanted).map_err(Failure::invalid)?;
    let output = write(&mut evidence, &call.args, folder, &[])?;

    let mut members = Map::new();
    let mut add = |name: &str, value: Value| members.insert(name.into(), value);
    add("ok", true.into());
    add("pack_path", output.clone().into());
    add("pack_id", evidence.manifest.pack_id.clone().into());
    add("run_id", evidence.manifest.run_id.clone().into());
    add("template_id", evidence.manifest.template_id.clone().into());
    add("window_from", json!(whole_second(around.from)));
    add("window_to", json!(whole_second(around.to)));
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        add(name, count.into());
    }
    if !evidence.policy_digests.is_empty() {
        add("policy_digests", json!(evidence.policy_digests));
    }
    Ok(Outcome::new(Exit::Ok, &[format!("incident pack ok: {output}")], &members))
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_unix(time.unix_seconds(), 0).unwrap_or(time)
}
