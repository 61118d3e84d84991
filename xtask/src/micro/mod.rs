//! What single functions cost, held against `perf/bench_baseline.json` and `perf/resource_budgets.json` (contract
//! surface 12.2).

mod limits;
mod output;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use self::limits::{Baseline, Resources};
use self::output::Output;
use self::report::{BaselineReport, ResourceReport};
use crate::process;

/// Every operation that is measured, in the order of the contract.
const NAMES: [&str; 11] = [
    "BenchmarkEvaluatePolicyTypical",
    "BenchmarkVerifyZipTypical",
    "BenchmarkDiffRunpacksTypical",
    "BenchmarkSnapshotTypical",
    "BenchmarkDiffSnapshotsTypical",
    "BenchmarkVerifyPackTypical",
    "BenchmarkBuildIncidentPackTypical",
    "BenchmarkInstallLocalTypical",
    "BenchmarkVerifyInstalledTypical",
    "BenchmarkDecodeToolCallOpenAITypical",
    "BenchmarkEvaluateToolCallTypical",
];

/// Wrong usage, or a file that is not there or is not what it should be.
const BAD_INPUT: u8 = 2;

/// Runs the benches and keeps what they print.
pub fn bench(args: &[&str]) -> ExitCode {
    let [output] = args else {
        eprintln!("error: usage: cargo xtask bench-micro <bench_output.txt>");
        return ExitCode::from(BAD_INPUT);
    };
    match measure(Path::new(output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Times and allocations by two programs: counting costs time.
fn measure(path: &Path) -> Result<()> {
    let root = crate::places::root();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut text = String::new();
    for program in ["times", "allocations"] {
        let mut command = Command::new(&cargo);
        command.args(["run", "--release", "--quiet", "--locked", "--manifest-path"]);
        command.arg(root.join("benches/micro/Cargo.toml")).args(["--bin", program]);
        text += &process::output(command.env("CARGO_TARGET_DIR", crate::places::target()).current_dir(&root))?;
    }
    let output = Output::parse(&text);
    output.lines().for_each(|line| println!("{line}"));
    for name in NAMES {
        ensure!(output.ns_op(name).is_some() && output.allocs_op(name).is_some(), "`{name}` was not measured");
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// Holds what was measured against both files: exit code 0 within all limits, 1 beyond one or where a benchmark is
/// missing, 2 where it could not be asked for.
pub fn check(args: &[&str]) -> ExitCode {
    match Asked::read(args) {
        Ok(asked) => match asked.check() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// What was measured, what it is held against, and where the reports go.
struct Asked {
    output: Output,
    baseline: Baseline,
    resources: Resources,
    folder: PathBuf,
}

impl Asked {
    fn read(args: &[&str]) -> Result<Self> {
        let (output, folder) = match args {
            [output] => (output, crate::places::root().join("perf")),
            [output, folder] => (output, PathBuf::from(folder)),
            _ => anyhow::bail!("usage: cargo xtask bench-check <bench_output.txt> [folder of the limits]"),
        };
        let text = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
        let (baseline, resources) = (folder.join("bench_baseline.json"), folder.join("resource_budgets.json"));
        Ok(Self {
            output: Output::parse(&text(Path::new(output))?),
            baseline: Baseline::parse(&text(&baseline)?).with_context(|| baseline.display().to_string())?,
            resources: Resources::parse(&text(&resources)?).with_context(|| resources.display().to_string())?,
            folder,
        })
    }

    fn check(&self) -> Result<bool> {
        let slower = BaselineReport::new(&self.baseline, &self.output);
        let beyond = ResourceReport::new(&self.resources, &self.output);
        self.write("bench_report.json", &slower)?;
        self.write("resource_budget_report.json", &beyond)?;
        let mut holds = true;
        for (check, failures) in [("bench baseline", &slower.failures), ("resource budget", &beyond.failures)] {
            println!("{check} check {}", if failures.is_empty() { "passed" } else { "failed" });
            failures.iter().for_each(|failure| println!("- {failure}"));
            holds &= failures.is_empty();
        }
        Ok(holds)
    }

    fn write(&self, name: &str, report: &impl Serialize) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, serde_json::to_string_pretty(report)? + "\n").with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests;
