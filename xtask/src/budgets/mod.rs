//! What commands take from start to end, held against `perf/runtime_slo_budgets.json` (contract surface 12.1).

mod file;
mod method;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use self::file::Budgets;
use self::method::{KEYS, Place, Runs};
use self::report::Report;

/// Wrong usage, no binary, or no budgets.
const BAD_INPUT: u8 = 2;

/// Runs the check: exit code 0 within all budgets, 1 beyond one, 2 where it could not be asked for.
pub fn run(args: &[&str]) -> ExitCode {
    let asked = match Asked::read(args) {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(BAD_INPUT);
        }
    };
    match asked.check() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Asked {
    binary: PathBuf,
    report: PathBuf,
    /// As it was named.
    source: String,
    budgets: Budgets,
}

impl Asked {
    fn read(args: &[&str]) -> Result<Self> {
        let (binary, report, budgets) = match args {
            [binary, report] => (binary, report, None),
            [binary, report, budgets] => (binary, report, Some(budgets)),
            _ => anyhow::bail!("usage: cargo xtask bench-budgets <binary> <report.json> [budgets.json]"),
        };
        let binary = Path::new(binary).canonicalize().with_context(|| format!("no binary `{binary}`"))?;
        ensure!(binary.is_file(), "no binary `{}`", binary.display());
        let committed = "perf/runtime_slo_budgets.json";
        let (source, path) = match budgets {
            Some(path) => ((*path).to_owned(), PathBuf::from(path)),
            None => (committed.to_owned(), crate::places::root().join(committed)),
        };
        Ok(Self { binary, report: PathBuf::from(report), source, budgets: Budgets::read(&path)? })
    }

    fn check(&self) -> Result<bool> {
        let place = Place::new(&self.binary)?;
        let mut runs: BTreeMap<&str, Runs> = KEYS.iter().map(|key| (*key, Runs::default())).collect();
        // In turn, so that what disturbs the machine for a moment does not hit one command alone.
        for _ in 0..self.budgets.repeats {
            for (key, runs) in &mut runs {
                place.run(key, runs)?;
            }
        }
        let report = Report::new(&self.source, &self.budgets, KEYS.iter().map(|key| (*key, &runs[key])));
        if let Some(folder) = self.report.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(&self.report, text).with_context(|| self.report.display().to_string())?;
        report.lines().for_each(|line| println!("{line}"));
        if report.failures.is_empty() {
            println!("runtime SLO budget check passed");
        } else {
            println!("runtime SLO budget check failed");
            report.failures.iter().for_each(|failure| println!("- {failure}"));
        }
        Ok(report.failures.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_and_a_missing_binary_are_told_before_anything_runs() {
        let why = |args: &[&str]| Asked::read(args).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(why(&[]).starts_with("usage: "));
        assert!(why(&["a", "b", "c", "d"]).starts_with("usage: "));
        assert_eq!(why(&["/no/such/gait", "report.json"]), "no binary `/no/such/gait`");
        assert_eq!(why(&["/", "report.json"]), "no binary `/`");
        assert_eq!(why(&["/bin/sh", "report.json", "/no/such/budgets.json"]), "/no/such/budgets.json");
        assert_eq!(why(&["/bin/sh", "report.json"]), "");
    }
}
