//! What a test can't do without, probed by doing it, and what this machine promised to have.
//!
//! | | promised in `GAIT_KERNEL` | not promised |
//! |---|---|---|
//! | present | run | run |
//! | absent | failed | skipped, with syscall and errno |
//! | the probe broke | failed | failed |
//!
//! `!landlock` promises the contrary: a kernel that has it all the same fails [`Need::Without`].

use std::collections::HashMap;
use std::process::Command;

use crate::run::{attack, python};

/// One thing that a test needs.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Something of the kernel, by the name that `attack probe` knows.
    Kernel(&'static str),
    /// Landlock of at least this ABI.
    Landlock(u32),
    /// A program, looked for in PATH.
    Program(&'static str),
    /// A file of the kernel.
    File(&'static str),
    /// A file system of the kernel is mounted here.
    Mount(&'static str),
    /// This machine is thrown away afterwards, so that its settings may be changed.
    Disposable,
    /// A module of the Python that `.ci/run` prepares, or that `GAIT_PYTHON` names.
    PythonModule(&'static str),
    /// The suite runs as root.
    Root,
    /// Something of the kernel is not there: what is tested is how gait does without.
    Without(&'static str),
    /// What the suite tries out itself: its name, and how.
    Tried(&'static str, fn() -> Found),
}

/// What a suite found when it tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there.
    Present,
    /// This kernel, or whoever runs this machine, does not have it: syscall and errno.
    Absent(String),
    /// It failed as it should not have.
    Broken(String),
}

/// An engine that any user has: `notify`, which is also what `auto` comes to where there is no BPF.
pub const UNPRIVILEGED: Need = Need::Tried("an engine that needs no rights", || match crate::run::engine() {
    Some(engine) if engine == "lsm" || engine == "hybrid" => {
        Found::Absent(format!("GAIT_ENGINE={engine}, which needs CAP_BPF and CAP_PERFMON"))
    }
    _ => Found::Present,
});

/// The two layers without which nothing is guarded.
pub const GUARD: [Need; 2] = [Need::Kernel("seccomp-notify"), Need::Landlock(1)];

impl Need {
    fn probe_name(self) -> &'static str {
        match self {
            Self::Kernel(name) | Self::Without(name) => name,
            Self::Landlock(_) => "landlock",
            Self::Program(name) | Self::File(name) | Self::Mount(name) | Self::PythonModule(name) => name,
            Self::Tried(name, _) => name,
            Self::Disposable => "disposable",
            Self::Root => "root",
        }
    }
}

/// What was found so far: each thing is probed once.
pub struct Probes {
    promised: Vec<(String, u32)>,
    found: HashMap<&'static str, String>,
}

impl Probes {
    /// Reads the promises of `GAIT_KERNEL`: `landlock>=6,seccomp-notify`.
    pub fn from_env() -> Self {
        Self::promising(&std::env::var("GAIT_KERNEL").unwrap_or_default())
    }

    fn promising(text: &str) -> Self {
        let promised = text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(|word| {
            let (name, version) = word.split_once(">=").unwrap_or((word, "0"));
            (name.to_owned(), version.parse().unwrap_or(0))
        });
        Self { promised: promised.collect(), found: HashMap::new() }
    }

    /// Whether `need` is met: `None`, or why the test must be skipped.
    ///
    /// # Errors
    /// Promised but absent, or the probe itself broke.
    pub fn ask(&mut self, need: &Need) -> Result<Option<String>, String> {
        let name = need.probe_name();
        let answer = self.found.entry(name).or_insert_with(|| probe(*need)).clone();
        if let Need::Without(_) = need {
            return self.ask_absent(name, &answer);
        }
        let wanted = if let Need::Landlock(abi) = need { *abi } else { 0 };
        let absent = match answer.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["present"] => return Ok(None),
            ["present", version] if version.parse::<u32>().is_ok_and(|version| version >= wanted) => return Ok(None),
            ["present", version] => format!("{name} {version} is less than {wanted}"),
            ["absent", why @ ..] => format!("no {name}: {}", why.join(" ")),
            _ => return Err(format!("probe of {name} broke: {answer}")),
        };
        match self.promised.iter().find(|(promise, _)| promise == name) {
            Some((_, version)) if *version >= wanted => Err(format!("promised in GAIT_KERNEL, but {absent}")),
            _ => Ok(Some(absent)),
        }
    }

    fn ask_absent(&self, name: &str, answer: &str) -> Result<Option<String>, String> {
        match answer.split_whitespace().next() {
            Some("absent") => Ok(None),
            Some("present") if self.promised.iter().any(|(promise, _)| promise.strip_prefix('!') == Some(name)) => {
                Err(format!("promised in GAIT_KERNEL that there is no {name}, but there is"))
            }
            Some("present") => Ok(Some(format!("there is {name}"))),
            _ => Err(format!("probe of {name} broke: {answer}")),
        }
    }
}

fn probe(need: Need) -> String {
    match need {
        Need::Root if rustix::process::geteuid().is_root() => "present".to_owned(),
        Need::Root => "absent geteuid not 0".to_owned(),
        Need::Program(name) => program(name),
        Need::PythonModule(name) => python_module(name),
        Need::File(path) if std::path::Path::new(path).exists() => "present".to_owned(),
        Need::File(path) => format!("absent open ENOENT ({path})"),
        Need::Mount(path) => mount(path),
        Need::Disposable if std::env::var_os("GAIT_SUITE_GUEST").is_some() => "present".to_owned(),
        Need::Disposable => "absent GAIT_SUITE_GUEST (a virtual machine of cargo xtask kernel-matrix)".to_owned(),
        Need::Kernel(name) | Need::Without(name) => kernel(name),
        Need::Landlock(_) => kernel("landlock"),
        Need::Tried(_, attempt) => match attempt() {
            Found::Present => "present".to_owned(),
            Found::Absent(why) => format!("absent {why}"),
            Found::Broken(why) => format!("broken {why}"),
        },
    }
}

fn program(name: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    if found { "present".to_owned() } else { format!("absent access ENOENT ({name} is not in PATH)") }
}

fn mount(path: &str) -> String {
    match std::fs::read_to_string("/proc/self/mounts") {
        Ok(mounts) if mounts.lines().any(|line| line.split(' ').nth(1) == Some(path)) => "present".to_owned(),
        Ok(_) => format!("absent mount ({path} is not mounted)"),
        Err(error) => format!("broken {error}"),
    }
}

fn python_module(name: &str) -> String {
    match Command::new(python()).args(["-c", &format!("import {name}")]).output() {
        Ok(output) if output.status.success() => "present".to_owned(),
        Ok(_) => format!("absent import ({name} is not installed for {})", python().display()),
        Err(error) => format!("absent execve ({}: {error})", python().display()),
    }
}

fn kernel(name: &str) -> String {
    match Command::new(attack()).args(["probe", name]).output() {
        Ok(output) if !output.stdout.is_empty() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => format!("broken {:?} {}", output.status, String::from_utf8_lossy(&output.stderr)),
        Err(error) => format!("broken {error}"),
    }
}
