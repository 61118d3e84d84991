//! Whoever of the guard is killed, nothing of the agent lives on.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gait_guard::launch::watchdog::{WatchError, watch};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process};

/// Where a copy of this program learns that it is the launcher, and how many processes it shall have.
const ROLE: &str = "GAIT_TEST_WATCHDOG";

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        be_guarded(&role);
    }
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("the_exit_code_of_the_work_is_that_of_the_launcher", || {
            let status = launcher("code").0.wait()?;
            expect(status.code() == Some(42), &format!("{status}"))
        }),
        Trial::test("killing_the_launcher_ends_500_daemons", || killing(Victim::Launcher)),
        Trial::test("killing_the_watchdog_ends_500_daemons", || killing(Victim::Watchdog)),
        Trial::test("killing_the_supervisor_ends_500_daemons", || killing(Victim::Supervisor)),
        Trial::test("a_relay_of_short_lived_processes_dies_with_its_guard", a_relay_dies),
        Trial::test("children_from_before_are_left_alone", strangers_live),
    ];
    // One after the other: each looks at the whole system.
    libtest_mimic::run(&Arguments { test_threads: Some(1), ..arguments }, trials).exit();
}

// ---------------------------------------------------------------- the guarded side

fn be_guarded(role: &str) -> ! {
    let code = match watch(|_| vec![work(role)]) {
        Ok(result) => result[0],
        Err(WatchError::Killed) => 99,
        Err(_) => 98,
    };
    std::process::exit(code.into());
}

fn work(role: &str) -> u8 {
    let (kind, mark) = role.split_once(':').unwrap_or((role, ""));
    match kind {
        "code" => return 42,
        // Daemons: a shell in a session of its own that ends at once, its child left to whoever takes it.
        "daemons" => {
            for _ in 0..250 {
                shell(&format!("setsid sh -c 'sleep {mark} & ' & sleep {mark} &"));
            }
        }
        // Each process starts its successor and ends: nobody is there for long, and all go to whoever takes orphans.
        // Bounded, so that a failure of the guard is not one of the machine.
        "relay" => {
            let run = format!("[ $2 -gt 0 ] && sh -c \"$1\" sh \"$1\" $(($2 - 1)) & : {mark}");
            shell(&format!("run='{run}'; for i in 1 2 3 4 5 6 7 8; do sh -c \"$run\" sh \"$run\" 20000; done"));
        }
        _ => {}
    }
    println!("{} {}", getppid().unwrap().as_raw_nonzero(), getpid().as_raw_nonzero());
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn shell(script: &str) {
    let _ = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).env_remove(ROLE).status();
}

// ---------------------------------------------------------------- the testing side

#[derive(Clone, Copy)]
enum Victim {
    Launcher,
    Watchdog,
    Supervisor,
}

/// A guarded run. Whatever becomes of the test, it ends with it.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn launcher(role: &str) -> Run {
    Run(Command::new("/proc/self/exe").env(ROLE, role).stdout(Stdio::piped()).spawn().unwrap())
}

/// How long something sleeps that is told by it from what other tests, and this one another time, have left to sleep.
fn mark(which: usize) -> String {
    format!("9876{which}.{}", std::process::id())
}

/// Waits for the line that says who guards.
fn guards(child: &mut Child) -> [i32; 3] {
    use std::io::{BufRead, BufReader};
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let mut pids = line.split_whitespace().map(|pid| pid.parse().unwrap());
    [child.id() as i32, pids.next().unwrap(), pids.next().unwrap()]
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Processes that sleep for exactly `mark`, dead ones not counted.
fn sleepers(mark: &str) -> usize {
    let wanted = format!("sleep\0{mark}\0");
    processes(|line| line == wanted.as_bytes())
}

/// Processes with such a command line.
fn processes(is_wanted: impl Fn(&[u8]) -> bool) -> usize {
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| is_wanted(line)).count()
}

fn within(limit: Duration, condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn killing(victim: Victim) -> Result<(), Failed> {
    let mark = mark(victim as usize);
    let mut run = launcher(&format!("daemons:{mark}"));
    let [launcher, watchdog, supervisor] = guards(&mut run.0);
    expect(within(Duration::from_secs(10), || sleepers(&mark) == 500), "the daemons did not start")?;
    kill(match victim {
        Victim::Launcher => launcher,
        Victim::Watchdog => watchdog,
        Victim::Supervisor => supervisor,
    });
    expect(within(Duration::from_secs(2), || sleepers(&mark) == 0), &format!("{} live on", sleepers(&mark)))?;
    let code = run.0.wait()?.code();
    match victim {
        Victim::Launcher => expect(code.is_none(), "the launcher was not killed"),
        _ => expect(code == Some(99), &format!("the launcher ended with {code:?}")),
    }?;
    let gone = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    expect(within(Duration::from_secs(2), || gone(watchdog) && gone(supervisor)), "a part of the guard lives on")
}

fn a_relay_dies() -> Result<(), Failed> {
    let mark = &mark(3);
    let mut run = launcher(&format!("relay:{mark}"));
    let [_, _, supervisor] = guards(&mut run.0);
    expect(within(Duration::from_secs(5), || processes(|line| contains(line, mark)) > 0), "it did not start")?;
    kill(supervisor);
    run.0.wait()?;
    expect(within(Duration::from_secs(2), || processes(|line| contains(line, mark)) == 0), "it lives on")?;
    std::thread::sleep(Duration::from_millis(300));
    expect(processes(|line| contains(line, mark)) == 0, "it came back")
}

fn contains(line: &[u8], mark: &str) -> bool {
    // Not the launcher, whose mark is in its environment.
    line.windows(mark.len()).any(|part| part == mark.as_bytes())
}

fn strangers_live() -> Result<(), Failed> {
    let mark = mark(4);
    // The shell starts a child, then becomes the launcher.
    let script = format!("sleep {mark} & exec /proc/{}/exe", std::process::id());
    let mut command = Command::new("sh");
    let mut child = command.args(["-c", &script]).env(ROLE, "wait").stdout(Stdio::piped()).process_group(0).spawn()?;
    let [_, watchdog, _] = guards(&mut child);
    kill(watchdog);
    child.wait()?;
    let alive = sleepers(&mark);
    let _ = Command::new("pkill").args(["-f", &format!("^sleep {mark}$")]).status();
    expect(alive == 1, "a process that was there before the run was killed")
}

fn expect(holds: bool, otherwise: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
