//! Finds and ends processes by descent.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

/// How long a tree may take to die. Only processes in uninterruptible sleep take longer than milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long nobody is looked for after nobody was found.
const PAUSE: Duration = Duration::from_micros(200);

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
            let members = self.members();
            if members.is_empty() {
                // What is waited for needs the processor itself. Whoever is waited for can unpark this thread.
                std::thread::park_timeout(PAUSE);
            }
            for pid in members {
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
        self.kill(|| is_done() && self.is_empty())
    }

    /// As [`Family::kill`], by the process that is the only head, which collects its children too.
    ///
    /// # Errors
    /// As [`Family::kill`].
    pub fn kill_own(&self) -> Result<(), Immortal> {
        self.kill(|| {
            loop {
                match wait(WaitOptions::NOHANG) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(Errno::CHILD) => return true,
                    Err(_) => break,
                }
            }
            // Children that are no members may be left.
            self.is_empty()
        })
    }

    /// Whether no member is found, however often one looks: the list can miss one that moves meanwhile.
    fn is_empty(&self) -> bool {
        (0..4).all(|_| self.members().is_empty())
    }

    fn members(&self) -> Vec<i32> {
        let children = self.heads.iter().flat_map(|&head| children(head));
        children.filter(|child| !self.except.contains(child)).collect()
    }
}

/// The direct children of a process, dead ones too.
pub fn children(parent: i32) -> Vec<i32> {
    // A thread that ends meanwhile leaves its children to another one, which may have been looked at already: so all are
    // looked at again. Looking at every process there is takes milliseconds, and threads of the guard end with the run.
    let listed = (0..LOOKS).find_map(|_| children_of_threads(parent));
    // A kernel without CONFIG_PROC_CHILDREN, or threads that end all the time.
    listed.unwrap_or_else(|| by_parent(parent))
}

/// How often the threads of a process are looked at before all processes are.
const LOOKS: u32 = 8;

/// The children of all threads of a process; `None` if one of them has no list.
fn children_of_threads(parent: i32) -> Option<Vec<i32>> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Some(Vec::new()) };
    let mut all = Vec::new();
    for thread in threads.flatten() {
        let list = fs::read_to_string(thread.path().join("children")).ok()?;
        all.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Some(all)
}

fn by_parent(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.filter(|&pid| crate::notify::parent_of(pid) == Some(parent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_child_is_found_while_threads_come_and_go() {
        let me = std::process::id() as i32;
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = std::thread::spawn(std::thread::yield_now).join();
                }
            });
            let seen = (0..200).filter(|_| children(me).contains(&pid)).count();
            is_over.store(true, Ordering::Relaxed);
            // It is the child of a thread that stays.
            assert_eq!(seen, 200);
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children(me).contains(&pid));
    }
}
