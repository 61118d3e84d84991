//! `gait regress init`: a run becomes a fixture.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::locate;
use crate::render::Outcome;
use gait_core::regress::CONFIG;
use gait_core::regress::init::{InitError, Made, init};
use serde_json::json;

pub static VERB: Verb = Verb {
    path: &["regress", "init"],
    label: "regress init",
    explain: "Turn a runpack into a regression fixture and list it in gait.yaml.",
    positionals: "",
    flags: &[FROM, NAME, JSON],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &["note: what an existing fixture of that name and gait.yaml were set to by hand is kept."],
    run,
};

pub const FROM: Flag = Flag::value("from", "<run_id|path>", "the runpack").required();
pub const NAME: Flag = Flag::value("name", "<fixture_name>", "the name of the fixture").default("that of the run");

const NEXT: &str = "gait regress run --json";

/// Makes the fixture that the flags ask for.
///
/// # Errors
/// Exit 6 for an input that can't be used, 1 for a file that can't be written.
pub fn make(call: &Call) -> Result<Made, Failure> {
    if !call.args.positionals.is_empty() {
        return Err(Failure::invalid("unexpected positional arguments"));
    }
    let Some(from) = call.args.trimmed("from") else {
        return Err(Failure::invalid("missing required --from <run_id|path>"));
    };
    let source = locate::runpack(from)?;
    init(&source, call.args.trimmed("name")).map_err(|error| match error {
        InitError::Write(_) => Failure::io(error),
        _ => Failure::invalid(error),
    })
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let made = make(call)?;
    let runpack = made.runpack.display().to_string();
    let lines = [
        format!("regress init ok: fixture={} run_id={}", made.name, made.run_id),
        format!("config: {CONFIG}"),
        format!("runpack: {runpack}"),
        format!("next: {NEXT}"),
    ];
    let members = json!({
        "ok": true,
        "run_id": made.run_id,
        "fixture_name": made.name,
        "fixture_dir": made.folder.display().to_string(),
        "runpack_path": runpack,
        "config_path": CONFIG,
        "next_commands": [NEXT],
    });
    Ok(Outcome::new(Exit::Ok, &lines, &members))
}
