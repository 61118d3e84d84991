//! The runner: three answers, and no test that returns early and counts as passed.

use std::process::ExitCode;
use std::time::Instant;

use crate::need::{Need, Probes};
use crate::report::{self, Report};

/// One test, named as the sentence it proves.
pub struct Test {
    /// Its name; an id of the escape corpus comes first.
    pub name: String,
    /// What it can't do without.
    pub needs: Vec<Need>,
    /// The test itself.
    pub body: Box<dyn Fn() -> anyhow::Result<()>>,
}

/// A test from its name, needs and body.
pub fn test(
    name: impl Into<String>,
    needs: impl IntoIterator<Item = Need>,
    body: impl Fn() -> anyhow::Result<()> + 'static,
) -> Test {
    Test { name: name.into(), needs: needs.into_iter().collect(), body: Box::new(body) }
}

/// Runs those of `tests` that the command line asks for (words in names; `--list`, `--times N`), one after the other,
/// and ends with libtest's result line.
pub fn main(tests: Vec<Test>) -> ExitCode {
    let asked = Asked::from_args();
    let (chosen, others): (Vec<_>, Vec<_>) = tests.into_iter().partition(|test| asked.wants(&test.name));
    if asked.list {
        chosen.iter().for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    let mut probes = Probes::from_env();
    let mut report = match Report::from_env() {
        Ok(report) => report,
        Err(error) => {
            println!("GAIT_SUITE_REPORT: {error}");
            return ExitCode::from(2);
        }
    };
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), Vec::new());
    for test in &chosen {
        let start = Instant::now();
        let outcome = run(test, &mut probes, asked.times);
        let (said, took) = (report::said(), start.elapsed().as_millis());
        let (result, reason) = match outcome {
            Outcome::Passed => {
                passed += 1;
                println!("passed {} ({took} ms)", test.name);
                ("passed", String::new())
            }
            Outcome::Failed(why) => {
                println!("failed {}: {why}", test.name);
                failed.push(&test.name);
                ("failed", why)
            }
            Outcome::Skipped(why) => {
                println!("skipped {}: {why}", test.name);
                skipped.push(&test.name);
                ("skipped", why)
            }
        };
        said.notes.iter().for_each(|note| println!("    {note}"));
        if let Err(error) = report.add(&test.name, result, &reason, &said, took) {
            println!("GAIT_SUITE_REPORT: {error}");
            return ExitCode::from(2);
        }
    }
    failed.iter().for_each(|name| println!("    {name}"));
    let (word, code) = if failed.is_empty() { ("ok", ExitCode::SUCCESS) } else { ("FAILED", ExitCode::FAILURE) };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {} ignored; 0 measured; {} filtered out",
        failed.len(),
        skipped.len(),
        others.len()
    );
    code
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

fn run(test: &Test, probes: &mut Probes, times: usize) -> Outcome {
    for need in &test.needs {
        match probes.ask(need) {
            Ok(None) => {}
            Ok(Some(absent)) => return Outcome::Skipped(absent),
            Err(broken) => return Outcome::Failed(broken),
        }
    }
    for turn in 1..=times {
        let body = std::panic::AssertUnwindSafe(&test.body);
        match std::panic::catch_unwind(body) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Outcome::Failed(format!("{error:#} (turn {turn} of {times})")),
            Err(_) => return Outcome::Failed("panicked".to_owned()),
        }
    }
    Outcome::Passed
}

struct Asked {
    words: Vec<String>,
    list: bool,
    times: usize,
}

impl Asked {
    fn from_args() -> Self {
        let mut asked = Self { words: Vec::new(), list: false, times: 1 };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => asked.list = true,
                "--times" => asked.times = args.next().and_then(|n| n.parse().ok()).unwrap_or(1),
                flag if flag.starts_with('-') => {}
                _ => asked.words.push(arg),
            }
        }
        asked
    }

    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}
