//! What commands on runpacks cost as the runs grow: linear or not, and how much memory.
//!
//! Times are set beside those of another implementation, which were taken on another machine; a run of `/bin/true`
//! on both is what they are scaled by.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use wait4::Wait4;

/// `/bin/true` on the machine of the other figures.
const THEIR_TRUE_MS: f64 = 0.93;
/// Intents of the run that the other figures are of.
const THEIR_SIZE: usize = 100_000;

/// One thing that is measured.
struct Measured {
    name: &'static str,
    words: &'static [&'static str],
    /// Exit code of an answer.
    exit: i32,
    /// Seconds of the other implementation at [`THEIR_SIZE`], and the share of it that is wanted.
    goal: Option<(f64, f64)>,
}

/// In the order in which they run: `record` makes what the others read.
const ALL: &[Measured] = &[
    Measured {
        name: "record",
        words: &["run", "record", "--input", "left.json", "--out-dir", "out"],
        exit: 0,
        goal: Some((6.3, 0.25)),
    },
    Measured { name: "verify", words: &["verify", "left.zip"], exit: 0, goal: Some((0.27, 0.5)) },
    Measured { name: "diff", words: &["run", "diff", "left.zip", "same.zip"], exit: 0, goal: Some((13.9, 1.0 / 25.0)) },
    Measured {
        name: "diff, every record differs",
        words: &["run", "diff", "left.zip", "other.zip"],
        exit: 2,
        goal: None,
    },
    Measured { name: "diff, other order", words: &["run", "diff", "left.zip", "shuffled.zip"], exit: 0, goal: None },
    Measured {
        name: "regress",
        words: &["regress", "run", "--config", "alone.yaml"],
        exit: 0,
        goal: Some((21.6, 0.1)),
    },
    Measured {
        name: "regress, with a candidate",
        words: &["regress", "run", "--config", "with.yaml"],
        exit: 0,
        goal: None,
    },
    Measured { name: "signal", words: &["scout", "signal", "left.zip"], exit: 0, goal: Some((2.9, 0.1)) },
];

/// Runs the bench and prints its tables on standard output.
pub fn run(args: &[&str]) -> Result<()> {
    let asked = Asked::parse(args)?;
    let gait = crate::places::gait_binary()?;
    println!("medians of {}; cpu is user and system time; true is /bin/true beside it\n", asked.rounds);
    let mut before: Vec<Option<Cost>> = vec![None; ALL.len()];
    for size in &asked.sizes {
        let place = Place::new(&gait, *size)?;
        println!("{size} intents{}", place.described()?);
        println!("  {:<28}{:>9}{:>9}{:>10}{:>9}{:>9}  goal", "", "wall ms", "cpu ms", "peak MiB", "growth", "true ms");
        if !place.packed {
            println!("  there is no runpack of this size; what makes one says so:");
        }
        for (measured, before) in
            ALL.iter().zip(&mut before).filter(|(measured, _)| place.has(measured) && asked.wants(measured.name))
        {
            let (before_it, now, after_it) = (yardstick()?, place.median(measured, asked.rounds)?, yardstick()?);
            let yardstick = before_it.midpoint(after_it);
            println!("{}", row(measured, &now, before.as_ref(), *size, yardstick));
            *before = Some(now).filter(|now| now.refused.is_none());
        }
        println!();
    }
    Ok(())
}

struct Asked {
    rounds: usize,
    sizes: Vec<usize>,
    words: Vec<String>,
}

impl Asked {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut asked = Self { rounds: 5, sizes: vec![1_000, 10_000, 100_000, 300_000, 1_000_000], words: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--rounds" => asked.rounds = args.next().context("--rounds needs a number")?.parse()?,
                "--sizes" => {
                    let sizes = args.next().context("--sizes needs numbers")?;
                    asked.sizes = sizes.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                flag if flag.starts_with('-') => bail!("unknown flag `{flag}`"),
                word => asked.words.push(word.to_owned()),
            }
        }
        ensure!(asked.rounds > 0 && !asked.sizes.is_empty(), "at least one round and one size");
        Ok(asked)
    }

    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}

