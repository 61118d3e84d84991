//! A bar on stderr for what takes long: only for people, that is, on a terminal, and only after a second.
//!
//! It shows how much this process has read of what there is to read. The kernel counts that, so nothing that reads
//! needs to know of it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What takes less has no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at how far it is.
const INTERVAL: Duration = Duration::from_millis(100);

/// Work that has a bar until it is dropped.
#[derive(Debug)]
pub struct Progress {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Work called `doing` that reads each of `files` about `times` over.
    pub fn reading<'a>(doing: &'static str, files: impl IntoIterator<Item = &'a Path>, times: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress { running: None };
        }
        let size = |path: &Path| path.metadata().map_or(0, |found| found.len());
        let total = files.into_iter().map(size).sum::<u64>() * times;
        Self::start(doing, total)
    }

    /// Work called `doing` that reads about `bytes`.
    pub fn of_bytes(doing: &'static str, bytes: u64) -> Self {
        if std::io::stderr().is_terminal() { Self::start(doing, bytes) } else { Progress { running: None } }
    }

    /// Work called `doing` of which it is not known how much it is.
    pub fn of(doing: &'static str) -> Self {
        if std::io::stderr().is_terminal() { Self::start(doing, 0) } else { Progress { running: None } }
    }

    fn start(doing: &'static str, total: u64) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let before = bytes_read();
        let watch = move || {
            if stopped.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = bar(doing, total);
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let read = bytes_read().saturating_sub(before);
                // A guess that was too low: better a longer bar than one that is full and stays.
                if total > 0 && read > bar.length().unwrap_or(0) {
                    bar.set_length(read + read / 4);
                }
                bar.set_position(read);
                bar.tick();
            }
            bar.finish_and_clear();
        };
        // Without a thread there is no bar, which is not worth an error.
        let thread = thread::Builder::new().name("progress".into()).spawn(watch);
        Progress { running: thread.ok().map(|thread| (stop, thread)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // The line must be clean before anything else is printed.
            let _ = thread.join();
        }
    }
}

fn bar(doing: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = match total {
        0 => "{msg} {spinner} {elapsed}",
        _ => "{msg} [{bar:30}] {percent:>3}% {elapsed}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
    bar.set_message(doing);
    bar
}

/// Bytes that all threads of this process have read; 0 where the kernel does not tell.
fn bytes_read() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}
