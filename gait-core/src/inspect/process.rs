//! The processes of a run and who started whom.

use std::collections::HashMap;

use serde::Serialize;

use super::{clipped, clipped_list};
use crate::journal::{Exec, Exit, Fork};

/// Processes that are kept, in the order in which they were met.
pub const PROCESS_LIMIT: usize = 2000;
/// Programs of one process that are kept.
const EXEC_LIMIT: usize = 8;
/// Arguments of one program that are kept, in raw mode.
const ARGUMENT_LIMIT: usize = 32;

/// The processes of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Processes {
    /// Each one after its parent, children in the order of their numbers.
    pub list: Vec<Process>,
    /// All that there were.
    pub total: u64,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number in this run.
    pub proc: u64,
    /// The number of its parent, 0 for the guard.
    pub parent: u64,
    /// The kernel's number of it.
    pub pid: u64,
    /// How far below the guard's own child it is; 0 too where the parent is not in the list.
    pub depth: usize,
    /// When it was first seen, in nanoseconds after the start of the run.
    pub seen_ns: u64,
    /// The programs that it became, in order.
    pub execs: Vec<Program>,
    /// Programs beyond the limit.
    pub more_execs: u64,
    /// How it ended, if that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Ended>,
    /// Its decisions.
    pub decisions: u64,
    /// The part of them that was denied.
    pub denied: u64,
}

/// A program that a process became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// When, in nanoseconds after the start of the run.
    pub t_ns: u64,
    /// Its file.
    pub file: String,
    /// Number of arguments, its own name among them.
    pub argc: u64,
    /// The arguments, in raw mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// When, in nanoseconds after the start of the run.
    pub t_ns: u64,
    /// The exit code, 0 if a signal ended it.
    pub code: u64,
    /// The signal, 0 if none did.
    pub signal: u64,
}

impl Program {
    /// From a journal line written at `t_ns`.
    pub fn of(t_ns: u64, exec: &Exec) -> Self {
        let argv = exec.argv.as_ref().map(|argv| clipped_list(argv, ARGUMENT_LIMIT));
        Self { t_ns, file: clipped(&exec.file), argc: exec.argc, argv }
    }
}

/// Collects processes while a journal is read.
#[derive(Default)]
pub(super) struct Table {
    kept: Vec<Process>,
    by_number: HashMap<u64, usize>,
    total: u64,
}

impl Table {
    pub(super) fn fork(&mut self, t_ns: u64, fork: Fork) {
        self.total += 1;
        if self.kept.len() < PROCESS_LIMIT && !self.by_number.contains_key(&fork.proc) {
            self.by_number.insert(fork.proc, self.kept.len());
            let Fork { proc, parent, pid, .. } = fork;
            self.kept.push(Process { proc, parent, pid, seen_ns: t_ns, ..Process::default() });
        }
    }

    pub(super) fn exec(&mut self, t_ns: u64, exec: &Exec) {
        if let Some(process) = self.get(exec.proc) {
            if process.execs.len() < EXEC_LIMIT {
                process.execs.push(Program::of(t_ns, exec));
            } else {
                process.more_execs += 1;
            }
        }
    }

    pub(super) fn exit(&mut self, t_ns: u64, exit: Exit) {
        if let Some(process) = self.get(exit.proc) {
            process.exit = Some(Ended { t_ns, code: exit.code, signal: exit.signal });
        }
    }

    pub(super) fn decision(&mut self, proc: u64, denied: bool) {
        if let Some(process) = self.get(proc) {
            process.decisions += 1;
            process.denied += u64::from(denied);
        }
    }

    fn get(&mut self, proc: u64) -> Option<&mut Process> {
        self.kept.get_mut(*self.by_number.get(&proc)?)
    }

    /// Puts each process after its parent. A parent may be written down after its child, and a forged journal may
    /// have processes that descend from each other: those come last, from the first of them on.
    pub(super) fn finish(mut self) -> Processes {
        let mut children: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut roots = Vec::new();
        for (index, process) in self.kept.iter().enumerate() {
            let is_child = process.parent != process.proc && self.by_number.contains_key(&process.parent);
            if is_child { children.entry(process.parent).or_default().push(index) } else { roots.push(index) }
        }
        let mut order: Vec<(usize, usize)> = Vec::with_capacity(self.kept.len());
        let mut placed = vec![false; self.kept.len()];
        for start in roots.into_iter().chain(0..self.kept.len()) {
            let mut stack = vec![(start, 0)];
            while let Some((index, depth)) = stack.pop() {
                if std::mem::replace(&mut placed[index], true) {
                    continue;
                }
                order.push((index, depth));
                let below = children.get(&self.kept[index].proc).map(Vec::as_slice).unwrap_or_default();
                stack.extend(below.iter().rev().map(|child| (*child, depth + 1)));
            }
        }
        let list = order.into_iter().map(|(index, depth)| Process { depth, ..std::mem::take(&mut self.kept[index]) });
        Processes { list: list.collect(), total: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(forks: &[(u64, u64)]) -> Vec<(u64, usize)> {
        let mut table = Table::default();
        for (proc, parent) in forks {
            table.fork(0, Fork { proc: *proc, parent: *parent, pid: 100 + proc, start: 0 });
        }
        table.finish().list.iter().map(|process| (process.proc, process.depth)).collect()
    }

    #[test]
    fn every_process_comes_after_its_parent() {
        assert_eq!(tree(&[(1, 0), (2, 1), (3, 1), (4, 2)]), [(1, 0), (2, 1), (4, 2), (3, 1)]);
        assert_eq!(tree(&[(2, 1), (1, 0)]), [(1, 0), (2, 1)]);
    }

    #[test]
    fn a_process_without_a_known_parent_or_among_its_own_descendants_is_not_lost() {
        assert_eq!(tree(&[(5, 9)]), [(5, 0)]);
        assert_eq!(tree(&[(1, 1)]), [(1, 0)]);
        assert_eq!(tree(&[(1, 0), (2, 3), (3, 2)]), [(1, 0), (2, 0), (3, 1)]);
    }

    #[test]
    fn a_deep_tree_and_many_processes_are_no_problem() {
        let chain: Vec<(u64, u64)> = (1..=3000).map(|n| (n, n - 1)).collect();
        let mut table = Table::default();
        for (proc, parent) in &chain {
            table.fork(0, Fork { proc: *proc, parent: *parent, pid: 1, start: 0 });
            table.decision(*proc, true);
        }
        let processes = table.finish();
        assert_eq!((processes.list.len(), processes.total), (PROCESS_LIMIT, 3000));
        let last = processes.list.last().unwrap();
        assert_eq!((last.proc, last.depth, last.decisions, last.denied), (2000, 1999, 1, 1));
    }

    #[test]
    fn programs_beyond_the_limit_are_counted() {
        let mut table = Table::default();
        table.fork(5, Fork { proc: 1, parent: 0, pid: 7, start: 0 });
        for n in 0..10 {
            let file = format!("/bin/p{n}");
            let digest = crate::digest::Sha256Hex::of("");
            table.exec(n, &Exec { proc: 1, file, argc: 1, argv_digest: digest, argv: None, argv_cut: None });
        }
        table.exit(9, Exit { proc: 1, code: 0, signal: 15 });
        let process = table.finish().list.remove(0);
        assert_eq!((process.execs.len(), process.more_execs), (8, 2));
        assert_eq!(process.execs[7].file, "/bin/p7");
        assert_eq!(process.exit, Some(Ended { t_ns: 9, code: 0, signal: 15 }));
    }
}
