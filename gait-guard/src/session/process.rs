//! Which processes took part: a number for each, its parent, and the thread that acted.
//!
//! The kernel's numbers are reused, so an entry is believed for a tenth of a second and then compared
//! with `/proc` again: within that time no machine hands out all numbers once over. Where probes report each birth and
//! death, every entry is right until they say otherwise, and `/proc` is asked only for what they lost.

use std::collections::{HashMap, VecDeque};

use gait_core::journal::Fork;

/// Nanoseconds for which an entry is believed.
const FRESH: u64 = 100_000_000;
/// Threads beyond this number make the table look for dead ones.
const CROWDED: usize = 4096;
/// Threads of ended processes that are remembered: a call of one that was killed may still be decided.
const DEPARTED: usize = 4096;
/// No chain of parents is followed further.
const DEPTH: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Thread {
    tgid: i32,
    proc: u64,
    checked: u64,
}

#[derive(Clone, Debug)]
struct Process {
    number: u64,
    /// As `/proc` gives it: in whole ticks.
    start: u64,
    /// Threads that were reported.
    tids: Vec<i32>,
}

/// What `/proc` says about a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its process.
    pub tgid: i32,
    /// The parent of that.
    pub parent: i32,
    /// The kernel's start time of the process, in nanoseconds since boot.
    pub start: u64,
}

/// Where facts come from: `/proc`, or a table in tests.
pub(super) trait Census: Send {
    /// What is known about `tid`, if it lives.
    fn facts(&self, tid: i32) -> Option<Facts>;
}

/// The processes of one run.
pub(super) struct Processes {
    census: Box<dyn Census>,
    threads: HashMap<i32, Thread>,
    processes: HashMap<i32, Process>,
    count: u64,
    /// Threads whose end was reported, oldest first.
    departed: VecDeque<(i32, Thread)>,
    /// Births and deaths are reported.
    pub(super) is_exact: bool,
}

/// Who acted, in the journal's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// Number of the process.
    pub proc: u64,
    /// The thread, if it is not the first of its process.
    pub tid: Option<u64>,
}

impl Processes {
    pub(super) fn new(census: Box<dyn Census>) -> Self {
        Self {
            census,
            threads: HashMap::new(),
            processes: HashMap::new(),
            count: 0,
            departed: VecDeque::new(),
            is_exact: false,
        }
    }

    /// Who `tid` is; `fork` writes down each process that is seen for the first time.
    pub(super) fn of<E>(&mut self, tid: i32, t: u64, fork: impl FnMut(Fork) -> Result<(), E>) -> Result<Who, E> {
        let thread = match self.threads.get(&tid) {
            Some(thread) if self.is_exact || t.saturating_sub(thread.checked) < FRESH => *thread,
            known => {
                let last = known.copied();
                let thread = self.look_up(tid, t, last, fork)?;
                if !self.is_exact && self.threads.len() >= CROWDED {
                    self.sweep(t);
                }
                if !self.is_exact || self.processes.contains_key(&thread.tgid) {
                    self.threads.insert(tid, thread);
                }
                thread
            }
        };
        Ok(Who { proc: thread.proc, tid: (thread.tgid != tid).then(|| u64::from(tid.unsigned_abs())) })
    }

    /// Forgets a process that ended, so that its number can be given to another.
    pub(super) fn ended(&mut self, tgid: i32) -> Option<u64> {
        let process = self.processes.remove(&tgid);
        match &process {
            Some(process) if self.is_exact => {
                for tid in process.tids.iter().chain([&tgid]) {
                    // The number may be another process's thread by now.
                    if self.threads.get(tid).is_some_and(|thread| thread.tgid == tgid) {
                        self.depart(*tid);
                    }
                }
            }
            _ => self.threads.retain(|_, thread| thread.tgid != tgid),
        }
        process.map(|process| process.number)
    }

    fn depart(&mut self, tid: i32) {
        if let Some(thread) = self.threads.remove(&tid) {
            if self.departed.len() == DEPARTED {
                self.departed.pop_front();
            }
            self.departed.push_back((tid, thread));
        }
    }

    /// Takes in that process `parent` made the task `tid` of process `tgid`, which was started at `start` (nanoseconds
    /// since boot). Gives what is to be written down: nothing for a thread, or for a process that is known already.
    pub(super) fn born(&mut self, parent: i32, tid: i32, tgid: i32, start: u64) -> Option<Fork> {
        let ticks = start - start % NANOSECONDS_PER_TICK;
        if tid != tgid {
            let process = self.processes.get_mut(&tgid)?;
            process.tids.push(tid);
            self.threads.insert(tid, Thread { tgid, proc: process.number, checked: 0 });
            return None;
        }
        if self.processes.get(&tgid).is_some_and(|known| known.start == ticks) {
            return None;
        }
        let number = self.count + 1;
        self.count = number;
        let parent = self.processes.get(&parent).map_or(0, |parent| parent.number);
        self.processes.insert(tgid, Process { number, start: ticks, tids: Vec::new() });
        self.threads.insert(tid, Thread { tgid, proc: number, checked: 0 });
        Some(Fork { proc: number, parent, pid: u64::from(tgid.unsigned_abs()), start })
    }

