//! What the guard costs, as ratios: the machine's own speed cancels out where bare and guarded take turns.

mod way;
pub mod workload;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::places::{gait_binary, root};
use crate::process::succeed;
use crate::statistics::percentile;
use way::{Missing, Way};
use workload::{ALL, CALLS, START, TREE, Workload};

/// Runs of [`START`] for one sample.
const STARTS: usize = 3;

/// Where a sample's processes may run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placement {
    OneProcessor,
    Anywhere,
}

/// Runs the bench and prints its tables on standard output.
pub fn run(args: &[&str]) -> Result<()> {
    let bench = Bench::prepare(Asked::parse(args)?)?;
    for missing in &bench.missing {
        println!("no column {}: {}", missing.name, missing.why);
    }
    for placement in [Placement::Anywhere, Placement::OneProcessor] {
        bench.table(placement)?;
    }
    Ok(())
}

struct Asked {
    rounds: usize,
    policy: PathBuf,
    words: Vec<String>,
}

impl Asked {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut asked = Self { rounds: 7, policy: root().join("policies/allow-all.yaml"), words: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--rounds" => asked.rounds = args.next().context("--rounds needs a number")?.parse()?,
                "--policy" => {
                    asked.policy = PathBuf::from(args.next().context("--policy needs a file")?).canonicalize()?
                }
                flag if flag.starts_with('-') => bail!("unknown flag `{flag}`"),
                word => asked.words.push(word.to_owned()),
            }
        }
        ensure!(asked.rounds > 0, "at least one round");
        Ok(asked)
    }

    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Binaries and folders of one bench.
struct Bench {
    asked: Asked,
    ways: Vec<Way>,
    missing: Vec<Missing>,
    folder: PathBuf,
}

