//! `gait policy simulate`: what a policy would have changed over recorded runs.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::policy_file;
use crate::render::Outcome;
use gait_core::file::PathError;
use gait_core::guarded::simulate::{Change, Direction, Simulation};
use gait_core::guarded::verify::load;
use gait_core::policy::{Policy, Strictness};
use gait_core::runpack::open::open_file;
use serde_json::json;
use std::path::{Path, PathBuf};

pub static VERB: Verb = Verb {
    path: &["policy", "simulate"],
    label: "policy simulate",
    explain: "Decide every action of recorded guarded runs again under a policy, and tell what would be newly blocked and \
              newly allowed, by rule.",
    positionals: "<policy.yaml>",
    flags: &[
        Flag::value("runs", "<dir>", "the folder with the runpacks").required(),
        Flag::switch("fail-on-change", "exit with 2 if anything would change"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &["note: runpacks of runs that no guard recorded, and packs that do not verify, are skipped and told."],
    run,
};

/// A runpack that was not looked at.
struct Skipped {
    path: String,
    reason: String,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let [path] = call.args.positionals.as_slice() else {
        return Err(Failure::invalid("expected <policy.yaml>"));
    };
    let Some(folder) = call.args.raw("runs").filter(|folder| !folder.is_empty()) else {
        return Err(Failure::invalid("expected --runs <dir>"));
    };
    let policy = policy_file::read(path, Strictness::Strict, call.form)?;
    let (simulation, skipped) = simulate(Path::new(folder), &policy)?;
    if simulation.runs() == 0 {
        let because = skipped.first().map(|one| format!(": {}: {}", one.path, one.reason)).unwrap_or_default();
        let shown = Path::new(folder).display();
        return Err(Failure::invalid(format!("no runpack of a guarded run in {shown}{because}")));
    }
    let changed = simulation.changes().next().is_some();
    let ok = !(changed && call.args.is_on("fail-on-change"));
    let members = json!({
        "ok": ok,
        "policy_digest": policy.digest().map_err(|error| Failure::new(Exit::Internal, error))?,
        "runs": simulation.runs(),
        "actions": simulation.actions(),
        "newly_blocked": simulation.count(Direction::NewlyBlocked),
        "newly_allowed": simulation.count(Direction::NewlyAllowed),
        "otherwise": simulation.count(Direction::Other),
        "changes": simulation.changes().collect::<Vec<_>>(),
        "skipped": skipped.iter().map(|one| json!({"path": one.path, "reason": one.reason})).collect::<Vec<_>>(),
    });
    let exit = if ok { Exit::Ok } else { Exit::VerificationFailed };
    Ok(Outcome::new(exit, &lines(&simulation, &skipped), &members))
}

fn simulate(folder: &Path, policy: &Policy) -> Result<(Simulation, Vec<Skipped>), Failure> {
    let (mut simulation, mut skipped) = (Simulation::default(), Vec::new());
    for pack in packs(folder)? {
        let source = open_file(&pack).map_err(|error| error.to_string());
        let added = source.and_then(load).and_then(|run| simulation.add(&run, policy));
        if let Err(reason) = added {
            skipped.push(Skipped { path: pack.display().to_string(), reason });
        }
    }
    Ok((simulation, skipped))
}

/// The runpacks in `folder`, by name.
fn packs(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::invalid(format!("read runs: {}", PathError::of("open", folder)(error)));
    let mut packs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip")) && path.is_file() {
            packs.push(path);
        }
    }
    packs.sort();
    Ok(packs)
}

fn lines(simulation: &Simulation, skipped: &[Skipped]) -> Vec<String> {
    let count = |direction| simulation.count(direction);
    let mut lines = vec![format!(
        "policy simulate: {} runs, {} actions: {} newly blocked, {} newly allowed, {} otherwise",
        simulation.runs(),
        simulation.actions(),
        count(Direction::NewlyBlocked),
        count(Direction::NewlyAllowed),
        count(Direction::Other)
    )];
    simulation.changes().for_each(|change| change_lines(&change, &mut lines));
    lines.extend(skipped.iter().map(|one| format!("skipped: {}: {}", one.path, one.reason)));
    lines
}

fn change_lines(change: &Change, lines: &mut Vec<String>) {
    let by = change.rule.as_ref().map_or("by no rule".to_string(), |rule| format!("by rule {rule}"));
    lines.push(format!(
        "{} {by} ({} -> {}): {} actions, {} times",
        change.direction.words(),
        change.was,
        change.now,
        change.actions,
        change.times
    ));
    for sample in &change.samples {
        let was = sample.rule_was.as_ref().map(|rule| format!(", was rule {rule}")).unwrap_or_default();
        // Names come from the agent: debug form shows what a terminal would act on.
        lines.push(format!("  {} {:?} ({}{was})", sample.tool_name, sample.value, sample.run_id));
    }
    let more = change.actions - change.samples.len() as u64;
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
}
