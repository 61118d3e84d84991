//! `docs/escape-report.md`: each technique of the escape corpus, where it was tried, what came of it, who denied it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::matrix;
use crate::matrix::results::Line;

/// The corpus, in the workspace.
const CORPUS: &str = "tests/kernel/escape-corpus.json";
const PAGE: &str = "docs/escape-report.md";

/// One technique.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Technique {
    id: String,
    technique: String,
    /// Why some of it is out of reach.
    limit: Option<String>,
    /// What its user can do.
    instead: Option<String>,
}

/// Where suites ran: one kernel with its modules, one engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    guest: String,
    kernel: String,
    lsm: String,
}

/// Writes the page.
///
/// # Errors
/// A report can't be read, or has no test of an id of the corpus.
pub fn run(reports: &[&str]) -> Result<()> {
    let root = crate::places::root();
    let reports = if reports.is_empty() { matrix::reports()? } else { reports.iter().map(PathBuf::from).collect() };
    let corpus: Vec<Technique> = serde_json::from_slice(&fs::read(root.join(CORPUS))?).context(CORPUS)?;
    let mut lines = Vec::new();
    for path in &reports {
        lines.extend(read(path)?);
    }
    let lines = last_of_each(lines);
    ensure!(!lines.is_empty(), "no tests in {reports:?}");
    fs::write(root.join(PAGE), page(&corpus, &lines)?)?;
    println!("{PAGE}: {} techniques, {} tests of {} reports", corpus.len(), lines.len(), reports.len());
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Line>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).with_context(|| path.display().to_string())).collect()
}

/// A test that was run again somewhere, as after a change, counts as it went the last time.
fn last_of_each(lines: Vec<Line>) -> Vec<Line> {
    let key = |line: &Line| (place(line), line.suite.clone(), line.name.clone());
    lines.into_iter().map(|line| (key(&line), line)).collect::<BTreeMap<_, _>>().into_values().collect()
}

fn place(line: &Line) -> Place {
    let always = ["capability", "integrity", "ima", "evm"];
    let modules: Vec<&str> = line.lsm.split(',').filter(|name| !always.contains(name)).collect();
    Place { guest: line.guest.clone(), kernel: line.kernel.clone(), lsm: modules.join(", ") }
}

fn page(corpus: &[Technique], lines: &[Line]) -> Result<String> {
    let places: Vec<Place> = lines.iter().map(place).collect::<BTreeSet<_>>().into_iter().collect();
    let letters: BTreeMap<&Place, char> = places.iter().zip('A'..='Z').collect();
    ensure!(letters.len() == places.len(), "more places than letters");
    let mut page = HEAD.to_owned();
    page.push_str("\n## Where\n\n| | where | kernel | security modules | engine | held | failed | skipped |\n|---|---|---|---|---|---|---|---|\n");
    for (place, letter) in &letters {
        let here: Vec<&Line> = lines.iter().filter(|line| self::place(line) == **place).collect();
        let count = |result: &str| here.iter().filter(|line| line.result == result).count();
        let engines = engines(&here);
        let (passed, failed, skipped) = (count("passed"), count("failed"), count("skipped"));
        writeln!(
            page,
            "| {letter} | {} | {} | {} | {engines} | {passed} | {failed} | {skipped} |",
            place.guest, place.kernel, place.lsm
        )?;
    }
    page.push_str(TECHNIQUES);
    for technique in corpus {
        let of_id: Vec<&Line> = lines.iter().filter(|line| line.ids.contains(&technique.id)).collect();
        ensure!(!of_id.is_empty(), "no test of {} in the reports", technique.id);
        row(&mut page, technique, &of_id, &letters)?;
    }
    page.push_str(OUT_OF_REACH);
    for technique in corpus {
        if let (Some(limit), Some(instead)) = (&technique.limit, &technique.instead) {
            writeln!(page, "| {} | {} | {limit} | {instead} |", technique.id, technique.technique)?;
        }
    }
    skips(&mut page, lines, &letters)?;
    Ok(page)
}

