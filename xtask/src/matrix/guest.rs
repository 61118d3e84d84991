//! One virtual machine: a kernel, a boot line, and the suites in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::results::{self, Results};
use crate::machine::{Boot, Kernel, Processors};
use crate::process::output;

/// How much slower than this machine a guest is, whose processors are emulated: time limits of the suite are
/// multiplied by it, numbers of tries divided.
pub const SLOW: u32 = 20;

/// A kernel's series, its security modules, and who enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// `6.12`
    pub series: &'static str,
    /// `full`, `no-bpf`, `no-landlock`
    pub modules: &'static str,
    /// What the kernel is told: `lsm=`
    pub lsm: &'static str,
    /// What must be there, for `GAIT_KERNEL`.
    pub promises: String,
    /// `--engine` of each `gait exec`.
    pub engine: &'static str,
}

impl Guest {
    /// `6.12 full notify`
    pub fn name(&self) -> String {
        format!("{} {} {}", self.series, self.modules, self.engine)
    }

    fn file_name(&self) -> String {
        self.name().replace(' ', "-")
    }
}

/// What all guests share: the root file system, and what is run in them.
pub struct Suites {
    /// Root file system, never written.
    pub root: PathBuf,
    /// Images, logs and reports of the guests.
    pub folder: PathBuf,
    /// The suites' executables by name.
    pub suites: Vec<(String, PathBuf)>,
    /// The attack program.
    pub attack: PathBuf,
    /// The binary under test.
    pub gait: PathBuf,
    /// The workspace, which is in the guest where it is here.
    pub repository: PathBuf,
    /// Words that choose tests by name; none chooses all.
    pub words: Vec<String>,
    /// Whether suites are told which engine to ask for. An older `gait` knows no `--engine`.
    pub names_engine: bool,
    /// What each guest executes with.
    pub processors: Processors,
    /// The longest that one guest may take.
    pub limit: Duration,
}

impl Suites {
    /// Boots `guest` and waits for its end.
    ///
    /// # Errors
    /// It could not be started at all. A guest that fails or hangs is a result.
    pub fn run(&self, guest: &Guest, kernel: &Kernel) -> Result<Results> {
        fs::create_dir_all(&self.folder)?;
        let work = tempfile::tempdir_in(&self.folder)?;
        let content = work.path().join("suite");
        self.fill(guest, &content)?;
        let ended = Boot {
            kernel,
            root: &self.root,
            work: work.path(),
            content: &content,
            lsm: guest.lsm,
            processors: self.processors,
            logs: &self.folder.join(guest.file_name()),
            limit: self.limit,
        }
        .run()?;
        let suites: Vec<&str> = self.suites.iter().map(|(name, _)| name.as_str()).collect();
        let mut results = results::read(&ended.report, &ended.console, &suites, guest.lsm);
        if !ended.in_time {
            results.fail(format!("the guest did not end within {} s and was killed", self.limit.as_secs()));
        }
        if !ended.said.is_empty() && results.is_failed() {
            results.fail(format!("qemu said: {}", ended.said));
        }
        Ok(results)
    }

    /// What is on the guest's disk: the suites, what they test, and the files of the workspace that they read.
    fn fill(&self, guest: &Guest, folder: &Path) -> Result<()> {
        let programs = folder.join("target/debug/deps");
        fs::create_dir_all(&programs)?;
        for (name, path) in &self.suites {
            fs::copy(path, programs.join(name))?;
        }
        fs::copy(&self.attack, folder.join("target/debug/attack"))?;
        fs::copy(&self.gait, folder.join("gait"))?;
        let files = output(Command::new("git").args(["ls-files"]).current_dir(&self.repository))?;
        for file in files.lines() {
            let (from, to) = (self.repository.join(file), folder.join("repository").join(file));
            if from.is_file() {
                fs::create_dir_all(to.parent().context("a file without a folder")?)?;
                fs::copy(from, to)?;
            }
        }
        fs::write(folder.join("settings"), self.settings(guest))?;
        Ok(fs::write(folder.join("guest.sh"), include_str!("guest.sh"))?)
    }

    /// Variables of the guest, in the language of its shell.
    fn settings(&self, guest: &Guest) -> String {
        let suites: Vec<&str> = self.suites.iter().map(|(name, _)| name.as_str()).collect();
        let mut lines = vec![
            ("REPOSITORY", self.repository.to_string_lossy().into_owned()),
            ("SUITES", suites.join(" ")),
            ("WORDS", self.words.join(" ")),
            ("GAIT_BIN", "/mnt/suite/gait".to_owned()),
            ("GAIT_KERNEL", guest.promises.clone()),
            ("GAIT_SUITE_SLOW", SLOW.to_string()),
            ("GAIT_SUITE_GUEST", guest.name()),
        ];
        lines.extend(std::env::var("GAIT_RACE_TRIES").map(|tries| ("GAIT_RACE_TRIES", tries)));
        if self.names_engine {
            lines.push(("GAIT_ENGINE", guest.engine.to_owned()));
        }
        let quoted = |value: &str| value.replace('\'', "'\\''");
        lines.iter().map(|(name, value)| format!("export {name}='{}'\n", quoted(value))).collect()
    }
}
