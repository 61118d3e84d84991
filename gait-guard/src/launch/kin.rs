//! Finds and ends processes by descent.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

/// How long a tree may take to die. Only processes in uninterruptible sleep take longer than milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something of the tree was still alive when patience ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("some processes of the agent do not die")]
pub struct Immortal;

/// Everything that descends from some processes of the guard.
///
/// Only their direct children are ever looked at: orphans come to the guard, so whoever is killed leaves its own children
/// there, and so on until none is left. Looking deeper would be slower than processes that start a successor and end.
#[derive(Clone, Debug)]
pub struct Family {
    heads: Vec<i32>,
    except: HashSet<i32>,
}

impl Family {
    /// What descends from `heads`, except the processes named (and what descends from them alone).
    pub fn new(heads: impl IntoIterator<Item = i32>, except: impl IntoIterator<Item = i32>) -> Self {
        Self { heads: heads.into_iter().collect(), except: except.into_iter().collect() }
    }

    /// Kills every member, again and again until `is_gone` says that none is left.
    ///
    /// # Errors
    /// [`Immortal`] when some are still there after 30 seconds.
    pub fn kill(&self, mut is_gone: impl FnMut() -> bool) -> Result<(), Immortal> {
        let start = Instant::now();
        while !is_gone() {
            for pid in self.members() {
                if let Some(pid) = Pid::from_raw(pid) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            if start.elapsed() > PATIENCE {
                return Err(Immortal);
            }
        }
        Ok(())
    }

    /// Kills every member until none is left and `is_done`; others collect them.
    ///
    /// # Errors
    /// As [`Family::kill`].
    pub fn kill_until(&self, mut is_done: impl FnMut() -> bool) -> Result<(), Immortal> {
        let mut seen_empty = 0;
        self.kill(|| {
            seen_empty = if is_done() && self.members().is_empty() { seen_empty + 1 } else { 0 };
            // The list can miss one that moves meanwhile.
            seen_empty > 3
        })
    }

    /// As [`Family::kill`], by the process that is the only head, which collects its children too.
    ///
    /// # Errors
    /// As [`Family::kill`].
    pub fn kill_own(&self) -> Result<(), Immortal> {
        let mut seen_empty = 0;
        self.kill(|| {
            loop {
                match wait(WaitOptions::NOHANG) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(Errno::CHILD) => return true,
                    Err(_) => break,
                }
            }
            // Children that are no members may be left. The list can miss one that moves meanwhile.
            seen_empty = if self.members().is_empty() { seen_empty + 1 } else { 0 };
            seen_empty > 3
        })
    }

    fn members(&self) -> Vec<i32> {
        let children = self.heads.iter().flat_map(|&head| children(head));
        children.filter(|child| !self.except.contains(child)).collect()
    }
}

/// The direct children of a process, dead ones too.
pub fn children(parent: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let mut all = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => all.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // A kernel without CONFIG_PROC_CHILDREN, or a thread that has just ended.
            Err(_) => return by_parent(parent),
        }
    }
    all
}

fn by_parent(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter(|&pid| crate::notify::parent_of(pid) == Some(parent)).collect()
}
