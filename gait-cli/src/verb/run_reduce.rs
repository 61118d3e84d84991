//! `gait run reduce`: the smallest runpack that still shows a fault.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, SIGNING_KEYS};
use crate::progress::Progress;
use crate::render::Outcome;
use crate::{keys, pack};
use gait_core::runpack::footer::is_plain_run_id;
use gait_core::runpack::migrate::{drops_signatures, is_guarded};
use gait_core::runpack::reduce::{Predicate, ReduceReport, reduce};
use gait_core::{file, json};
use serde::Serialize;
use std::path::PathBuf;

pub static VERB: Verb = Verb {
    path: &["run", "reduce"],
    label: "run reduce",
    explain: "Reduce a runpack to the smallest one that still triggers a failure predicate, with a report.",
    positionals: "",
    flags: &[
        Flag::value("from", "<run_id|path>", "the runpack; may also be given without the flag").required(),
        Flag::value("predicate", "missing_result|non_ok_status", "the fault to keep").default("missing_result"),
        Flag::value("out", "<reduced.zip>", "where the reduced runpack goes")
            .default("runpack_<run_id>_reduced_<predicate>.zip beside the input"),
        Flag::value("report-out", "<reduce_report.json>", "where the report goes").default("<out>.reduce_report.json"),
        SIGNING_KEYS[0],
        SIGNING_KEYS[1],
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[
        "note: the reduced runpack is another run than the one recorded: signatures and the evidence of a guard are not \
         carried over. It is signed if a key is named.",
    ],
    run,
};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    ok: bool,
    input: String,
    output: String,
    report_path: String,
    run_id: &'a str,
    reduced_run_id: &'a str,
    predicate: &'static str,
    report: &'a ReduceReport,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let input = match (call.args.trimmed("from"), words.as_slice()) {
        (Some(input), []) => input,
        (None, [input]) => input,
        _ => return Err(Failure::invalid("expected --from <run_id|path>")),
    };
    let predicate = Predicate::parse(call.args.text("predicate")).map_err(Failure::invalid)?;
    let _progress = Progress::of("reducing");
    let key = keys::signing_key(&call.args)?;
    let (mut pack, path) = pack::open(input)?;
    // That a guarded run can't be reduced with its evidence is in the help; the contract's answer has no warning.
    let drops = key.is_none() && drops_signatures(&pack) && !is_guarded(&mut pack);
    let (reduced, report) = reduce(&mut pack, predicate).map_err(Failure::invalid)?;

    let output = match call.args.trimmed("out") {
        Some(out) => PathBuf::from(out),
        None if is_plain_run_id(&report.run_id) => {
            pack::parent(&path).join(format!("runpack_{}_reduced_{}.zip", report.run_id, predicate.name()))
        }
        None => {
            return Err(Failure::invalid(format!("invalid run_id {:?}: name the output with --out", report.run_id)));
        }
    };
    let report_path = match call.args.trimmed("report-out") {
        Some(out) => PathBuf::from(out),
        None => PathBuf::from(format!("{}.reduce_report.json", output.display())),
    };
    pack::write_records(&output, &reduced, &key.iter().collect::<Vec<_>>())?;
    let text = json::to_compact_html_safe(&report).map_err(Failure::invalid)?;
    pack::write_file(&report_path, text.as_bytes())?;

    let warnings: Vec<String> = drops.then(|| DROPPED.to_string()).into_iter().collect();
    let answer = Answer {
        ok: true,
        input: path.display().to_string(),
        output: file::clean(&output).display().to_string(),
        report_path: file::clean(&report_path).display().to_string(),
        run_id: &report.run_id,
        reduced_run_id: &report.reduced_run_id,
        predicate: predicate.name(),
        report: &report,
        warnings: &warnings,
    };
    let mut lines = vec![
        format!("run reduce ok: {} -> {}", answer.input, answer.output),
        format!("report: {}", answer.report_path),
    ];
    lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    Ok(Outcome::new(Exit::Ok, &lines, &answer))
}

const DROPPED: &str = "signatures of the original are not carried over; sign with --private-key";