/// What one process cost.
#[derive(Clone, Debug)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    peak_bytes: u64,
    /// What it said instead of an answer.
    refused: Option<String>,
}

fn row(measured: &Measured, now: &Cost, before: Option<&Cost>, size: usize, yardstick: f64) -> String {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let peak = now.peak_bytes as f64 / f64::from(1 << 20);
    let growth = before.map_or(String::new(), |before| format!("{:.1}x", ms(now.cpu) / ms(before.cpu)));
    let mut row = format!(
        "  {:<28}{:>9.1}{:>9.1}{peak:>10.1}{growth:>9}{:>9.2}",
        measured.name,
        ms(now.wall),
        ms(now.cpu),
        yardstick * 1e3
    );
    if let Some(refused) = &now.refused {
        let _ = write!(row, "  refused: {refused}");
    } else if let Some((theirs, share)) = measured.goal.filter(|_| size == THEIR_SIZE) {
        let scaled = theirs * yardstick * 1e3 / THEIR_TRUE_MS;
        let ratio = now.cpu.as_secs_f64() / scaled;
        let word = if ratio <= share { "met" } else { "MISSED" };
        let _ = write!(row, "  {ratio:.3} of the other, wanted {share:.3}: {word}");
    }
    row
}

/// A folder with runpacks of one size.
struct Place {
    folder: TempDir,
    gait: PathBuf,
    /// Whether the packs could be made.
    packed: bool,
}

