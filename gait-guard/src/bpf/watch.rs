//! What the probes saw, record by record.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use gait_ebpf::record::{Header, kind};
use gait_ebpf::socket::{INET, INET6, call};
use rustix::fd::{AsFd, BorrowedFd};

use super::Reader;
use crate::event::{InetCall, Protocol};

/// One thing that happened in the agent's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A task was made.
    Fork {
        /// The process that made it.
        parent: i32,
        /// The task.
        tid: i32,
        /// Its process: a new one if it is the same number.
        tgid: i32,
        /// When that process was started, in nanoseconds since boot.
        start: u64,
    },
    /// A program was started.
    Exec(Box<Image>),
    /// The last thread of a process ended.
    Exit {
        /// The process.
        tgid: i32,
        /// `code << 8 | signal`.
        code: u32,
    },
    /// A call on a socket of the agent was refused, because nobody had announced it.
    Socket {
        /// The thread that made it, of the agent or of the guard.
        tid: i32,
        /// What it would have done; `None`: made a socket of a kind that nothing mediates.
        address: Option<(InetCall, Protocol, SocketAddr)>,
    },
    /// A record that none of our programs writes: the guard does not fit its programs.
    Garbled,
}

/// A program that was started, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The process.
    pub tgid: i32,
    /// Its path from the root of the mount tree; `None` if it has none.
    pub path: Option<Vec<u8>>,
    /// The number of its inode.
    pub inode: u64,
    /// Its arguments; `None` if they could not be read.
    pub arguments: Option<Arguments>,
}

/// The argument area of a program, or the first part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Each argument with its NUL.
    pub bytes: Vec<u8>,
    /// Length of all of it.
    pub whole: u64,
}

/// What follows the walk of a path, as the program numbers it: see `path::Found` of the kernel side.
const WHOLE: u64 = 0;

/// A decision: its record.
pub type Decision = (Header, Vec<u8>);

/// Decisions of programs in the kernel, on their way to whoever writes them down.
#[derive(Clone, Default)]
pub struct Decisions(Arc<Mutex<VecDeque<Decision>>>);

/// Most decisions that wait: then the rest waits in the ring.
const WAITING: usize = 4096;

impl Decisions {
    /// The oldest.
    pub fn take(&self) -> Option<Decision> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn add(&self, header: Header, payload: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back((header, payload.to_vec()));
    }

    fn is_full(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() >= WAITING
    }
}

/// Takes what was seen, in the order in which it happened.
pub struct Watch {
    reader: Reader,
    /// Where decisions go, with an engine that decides in the kernel.
    decisions: Option<Decisions>,
    /// Arguments whose program is named by the next record of their process.
    arguments: HashMap<u32, (u64, Option<Arguments>)>,
}

impl Watch {
    /// Reads from `reader`.
    pub fn new(reader: Reader) -> Self {
        Self { reader, decisions: None, arguments: HashMap::new() }
    }

    /// From now on decisions are in the ring too, and go where they can be taken from.
    pub fn deciding(self) -> (Self, Decisions) {
        let decisions = Decisions::default();
        (Self { decisions: Some(decisions.clone()), ..self }, decisions)
    }

    /// Readable when something was seen.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Iterator for Watch {
    type Item = Seen;

