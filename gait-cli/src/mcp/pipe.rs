//! Threads at the ends of pipes, so that the one that decides never waits for a pipe.
//!
//! What is decided is queued for writing. Who reads waits while a queue is long: so a slow reader slows the writer down
//! on the other side, as it would without us, and memory stays bounded.

use gait_core::mcp::frame::{Frame, Framer};
use std::io::{Read, Write};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes in a queue from which on nothing more is read.
const HIGH_WATER: usize = 1 << 20;

/// What one end of a pipe tells the one that decides.
#[derive(Debug)]
pub enum Said {
    /// A line, or that one was too long.
    Frame(Frame),
    /// Nothing more comes.
    End,
}

/// How many bytes wait to be written.
#[derive(Debug, Default)]
pub struct Backlog {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    /// Nobody takes them any more.
    is_broken: bool,
}

impl Backlog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room, or for ever broken.
    pub fn wait_for_room(&self) {
        let mut state = self.state();
        while state.bytes > HIGH_WATER && !state.is_broken {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all is written, for at most `limit`.
    pub fn wait_until_written(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        while state.bytes > 0 && !state.is_broken {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

/// The end of a pipe that is written to.
#[derive(Debug)]
pub struct Writer {
    /// None once it is closed.
    lines: Option<Sender<Vec<u8>>>,
    pub backlog: Arc<Backlog>,
}

impl Writer {
    /// Writes to `sink` from a thread of its own; `on_broken` is called there if nobody reads any more.
    pub fn start(mut sink: impl Write + Send + 'static, on_broken: impl FnOnce() + Send + 'static) -> Self {
        let (lines, queue) = mpsc::channel::<Vec<u8>>();
        let backlog = Arc::new(Backlog::default());
        let own = Arc::clone(&backlog);
        thread::spawn(move || {
            for line in &queue {
                if sink.write_all(&line).and_then(|()| sink.flush()).is_err() {
                    own.change(|state| state.is_broken = true);
                    return on_broken();
                }
                own.change(|state| state.bytes -= line.len());
            }
        });
        Self { lines: Some(lines), backlog }
    }

    /// Queues a line.
    pub fn write(&self, line: Vec<u8>) {
        let Some(lines) = &self.lines else { return };
        self.backlog.change(|state| state.bytes += line.len());
        // An error is a writer that is broken, which it has told.
        let _ = lines.send(line);
    }

    /// Closes the pipe once all is written.
    pub fn close(&mut self) {
        self.lines = None;
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.lines.is_none()
    }
}

/// Reads `source` to its end in a thread of its own, line by line, whenever none of `backlogs` is long.
pub fn read<E: Send + 'static>(
    mut source: impl Read + Send + 'static,
    limit: usize,
    backlogs: Vec<Arc<Backlog>>,
    events: SyncSender<E>,
    event: impl Fn(Said) -> E + Send + 'static,
) {
    thread::spawn(move || {
        let (mut framer, mut buffer) = (Framer::new(limit), vec![0; 1 << 16]);
        let send = |said| {
            // An error is a session that has ended.
            let _ = events.send(event(said));
        };
        loop {
            backlogs.iter().for_each(|backlog| backlog.wait_for_room());
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => framer.push(&buffer[..count], |frame| send(Said::Frame(frame))),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        framer.finish().into_iter().for_each(|frame| send(Said::Frame(frame)));
        send(Said::End);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_reads_waits_for_who_writes() {
        let (out, sink) = std::io::pipe().unwrap();
        let writer = Writer::start(sink, || ());
        writer.write(vec![b'x'; 2 * HIGH_WATER]);
        let backlog = Arc::clone(&writer.backlog);
        let waiting = thread::spawn(move || backlog.wait_for_room());
        thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished());
        let mut read = Vec::new();
        out.take(2 * HIGH_WATER as u64).read_to_end(&mut read).unwrap();
        waiting.join().unwrap();
        writer.backlog.wait_until_written(Duration::from_secs(20));
        assert_eq!(writer.backlog.state().bytes, 0);
    }

    #[test]
    fn nobody_waits_for_a_broken_pipe() {
        let (sender, receiver) = mpsc::channel();
        let writer = Writer::start(Broken, move || sender.send(()).unwrap());
        writer.write(vec![0; 2 * HIGH_WATER]);
        receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        writer.backlog.wait_for_room();
        writer.backlog.wait_until_written(Duration::from_secs(60));
    }
}
