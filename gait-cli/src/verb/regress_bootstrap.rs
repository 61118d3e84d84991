//! `gait regress bootstrap`: a run becomes a fixture, and all fixtures are graded.

use super::regress_init::{FROM, NAME, make};
use super::regress_run::{ALLOW_NONDETERMINISTIC, CONFIG_FLAG, JUNIT, Members, OUTPUT, report};
use super::{Call, Help, Verb};
use crate::failure::Failure;
use crate::flags::{JSON, Order};
use crate::render::Outcome;
use gait_core::regress::CONFIG;
use serde::Serialize;

pub static VERB: Verb = Verb {
    path: &["regress", "bootstrap"],
    label: "regress bootstrap",
    explain: "Turn a runpack into a regression fixture and grade all fixtures at once.",
    positionals: "",
    flags: &[FROM, NAME, CONFIG_FLAG, OUTPUT, JUNIT, JSON, ALLOW_NONDETERMINISTIC],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[],
    run,
};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    members: Members<'a>,
    run_id: &'a str,
    fixture_name: &'a str,
    fixture_dir: String,
    runpack_path: String,
    config_path: &'static str,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let made = make(call)?;
    let report = report(call)?;
    let about = format!("run_id={} fixture={}", made.run_id, made.name);
    let lines = if report.passed() {
        let mut lines = vec![format!("regress bootstrap ok: {about}")];
        lines.extend(report.file_lines());
        lines
    } else {
        let mut lines = vec![format!("regress bootstrap failed: {about} failed={}", report.result.failed())];
        lines.extend(report.failure_lines());
        lines
    };
    let answer = Answer {
        members: report.members(),
        run_id: &made.run_id,
        fixture_name: &made.name,
        fixture_dir: made.folder.display().to_string(),
        runpack_path: made.runpack.display().to_string(),
        config_path: CONFIG,
    };
    Ok(Outcome::new(report.exit(), &lines, &answer))
}
