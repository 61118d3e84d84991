//! The kernel suites in virtual machines with kernels that this machine does not run.
//!
//! Each guest is a stock kernel of Debian under QEMU without KVM, with one choice of security modules; it runs all
//! suites one after the other and says of each test how it went.

mod guest;
pub mod results;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guest::{Guest, Suites};
use results::Results;

use crate::machine::{self, Processors, Store};
use crate::places::target;
use crate::process::output;

/// Who enforces in the guests; each guest is run once for each.
const ENGINES: &[&str] = &["notify", "lsm", "hybrid"];

/// The only engine of a `gait` that has no `--engine`.
const WITHOUT_FLAG: &str = "notify";

/// Series of kernels, and the Landlock version that its Debian kernel has.
const KERNELS: &[(&str, u32)] = &[("6.1", 2), ("6.12", 6)];

/// Choices of security modules.
const MODULES: &[(&str, &str)] = &[
    ("full", "landlock,lockdown,yama,bpf"),
    ("no-bpf", "landlock,lockdown,yama"),
    ("no-landlock", "lockdown,yama,bpf"),
];

/// The suites of `tests/kernel` that run in a guest. `protocol` needs packages from the network.
const SUITES: &[&str] = &["escape", "end_to_end", "transparency"];

/// Boots the guests that `args` choose and prints what came of it.
///
/// # Errors
/// A wrong argument, a test that failed, a guest that did not get to its end.
pub fn run(args: &[&str]) -> Result<()> {
    let asked = Asked::parse(args)?;
    let guests: Vec<Guest> = guests().into_iter().filter(|guest| asked.wants(guest)).collect();
    ensure!(!guests.is_empty(), "no guest is named by {:?}; see --list", asked.guests);
    if asked.list {
        guests.iter().for_each(|guest| println!("{}: lsm={}", guest.name(), guest.lsm));
        return Ok(());
    }
    let sums = match machine::missing() {
        Some(why) => skip_all(&guests, &why),
        None => boot_all(&asked, &guests)?,
    };
    let [passed, failed, skipped] = sums;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ensure!(failed == 0, "{failed} failed");
    Ok(())
}

/// Every kernel with every choice of modules and every engine that it can have.
fn guests() -> Vec<Guest> {
    let mut all = Vec::new();
    for &(series, abi) in KERNELS {
        for &(modules, lsm) in MODULES {
            for &engine in ENGINES.iter().filter(|engine| **engine != "lsm" || lsm.contains("bpf")) {
                all.push(Guest { series, modules, lsm, promises: promises(abi, lsm), engine });
            }
        }
    }
    all
}

/// What such a kernel must have, and what it must not: a test that finds it otherwise fails.
fn promises(abi: u32, lsm: &str) -> String {
    let landlock = if lsm.contains("landlock") { format!("landlock>={abi}") } else { "!landlock".to_owned() };
    format!("{landlock},seccomp-notify,pidfd-getfd,userns,root,python3,git,cc,make,setpriv,runc,script")
}

fn skip_all(guests: &[Guest], why: &str) -> [usize; 3] {
    guests.iter().for_each(|guest| println!("skipped {}: {why}", guest.name()));
    [0, 0, guests.len()]
}

/// Runs the guests one after the other; gives what passed, failed, was skipped.
fn boot_all(asked: &Asked, guests: &[Guest]) -> Result<[usize; 3]> {
    let store = Store::open()?;
    let root = match store.root() {
        Ok(root) => root,
        Err(error) => return Ok(skip_all(guests, &format!("no root file system: {error:#}"))),
    };
    let suites = suites(asked, root, store.folder().join("guests"))?;
    let mut sums = [0; 3];
    for guest in guests {
        if !suites.names_engine && guest.engine != WITHOUT_FLAG {
            sums[2] += skip_all(std::slice::from_ref(guest), "this gait has no --engine")[2];
            continue;
        }
        let counted = match store.kernel(guest.series) {
            Err(error) => skip_all(std::slice::from_ref(guest), &format!("no kernel: {error:#}")),
            Ok(kernel) => {
                println!("== {}: {}, lsm={}", guest.name(), kernel.release, guest.lsm);
                told(guest, &suites.run(guest, &kernel)?, asked.verbose)
            }
        };
        sums.iter_mut().zip(counted).for_each(|(sum, n)| *sum += n);
    }
    Ok(sums)
}

/// Prints the results of one guest.
fn told(guest: &Guest, results: &Results, verbose: bool) -> [usize; 3] {
    let mut skipped: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in &results.lines {
        match line.result.as_str() {
            "failed" => println!("failed {}: {}: {}: {}", guest.name(), line.suite, line.name, line.reason),
            "skipped" => skipped.entry(&line.reason).or_default().push(&line.name),
            _ if verbose => println!("passed {}: {}: {}", guest.name(), line.suite, line.name),
            _ => {}
        }
    }
    for (reason, names) in skipped {
        println!("skipped {}: {} tests: {reason}", guest.name(), names.len());
        names.iter().for_each(|name| println!("    {name}"));
    }
    if !results.broken.is_empty() {
        results.broken.iter().for_each(|why| println!("failed {}: {why}", guest.name()));
        println!("its console ends with:\n{}", results.tail);
    }
    let sums = ["passed", "failed", "skipped"].map(|result| results.count(result));
    println!("{}: {} passed, {} failed, {} skipped", guest.name(), sums[0], sums[1], sums[2]);
    sums
}

