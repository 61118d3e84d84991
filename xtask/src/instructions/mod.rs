//! How many instructions a call takes, bare and guarded, on a kernel whose security modules include BPF.
//!
//! The guest's clock moves on by a nanosecond with each instruction, so a program that looks at the clock counts
//! instructions: its own, the kernel's, and on a guest with one processor also those of whoever works for it.

mod policy;
mod report;
mod samples;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::bench::workload::{CALLS, Call};
use crate::machine::{self, Boot, Ended, Processors, Store};
use crate::places::{gait_binary, root};
use crate::process::{Unavailable, succeed};
use samples::Samples;

/// What is opened: 60 bytes, nine names.
const FILE: &str = "/tmp/work/project/src/deeply/nested/module/folder/calls-read";

/// The same with two names, to find out what names cost.
const SHORT: &str = "/tmp/calls-read";

/// Security modules of the guest.
const LSM: &str = "landlock,lockdown,yama,bpf";

/// So many times fewer calls for a sample than where a processor is real. Instructions hardly vary.
const FEWER: usize = 10;

/// Boots a guest, counts, and prints tables on standard output.
///
/// # Errors
/// A wrong argument, [`Unavailable`], or a run in the guest that did not end as it should.
pub fn run(args: &[&str]) -> Result<()> {
    let asked = Asked::parse(args)?;
    if let Some(why) = machine::missing() {
        return Err(Unavailable(why).into());
    }
    let store = Store::open()?;
    let unavailable = |error: anyhow::Error| Unavailable(format!("{error:#}"));
    let (root, kernel) = (store.root().map_err(unavailable)?, store.kernel(&asked.series).map_err(unavailable)?);
    let folder = store.folder().join("instructions");
    fs::create_dir_all(&folder)?;
    let work = tempfile::tempdir_in(&folder)?;
    let content = work.path().join("suite");
    fill(&content, asked.rounds)?;
    let ended = Boot {
        kernel: &kernel,
        root: &root,
        work: work.path(),
        content: &content,
        lsm: LSM,
        processors: Processors::OneByInstructions,
        logs: &folder.join(&asked.series),
        limit: asked.limit,
    }
    .run()?;
    let samples = read(&ended)?;
    println!("medians of {} rounds on Linux {}, {} patterns", asked.rounds, kernel.release, policy::PATTERNS);
    print!("{}", report::tables(&samples));
    Ok(())
}

/// What a guest that got to its end counted.
fn read(ended: &Ended) -> Result<Samples> {
    ensure!(ended.in_time, "the guest did not end in time; see --minutes. Its report:\n{}", ended.report);
    let is_whole = ended.console.lines().any(|line| line.trim() == "guest: done");
    ensure!(is_whole, "the guest did not get to its end: {}\n{}", ended.said, ended.console);
    Samples::read(&ended.report, decisions(CALLS)).with_context(|| format!("the guest's report:\n{}", ended.report))
}

/// How often it is made in a guest.
fn times(call: &Call) -> usize {
    call.times / FEWER
}

/// So many decisions must have been recorded of all calls, at least.
fn decisions(calls: &[Call]) -> usize {
    let of_one = |call: &Call| match call.operation {
        // Neither decided nor recorded.
        "stat" => 0,
        "create" => 2,
        _ => 1,
    };
    calls.iter().map(|call| times(call) * of_one(call)).sum()
}

/// What is on the guest's disk.
fn fill(folder: &Path, rounds: usize) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(gait_binary()?, folder.join("gait"))?;
    for name in ["calls", "landlock"] {
        let source = root().join(format!("xtask/baseline/{name}.c"));
        // What a guest's loader would do is not measured.
        succeed(Command::new("cc").args(["-O2", "-static", "-o"]).arg(folder.join(name)).arg(source))?;
    }
    let calls: Vec<String> = CALLS.iter().map(|call| format!("{}:{}", call.operation, times(call))).collect();
    let settings = format!("export FILE='{FILE}' SHORT='{SHORT}' ROUNDS='{rounds}' CALLS='{}'\n", calls.join(" "));
    for (name, text) in [
        ("settings", settings.as_str()),
        ("patterns.yaml", &policy::of(&policy::patterns())),
        ("none.yaml", &policy::of(&[])),
        ("calls.sh", include_str!("calls.sh")),
        ("guest.sh", include_str!("guest.sh")),
    ] {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

struct Asked {
    rounds: usize,
    series: String,
    limit: Duration,
}

impl Asked {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut asked = Self { rounds: 5, series: "6.12".to_owned(), limit: Duration::from_secs(30 * 60) };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut number = || args.next().with_context(|| format!("{arg} needs a number"));
            match *arg {
                "--rounds" => asked.rounds = number()?.parse()?,
                "--minutes" => asked.limit = Duration::from_secs(60 * number()?.parse::<u64>()?),
                flag if flag.starts_with('-') => bail!("unknown flag `{flag}`"),
                series => asked.series = series.to_owned(),
            }
        }
        let is_series = asked.series.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        ensure!(is_series, "`{}` is no series of kernels, as 6.12 is one", asked.series);
        ensure!(asked.rounds > 0 && asked.limit > Duration::ZERO, "at least one round and one minute");
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_opened_has_a_path_of_60_bytes_and_seven_names_more_than_the_other() {
        let names = |path: &str| path.matches('/').count();
        assert_eq!((FILE.len(), names(FILE), names(SHORT)), (60, 9, 2));
    }

    #[test]
    fn all_calls_but_stat_leave_records() {
        let call = |operation| Call { name: operation, operation, times: 100 };
        assert_eq!(decisions(&[call("open"), call("stat"), call("create")]), 10 + 20);
    }

    #[test]
    fn the_ring_holds_all_that_one_run_records() {
        // 60,000 records of paths fit into the ring that nobody asks for.
        assert!(decisions(CALLS) < 30_000);
    }

    #[test]
    fn a_series_is_a_word_and_flags_are_known() {
        let asked = Asked::parse(&["--rounds", "3", "6.1"]).unwrap();
        assert_eq!((asked.rounds, asked.series.as_str()), (3, "6.1"));
        assert!(Asked::parse(&["full"]).is_err() && Asked::parse(&["--fast"]).is_err());
        assert!(Asked::parse(&["--rounds", "0"]).is_err() && Asked::parse(&["--minutes"]).is_err());
    }
}