impl Place {
    fn new(gait: &Path, size: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gait-scale-").tempdir()?;
        let mut place = Place { folder, gait: gait.to_path_buf(), packed: false };
        let same = |number: usize| number;
        let shuffled = |number: usize| (number / 1000 * 1000 + (number % 1000 * 7) % 1000).min(size.saturating_sub(1));
        let order: &dyn Fn(usize) -> usize = if size.is_multiple_of(1000) { &shuffled } else { &same };
        for (name, run_id, order, salt) in [
            ("left", "run_left", &same as &dyn Fn(usize) -> usize, ""),
            ("same", "run_same", &same, ""),
            ("other", "run_other", &same, "!"),
            ("shuffled", "run_shuffled", order, ""),
        ] {
            let input = place.path().join(format!("{name}.json"));
            write_input(&input, run_id, size, order, salt)?;
            let cost = place.cost(&["run", "record", "--input", &format!("{name}.json"), "--out-dir", "packs"], 0)?;
            place.packed = cost.refused.is_none();
            if !place.packed {
                return Ok(place);
            }
            fs::rename(
                place.path().join(format!("packs/runpack_{run_id}.zip")),
                place.path().join(format!("{name}.zip")),
            )?;
        }
        place.fixtures()?;
        Ok(place)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Two sets: one of a fixture without a candidate, one of a fixture with one.
    fn fixtures(&self) -> Result<()> {
        for name in ["alone", "with"] {
            let cost = self.cost(&["regress", "init", "--from", "./left.zip", "--name", name], 0)?;
            ensure!(cost.refused.is_none(), "regress init: {cost:?}");
            let entry = format!(r#"{{"name": "{name}", "runpack": "fixtures/{name}/runpack.zip"}}"#);
            fs::write(self.path().join(format!("{name}.yaml")), format!(r#"{{"fixtures": [{entry}]}}"#))?;
        }
        let fixture = self.path().join("fixtures/with/fixture.json");
        let text = fs::read_to_string(&fixture)?;
        let text = text.replacen('{', r#"{"candidate_runpack": "../../same.zip","#, 1);
        Ok(fs::write(fixture, text)?)
    }

    fn described(&self) -> Result<String> {
        if !self.packed {
            return Ok(String::new());
        }
        let mib =
            |name: &str| -> Result<f64> { Ok(fs::metadata(self.path().join(name))?.len() as f64 / f64::from(1 << 20)) };
        Ok(format!(": {:.1} MiB of input, {:.1} MiB of runpack", mib("left.json")?, mib("left.zip")?))
    }

    /// Whether what `measured` reads is there.
    fn has(&self, measured: &Measured) -> bool {
        self.packed || measured.name == "record"
    }

    fn median(&self, measured: &Measured, rounds: usize) -> Result<Cost> {
        let mut costs = (0..rounds).map(|_| self.cost(measured.words, measured.exit)).collect::<Result<Vec<_>>>()?;
        costs.sort_by_key(|cost| cost.cpu);
        costs.into_iter().nth(rounds / 2).context("at least one round")
    }

    /// One run of `gait`, which ends with `exit` or says why not.
    fn cost(&self, words: &[&str], exit: i32) -> Result<Cost> {
        let answer = self.path().join("answer");
        let mut command = Command::new(&self.gait);
        command.args(words).current_dir(self.path()).env_clear().env("HOME", self.path());
        command.stdin(Stdio::null()).stdout(File::create(&answer)?).stderr(Stdio::null());
        let start = Instant::now();
        let done = command.spawn().with_context(|| format!("{command:?}"))?.wait4()?;
        let wall = start.elapsed();
        let refused = match done.status.code() {
            Some(code) if code == exit => None,
            Some(6 | 1) => Some(fs::read_to_string(&answer)?.trim().to_owned()),
            _ => bail!("{words:?}: {:?}: {}", done.status, fs::read_to_string(&answer)?),
        };
        Ok(Cost { wall, cpu: done.rusage.utime + done.rusage.stime, peak_bytes: done.rusage.maxrss, refused })
    }
}

/// A run as `run record` takes it: one intent and one result per action, a receipt for every hundredth.
fn write_input(path: &Path, run_id: &str, size: usize, order: &dyn Fn(usize) -> usize, salt: &str) -> Result<()> {
    const TOOLS: [&str; 4] = ["tool.search", "tool.fetch", "fs.write", "tool.summarize"];
    let mut out = BufWriter::with_capacity(1 << 18, File::create(path)?);
    write!(
        out,
        r#"{{"run":{{"run_id":"{run_id}","created_at":"2026-02-05T00:00:00Z","timeline":[{{"event":"start","ts":"2026-02-05T00:00:00Z"}}]}},"capture_mode":"raw","intents":["#
    )?;
    let comma = |number: usize| if number == 0 { "" } else { "," };
    for number in 0..size {
        let (comma, id) = (comma(number), order(number));
        let tool = TOOLS[id % TOOLS.len()];
        write!(
            out,
            r#"{comma}{{"intent_id":"intent_{id:07}","tool_name":"{tool}","args_digest":"{}","args":{{"query":"item {id}{salt}","limit":{}}}}}"#,
            digest(id),
            id % 50
        )?;
    }
    out.write_all(br#"],"results":["#)?;
    for number in 0..size {
        let (comma, id) = (comma(number), order(number));
        write!(
            out,
            r#"{comma}{{"intent_id":"intent_{id:07}","status":"ok","result_digest":"{}","result":{{"ok":true,"message":"result {id}{salt}"}}}}"#,
            digest(id + size)
        )?;
    }
    out.write_all(br#"],"refs":{"receipts":["#)?;
    for number in 0..size / 100 {
        let query = digest(number);
        write!(
            out,
            r#"{}{{"ref_id":"ref_{number}","source_type":"web","source_locator":"site {number}","query_digest":"{query}","content_digest":"{query}","retrieved_at":"2026-02-05T00:00:00Z","redaction_mode":"reference"}}"#,
            comma(number)
        )?;
    }
    out.write_all(b"]}}")?;
    Ok(out.flush()?)
}

/// Something that looks like the digest of `number` and can be compressed as little.
fn digest(number: usize) -> String {
    let mut state = number as u64;
    let mut digest = String::new();
    for _ in 0..4 {
        // splitmix64
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let _ = write!(digest, "{:016x}", z ^ (z >> 31));
    }
    digest
}

/// Seconds that `/bin/true` takes, from start to end, when nothing disturbs it: the fifth fastest of fifty. It is the
/// other figures that are favoured where something does.
fn yardstick() -> Result<f64> {
    let mut samples = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        ensure!(Command::new("/bin/true").stdin(Stdio::null()).status()?.success(), "/bin/true failed");
        samples.push(start.elapsed().as_secs_f64());
    }
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 10).copied().context("fifty samples")
}
