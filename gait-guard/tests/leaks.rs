//! What is left of a run in the guard's own process. Alone in its binary: it counts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use std::time::{Duration, Instant};

use common::Guarded;
use common::programs::program;

/// Children that are killed at their exec-stop, while parked, and while they are answered. A `kill` that a dying
/// child interrupts is made again.
const KILLED: &str = "k() { kill -9 $1 || kill -9 $1 || kill -9 $1; }; \
    for i in 1 2 3 4 5 6 7 8; do (exec sleep 9) & k $!; done 2>/dev/null; wait; mkfifo f; cat f & k $!; wait";

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Threads of the pools end when their run does, not before it returns; each holds the listener until then.
fn settle(most: usize) {
    let patience = Instant::now() + Duration::from_secs(10);
    while threads() > most && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn no_descriptor_and_no_thread_is_left() {
    let run = |which: usize| {
        let folder = tempfile::tempdir().unwrap();
        let network = format!("cd {} && {}", folder.path().display(), program("network").display());
        let run = match which {
            0 => Guarded::sh(&network).run(),
            1 => Guarded::new([program("spawn").as_os_str(), "20".as_ref()]).run(),
            2 => Guarded::new([program("two_execs").as_os_str(), "20".as_ref()]).run(),
            // Killed at its exec-stop, while parked, and while it is answered.
            _ => Guarded::sh(&format!("cd {}; {KILLED}", folder.path().display())).run(),
        };
        assert!(run.signal.is_none(), "{run:?}");
    };
    let alone = threads();
    run(1);
    settle(alone);
    let (descriptors, before) = (open_descriptors(), threads());
    for which in [0, 1, 2, 3, 3] {
        run(which);
    }
    settle(before);
    assert_eq!(open_descriptors(), descriptors);
    assert!(threads() <= before, "{} threads, {before} before", threads());
}
