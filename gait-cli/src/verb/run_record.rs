//! `gait run record`: a runpack of a run that something else observed.

use super::verify::{Demand, verify};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order, SIGNING_KEYS};
use crate::render::Outcome;
use crate::{clock, keys, locate, pack};
use gait_core::file;
use gait_core::runpack::footer::{is_plain_run_id, ticket_footer};
use gait_core::runpack::record::{self, IntentRecord, Refs, ResultRecord, Run};
use gait_core::runpack::write::RunRecords;
use gait_core::signature::PrivateKey;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["run", "record"],
    label: "record",
    explain: "Record a runpack from normalized run data: run, intents, results and references become one signed or \
              unsigned file.",
    positionals: "",
    flags: &[
        Flag::value("input", "<run_record.json>", "the run as JSON; may also be given without the flag").required(),
        Flag::value("out-dir", "<dir>", "where the runpack goes").default("gait-out"),
        Flag::value("run-id", "<run_id>", "name the run, whatever the input says"),
        Flag::value(
            "capture-mode",
            "reference|raw",
            "whether arguments and results are there in full; without the flag the input says it",
        )
        .default("reference"),
        SIGNING_KEYS[0],
        SIGNING_KEYS[1],
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[
        "The input is an object {run, intents, results, refs, capture_mode}; only run.run_id must be there, here or as \
         --run-id. A key for --private-key is made by gait keys init: $HOME/.gait/keys/signing.key.",
    ],
    run,
};

/// What is read: every member may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    #[serde(deserialize_with = "record::object_or_zero")]
    run: Run,
    #[serde(deserialize_with = "record::list_or_zero")]
    intents: Vec<IntentRecord>,
    #[serde(deserialize_with = "record::list_or_zero")]
    results: Vec<ResultRecord>,
    #[serde(deserialize_with = "record::object_or_zero")]
    refs: Refs,
    capture_mode: Option<String>,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let key = keys::signing_key(&call.args)?;
    let mut records = read(call)?;
    if let Some(run_id) = call.args.trimmed("run-id") {
        rename(&mut records, run_id);
    }
    if records.run.run_id.trim().is_empty() {
        return Err(Failure::invalid("input run.run_id is required (or set --run-id)"));
    }
    set_capture_mode(&mut records, call.args.text("capture-mode"))?;
    let run_id = records.run.run_id.clone();
    if !is_plain_run_id(&run_id) {
        // It becomes part of a file name and of the ticket footer (contract, artifacts 12, A6 and A7).
        let rule = "use letters, digits, `_` and `-` only";
        return Err(Failure::invalid(format!("invalid run_id {run_id:?}: not usable in file names, {rule}")));
    }
    records.fill(clock::now());

    let out_dir = Some(call.args.text("out-dir")).filter(|dir| !dir.is_empty()).unwrap_or(locate::OUT_DIR);
    let path = Path::new(out_dir).join(format!("runpack_{run_id}.zip"));
    let manifest = pack::write_records(&path, &records, &key.iter().collect::<Vec<_>>())?;
    if !verify(&path, &Demand::integrity())?.ok {
        return Err(Failure::new(Exit::VerificationFailed, "the runpack just written does not verify"));
    }
    let footer = ticket_footer(&run_id, &manifest.manifest_digest).map_err(Failure::invalid)?;
    let bundle = pack::shown(&path);
    let mut lines = vec![format!("run_id={run_id}"), format!("bundle={bundle}"), format!("ticket_footer={footer}")];
    let mut members = json!({
        "ok": true,
        "run_id": run_id,
        "bundle": bundle,
        "manifest_digest": manifest.manifest_digest,
        "ticket_footer": footer,
    });
    signed_by(&call.args, key.as_ref(), &pack::named(&path), &mut lines, &mut members);
    Ok(Outcome::new(Exit::Ok, &lines, &members))
}

/// Adds to an answer who signed `bundle`, and what verifies it.
pub fn signed_by(args: &Args, key: Option<&PrivateKey>, bundle: &str, lines: &mut Vec<String>, members: &mut Value) {
    let (Some(key), Some(flags)) = (key, keys::strict_flags(args)) else { return };
    let (key_id, verify) = (key.public().id().to_string(), format!("gait verify {} {flags}", keys::shell_word(bundle)));
    lines.extend([format!("signed_by={key_id}"), format!("verify_with={verify}")]);
    members["key_id"] = key_id.into();
    members["verify_with"] = verify.into();
}

fn read(call: &Call) -> Result<RunRecords, Failure> {
    let words = call.words()?;
    let input = match (call.args.trimmed("input"), words.as_slice()) {
        (Some(input), []) => input,
        (None, [input]) => input,
        (None, []) => return Err(Failure::invalid("missing required --input <run_record.json>")),
        _ => return Err(Failure::invalid("unexpected positional arguments")),
    };
    let bytes = file::read(Path::new(input)).map_err(|error| Failure::invalid(format!("read input: {error}")))?;
    let input: Input = record::parse(&bytes).map_err(|error| Failure::invalid(format!("parse input json: {error}")))?;
    Ok(RunRecords {
        run: input.run,
        intents: input.intents,
        results: input.results,
        refs: input.refs,
        capture_mode: input.capture_mode.unwrap_or_default(),
    })
}

fn rename(records: &mut RunRecords, run_id: &str) {
    let set = |name: &mut String| run_id.clone_into(name);
    set(&mut records.run.run_id);
    set(&mut records.refs.run_id);
    records.intents.iter_mut().for_each(|intent| set(&mut intent.run_id));
    records.results.iter_mut().for_each(|result| set(&mut result.run_id));
}

fn set_capture_mode(records: &mut RunRecords, flag: &str) -> Result<(), Failure> {
    let mode = if flag.trim().is_empty() { records.capture_mode.trim() } else { flag.trim() };
    match mode {
        "" => records.capture_mode = "reference".into(),
        "reference" | "raw" => records.capture_mode = mode.to_string(),
        _ => return Err(Failure::invalid("capture mode must be one of: reference, raw")),
    }
    Ok(())
}
