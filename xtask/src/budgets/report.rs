//! The report of a check: `gait.perf.command_budget_report` 2.0.0.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::file::{Budget, Budgets};
use super::method::Runs;
use crate::statistics::percentile;

/// What was measured, and what is over its budget.
#[derive(Debug, Serialize)]
pub struct Report {
    schema_id: &'static str,
    schema_version: &'static str,
    generated_at: String,
    runtime_budget_source: String,
    repeats: usize,
    commands: Vec<CommandReport>,
    pub failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CommandReport {
    command: String,
    samples_ms: Vec<f64>,
    /// Percentiles of no samples are null.
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    median_ms: Option<f64>,
    attempts: usize,
    successes: usize,
    failures: usize,
    error_rate: f64,
    budget: Option<Budget>,
    status: &'static str,
}

impl Report {
    /// What `runs` of each command come to beside `budgets`, which were read from `source`.
    pub fn new<'a>(source: &str, budgets: &Budgets, runs: impl Iterator<Item = (&'a str, &'a Runs)>) -> Self {
        let mut failures = Vec::new();
        let mut commands: Vec<CommandReport> = Vec::new();
        for (command, runs) in runs {
            let (command, found) = CommandReport::new(command, budgets.commands.get(command), runs);
            failures.extend(found.into_iter().map(|failure| format!("{}: {failure}", command.command)));
            commands.push(command);
        }
        let is_known = |name: &str| commands.iter().any(|command| command.command == name);
        let unknown = budgets.commands.keys().filter(|name| !is_known(name));
        failures.extend(unknown.map(|name| format!("{name}: there is a budget, but no such command")));
        Self {
            schema_id: "gait.perf.command_budget_report",
            schema_version: "2.0.0",
            generated_at: rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
            runtime_budget_source: source.to_owned(),
            repeats: budgets.repeats,
            commands,
            failures,
        }
    }

    /// One line for each command.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.commands.iter().map(|command| {
            let ms = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
            format!(
                "{}: p50={}ms p95={}ms p99={}ms error_rate={:.3} status={}",
                command.command,
                ms(command.p50_ms),
                ms(command.p95_ms),
                ms(command.p99_ms),
                command.error_rate,
                command.status
            )
        })
    }
}

impl CommandReport {
    fn new(command: &str, budget: Option<&Budget>, runs: &Runs) -> (Self, Vec<String>) {
        let at = |percent| Some(percentile(&runs.samples_ms, percent)).filter(|value| !value.is_nan());
        let [p50_ms, p95_ms, p99_ms] = [50.0, 95.0, 99.0].map(at);
        let successes = runs.samples_ms.len();
        let failed = runs.attempts - successes;
        let error_rate = if runs.attempts == 0 { 1.0 } else { failed as f64 / runs.attempts as f64 };
        let mut failures = Vec::new();
        if failed > 0 {
            failures.push(format!("{failed} of {} runs failed", runs.attempts));
        }
        match budget {
            None => failures.push("there is no budget".to_owned()),
            Some(budget) => {
                if error_rate > budget.max_error_rate {
                    failures.push(format!("error rate {error_rate:.3} exceeds {:.3}", budget.max_error_rate));
                }
                let limits =
                    [("p50", p50_ms, budget.p50_ms), ("p95", p95_ms, budget.p95_ms), ("p99", p99_ms, budget.p99_ms)];
                for (name, found, limit) in limits {
                    if let Some(found) = found.filter(|found| *found > limit) {
                        failures.push(format!("{name} {found:.1}ms exceeds {limit:.1}ms"));
                    }
                }
            }
        }
        let report = Self {
            command: command.to_owned(),
            samples_ms: runs.samples_ms.clone(),
            p50_ms,
            p95_ms,
            p99_ms,
            median_ms: p50_ms,
            attempts: runs.attempts,
            successes,
            failures: failed,
            error_rate,
            budget: budget.cloned(),
            status: if failures.is_empty() { "ok" } else { "over_budget" },
        };
        (report, failures)
    }
}

/// A time in seconds since 1970 as RFC 3339 in UTC. Days to dates by H. Hinnant's `civil_from_days`.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn report(budget: Option<Budget>, samples_ms: &[f64], attempts: usize) -> Report {
        let commands: BTreeMap<_, _> = budget.into_iter().map(|budget| ("verify".to_owned(), budget)).collect();
        let runs = Runs { samples_ms: samples_ms.to_vec(), attempts };
        Report::new("budgets.json", &Budgets { repeats: attempts, commands }, [("verify", &runs)].into_iter())
    }

    fn budget(limit: f64) -> Option<Budget> {
        Some(Budget { p50_ms: limit, p95_ms: limit, p99_ms: limit, max_error_rate: 0.0 })
    }

    #[test]
    fn a_command_within_its_budget_is_ok() {
        let report = report(budget(30.0), &[10.0, 20.0, 30.0], 3);
        let line = "verify: p50=20.0ms p95=29.0ms p99=29.8ms error_rate=0.000 status=ok";
        assert_eq!((report.lines().collect::<Vec<_>>(), report.failures.len()), (vec![line.to_owned()], 0));
    }

    #[test]
    fn each_limit_that_is_exceeded_is_a_failure() {
        let slow = report(budget(25.0), &[10.0, 20.0, 30.0], 3);
        assert_eq!(slow.failures, ["verify: p95 29.0ms exceeds 25.0ms", "verify: p99 29.8ms exceeds 25.0ms"]);
        assert!(slow.lines().all(|line| line.ends_with("status=over_budget")));
        let failing = report(budget(99.0), &[10.0, 20.0, 30.0], 4);
        assert_eq!(failing.failures, ["verify: 1 of 4 runs failed", "verify: error rate 0.250 exceeds 0.000"]);
        let lenient =
            Budget { max_error_rate: 0.5, ..budget(99.0).into_iter().next().unwrap_or_else(|| unreachable!()) };
        assert_eq!(report(Some(lenient), &[10.0], 2).failures, ["verify: 1 of 2 runs failed"]);
    }

    #[test]
    fn a_command_that_never_worked_has_no_percentiles() {
        let report = report(budget(99.0), &[], 2);
        assert_eq!(report.commands[0].p50_ms, None);
        assert_eq!(report.commands[0].status, "over_budget");
    }

    #[test]
    fn budgets_and_commands_must_be_the_same() {
        assert_eq!(report(None, &[1.0], 1).failures, ["verify: there is no budget"]);
        let budgets =
            Budgets { repeats: 1, commands: budget(9.0).into_iter().map(|b| ("other".to_owned(), b)).collect() };
        let report = Report::new("b", &budgets, std::iter::empty());
        assert_eq!(report.failures, ["other: there is a budget, but no such command"]);
    }

    /// By `date -u -d @N`.
    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_772_000_000, "2026-02-25T06:13:20Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
