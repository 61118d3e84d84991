//! The contract's golden cases: what they hold is what the schemas describe.
//!
//! The cases lie beside the repository and are not part of it; without them the test says that it skipped.

use crate::document::{Document, answer, check, in_file};
use crate::schema::{files, root, skipped};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of one case.
struct Case {
    folder: PathBuf,
    about: Value,
}

impl Case {
    /// What the commands of the case end with. Where the contract wants something better than what was recorded, that.
    fn exit_codes(&self) -> BTreeSet<i64> {
        let text = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let number = |text: &str| text.trim().parse::<i64>().ok();
        let better = &self.about["better_expect"]["exit_code"];
        let mut codes: BTreeSet<i64> = match better {
            Value::Null => number(&text("exit_code.txt")).into_iter().collect(),
            Value::Array(any) => any.iter().filter_map(Value::as_i64).collect(),
            one => one.as_i64().into_iter().collect(),
        };
        codes.extend((1..10).filter_map(|step| number(&text(&format!("step{step}.exit_code.txt")))));
        // Cases of several commands print the codes.
        codes.extend(text("stdout.txt").lines().filter_map(|line| number(line.strip_prefix("exit=")?)));
        codes
    }

    /// Whether the case is about something that a command refuses: it does not hold (2) or it can't be used (6). Then
    /// what the case is given proves nothing about the format.
    fn refuses(&self) -> bool {
        self.exit_codes().iter().any(|code| matches!(code, 2 | 6))
    }

    /// The answers that are recorded, of calls with `--json`.
    fn answers(&self) -> Vec<Document> {
        let text = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let commands = text("cmd.txt");
        let lists: Vec<Vec<String>> =
            commands.lines().filter_map(|line| serde_json::from_str::<Vec<String>>(line).ok()).collect();
        let mut calls: Vec<(Vec<String>, String)> = Vec::new();
        if lists.is_empty() {
            // A shell script: its calls with `--json` print one line of JSON each, in order.
            let printed = text("stdout.txt");
            let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with('{')).collect();
            let asked: Vec<&str> = commands
                .lines()
                .filter(|line| line.starts_with("gait ") && line.contains(" --json") && !line.contains('>'))
                .collect();
            if asked.len() == lines.len() {
                let words = |line: &str| line.split(';').next().unwrap_or(line).split(' ').map(str::to_owned).collect();
                calls.extend(asked.iter().zip(lines).map(|(line, printed)| (words(line), printed.to_owned())));
            }
        } else {
            let last = lists.len() - 1;
            let printed = |index: usize| match index == last {
                true => text("stdout.txt"),
                false => text(&format!("step{}.stdout.txt", index + 1)),
            };
            calls.extend(lists.into_iter().enumerate().map(|(index, words)| (words, printed(index))));
        }
        let place = self.folder.join("stdout.txt").display().to_string();
        let of = |(words, printed): &(Vec<String>, String)| {
            let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
            answer(&place, &words, printed)
        };
        calls.iter().filter_map(of).collect()
    }

    /// Whether what is recorded is what the contract wants improved upon.
    fn is_improved_upon(&self) -> bool {
        self.about["compat"] == "better"
    }

    fn documents(&self) -> Vec<Document> {
        let of = |path: &PathBuf| in_file(path);
        let relative = |path: &Path| path.strip_prefix(&self.folder).unwrap().to_path_buf();
        let all = files(&self.folder);
        let (written, given): (Vec<PathBuf>, Vec<PathBuf>) =
            all.into_iter().filter(|path| !path.ends_with("case.json")).partition(|path| {
                let path = relative(path);
                path.starts_with("out") || path.to_str().is_some_and(|name| name.ends_with("stdout.txt"))
            });
        let mut documents = Vec::new();
        if !self.is_improved_upon() {
            documents.extend(written.iter().flat_map(of));
            documents.extend(self.answers());
        }
        if !self.refuses() {
            // A token that does not approve (4) is refused without the command failing.
            let approves = !self.exit_codes().contains(&4);
            let given = given.iter().flat_map(of);
            documents.extend(given.filter(|document| approves || document.schema != "gate/approval_token"));
        }
        documents
    }
}

fn cases() -> Vec<Case> {
    let golden = root().join("../shared/contract/golden");
    let mut cases = Vec::new();
    for set in ["artifacts", "control", "guarded"] {
        let Ok(entries) = fs::read_dir(golden.join(set)) else { continue };
        for folder in entries.map(|entry| entry.unwrap().path()) {
            let Ok(about) = fs::read(folder.join("case.json")) else { continue };
            cases.push(Case { folder, about: serde_json::from_slice(&about).unwrap() });
        }
    }
    cases.sort_by(|left, right| left.folder.cmp(&right.folder));
    cases
}

/// Documents that readers take although no writer should make them so: where, which schema, why.
///
/// A document that is listed and valid fails the test, so the list can't grow stale.
const TOLERATED: [(&str, &str, &str); 9] = [
    ("reduce-missing-result/", "runpack/intent", "args_digest is not recomputed by any command (artifacts 3.1)"),
    ("regress-two-fixtures-fail/", "runpack/", "a run id that must not be written any more (artifacts 12, A6)"),
    ("scout-diff-same-text/", "scout/inventory_snapshot", "no schema check (artifacts 7.2)"),
    ("signal-families/", "runpack/result", "scout counts the status `success` as `ok` (artifacts 6.3)"),
    ("signal-text/", "runpack/result", "as in signal-families"),
    (
        "signal-families/",
        "regress/regress_result",
        "scout reads graders only, a missing member is zero (artifacts 6.2)",
    ),
    ("signal-text/", "regress/regress_result", "as in signal-families"),
    ("pt-worked-example/", "gate/intent_request", "words are compared in lower case (control 4.1)"),
    ("ge-", "gate/approval_audit_record", "`entries` is null, better: [] (control 10.4)"),
];

/// Which of these a complaint is about.
fn tolerated(complaint: &str) -> Option<usize> {
    let about = |(case, schema, _): &(&str, &str, &str)| {
        complaint.contains(&format!("/{case}")) && complaint.contains(&format!("({schema}"))
    };
    TOLERATED.iter().position(about)
}

#[test]
fn the_golden_documents_are_valid() {
    let cases = cases();
    if cases.is_empty() {
        skipped("the_golden_documents_are_valid", "no contract cases beside this clone");
        return;
    }
    let documents: Vec<Document> = cases.iter().flat_map(Case::documents).collect();
    let (wrong, seen) = check(&documents);
    let (known, wrong): (Vec<_>, Vec<_>) =
        wrong.into_iter().map(|complaint| (tolerated(&complaint), complaint)).partition(|(entry, _)| entry.is_some());
    let wrong: Vec<String> = wrong.into_iter().map(|(_, complaint)| complaint).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), documents.len(), wrong.join("\n"));
    let used: BTreeSet<usize> = known.iter().filter_map(|(entry, _)| *entry).collect();
    for (number, (case, schema, why)) in TOLERATED.iter().enumerate() {
        assert!(used.contains(&number), "{case} {schema} is valid now; take it off the list ({why})");
    }
    let kinds: BTreeSet<&str> = seen.keys().copied().collect();
    assert!(kinds.len() > 25 && documents.len() > 1000, "only {seen:?}");
}
