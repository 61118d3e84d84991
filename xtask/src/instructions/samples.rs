//! What the guest wrote down, read and checked.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::statistics::percentile;

/// Instructions of one call, in one round.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    /// All that the machine executed meanwhile.
    whole: f64,
    /// What the caller executed, in the kernel too.
    caller: f64,
}

/// What `gait exec --json` ends with, as far as it matters here.
#[derive(Deserialize)]
struct Summary {
    engine: String,
    decisions: usize,
    lost: u64,
    complete: bool,
    verdicts: BTreeMap<String, usize>,
}

/// All rounds but the first, in which caches are filled.
#[derive(Debug, Default)]
pub struct Samples {
    calls: BTreeMap<(String, String), Vec<Sample>>,
    /// What the guard's programs in the kernel executed for one open, in each round, by way.
    programs: BTreeMap<String, Vec<f64>>,
    /// Seconds in which the machine waited while it was measured.
    pub idle_s: f64,
}

/// Ways in which all calls are made under a guard; of each so many decisions are expected.
const GUARDED: &[&str] = &["lsm", "notify", "none"];

impl Samples {
    /// Reads a report. Each guarded run of all calls must have recorded `decisions`, and allowed them.
    ///
    /// # Errors
    /// A run that failed, that lost or denied something, or a line that is none of a report.
    pub fn read(report: &str, decisions: usize) -> Result<Self> {
        let mut samples = Self::default();
        let mut round = 0_usize;
        let (mut summary, mut programs) = (None, Vec::new());
        for line in report.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["round", number] => round = number.parse()?,
                ["sample", way, operation, whole, caller, before, after] => {
                    let number = |text: &str| text.parse::<f64>().with_context(|| format!("`{line}`"));
                    if round > 0 {
                        let sample = Sample { whole: 1e3 * number(whole)?, caller: 1e3 * number(caller)? };
                        samples.calls.entry(((*way).to_owned(), (*operation).to_owned())).or_default().push(sample);
                        samples.idle_s += number(after)? - number(before)?;
                    }
                }
                ["programs", opens, nanoseconds] => programs.push(nanoseconds.parse::<f64>()? / opens.parse::<f64>()?),
                ["ended", way, code, ..] => {
                    ensure!(*code == "0", "the run `{way}` of round {round} failed: {line}");
                    if GUARDED.contains(way) {
                        let summary = summary.take().with_context(|| format!("`{way}` has no summary"))?;
                        check(way, &summary, decisions)?;
                    }
                    if let ([before, after], true) = (programs.as_slice(), round > 0) {
                        samples.programs.entry((*way).to_owned()).or_default().push(after - before);
                    }
                    programs.clear();
                }
                [start, ..] if start.starts_with('{') => summary = Some(serde_json::from_str(line)?),
                _ => anyhow::bail!("the report holds `{line}`"),
            }
        }
        Ok(samples)
    }

    /// The median of all that the machine executed for one call.
    pub fn whole(&self, way: &str, operation: &str) -> f64 {
        self.median(way, operation, |sample| sample.whole)
    }

    /// The median of what the caller executed for one.
    pub fn caller(&self, way: &str, operation: &str) -> f64 {
        self.median(way, operation, |sample| sample.caller)
    }

    /// The median of what the guard's programs in the kernel executed for one open.
    pub fn programs(&self, way: &str) -> f64 {
        percentile(self.programs.get(way).map_or(&[], Vec::as_slice), 50.0)
    }

    fn median(&self, way: &str, operation: &str, of: impl Fn(&Sample) -> f64) -> f64 {
        let samples = self.calls.get(&(way.to_owned(), operation.to_owned()));
        percentile(&samples.into_iter().flatten().map(of).collect::<Vec<_>>(), 50.0)
    }
}

/// Nothing was denied or lost, and it was the engine that the way is about.
fn check(way: &str, summary: &Summary, decisions: usize) -> Result<()> {
    let engine = if way == "notify" { "notify" } else { "lsm" };
    ensure!(summary.engine == engine, "`{way}` ran under {}", summary.engine);
    ensure!(summary.complete && summary.lost == 0, "`{way}` lost {} records", summary.lost);
    let recorded = summary.decisions;
    ensure!(recorded >= decisions, "`{way}` recorded {recorded} decisions of {decisions}");
    ensure!(summary.verdicts.get("allow") == Some(&recorded), "`{way}` denied something: {:?}", summary.verdicts);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str =
        r#"{"engine":"lsm","decisions":20,"lost":0,"complete":true,"verdicts":{"allow":20},"exit_code":0}"#;

    fn round(number: usize, whole: f64) -> String {
        format!(
            "round {number}\nsample bare open 8.000 7.500 1.00 1.00\nended bare 0 \n\
             sample lsm open {whole} 20.000 1.00 1.02\n{SUMMARY}\nended lsm 0 \n\
             programs 10 1000\nsample programs open 9 9 1.00 1.00\nprograms 10 51000\n{SUMMARY}\nended programs 0\n"
        )
    }

    #[test]
    fn medians_are_instructions_and_the_first_round_is_left_out() {
        let report = [(0, 99.0), (1, 40.0), (2, 44.0), (3, 42.0)].map(|(number, whole)| round(number, whole)).concat();
        let samples = Samples::read(&report, 20).unwrap();
        assert_eq!((samples.whole("bare", "open"), samples.caller("bare", "open")), (8000.0, 7500.0));
        assert_eq!((samples.whole("lsm", "open"), samples.caller("lsm", "open")), (42_000.0, 20_000.0));
        assert_eq!(samples.programs("programs"), 5000.0);
        assert!((samples.idle_s - 0.06).abs() < 1e-9);
        assert!(samples.whole("notify", "open").is_nan(), "what was not measured is no number");
    }

    #[test]
    fn a_run_that_failed_lost_or_denied_something_is_no_measurement() {
        let good = round(1, 40.0);
        assert!(Samples::read(&good, 20).is_ok());
        for (from, to) in [
            ("ended bare 0", "ended bare 1"),
            (r#""lost":0"#, r#""lost":1"#),
            (r#""allow":20"#, r#""allow":19,"block":1"#),
            (r#""engine":"lsm""#, r#""engine":"notify""#),
            ("programs 10 1000", "programs 10"),
        ] {
            assert!(Samples::read(&good.replace(from, to), 20).is_err(), "{to}");
        }
        assert!(Samples::read(&good, 21).is_err(), "fewer decisions than calls");
    }
}
