//! Tasks of this workspace that cargo itself has no command for. `cargo xtask` lists them.

mod bench;
mod budgets;
mod escape;
mod formats;
mod gate;
mod matrix;
mod process;
mod scale;
mod statistics;
mod workload;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

  bench [--rounds N] [--policy FILE] [WORD ...]
      what the guard costs: each workload bare and under `gait exec`, interleaved in one run, as ratios of
      medians, pinned to one processor and not; and an open beside the cheapest race-free one. Words choose
      workloads by name.
  bench-gate [--rounds N] [WORD ...]
      what a decision costs: `decision`, in process, by the compiled policy beside other policy engines with the same
      1,000 rules; `process`, a whole `gait gate eval` beside `/bin/true`, wall time and peak memory.
  bench-budgets <binary> <report.json> [budgets.json]
      what commands take from start to end, held against perf/runtime_slo_budgets.json: exit code 1 if one takes more,
      2 if the binary or the budgets can't be used.
  docs-formats [--check]
      write what the schemas say into the pages of docs/formats, between their markers; with --check change
      nothing, and fail if a page is not up to date.
  bench-scale [--rounds N] [--sizes N,N,...] [WORD ...]
      what commands on runpacks of a growing number of intents cost: processor time, wall time and peak memory
      of `run record`, `verify`, `run diff`, `regress run`, `scout signal`. Words choose commands by name.
  kernel-matrix [--list] [--verbose] [--minutes N] [--only WORD,WORD,...] [SERIES|MODULES|ENGINE ...]
      the kernel suites in virtual machines with stock kernels of Debian and different security modules; needs
      no KVM. `kernel-matrix 6.12 full` boots one of them; --only chooses tests by words in their names;
      a guest that takes longer than --minutes (90) has failed.
  escape-report [REPORT ...]
      write docs/escape-report.md from what suites wrote to GAIT_SUITE_REPORT; without REPORT from those of the
      guests that were booted last.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["bench", rest @ ..] => bench::run(rest),
        ["bench-budgets", rest @ ..] => return budgets::run(rest),
        ["bench-gate", rest @ ..] => gate::run(rest),
        ["docs-formats"] => formats::run(formats::Mode::Write),
        ["docs-formats", "--check"] => formats::run(formats::Mode::Check),
        ["escape-report", rest @ ..] => escape::run(rest),
        ["kernel-matrix", rest @ ..] => matrix::run(rest),
        ["bench-scale", rest @ ..] => scale::run(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
