//! Runs a command under the real supervisor, with a judge that keeps its records in memory.
//!
//! ```no_run
//! let run = Guarded::new(["cat", "/etc/hostname"]).judge(|action| Ruling::Allow).run();
//! assert_eq!(run.code, Some(0));
//! ```
//! The supervisor is this process, so every test of a binary shares one tree.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test binary uses what it needs; a failure here fails the test"
)]

pub mod programs;

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard};

use gait_guard::event::{Action, Actor, ExecObject, UnixName};
use gait_guard::launch::{Command, Confinement, hold};
use gait_guard::notify::{Context, Supervisor, Tree};
use gait_guard::session::{Floor, Judge, Ruling};
use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, waitpid};

type Policy = Box<dyn Fn(&Action<'_>) -> Ruling + Send + Sync>;

/// One thing that the judge was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// It decided this (see [`describe`]).
    Judged(String, Ruling),
    /// The floor denied this.
    Denied(String, Floor),
    /// This file is running, with these arguments.
    Executed(Vec<u8>, Vec<Vec<u8>>),
}

/// A judge that decides by a function.
pub struct MemoryJudge {
    policy: Policy,
    records: Mutex<Vec<Record>>,
}

impl MemoryJudge {
    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap()
    }
}

impl Judge for MemoryJudge {
    fn judge(&self, _actor: Actor, action: &Action<'_>) -> Ruling {
        let ruling = (self.policy)(action);
        self.records().push(Record::Judged(describe(action), ruling));
        ruling
    }

    fn deny(&self, _actor: Actor, action: &Action<'_>, floor: Floor) -> Errno {
        self.records().push(Record::Denied(describe(action), floor));
        Errno::PERM
    }

    fn deny_as(&self, actor: Actor, action: &Action<'_>, floor: Floor, errno: Errno) -> Errno {
        self.deny(actor, action, floor);
        errno
    }

    fn foresee(&self, action: &Action<'_>) -> Ruling {
        (self.policy)(action)
    }

    fn executed(&self, _actor: Actor, file: &[u8], argv: &[Vec<u8>]) {
        self.records().push(Record::Executed(file.to_vec(), argv.to_vec()));
    }
}

/// An action in words: `Debug`, but for names, which are text.
pub fn describe(action: &Action<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match action {
        Action::Path { op, path, via } => format!("Path {op:?} {} via: {via:?}", text(path)),
        Action::Exec { object, argv, via } => {
            let argv: Vec<String> = argv.iter().map(|argument| text(argument)).collect();
            let object = match object {
                ExecObject::Path(path) => format!("Path({})", text(path)),
                ExecObject::Memory(name) => format!("Memory({})", text(name)),
            };
            format!("Exec {object} argv: {argv:?} via: {via:?}")
        }
        Action::Unix { call, socket, name } => {
            let name = match name {
                UnixName::Path(path) => format!("Path({})", text(path)),
                UnixName::Abstract(name) => format!("Abstract({})", text(name)),
                UnixName::Unnamed => "Unnamed".into(),
            };
            format!("Unix {call:?} {socket:?} {name}")
        }
        other => format!("{other:?}"),
    }
}

/// A command to be guarded. Everything is allowed unless told otherwise.
pub struct Guarded {
    argv: Vec<OsString>,
    policy: Policy,
    noexec: bool,
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status of the command, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
    /// What the judge was told, in order.
    pub records: Vec<Record>,
}

impl Outcome {
    /// The records that mention `text`.
    pub fn mentioning(&self, text: &str) -> Vec<&Record> {
        self.records.iter().filter(|record| format!("{record:?}").contains(text)).collect()
    }
}

impl Guarded {
    pub fn new<S: Into<OsString>>(argv: impl IntoIterator<Item = S>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self { argv, policy: Box::new(|_| Ruling::Allow), noexec: false }
    }

    /// A shell script.
    pub fn sh(script: &str) -> Self {
        Self::new(["sh", "-c", script])
    }

    pub fn judge(mut self, policy: impl Fn(&Action<'_>) -> Ruling + Send + Sync + 'static) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// Denies (EACCES) whatever mentions `text`.
    pub fn denying(self, text: &'static str) -> Self {
        self.judge(
            move |action| {
                if describe(action).contains(text) { Ruling::Deny(Errno::ACCESS) } else { Ruling::Allow }
            },
        )
    }

    /// With the noexec view of `/`.
    pub fn noexec(mut self) -> Self {
        self.noexec = true;
        self
    }

    /// Runs it to its end, and until everything that it started has ended.
    pub fn run(self) -> Outcome {
        rustix::process::set_child_subreaper(Some(getpid())).unwrap();
        let [out, err] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        let judge = Arc::new(MemoryJudge { policy: self.policy, records: Mutex::default() });
        let for_supervisor = Arc::clone(&judge);
        let (argv, noexec) = (self.argv, self.noexec);
        let (outs, errs) = (out.try_clone().unwrap(), err.try_clone().unwrap());
        // The agent dies with the thread that starts it, and this thread gives up its capabilities.
        let status = std::thread::spawn(move || guard(&argv, noexec, for_supervisor, &outs, &errs)).join().unwrap();
        let records = judge.records().clone();
        Outcome {
            code: status.exit_status(),
            signal: status.terminating_signal(),
            stdout: contents(out),
            stderr: contents(err),
            records,
        }
    }
}

fn guard(
    argv: &[OsString],
    noexec: bool,
    judge: Arc<dyn Judge>,
    out: &File,
    err: &File,
) -> rustix::process::WaitStatus {
    let command = Command::new(argv, std::env::vars_os(), std::env::var_os("PATH").as_deref()).unwrap();
    let null = File::open("/dev/null").unwrap();
    let stdio = [Some(null.as_fd()), Some(out.as_fd()), Some(err.as_fd())];
    let noexec_root = noexec.then(|| gait_guard::sys::mount::noexec_root().unwrap());
    let held = hold(&command, &Confinement { stdio, ..Confinement::default() }).unwrap();
    let (pid, listener, execution) = held.release().unwrap().into_parts();
    let context = Context::new(judge, listener, Tree::new(getpid(), None, None), noexec_root).unwrap();
    Supervisor::new(context).run().unwrap();
    let _ = execution.wait();
    waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap().1
}

fn contents(mut file: File) -> String {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