    /// The number of the process of a thread that is known.
    pub(super) fn known(&self, tid: i32) -> Option<u64> {
        self.threads.get(&tid).map(|thread| thread.proc)
    }

    fn look_up<E>(
        &mut self,
        tid: i32,
        t: u64,
        last: Option<Thread>,
        mut fork: impl FnMut(Fork) -> Result<(), E>,
    ) -> Result<Thread, E> {
        // The latest of this number. A task that has it now would have been reported before it could act.
        if let Some((_, thread)) = self.departed.iter().rev().find(|(of, _)| *of == tid) {
            return Ok(*thread);
        }
        let facts = match (self.census.facts(tid), last) {
            (Some(facts), _) => facts,
            // It is being killed while its call is decided: it is still who it was.
            (None, Some(last)) => return Ok(last),
            (None, None) => Facts { tgid: tid, parent: 0, start: 0 },
        };
        let number = self.number(facts, &mut fork)?;
        Ok(Thread { tgid: facts.tgid, proc: number, checked: t })
    }

    /// The number of a process; unknown ancestors below a known one are written down first.
    fn number<E>(&mut self, facts: Facts, fork: &mut impl FnMut(Fork) -> Result<(), E>) -> Result<u64, E> {
        let mut line = vec![facts];
        let mut parent = 0;
        while let Some(facts) = line.last().copied() {
            if let Some(known) = self.processes.get(&facts.tgid).filter(|known| known.start == facts.start) {
                parent = known.number;
                line.pop();
                break;
            }
            match (line.len() < DEPTH).then(|| self.census.facts(facts.parent)).flatten() {
                Some(above) if above.tgid > 1 => line.push(above),
                // No known ancestor: the first process of the run, or one that was handed to another parent.
                _ => {
                    line.truncate(1);
                    break;
                }
            }
        }
        for facts in line.into_iter().rev() {
            let number = self.count + 1;
            let pid = u64::from(facts.tgid.unsigned_abs());
            fork(Fork { proc: number, parent, pid, start: facts.start })?;
            self.count = number;
            self.processes.insert(facts.tgid, Process { number, start: facts.start, tids: Vec::new() });
            parent = number;
        }
        Ok(parent)
    }

    /// Drops threads that were not seen lately and processes that have ended.
    fn sweep(&mut self, t: u64) {
        self.threads.retain(|_, thread| t.saturating_sub(thread.checked) < FRESH);
        let census = &self.census;
        self.processes.retain(|tgid, process| census.facts(*tgid).is_some_and(|facts| facts.start == process.start));
    }
}

/// The census of the kernel.
pub(super) struct ProcFs;

impl Census for ProcFs {
    fn facts(&self, tid: i32) -> Option<Facts> {
        if tid <= 0 {
            return None;
        }
        // The name of the program may be any bytes (newlines are escaped there).
        let status = std::fs::read(format!("/proc/{tid}/status")).ok()?;
        let tgid = number_after(&String::from_utf8_lossy(&status), "\nTgid:")?;
        let stat = std::fs::read(format!("/proc/{tgid}/stat")).ok()?;
        parse_stat(&stat).map(|(parent, start)| Facts { tgid, parent, start })
    }
}

fn number_after(text: &str, label: &str) -> Option<i32> {
    let rest = &text[text.find(label)? + label.len()..];
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// Parent and start time of `/proc/<pid>/stat` (proc(5): fields 4 and 22). The name of the program is in
/// parentheses and may hold any byte, so fields are counted from the last one.
fn parse_stat(stat: &[u8]) -> Option<(i32, u64)> {
    let after = stat.iter().rposition(|b| *b == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after..]).ok()?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let ticks: u64 = fields.nth(17)?.parse().ok()?;
    Some((parent, ticks.saturating_mul(NANOSECONDS_PER_TICK)))
}

