//! Tasks of this workspace that cargo itself has no command for. `cargo xtask` lists them.

mod bench;
mod budgets;
mod ebpf;
mod escape;
mod formats;
mod gate;
mod instructions;
mod machine;
mod matrix;
mod micro;
mod order;
mod peak;
mod places;
mod process;
mod scale;
mod statistics;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

  bench-exec [--rounds N] [--policy FILE] [WORD ...]
      what the guard costs: single calls, starting up and whole workloads, bare, under the cheapest race-free
      supervisor, and under `gait exec` with each engine that works here, interleaved in one run, as ratios of
      medians, pinned to one processor and not. Words choose rows by name.
  bench-guest [--rounds N] [--minutes N] [SERIES]
      how many instructions single calls take in a virtual machine whose clock counts them: bare and under `gait exec`
      with `lsm` and `notify`, by a policy of 1,000 patterns, and what of an open costs. SERIES of kernels: 6.12. Exit code 3: this
      machine can't make one.
  bench-gate [--rounds N] [WORD ...]
      what a decision costs: `decision`, in process, by the compiled policy beside other policy engines with the same
      1,000 rules; `process`, a whole `gait gate eval` beside `/bin/true`, wall time and peak memory.
  bench-budgets <binary> <report.json> [budgets.json]
      what commands take from start to end, held against perf/runtime_slo_budgets.json: exit code 1 if one takes more,
      2 if the binary or the budgets can't be used.
  bench-micro <bench_output.txt>
      what single functions of gait-core cost, nanoseconds and allocations, five runs of each on one thread.
  bench-check <bench_output.txt> [folder]
      that output held against bench_baseline.json and resource_budgets.json of the folder (perf), which gets a report
      on each: exit code 1 if one is exceeded or not in the output, 2 if the files can't be used.
  build-ebpf [--install] [--check | --lint]
      build the object with the BPF programs from source with the pinned tools, which --install installs, and
      write it to gait-ebpf/object; with --check change nothing, and fail if it is not what is there; with
      --lint run clippy on the programs. Exit code 3: this machine can't have the tools.
  docs-formats [--check]
      write what the schemas say into the pages of docs/formats, between their markers; with --check change
      nothing, and fail if a page is not up to date.
  bench-scale [--rounds N] [--sizes N,N,...] [WORD ...]
      what commands on runpacks of a growing number of intents cost: processor time, wall time and peak memory
      of `run record`, `verify`, `run diff`, `regress run`, `scout signal`. Words choose commands by name.
  kernel-matrix [--list] [--verbose] [--minutes N] [--processors 1|2] [--only WORD,WORD,...]
                [SERIES|MODULES|ENGINE ...]
      the kernel suites in virtual machines with stock kernels of Debian and different security modules; needs
      no KVM. `kernel-matrix 6.12 full` boots one of them; --only chooses tests by words in their names;
      a guest that takes longer than --minutes (90) has failed. Each has two --processors, which share a thread;
      with one, who flips what others read takes turns with them, which is what long runs of races want.
  text-order
      add what a release build executes to gait-cli/link/gate-eval.ld, by which the linker puts the functions of
      `gait gate eval` side by side.
  escape-report [REPORT ...]
      write docs/escape-report.md from what suites wrote to GAIT_SUITE_REPORT; without REPORT from those of the
      guests that were booted last.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["bench-budgets", rest @ ..] => return budgets::run(rest),
        ["bench-check", rest @ ..] => return micro::check(rest),
        ["bench-micro", rest @ ..] => return micro::bench(rest),
        ["bench-exec", rest @ ..] => bench::run(rest),
        ["bench-guest", rest @ ..] => instructions::run(rest),
        ["bench-gate", rest @ ..] => gate::run(rest),
        ["build-ebpf", rest @ ..] => ebpf::run(rest),
        ["docs-formats"] => formats::run(formats::Mode::Write),
        ["docs-formats", "--check"] => formats::run(formats::Mode::Check),
        ["escape-report", rest @ ..] => escape::run(rest),
        ["kernel-matrix", rest @ ..] => matrix::run(rest),
        ["bench-scale", rest @ ..] => scale::run(rest),
        ["text-order", rest @ ..] => order::run(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<process::Unavailable>() { ExitCode::from(3) } else { ExitCode::FAILURE }
        }
    }
}
