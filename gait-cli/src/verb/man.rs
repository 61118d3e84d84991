//! `gait man`: the manual pages, for `man` or as Markdown.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::render::Outcome;
use crate::{pack, reference};
use serde_json::json;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["man"],
    label: "man",
    explain: "Print the manual page of gait or of one command, or write all of them to a folder.",
    positionals: "[<command>...]",
    flags: &[
        Flag::value("out-dir", "<dir>", "write every page to this folder instead, as gait.1, gait-run-diff.1, ..."),
        Flag::switch("markdown", "print the whole reference as Markdown"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let out_dir = call.args.trimmed("out-dir");
    if call.args.is_on("markdown") {
        if !words.is_empty() || out_dir.is_some() {
            return Err(Failure::invalid("--markdown is the whole reference: no command, no --out-dir"));
        }
        return Ok(text(&reference::markdown(), "markdown"));
    }
    if let Some(folder) = out_dir {
        if !words.is_empty() {
            return Err(Failure::invalid("--out-dir writes every page: no command"));
        }
        return write_all(folder);
    }
    let pages = reference::pages().map_err(|error| Failure::new(Exit::Internal, error))?;
    match pages.into_iter().find(|page| page.words == words) {
        Some(page) => Ok(text(&page.roff, "page")),
        None => Err(Failure::invalid(format!("no manual page for {:?}", words.join(" ")))
            .with_hint("gait help lists all commands")),
    }
}

fn text(text: &str, member: &str) -> Outcome {
    let lines: Vec<String> = text.lines().map(str::to_string).collect();
    Outcome::new(Exit::Ok, &lines, &json!({ "ok": true, member: text }))
}

fn write_all(folder: &str) -> Result<Outcome, Failure> {
    let mut written = Vec::new();
    for page in reference::pages().map_err(|error| Failure::new(Exit::Internal, error))? {
        let path = Path::new(folder).join(page.file_name());
        pack::write_file(&path, page.roff.as_bytes())?;
        written.push(path.display().to_string());
    }
    let line = format!("man ok: {} pages in {folder}", written.len());
    Ok(Outcome::new(Exit::Ok, &[line], &json!({ "ok": true, "out_dir": folder, "pages": written })))
}
