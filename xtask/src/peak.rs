//! What a process held in memory, looked at when it ends (`xtask/baseline/peak.c`).

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::succeed;
use crate::statistics::percentile;

/// The program that looks.
pub struct Watch(TempDir);

/// Megabytes (of 1,000,000 bytes) that a process held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peak {
    /// At most, at any time.
    pub total_mb: f64,
    /// When it ended: memory of its own, not pages of files.
    pub own_mb: f64,
    /// Pages of the program's code.
    pub code_mb: f64,
    /// Other pages of the program.
    pub data_mb: f64,
    /// Pages of the libraries and the loader.
    pub libraries_mb: f64,
}

impl Watch {
    /// Compiles it.
    pub fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("gait-peak-")?;
        let source = crate::places::root().join("xtask/baseline/peak.c");
        succeed(Command::new("cc").args(["-O2", "-o"]).arg(folder.path().join("peak")).arg(source))?;
        Ok(Self(folder))
    }

    /// Runs `program` in `folder` once.
    pub fn peak(&self, program: &Path, words: &[&str], folder: &Path) -> Result<Peak> {
        let report = self.0.path().join("report");
        let mut command = Command::new(self.0.path().join("peak"));
        command.arg(&report).arg(program).args(words).current_dir(folder).env_clear().env("HOME", folder);
        let ended = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
        ensure!(ended.status.success(), "{command:?}: {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
        Peak::of(&fs::read_to_string(&report)?, &program.canonicalize()?.display().to_string())
    }
}

impl Peak {
    /// Of `/proc/<pid>/status` and `smaps` of a process that executed `program`.
    fn of(report: &str, program: &str) -> Result<Self> {
        let mut peak = Self::default();
        // Permissions and path of the mapping whose lines these are.
        let mut mapping = ("", "");
        let mut rss = 0.0;
        for line in report.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let mb = |word: &str| word.parse::<f64>().map(|kb| kb * 1024.0 / 1e6);
            match words.as_slice() {
                ["VmHWM:", kb, "kB"] => peak.total_mb = mb(kb)?,
                ["RssAnon:", kb, "kB"] => peak.own_mb = mb(kb)?,
                [range, permissions, _, _, _, path @ ..] if range.contains('-') && !range.ends_with(':') => {
                    mapping = (permissions, path.first().copied().unwrap_or_default());
                }
                ["Rss:", kb, "kB"] => rss = mb(kb)?,
                // Of a mapping of a file, the pages that were written to are the process's own.
                ["Anonymous:", kb, "kB"] => {
                    let of_file = rss - mb(kb)?;
                    match mapping {
                        (permissions, path) if path == program && permissions.contains('x') => peak.code_mb += of_file,
                        (_, path) if path == program => peak.data_mb += of_file,
                        (_, path) if path.starts_with('/') => peak.libraries_mb += of_file,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        ensure!(peak.total_mb > 0.0, "no VmHWM in what /proc says");
        Ok(peak)
    }

    /// Of each figure the one in the middle.
    pub fn median(peaks: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| percentile(&peaks.iter().map(figure).collect::<Vec<_>>(), 50.0);
        Self {
            total_mb: of(|peak| peak.total_mb),
            own_mb: of(|peak| peak.own_mb),
            code_mb: of(|peak| peak.code_mb),
            data_mb: of(|peak| peak.data_mb),
            libraries_mb: of(|peak| peak.libraries_mb),
        }
    }
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own_mb, code_mb, data_mb, libraries_mb, .. } = self;
        write!(
            f,
            "own {own_mb:.2}, code {code_mb:.2}, other pages of the program {data_mb:.2}, libraries {libraries_mb:.2}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_by_whose_they_are() {
        let report = "Name:\tgait\nVmHWM:\t    4000 kB\nRssAnon:\t     300 kB\n\
            5000-6000 r--p 00000000 fe:00 7      /opt/gait\nSize: 4 kB\nRss: 1000 kB\nAnonymous: 0 kB\n\
            6000-7000 r-xp 00001000 fe:00 7      /opt/gait\nRss: 500 kB\nAnonymous: 4 kB\n\
            7000-8000 rw-p 00000000 00:00 0      [heap]\nRss: 200 kB\nAnonymous: 200 kB\n\
            8000-9000 r-xp 00000000 fe:00 8      /lib/libc.so.6\nRss: 250 kB\nAnonymous: 50 kB\n";
        let peak = Peak::of(report, "/opt/gait").unwrap();
        let kb = [peak.total_mb, peak.own_mb, peak.code_mb, peak.data_mb, peak.libraries_mb]
            .map(|mb| (mb / 0.001_024).round());
        assert_eq!(kb, [4000.0, 300.0, 496.0, 1000.0, 200.0]);
        assert!(Peak::of("", "/opt/gait").is_err());
    }

    #[test]
    fn the_median_is_taken_of_each_figure() {
        let peak = |total_mb, own_mb| Peak { total_mb, own_mb, ..Peak::default() };
        let found = Peak::median(&[peak(1.0, 9.0), peak(2.0, 7.0), peak(3.0, 8.0)]);
        assert_eq!((found.total_mb, found.own_mb), (2.0, 8.0));
    }
}
