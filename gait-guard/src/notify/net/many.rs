//! `sendmmsg`: messages one after the other, until one fails. The error shows only if it is the first's.

use std::sync::Arc;

use rustix::io::Errno;

use super::message;
use super::send::{AgentMemory, Letter, Started, unreadable};
use super::socket::Socket;
use crate::notify::agent::Stop;
use crate::notify::{Call, Context, Reply};
use crate::sys;

/// `UIO_MAXIOV`: more are not looked at.
const MOST_MESSAGES: u32 = 1024;

/// The messages of one call.
#[derive(Clone, Copy)]
struct Batch {
    tid: i32,
    start: u64,
    count: u32,
}

impl Batch {
    fn of(call: &Call) -> Self {
        Self { tid: call.tid, start: call.args[1], count: (call.args[2] as u32).min(MOST_MESSAGES) }
    }

    fn entry(self, n: u32) -> u64 {
        self.start.wrapping_add(u64::from(n) * message::ENTRY)
    }

    fn letter(self, context: &Context, call: &Call, socket: &Arc<Socket>, n: u32) -> Result<Letter, Stop> {
        let outgoing = message::read_header(&AgentMemory { tid: self.tid }, self.entry(n)).map_err(unreadable)?;
        Letter::judged(context, call, socket, outgoing, call.int(3))
    }

    /// Tells the agent how much of a message was sent.
    fn note(self, n: u32, bytes: u64) -> Result<(), Errno> {
        let place = self.entry(n).wrapping_add(message::ENTRY_LENGTH);
        match sys::memory::write(self.tid, place, &(bytes as u32).to_ne_bytes())? {
            4 => Ok(()),
            _ => Err(Errno::FAULT),
        }
    }
}

/// Sends every message, on a thread of its own from the first on that has to wait.
pub(super) fn sendmmsg(context: &mut Context, call: &Call) -> Result<Reply, Stop> {
    let batch = Batch::of(call);
    let socket = Arc::new(super::socket(context, call)?);
    for n in 0..batch.count {
        let started = batch.letter(context, call, &socket, n).and_then(|letter| Ok(letter.start()?));
        let noted = match started {
            Ok(Started::Sent(bytes)) => batch.note(n, bytes).map_err(Stop::Errno),
            Ok(Started::Cut(bytes)) => {
                batch.note(n, bytes)?;
                return Ok(Reply::Value(i64::from(n) + 1));
            }
            Ok(Started::Waits(letter, sent)) => {
                let letters = following(context, call, &socket, *letter, n);
                return Ok(park(context, call, Waiting { batch, n, sent, letters }));
            }
            Err(stop) => Err(stop),
        };
        match noted {
            Ok(()) => {}
            Err(stop) if n == 0 => return Err(stop),
            Err(stop) => {
                super::stopped(context, call, stop);
                return Ok(Reply::Value(n.into()));
            }
        }
    }
    Ok(Reply::Value(batch.count.into()))
}

/// The message that waits, and those after it up to the first that is refused: the thread that waits
/// can't judge. One that holds much while it waits is the last; the caller sends what is left again.
fn following(context: &Context, call: &Call, socket: &Arc<Socket>, first: Letter, n: u32) -> Vec<Letter> {
    let batch = Batch::of(call);
    let mut letters = vec![first];
    for next in n + 1..batch.count {
        if letters.last().is_some_and(Letter::is_heavy) {
            break;
        }
        match batch.letter(context, call, socket, next) {
            Ok(letter) => letters.push(letter),
            Err(stop) => {
                super::stopped(context, call, stop);
                break;
            }
        }
    }
    letters
}

/// Judged messages that are sent with waiting.
struct Waiting {
    batch: Batch,
    /// The number of the first.
    n: u32,
    /// What of the first is sent already, in bytes.
    sent: u64,
    letters: Vec<Letter>,
}

impl Waiting {
    fn send(self) -> Reply {
        let mut sent = self.sent;
        let mut n = self.n;
        for letter in self.letters {
            match letter
                .send_rest(std::mem::take(&mut sent))
                .and_then(|bytes| self.batch.note(n, bytes).map(|()| bytes))
            {
                Ok(bytes) => {
                    n += 1;
                    if bytes < letter.total() {
                        break;
                    }
                }
                Err(errno) if n == 0 => return Reply::Errno(errno),
                Err(_) => break,
            }
        }
        Reply::Value(n.into())
    }
}

fn park(context: &Context, call: &Call, waiting: Waiting) -> Reply {
    let before = waiting.n;
    match context.parking.park(call, move || waiting.send()) {
        Reply::Errno(_) if before > 0 => Reply::Value(before.into()),
        reply => reply,
    }
}