fn engines(lines: &[&Line]) -> String {
    let names: BTreeSet<&str> = lines.iter().flat_map(|line| line.engine.split_whitespace()).collect();
    if names.is_empty() { "none ran".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") }
}

fn row(page: &mut String, technique: &Technique, lines: &[&Line], letters: &BTreeMap<&Place, char>) -> Result<()> {
    let mut results = Vec::new();
    for (place, letter) in letters {
        let here: Vec<_> = lines.iter().filter(|line| self::place(line) == **place).collect();
        let count = |result: &str| here.iter().filter(|line| line.result == result).count();
        let tried = here.len() - count("skipped");
        results.push(match (tried, count("failed")) {
            (0, _) => format!("{letter} -"),
            (tried, 0) => format!("{letter} {tried}"),
            (tried, failed) => format!("{letter} **{failed} of {tried} failed**"),
        });
    }
    let denied: BTreeSet<String> = lines.iter().flat_map(|line| &line.denied_by).map(|by| escaped(by)).collect();
    let mut denied: Vec<String> = denied.into_iter().collect();
    let more = denied.len().saturating_sub(DENIALS_SHOWN);
    denied.truncate(DENIALS_SHOWN);
    if more > 0 {
        denied.push(format!("and {more} more"));
    }
    let denied = if denied.is_empty() { "see the test".to_owned() } else { denied.join("<br>") };
    let limit = if technique.limit.is_some() { " (in part out of reach, see below)" } else { "" };
    let (engines, results) = (engines(lines), results.join(", "));
    writeln!(page, "| {} | {}{limit} | {engines} | {results} | {denied} |", technique.id, technique.technique)?;
    Ok(())
}

/// So many ways to be denied are named in a row.
const DENIALS_SHOWN: usize = 4;

fn escaped(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|").replace('`', "'"))
}

/// Reasons of skips by place, and notes: what the numbers do not say.
fn skips(page: &mut String, lines: &[Line], letters: &BTreeMap<&Place, char>) -> Result<()> {
    page.push_str("\n## What was skipped, and why\n\n| | tests | reason |\n|---|---|---|\n");
    let mut reasons: BTreeMap<(char, &str), usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.result == "skipped") {
        let letter = letters.get(&place(line)).context("a place without a letter")?;
        *reasons.entry((*letter, &line.reason)).or_default() += 1;
    }
    for ((letter, reason), tests) in reasons {
        writeln!(page, "| {letter} | {tests} | {} |", escaped(reason))?;
    }
    let fewer = lines.iter().flat_map(|line| &line.notes).filter(|note| !note.starts_with("tries ")).count();
    if fewer > 0 {
        writeln!(page, "\n{fewer} tests made fewer tries than on an ordinary machine, since these are emulated.")?;
    }
    races(page, lines, letters)
}

/// What became of each try of a race, by test.
fn races(page: &mut String, lines: &[Line], letters: &BTreeMap<&Place, char>) -> Result<()> {
    let mut races: BTreeMap<&str, BTreeMap<&str, BTreeSet<char>>> = BTreeMap::new();
    for line in lines {
        let letter = letters.get(&place(line)).context("a place without a letter")?;
        for tries in line.notes.iter().filter_map(|note| note.strip_prefix("tries ")) {
            races.entry(&line.name).or_default().entry(tries).or_default().insert(*letter);
        }
    }
    if races.is_empty() {
        return Ok(());
    }
    page.push_str(RACES);
    for (name, tries) in races {
        let mut told: Vec<(String, &str)> = tries
            .into_iter()
            .map(|(tries, letters)| (letters.into_iter().map(String::from).collect::<Vec<_>>().join(", "), tries))
            .collect();
        told.sort();
        let told: Vec<String> = told.into_iter().map(|(letters, tries)| format!("{letters}: {tries}")).collect();
        writeln!(page, "| {} | {} |", escaped(name), told.join("<br>"))?;
    }
    Ok(())
}

const RACES: &str = "
## Races

What became of the tries under the guard, by place. An escape is a limit that the test holds the engine to, and its name says
which. Where a program may run by one of its names, what counts is that none ran by the other.

| test | tries |
|---|---|
";

const HEAD: &str = "# Escape report

Made by `cargo xtask escape-report` from runs of the kernel suites ([testing.md](testing.md)); not written by hand.

Each technique is one or more tests. A test counts as held if the attack works without a guard on that very kernel, has no
effect under `gait exec`, fails with the error that a program would expect, and stands in the signed runpack as denied.
";

const TECHNIQUES: &str = "
## Techniques

A number says how many tests of the technique held there, `-` that none could be tried. The last column is from the
runpacks: the action, the rule of the policy or the reason, and the error that the agent saw.

| id | technique | engine | result | denied by |
|---|---|---|---|---|
";

const OUT_OF_REACH: &str = "
## Out of reach

Tests hold these to what is said here, so that a change shows. [limits.md](limits.md) has the whole list.

| id | technique | why | what you can do |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    fn line(result: &str, denied_by: &str) -> Line {
        let line = serde_json::json!({
            "suite": "escape", "name": "FS-01 a", "ids": ["FS-01"], "result": result, "reason": "no x",
            "denied_by": [denied_by], "guest": "g", "kernel": "6.12", "lsm": "capability,bpf", "engine": "notify",
        });
        serde_json::from_value(line).unwrap()
    }

    fn corpus() -> Vec<Technique> {
        let text = r#"[{"id": "FS-01", "technique": "Opening."}]"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_technique_is_a_row_with_its_results_and_who_denied_it() {
        let page = page(&corpus(), &[line("passed", "a|b"), line("skipped", "c")]).unwrap();
        assert!(page.contains("| A | g | 6.12 | bpf | notify | 1 | 0 | 1 |"), "{page}");
        assert!(page.contains("| FS-01 | Opening. | notify | A 1 | `a\\|b`<br>`c` |"), "{page}");
        assert!(page.contains("| A | 1 | `no x` |"), "{page}");
    }

    #[test]
    fn a_failure_is_not_hidden_in_a_number() {
        let page = page(&corpus(), &[line("passed", "a"), line("failed", "a")]).unwrap();
        assert!(page.contains("A **1 of 2 failed**"), "{page}");
    }

    #[test]
    fn of_a_test_that_was_run_twice_the_last_counts() {
        let lines = last_of_each(vec![line("failed", "a"), line("passed", "a")]);
        assert_eq!(lines.iter().map(|line| line.result.as_str()).collect::<Vec<_>>(), ["passed"]);
    }

    #[test]
    fn a_technique_without_a_test_is_no_page() {
        let mut of_another = line("passed", "a");
        of_another.ids.clear();
        assert!(page(&corpus(), &[of_another]).is_err());
    }
}
