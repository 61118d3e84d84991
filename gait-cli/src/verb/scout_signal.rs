//! `gait scout signal`: which runs fail alike, and what to do about it.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::progress::Progress;
use crate::render::{Form, Outcome};
use crate::{locate, pack};
use gait_core::scout::signal::{SignalReport, signal};
use serde::Serialize;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["scout", "signal"],
    label: "scout signal",
    explain: "Fingerprint runs, group those that fail alike, rank the groups and suggest what to do.",
    positionals: "[<run_id|path>...]",
    flags: &[
        Flag::value("runs", "<csv>", "runpacks by run id or path; may also be given without the flag"),
        Flag::value("traces", "<csv>", "trace files that tell why runs were blocked"),
        Flag::value("regress", "<csv>", "regress results that tell what failed"),
        Flag::value("out", "<path>", "where the report goes").default("./gait-out/scout_signal_report.json"),
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
    output_path: &'a str,
    run_count: usize,
    family_count: usize,
    top_issues: usize,
    /// As long as the runs are: only where it is printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a SignalReport>,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let mut sources = call.args.csv("runs");
    sources.extend(call.words()?.into_iter().map(str::trim).filter(|word| !word.is_empty()).map(str::to_string));
    if sources.is_empty() {
        return Err(Failure::invalid("missing required --runs <csv> or positional run sources"));
    }
    let runpacks = sources
        .iter()
        .map(|source| locate::runpack(source).map(|path| path.display().to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    let _progress = Progress::reading("looking at runs", runpacks.iter().map(Path::new), 2);
    let report = signal(&runpacks, &call.args.csv("traces"), &call.args.csv("regress")).map_err(Failure::invalid)?;
    let output = call.args.trimmed("out").unwrap_or("./gait-out/scout_signal_report.json");
    pack::write_json(Path::new(output), &report)?;
    let answer = Answer {
        ok: true,
        output_path: output,
        run_count: report.run_count,
        family_count: report.family_count,
        top_issues: report.top_issues.len(),
        report: (call.form == Form::Json).then_some(&report),
    };
    Ok(Outcome::new(Exit::Ok, &lines(&report, output), &answer))
}

fn lines(report: &SignalReport, output: &str) -> Vec<String> {
    let mut lines = vec![
        format!(
            "scout signal ok: runs={} families={} top_issues={}",
            report.run_count,
            report.family_count,
            report.top_issues.len()
        ),
        format!("output: {output}"),
    ];
    lines.extend(report.top_issues.first().map(|top| {
        format!(
            "top_issue: family={} severity={} score={} reason={}",
            top.family_id, top.severity_level, top.severity_score, top.top_failure_reason
        )
    }));
    lines
}
