//! `gait regress run`: all fixtures, graded.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::pack;
use crate::progress::Progress;
use crate::render::Outcome;
use gait_core::json;
use gait_core::regress::CONFIG;
use gait_core::regress::grade::GradeStatus;
use gait_core::regress::guarded::graders_of;
use gait_core::regress::junit::junit;
use gait_core::regress::run::{RegressResult, run as grade_all};
use serde::Serialize;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["regress", "run"],
    label: "regress run",
    explain: "Grade all fixtures of gait.yaml and report drift for CI, optionally as JUnit.",
    positionals: "",
    flags: &[CONFIG_FLAG, OUTPUT, JUNIT, JSON, ALLOW_NONDETERMINISTIC],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[
        "Three graders look at each fixture: diff compares it with its candidate_runpack, expected_exit_code replays it, \
         schema_validation looks at schema ids and versions. A fixture that names no candidate is compared with itself, \
         which always passes; expected_exit_code replays the fixture and not the candidate.",
        "Members that may differ are listed in diff_allow_changed_files of fixtures/<name>/fixture.json.",
    ],
    run,
};

pub const CONFIG_FLAG: Flag = Flag::value("config", "<gait.yaml>", "the list of fixtures").default("gait.yaml");
pub const OUTPUT: Flag =
    Flag::value("output", "<regress_result.json>", "where the result goes").default("regress_result.json");
pub const JUNIT: Flag = Flag::value("junit", "<junit.xml>", "also write the result as JUnit");
pub const ALLOW_NONDETERMINISTIC: Flag =
    Flag::switch("allow-nondeterministic", "let graders run that may differ from run to run; there are none today");

/// A graded set and what was written of it.
#[derive(Debug)]
pub struct Report {
    pub result: RegressResult,
    pub output: String,
    pub junit: Option<String>,
    config: String,
}

impl Report {
    pub fn passed(&self) -> bool {
        self.result.status == GradeStatus::Pass
    }

    pub fn exit(&self) -> Exit {
        if self.passed() { Exit::Ok } else { Exit::RegressFailed }
    }

    pub fn artifacts(&self) -> Vec<&str> {
        [Some(self.output.as_str()), self.junit.as_deref()].into_iter().flatten().collect()
    }

    /// What to run once the cause is mended; nothing if all passed.
    pub fn next_command(&self) -> Option<String> {
        (!self.passed()).then(|| match self.config.as_str() {
            CONFIG => "gait regress run --json".into(),
            config => format!("gait regress run --config {config} --json"),
        })
    }

    /// The members of the JSON answer that `regress run` and `regress bootstrap` share.
    pub fn members(&self) -> Members<'_> {
        Members {
            ok: self.passed(),
            status: self.result.status.word(),
            failed: Some(self.result.failed()).filter(|failed| *failed > 0),
            top_failure_reason: self.result.top_failure_reason(),
            next_command: self.next_command(),
            artifact_paths: self.artifacts(),
            output: &self.output,
            junit: self.junit.as_deref(),
        }
    }

    /// `top_failure_reason`, `next` and `artifacts` of a set that failed.
    pub fn failure_lines(&self) -> Vec<String> {
        vec![
            format!("top_failure_reason: {}", self.result.top_failure_reason().unwrap_or_default()),
            format!("next: {}", self.next_command().unwrap_or_default()),
            format!("artifacts: {}", self.artifacts().join(", ")),
        ]
    }

    /// `output` and `junit`.
    pub fn file_lines(&self) -> Vec<String> {
        let mut lines = vec![format!("output: {}", self.output)];
        lines.extend(self.junit.iter().map(|path| format!("junit: {path}")));
        lines
    }
}

#[derive(Debug, Serialize)]
pub struct Members<'a> {
    ok: bool,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_failure_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_command: Option<String>,
    artifact_paths: Vec<&'a str>,
    output: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    junit: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    members: Members<'a>,
    fixture_set: &'a str,
    graders: usize,
}

/// Grades the set that the flags name and writes the result.
///
/// # Errors
/// Exit 6 for a set that can't be loaded, 1 for a file that can't be written.
pub fn report(call: &Call) -> Result<Report, Failure> {
    if !call.args.positionals.is_empty() {
        return Err(Failure::invalid("unexpected positional arguments"));
    }
    let or = |flag: &str, default: &str| call.args.trimmed(flag).unwrap_or(default).to_string();
    let (config, output) = (or("config", CONFIG), or("output", "regress_result.json"));
    let _progress = Progress::of("grading");
    let result = grade_all(Path::new(&config), &graders_of).map_err(Failure::invalid)?;
    let text = json::to_indented_html_safe(&result).map_err(Failure::invalid)?;
    pack::write_file(Path::new(&output), text.as_bytes()).map_err(|failure| failure.within("write regress result"))?;
    let junit_path = call.args.trimmed("junit").map(str::to_string);
    if let Some(path) = &junit_path {
        let xml = junit(&result);
        pack::write_file(Path::new(path), xml.as_bytes()).map_err(|failure| failure.within("write junit report"))?;
    }
    Ok(Report { result, output, junit: junit_path, config })
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let report = report(call)?;
    let set = &report.result.fixture_set;
    let mut lines = if report.passed() {
        vec![format!("regress run ok: fixture_set={set} graders={}", report.result.graders.len())]
    } else {
        let mut lines = vec![format!("regress run failed: fixture_set={set} failed={}", report.result.failed())];
        lines.extend(report.failure_lines());
        lines
    };
    lines.extend(report.file_lines());
    let answer = Answer { members: report.members(), fixture_set: set, graders: report.result.graders.len() };
    Ok(Outcome::new(report.exit(), &lines, &answer))
}
