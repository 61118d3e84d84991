//! `gait run inspect <run_id|path>`: what a run did, for people, on a page in the terminal or in a browser.

use super::verify::verify_and_open;
use super::{Call, Demand, Help, Verb, Verdict};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, VERIFY_KEYS};
use crate::inspect::{Shown, html, terminal};
use crate::render::{Form, Outcome};
use crate::{locate, pack};
use gait_core::inspect::inspect;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

pub static VERB: Verb = Verb {
    path: &["run", "inspect"],
    label: "run inspect",
    explain: "Show what a run did: processes, actions, what was blocked by which rule and what to add, timeline.",
    positionals: "<run_id|path>",
    flags: &[
        Flag::value("html", "<out.html>", "write the page to this file: self-contained, filterable, for a browser"),
        JSON,
        VERIFY_KEYS[0].hidden(),
        VERIFY_KEYS[1].hidden(),
        VERIFY_KEYS[2].hidden(),
        VERIFY_KEYS[3].hidden(),
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &["The runpack is verified first, as `gait verify` does; one that does not hold is not shown."],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let [input] = words.as_slice() else {
        return Err(Failure::invalid("expected run_id or path"));
    };
    let target = match call.args.raw("html") {
        Some(name) if name.is_empty() => return Err(Failure::invalid("--html needs the name of a file")),
        name => name.map(PathBuf::from),
    };
    let demand = Demand::from_flags(&call.args)?;
    let path = locate::runpack(input)?;
    if target.as_deref().is_some_and(|target| same_file(target, &path)) {
        return Err(Failure::invalid("--html names the runpack itself"));
    }
    let (verdict, mut container, manifest) = verify_and_open(&path, &demand)?;
    let verified = said_of(&verdict);
    if !verdict.ok {
        let mut lines = vec!["run inspect: the runpack does not verify, so nothing of it is shown".to_owned()];
        lines.extend(verdict.lines());
        let lines: Vec<String> = lines.iter().map(escaped).collect();
        let answer = json!({"ok": false, "run_id": verdict.run_id, "path": verdict.path, "verify": verified});
        return Ok(Outcome::new(Exit::VerificationFailed, &lines, &answer));
    }
    let inspection = inspect(&mut container, &manifest).map_err(Failure::invalid)?;
    let shown = Shown::new(&inspection, &verdict);
    let page = target.as_deref().map(|target| write_page(target, &shown)).transpose()?;
    // A large model is put into the one form that is asked for.
    if call.form == Form::Text {
        let lines = match page {
            None => terminal::page(&shown),
            Some(name) => terminal::header(&shown).into_iter().chain([format!("page: {name}")]).collect(),
        };
        return Ok(Outcome::new(Exit::Ok, &lines.iter().map(escaped).collect::<Vec<_>>(), &Map::new()));
    }
    let mut answer = members(&inspection)?;
    answer.insert("ok".into(), true.into());
    answer.insert("path".into(), verdict.path.clone().into());
    answer.insert("verify".into(), verified);
    answer.extend(page.map(|name| ("html".to_owned(), name.into())));
    Ok(Outcome::new(Exit::Ok, &[], &answer))
}

/// Writes the page and gives its name.
fn write_page(target: &Path, shown: &Shown<'_>) -> Result<String, Failure> {
    pack::write_file(target, html::page(shown).as_bytes())?;
    Ok(pack::shown(target))
}

/// The answer of `verify` in short; `gait verify --json` says all of it.
fn said_of(verdict: &Verdict) -> Value {
    let mut said = json!({"ok": verdict.ok, "signature_status": verdict.signature_status});
    for name in ["trust", "key_id"] {
        if let Some(value) = verdict.more.get(name) {
            said[name] = value.clone();
        }
    }
    if !verdict.ok {
        said["findings"] = verdict.lines().into_iter().skip(1).collect();
    }
    said
}

/// What a run, a path or a policy named is not to act on the terminal.
#[allow(clippy::ptr_arg, reason = "it is mapped over lines")]
fn escaped(line: &String) -> String {
    gait_core::text::printable(line).into_owned()
}

fn members(value: &impl serde::Serialize) -> Result<Map<String, Value>, Failure> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Failure::new(Exit::Internal, "failed to encode output")),
    }
}

/// Whether both names lead to one file, as far as they lead anywhere.
fn same_file(left: &Path, right: &Path) -> bool {
    match (left.canonicalize(), right.canonicalize()) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}
