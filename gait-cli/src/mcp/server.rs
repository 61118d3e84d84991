//! The server: a program with two pipes, in a process group of its own.

use gait_core::file::os_text;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

/// A server that was started.
#[derive(Debug)]
pub struct Server {
    group: Option<Pid>,
    pub input: Option<ChildStdin>,
    pub output: Option<ChildStdout>,
}

impl Server {
    /// Starts `command` without the variables `hidden`; `on_exit` is called from another thread.
    ///
    /// # Errors
    /// It can't be started: in words.
    pub fn start(
        command: &[OsString],
        hidden: &[OsString],
        on_exit: impl FnOnce(ExitStatus) + Send + 'static,
    ) -> Result<Self, String> {
        let (program, args) = command.split_first().ok_or("no command was given")?;
        let mut starting = Command::new(program);
        starting.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        hidden.iter().for_each(|name| {
            starting.env_remove(name);
        });
        let failed = |error: std::io::Error| format!("start {}: {}", program.to_string_lossy(), os_text(&error));
        let mut child = starting.spawn().map_err(failed)?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (input, output) = (child.stdin.take(), child.stdout.take());
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                on_exit(status);
            }
        });
        Ok(Self { group, input, output })
    }

    /// Asks it and what it started to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it and what it started.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error is a group that is gone.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// How it ended, in words.
pub fn ended(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("it ended with exit code {code}"),
        Some((None, Some(signal))) => format!("it was ended by signal {signal}"),
        _ => "it closed its output".into(),
    }
}