/// The kernel gives times to user space in hundredths of a second on every architecture we run on.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Table(Arc<Mutex<BTreeMap<i32, Facts>>>);

    impl Table {
        fn put(&self, tid: i32, tgid: i32, parent: i32, start: u64) {
            self.0.lock().unwrap().insert(tid, Facts { tgid, parent, start });
        }
    }

    impl Census for Table {
        fn facts(&self, tid: i32) -> Option<Facts> {
            self.0.lock().unwrap().get(&tid).copied()
        }
    }

    fn ask(processes: &mut Processes, tid: i32, t: u64) -> (Who, Vec<Fork>) {
        let mut forks = Vec::new();
        let who = processes
            .of::<()>(tid, t, |fork| {
                forks.push(fork);
                Ok(())
            })
            .unwrap();
        (who, forks)
    }

    #[test]
    fn each_process_is_written_down_once_with_its_parent() {
        let table = Table::default();
        table.put(100, 100, 50, 7);
        table.put(101, 100, 50, 7);
        table.put(120, 120, 110, 9);
        table.put(110, 110, 100, 8);
        let mut processes = Processes::new(Box::new(table));
        assert_eq!(
            ask(&mut processes, 100, 0),
            (Who { proc: 1, tid: None }, vec![Fork { proc: 1, parent: 0, pid: 100, start: 7 }])
        );
        assert_eq!(ask(&mut processes, 101, 1), (Who { proc: 1, tid: Some(101) }, vec![]));
        // 110 forked 120 without doing anything itself.
        let forks =
            vec![Fork { proc: 2, parent: 1, pid: 110, start: 8 }, Fork { proc: 3, parent: 2, pid: 120, start: 9 }];
        assert_eq!(ask(&mut processes, 120, 2), (Who { proc: 3, tid: None }, forks));
        assert_eq!(ask(&mut processes, 110, 3), (Who { proc: 2, tid: None }, vec![]));
    }

    #[test]
    fn a_reused_number_is_another_process() {
        let table = Table::default();
        table.put(100, 100, 50, 7);
        let mut processes = Processes::new(Box::new(table.clone()));
        assert_eq!(ask(&mut processes, 100, 0).0.proc, 1);
        table.put(100, 100, 50, 99);
        assert_eq!(ask(&mut processes, 100, FRESH).0.proc, 2);
    }

    #[test]
    fn a_process_that_is_being_killed_is_still_who_it_was() {
        let table = Table::default();
        table.put(100, 100, 50, 7);
        let mut processes = Processes::new(Box::new(table.clone()));
        assert_eq!(ask(&mut processes, 100, 0).0.proc, 1);
        table.0.lock().unwrap().clear();
        assert_eq!(ask(&mut processes, 100, FRESH), (Who { proc: 1, tid: None }, vec![]));
        assert_eq!(ask(&mut processes, 200, FRESH).1, vec![Fork { proc: 2, parent: 0, pid: 200, start: 0 }]);
    }

    #[test]
    fn reported_births_and_deaths_are_exact_without_proc() {
        let table = Table::default();
        let mut processes = Processes::new(Box::new(table.clone()));
        processes.is_exact = true;
        let start = 7 * NANOSECONDS_PER_TICK + 3;
        assert_eq!(processes.born(50, 100, 100, start), Some(Fork { proc: 1, parent: 0, pid: 100, start }));
        assert_eq!(processes.born(100, 101, 100, start), None, "a thread");
        assert_eq!(processes.born(100, 120, 120, start + 1).map(|fork| (fork.proc, fork.parent)), Some((2, 1)));
        // The one between died before the grandchild acted: its parent is known all the same.
        assert_eq!(processes.born(120, 130, 130, start + 2).map(|fork| fork.parent), Some(2));
        assert_eq!(processes.ended(120), Some(2));
        assert_eq!(ask(&mut processes, 130, 0), (Who { proc: 3, tid: None }, vec![]));
        assert_eq!(ask(&mut processes, 101, 50 * FRESH), (Who { proc: 1, tid: Some(101) }, vec![]));
        // The number of the thread is reused by a process, whose own end is not that of the thread's.
        assert_eq!(processes.born(130, 101, 101, start + 3).map(|fork| (fork.proc, fork.parent)), Some((4, 3)));
        assert_eq!(processes.ended(100), Some(1));
        assert_eq!(ask(&mut processes, 101, 0), (Who { proc: 4, tid: None }, vec![]));
        assert_eq!((processes.threads.len(), processes.processes.len()), (2, 2));
        // A call of one that was killed is still its own, and makes no process anew.
        table.put(100, 100, 1, start);
        assert_eq!(ask(&mut processes, 100, 0), (Who { proc: 1, tid: None }, vec![]));
        assert_eq!((processes.threads.len(), processes.processes.len()), (2, 2));
    }

    #[test]
    fn the_table_stays_small_however_many_processes_there_were() {
        let table = Table::default();
        let mut processes = Processes::new(Box::new(table.clone()));
        for pid in 2..20_000 {
            table.put(pid, pid, 1, u64::try_from(pid).unwrap());
            assert_eq!(ask(&mut processes, pid, u64::try_from(pid).unwrap() * FRESH).1.len(), 1);
            table.0.lock().unwrap().clear();
        }
        assert!(processes.threads.len() <= CROWDED && processes.processes.len() <= CROWDED + 1);
    }

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let line = b"7 (a) R 9 9 (b) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 250 1 1";
        assert_eq!(parse_stat(line), Some((3, 2_500_000_000)));
    }

    #[test]
    fn this_process_is_found_in_proc() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let facts = ProcFs.facts(pid).unwrap();
        assert_eq!((facts.tgid, facts.start > 0), (pid, true));
    }
}