    /// What was seen next; `None`: nothing more by now.
    fn next(&mut self) -> Option<Seen> {
        let Self { reader, decisions, arguments } = self;
        loop {
            if decisions.as_ref().is_some_and(Decisions::is_full) {
                return None;
            }
            let seen = reader.next(|record| match (record, &*decisions) {
                (None, _) => Some(Seen::Garbled),
                (Some(record), Some(decisions))
                    if matches!(
                        record.header.kind,
                        kind::PATH | kind::LOCK | kind::RING | kind::OPEN | kind::SPELT
                    ) =>
                {
                    decisions.add(record.header, record.payload);
                    None
                }
                (Some(record), _) => understand(record.header, record.payload, arguments),
            })?;
            if seen.is_some() {
                return seen;
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

fn understand(header: Header, payload: &[u8], arguments: &mut HashMap<u32, (u64, Option<Arguments>)>) -> Option<Seen> {
    match header.kind {
        kind::FORK => Some(Seen::Fork {
            parent: header.tgid as i32,
            tid: header.op as i32,
            tgid: header.detail as i32,
            start: header.extra,
        }),
        kind::ARGUMENTS => {
            let found = (header.op == 0).then(|| Arguments { bytes: payload.to_vec(), whole: header.detail });
            arguments.insert(header.tgid, (header.extra, found));
            None
        }
        kind::EXEC => {
            let (inode, arguments) = arguments.remove(&header.tgid).unwrap_or((0, None));
            let path = (header.extra == WHOLE).then(|| payload.to_vec());
            Some(Seen::Exec(Box::new(Image { tgid: header.tgid as i32, path, inode, arguments })))
        }
        kind::EXIT => {
            arguments.remove(&header.tgid);
            Some(Seen::Exit { tgid: header.tgid as i32, code: header.detail as u32 })
        }
        kind::ADDRESS => Some(socket(header, payload)),
        kind::CANARY => None,
        _ => Some(Seen::Garbled),
    }
}

fn socket(header: Header, payload: &[u8]) -> Seen {
    let tid = header.tid as i32;
    let how = match header.op {
        call::CONNECT => InetCall::Connect,
        call::SEND => InetCall::Send,
        call::BIND => InetCall::Bind,
        call::CREATE => return Seen::Socket { tid, address: None },
        _ => return Seen::Garbled,
    };
    let word = |at: usize| payload.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_ne_bytes);
    let (Some(ip), Some(family), Some(port), Some(kind), Some(protocol)) =
        (payload.first_chunk::<16>(), word(16), word(20), word(24), word(28))
    else {
        return Seen::Garbled;
    };
    let ip = match family {
        INET => IpAddr::from([ip[0], ip[1], ip[2], ip[3]]),
        INET6 => IpAddr::from(*ip),
        _ => return Seen::Garbled,
    };
    let protocol = match (kind as i32, protocol as i32) {
        (libc::SOCK_STREAM, libc::IPPROTO_TCP) => Protocol::Tcp,
        (libc::SOCK_DGRAM, libc::IPPROTO_UDP) => Protocol::Udp,
        (libc::SOCK_RAW, _) => Protocol::Raw,
        _ => Protocol::Other,
    };
    Seen::Socket { tid, address: Some((how, protocol, SocketAddr::new(ip, port as u16))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u32) -> Header {
        Header { kind, tgid: 7, tid: 8, ..Header::default() }
    }

    #[test]
    fn arguments_belong_to_the_next_program_of_their_process() {
        let mut waiting = HashMap::new();
        let arguments = Header { detail: 9, extra: 42, ..header(kind::ARGUMENTS) };
        assert_eq!(understand(arguments, b"sh\0-c", &mut waiting), None);
        let Some(Seen::Exec(image)) = understand(header(kind::EXEC), b"/bin/sh", &mut waiting) else { panic!() };
        assert_eq!((image.inode, image.path.as_deref()), (42, Some(&b"/bin/sh"[..])));
        assert_eq!(image.arguments, Some(Arguments { bytes: b"sh\0-c".to_vec(), whole: 9 }));
        let Some(Seen::Exec(image)) = understand(header(kind::EXEC), b"/bin/sh", &mut waiting) else { panic!() };
        assert_eq!(image.arguments, None);
    }

    #[test]
    fn an_address_is_read_as_the_kernel_wrote_it() {
        let mut payload = vec![0; 32];
        payload[..4].copy_from_slice(&[169, 254, 169, 254]);
        for (at, word) in [(16, INET), (20, 80), (24, 1), (28, 6)] {
            payload[at..at + 4].copy_from_slice(&u32::to_ne_bytes(word));
        }
        let seen = socket(Header { op: call::CONNECT, ..header(kind::ADDRESS) }, &payload);
        let address = Some((InetCall::Connect, Protocol::Tcp, "169.254.169.254:80".parse().unwrap()));
        assert_eq!(seen, Seen::Socket { tid: 8, address });
        assert_eq!(socket(Header { op: call::CONNECT, ..header(kind::ADDRESS) }, &payload[..31]), Seen::Garbled);
        assert_eq!(socket(Header { op: 9, ..header(kind::ADDRESS) }, &payload), Seen::Garbled);
    }

    #[test]
    fn an_unknown_record_is_told() {
        assert_eq!(understand(header(99), b"", &mut HashMap::new()), Some(Seen::Garbled));
    }
}