/// What is run in the guests, built here.
fn suites(asked: &Asked, root: PathBuf, folder: PathBuf) -> Result<Suites> {
    let built = Built::now()?;
    let find = |name: &str| built.executable(name);
    let suites = SUITES.iter().map(|name| Ok(((*name).to_owned(), find(name)?))).collect::<Result<_>>()?;
    let gait = crate::places::gait_binary()?;
    let help = output(Command::new(&gait).args(["exec", "--help"]))?;
    Ok(Suites {
        root,
        folder,
        suites,
        attack: find("attack")?,
        gait,
        repository: crate::places::root(),
        words: asked.only.clone(),
        names_engine: help.contains("--engine"),
        processors: asked.processors,
        limit: asked.limit,
    })
}

/// The reports of the guests that were booted last.
///
/// # Errors
/// None was.
pub fn reports() -> Result<Vec<PathBuf>> {
    let folder = target().join("kernel-matrix/guests");
    let listed =
        fs::read_dir(&folder).with_context(|| format!("no reports in {}: run kernel-matrix", folder.display()))?;
    let paths = listed.flatten().map(|entry| entry.path());
    let mut reports: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    reports.sort();
    Ok(reports)
}

/// The messages of a build of the suites.
struct Built(Vec<serde_json::Value>);

impl Built {
    fn now() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "kernel-suite", "--bins", "--tests", "--message-format", "json"]);
        let said = output(build.current_dir(crate::places::root()))?;
        Ok(Self(said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()))
    }

    fn executable(&self, name: &str) -> Result<PathBuf> {
        let of_name = |message: &&serde_json::Value| message["target"]["name"] == name;
        let built = self.0.iter().filter(of_name).find_map(|message| message["executable"].as_str());
        built.map(PathBuf::from).with_context(|| format!("cargo built no {name}"))
    }
}

struct Asked {
    guests: Vec<String>,
    only: Vec<String>,
    list: bool,
    verbose: bool,
    processors: Processors,
    limit: Duration,
}

impl Asked {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut asked = Self {
            guests: Vec::new(),
            only: Vec::new(),
            list: false,
            verbose: false,
            processors: Processors::Two,
            limit: Duration::from_secs(5400),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--list" => asked.list = true,
                "--verbose" => asked.verbose = true,
                "--minutes" => {
                    let minutes: u64 = args.next().context("--minutes needs a number")?.parse()?;
                    asked.limit = Duration::from_secs(60 * minutes);
                }
                "--processors" => {
                    asked.processors = match args.next() {
                        Some(&"1") => Processors::One,
                        Some(&"2") => Processors::Two,
                        _ => bail!("--processors is 1 or 2"),
                    };
                }
                "--only" => {
                    let words = args.next().context("--only needs words, separated by commas")?;
                    asked.only.extend(words.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned));
                }
                flag if flag.starts_with('-') => bail!("unknown flag `{flag}`"),
                word => asked.guests.push(word.to_owned()),
            }
        }
        // They go through a shell of the guest.
        let plain = |word: &String| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        ensure!(asked.only.iter().all(plain), "words of --only have letters, digits, `-`, `_` and `.`");
        ensure!(asked.limit > Duration::ZERO, "--minutes must be more than 0");
        Ok(asked)
    }

    /// Each word names the series, the modules or the engine; those of one kind are alternatives.
    fn wants(&self, guest: &Guest) -> bool {
        let kinds: [(&str, Vec<&str>); 3] = [
            (guest.series, KERNELS.iter().map(|(series, _)| *series).collect()),
            (guest.modules, MODULES.iter().map(|(name, _)| *name).collect()),
            (guest.engine, ENGINES.to_vec()),
        ];
        let known = |word: &String| kinds.iter().any(|(_, all)| all.contains(&word.as_str()));
        self.guests.iter().all(known)
            && kinds.iter().all(|(own, all)| {
                let mut asked = self.guests.iter().filter(|word| all.contains(&word.as_str())).peekable();
                asked.peek().is_none() || asked.any(|word| word == own)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(args: &[&str]) -> Vec<String> {
        let asked = Asked::parse(args).unwrap();
        guests().iter().filter(|guest| asked.wants(guest)).map(Guest::name).collect()
    }

    #[test]
    fn words_choose_guests() {
        // Where `bpf` is missing there is no `lsm`.
        assert_eq!(chosen(&[]).len(), KERNELS.len() * (MODULES.len() * ENGINES.len() - 1));
        assert!(chosen(&["no-bpf", "lsm"]).is_empty());
        assert_eq!(chosen(&["6.12", "full", "notify"]), ["6.12 full notify"]);
        assert_eq!(
            chosen(&["6.1", "no-bpf", "no-landlock", "notify"]),
            ["6.1 no-bpf notify", "6.1 no-landlock notify"]
        );
        assert!(chosen(&["6.12", "ful"]).is_empty(), "a word that names nothing chooses nothing");
    }

    #[test]
    fn guests_have_one_processor_or_two() {
        let processors = |args: &[&str]| Asked::parse(args).map(|asked| asked.processors).ok();
        assert_eq!(processors(&[]), Some(Processors::Two));
        assert_eq!(processors(&["--processors", "2"]), Some(Processors::Two));
        assert_eq!(processors(&["6.12", "--processors", "1"]), Some(Processors::One));
        assert_eq!(processors(&["--processors", "3"]), None);
        assert_eq!(processors(&["--processors"]), None);
    }

    #[test]
    fn what_goes_through_the_guests_shell_is_words() {
        assert!(Asked::parse(&["--only", "FS-01,DEG"]).is_ok());
        assert!(Asked::parse(&["--only", "$(reboot)"]).is_err());
    }

    #[test]
    fn a_kernel_without_landlock_must_not_have_it() {
        assert!(promises(6, "landlock,bpf").starts_with("landlock>=6,"));
        assert!(promises(6, "lockdown,yama").starts_with("!landlock,"));
    }
}