impl Bench {
    fn prepare(asked: Asked) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("gait-bench-{}", std::process::id()));
        let mut bench = Self { asked, ways: Vec::new(), missing: Vec::new(), folder };
        for name in ["home", "out", "bin", "work"] {
            std::fs::create_dir_all(bench.folder.join(name))?;
        }
        for name in ["calls", "supervisor"] {
            let source = root().join(format!("xtask/baseline/{name}.c"));
            succeed(Command::new("cc").args(["-O2", "-o"]).arg(bench.binary(name)).arg(source))?;
        }
        let gait = gait_binary()?;
        bench.ways = vec![Way::bare(), Way::cheapest(&bench.binary("supervisor"))];
        for engine in ["notify", "lsm", "hybrid"] {
            match Way::engine(engine, &gait, &bench.asked.policy, &bench.folder)? {
                Ok(way) => bench.ways.push(way),
                Err(missing) => bench.missing.push(missing),
            }
        }
        Ok(bench)
    }

    fn binary(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    fn command(&self, words: &[String], folder: &Path, placement: Placement) -> Command {
        let mut command = match placement {
            Placement::Anywhere => Command::new(&words[0]),
            Placement::OneProcessor => {
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", "0", &words[0]]);
                taskset
            }
        };
        command.args(&words[1..]).current_dir(folder).stdin(Stdio::null());
        // The tool chain may live in the home folder; the guard's keys and journal should not.
        if std::env::var_os("RUSTUP_HOME").is_none()
            && let Some(home) = std::env::home_dir()
        {
            command.env("RUSTUP_HOME", home.join(".rustup"));
        }
        // Where a workload builds is part of it.
        command.env("HOME", self.folder.join("home")).env_remove("CARGO_TARGET_DIR");
        command
    }

    /// All that was asked for, bare in time and the others as ratios to it.
    fn table(&self, placement: Placement) -> Result<()> {
        println!("\nmedian of {}, {}", self.asked.rounds, said(placement));
        let [first, others @ ..] = self.ways.as_slice() else { bail!("nothing to compare") };
        print!("  {:<30}{:>12}", "", first.name);
        others.iter().for_each(|way| print!("{:>10}", way.name));
        println!();
        for call in CALLS.iter().filter(|call| self.asked.wants(call.name)) {
            let program = self.binary("calls").to_string_lossy().into_owned();
            let times = call.times.to_string();
            let medians = self.medians(&[&program, call.operation, &times], |words| self.told(words, placement))?;
            row(call.name, "us", &medians);
        }
        let work = self.folder.join("work");
        if self.asked.wants("start-up") {
            std::fs::create_dir_all(&work)?;
            let medians = self.medians(&[START], |words| {
                let start = Instant::now();
                (0..STARTS).try_for_each(|_| succeed(self.command(words, &work, placement).stdout(Stdio::null())))?;
                Ok(start.elapsed().as_secs_f64() * 1e3 / STARTS as f64)
            })?;
            row("start-up", "ms", &medians);
            let beyond: Vec<String> = self
                .ways
                .iter()
                .zip(&medians)
                .skip(1)
                .map(|(way, median)| format!("{} {:.1}", way.name, median - medians[0]))
                .collect();
            println!("  {:<30}  ms beyond bare: {}", "", beyond.join(", "));
        }
        let chosen: Vec<&Workload> = ALL.iter().filter(|workload| self.asked.wants(workload.name)).collect();
        let mut rows = Vec::new();
        for workload in chosen {
            let medians = self.workload(workload, &work, placement)?;
            row(workload.name, "ms", &medians);
            rows.push((workload.name, medians));
        }
        self.summary(&rows);
        Ok(())
    }

    /// Of the workloads: what each way costs on the whole, and where it costs most.
    fn summary(&self, rows: &[(&str, Vec<f64>)]) {
        for (number, way) in self.ways.iter().enumerate().skip(1) {
            let ratios = || rows.iter().map(|(name, medians)| (*name, medians[number] / medians[0]));
            let Some((name, worst)) = ratios().max_by(|(_, one), (_, other)| one.total_cmp(other)) else { return };
            let mean = geometric_mean(ratios().map(|(_, ratio)| ratio));
            println!("  {}: geometric mean of {} workloads {mean:.2}, worst {worst:.2} ({name})", way.name, rows.len());
        }
    }

    /// Milliseconds of a workload, each way.
    fn workload(&self, workload: &Workload, folder: &Path, placement: Placement) -> Result<Vec<f64>> {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)?;
        for script in [TREE, workload.prepare] {
            let words = ["/bin/bash", "-c", script].map(str::to_owned);
            succeed(self.command(&words, folder, Placement::Anywhere).stdout(Stdio::null())).context(workload.name)?;
        }
        self.medians(&["/bin/bash", "-ec", workload.measured], |words| {
            let mut command = self.command(words, folder, placement);
            let start = Instant::now();
            succeed(command.stdout(Stdio::null())).context(workload.name)?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        })
    }

    /// The median of what `sample` says of each way of running `program`; the ways take turns.
    fn medians(&self, program: &[&str], sample: impl Fn(&[String]) -> Result<f64>) -> Result<Vec<f64>> {
        let mut samples = vec![Vec::new(); self.ways.len()];
        for _ in 0..self.asked.rounds {
            for (way, samples) in self.ways.iter().zip(&mut samples) {
                samples.push(sample(&way.words(program)).context(way.name)?);
            }
        }
        Ok(samples.iter().map(|samples| percentile(samples, 50.0)).collect())
    }

    /// The number that a program prints first.
    fn told(&self, words: &[String], placement: Placement) -> Result<f64> {
        let output = self.command(words, &self.folder, placement).stderr(Stdio::piped()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().and_then(|line| line.trim().parse().ok());
        first.with_context(|| format!("{words:?}: {output:?}"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn row(name: &str, unit: &str, medians: &[f64]) {
    let Some((bare, others)) = medians.split_first() else { return };
    print!("  {name:<30}{bare:>9.2} {unit}");
    others.iter().for_each(|median| print!("{:>10.2}", median / bare));
    println!();
}

fn said(placement: Placement) -> &'static str {
    match placement {
        Placement::OneProcessor => "pinned to one processor",
        Placement::Anywhere => "not pinned",
    }
}

fn geometric_mean(ratios: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = ratios.clone().count();
    (ratios.map(f64::ln).sum::<f64>() / count as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_ratios_is_the_geometric_one() {
        assert!((geometric_mean([1.0, 4.0, 16.0].into_iter()) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn words_choose_by_name_and_flags_are_known() {
        let asked = Asked::parse(&["--rounds", "2", "tar", "open"]).unwrap();
        assert!(asked.rounds == 2 && asked.wants("tar") && asked.wants("open and close") && !asked.wants("grep -r"));
        assert!(Asked::parse(&["--rounds", "0"]).is_err() && Asked::parse(&["--fast"]).is_err());
    }
}
