//! What the guard costs, as ratios: the machine's own speed cancels out where bare and guarded take turns.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::workload::{ALL, TREE, Workload};

/// Opens per sample of the open benchmark.
const OPENS: &str = "20000";

/// Where a sample's processes may run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placement {
    OneProcessor,
    Anywhere,
}

/// Runs the bench and prints its tables on standard output.
pub fn run(args: &[&str]) -> Result<()> {
    let asked = Asked::parse(args)?;
    let bench = Bench::prepare(asked)?;
    for placement in [Placement::Anywhere, Placement::OneProcessor] {
        bench.opens(placement)?;
        bench.workloads(placement)?;
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

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Binaries and folders of one bench.
struct Bench {
    asked: Asked,
    gait: PathBuf,
    folder: PathBuf,
}

impl Bench {
    fn prepare(asked: Asked) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("gait-bench-{}", std::process::id()));
        for name in ["home", "out", "bin"] {
            std::fs::create_dir_all(folder.join(name))?;
        }
        let gait = gait_binary()?;
        for name in ["openclose", "supervisor"] {
            let source = root().join(format!("xtask/baseline/{name}.c"));
            succeed(Command::new("cc").args(["-O2", "-o"]).arg(folder.join("bin").join(name)).arg(source))?;
        }
        Ok(Self { asked, gait, folder })
    }

    /// `program args...` under `gait exec`, its runpack thrown away afterwards.
    fn guarded(&self, words: &[&str]) -> Vec<String> {
        let flags = ["--run-id", "bench", "--identity", "bench", "--workspace"].map(str::to_owned);
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut all = vec![path(&self.gait), "exec".to_owned(), "--policy".to_owned(), path(&self.asked.policy)];
        all.extend(flags);
        all.extend([path(&self.folder), "--out-dir".to_owned(), path(&self.folder.join("out")), "--".to_owned()]);
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    }

    /// `program args...` under the cheapest race-free supervisor.
    fn supervised(&self, words: &[&str]) -> Vec<String> {
        let supervisor = self.folder.join("bin/supervisor").to_string_lossy().into_owned();
        [supervisor.as_str(), "/nowhere"].iter().chain(words).map(|word| (*word).to_owned()).collect()
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
        command.env("HOME", self.folder.join("home"));
        command
    }

    /// Microseconds per open and close: bare, the cheapest race-free supervisor, gait.
    fn opens(&self, placement: Placement) -> Result<()> {
        if !self.asked.wants("open") {
            return Ok(());
        }
        let program = self.folder.join("bin/openclose").to_string_lossy().into_owned();
        let words = [program.as_str(), "/etc/passwd", OPENS];
        let bare: Vec<String> = words.map(str::to_owned).to_vec();
        let all = [bare, self.supervised(&words), self.guarded(&words)];
        let mut samples: [Vec<f64>; 3] = Default::default();
        for _ in 0..self.asked.rounds {
            for (words, samples) in all.iter().zip(&mut samples) {
                let output = self.command(words, &self.folder, placement).stderr(Stdio::piped()).output()?;
                let text = String::from_utf8_lossy(&output.stdout);
                let first = text.lines().next().and_then(|line| line.trim().parse().ok());
                samples.push(first.with_context(|| format!("{words:?}: {output:?}"))?);
            }
        }
        let [bare, cheapest, gait] = samples.map(median);
        println!("open and close, us, median of {} ({})", self.asked.rounds, said(placement));
        println!("  bare {bare:.2}   cheapest race-free {cheapest:.2}   gait {gait:.2}");
        println!(
            "  gait / cheapest race-free {:.2}   (goal: 1.10)   gait / bare {:.2}\n",
            gait / cheapest,
            gait / bare
        );
        Ok(())
    }

    fn workloads(&self, placement: Placement) -> Result<()> {
        let chosen: Vec<&Workload> = ALL.iter().filter(|workload| self.asked.wants(workload.name)).collect();
        if chosen.is_empty() {
            return Ok(());
        }
        println!("workloads, ms, median of {} ({})", self.asked.rounds, said(placement));
        println!("  {:<30}{:>9}{:>9}{:>9}{:>8}{:>8}", "", "bare", "cheapest", "gait", "/ bare", "/ bare");
        let mut logs = [0.0; 2];
        for workload in &chosen {
            let [bare, cheapest, gait] = self.measure(workload, placement)?;
            let ratios = [cheapest / bare, gait / bare];
            logs.iter_mut().zip(ratios).for_each(|(sum, ratio)| *sum += ratio.ln());
            println!(
                "  {:<30}{bare:>9.1}{cheapest:>9.1}{gait:>9.1}{:>8.2}{:>8.2}",
                workload.name, ratios[0], ratios[1]
            );
        }
        let [cheapest, gait] = logs.map(|sum| (sum / chosen.len() as f64).exp());
        println!("  {:<57}{cheapest:>8.2}{gait:>8.2}   (goal: 1.60)\n", "geometric means");
        Ok(())
    }

    /// Milliseconds of a workload: bare; under the cheapest race-free supervisor, which looks at opens for reading only
    /// and records nothing; under gait.
    fn measure(&self, workload: &Workload, placement: Placement) -> Result<[f64; 3]> {
        let folder = self.folder.join("work");
        std::fs::create_dir_all(&folder)?;
        for script in [TREE, workload.prepare] {
            let words = ["/bin/bash", "-c", script].map(str::to_owned);
            succeed(self.command(&words, &folder, Placement::Anywhere).stdout(Stdio::null())).context(workload.name)?;
        }
        let words = ["/bin/bash", "-c", workload.measured];
        let all = [words.map(str::to_owned).to_vec(), self.supervised(&words), self.guarded(&words)];
        let mut samples: [Vec<f64>; 3] = Default::default();
        for _ in 0..self.asked.rounds {
            for (words, samples) in all.iter().zip(&mut samples) {
                samples.push(self.timed(words, &folder, placement)?.as_secs_f64() * 1e3);
            }
        }
        std::fs::remove_dir_all(&folder)?;
        Ok(samples.map(median))
    }

    fn timed(&self, words: &[String], folder: &Path, placement: Placement) -> Result<Duration> {
        let mut command = self.command(words, folder, placement);
        let start = Instant::now();
        succeed(command.stdout(Stdio::null()))?;
        Ok(start.elapsed())
    }
}

/// The release build of `gait`, made if need be; `GAIT_BIN` names another.
pub fn gait_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("GAIT_BIN") {
        return Ok(PathBuf::from(path).canonicalize()?);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    succeed(Command::new(cargo).args(["build", "--release", "--quiet", "-p", "gait-cli"]).current_dir(root()))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("release/gait"))
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn said(placement: Placement) -> &'static str {
    match placement {
        Placement::OneProcessor => "pinned to one processor",
        Placement::Anywhere => "not pinned",
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.stderr(Stdio::piped()).output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
