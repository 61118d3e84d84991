//! Sending: `sendto` with an address, `sendmsg`.

use std::sync::Arc;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;

use super::address::Role;
use super::message::{self, Memory, Outgoing, Part};
use super::name::{self, Target};
use super::socket;
use super::socket::{Socket, duplicate};
use crate::event::{Action, InetCall, SystemObject, Why};
use crate::notify::agent::Stop;
use crate::notify::{Call, Context, Reply};
use crate::session::Floor;
use crate::sys;
use crate::sys::listener::Listener;

/// Streams are sent in pieces of this size.
const PIECE: usize = 256 << 10;
/// Longer messages than this no socket takes.
const LONGEST: u64 = 8 << 20;
/// Ancillary data without descriptors is seldom longer than this.
const LIGHT: usize = 256;
/// The kernel would send the pages themselves, later: but they are ours.
const ZERO_COPY: i32 = 0x400_0000;
const IP_RETOPTS: i32 = 7;
const IPV6_2292RTHDR: i32 = 5;
const IPV6_RTHDR: i32 = 57;

/// Memory of the agent, from any thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgentMemory {
    pub(super) tid: i32,
}

impl Memory for AgentMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        match sys::memory::read(self.tid, address, into)? {
            count if count == into.len() => Ok(()),
            _ => Err(Errno::FAULT),
        }
    }
}

pub(super) fn unreadable(errno: Errno) -> Stop {
    match errno {
        Errno::PERM => Stop::Unresolved(Why::Unreadable, Floor::Unreadable),
        other => Stop::Errno(other),
    }
}

pub(super) fn sendto(context: &mut Context, call: &Call) -> Result<Reply, Stop> {
    let memory = AgentMemory { tid: call.tid };
    let socket = Arc::new(socket(context, call)?);
    let address = message::destination(&memory, call.args[4], call.args[5] as u32).map_err(unreadable)?;
    if call.args[5] as u32 as usize > super::address::LONGEST {
        return Err(Errno::INVAL.into());
    }
    let parts = vec![Part { address: call.args[1], length: call.args[2].min(0x7fff_f000) }];
    let outgoing = Outgoing { address, parts, control: Vec::new() };
    let letter = Letter::judged(context, call, &socket, outgoing, call.int(3))?;
    post(context, call, letter)
}

pub(super) fn sendmsg(context: &mut Context, call: &Call) -> Result<Reply, Stop> {
    let memory = AgentMemory { tid: call.tid };
    let socket = Arc::new(socket(context, call)?);
    let outgoing = message::read_header(&memory, call.args[1]).map_err(unreadable)?;
    let letter = Letter::judged(context, call, &socket, outgoing, call.int(2))?;
    post(context, call, letter)
}

/// What came of sending without waiting.
pub(super) enum Started {
    /// It is sent.
    Sent(u64),
    /// A part of it is sent, and the socket does not wait for room.
    Cut(u64),
    /// The rest, after so many bytes, waits for room.
    Waits(Box<Letter>, u64),
}

/// Sends, now or on a thread of its own.
fn post(context: &mut Context, call: &Call, letter: Letter) -> Result<Reply, Stop> {
    match letter.start()? {
        Started::Sent(bytes) | Started::Cut(bytes) => Ok(Reply::Value(bytes as i64)),
        Started::Waits(letter, sent) => Ok(context
            .parking
            .park(call, move || letter.send_rest(sent).map_or_else(Reply::Errno, |sent| Reply::Value(sent as i64)))),
    }
}

enum Progress {
    /// All of it.
    Sent(u64),
    /// No room for more.
    Blocked { sent: u64 },
}

/// One judged message, ready to be sent.
pub(super) struct Letter {
    socket: Arc<Socket>,
    memory: AgentMemory,
    listener: Arc<Listener>,
    call: u64,
    target: Option<Target>,
    parts: Vec<Part>,
    total: u64,
    control: Vec<u8>,
    /// Duplicates that `control` names by number.
    attached: Vec<OwnedFd>,
    flags: i32,
    /// Sending connects first (TCP Fast Open), which may take long.
    connects: bool,
}

impl Letter {
    pub(super) fn judged(
        context: &Context,
        call: &Call,
        socket: &Arc<Socket>,
        outgoing: Outgoing,
        flags: i32,
    ) -> Result<Self, Stop> {
        if flags & ZERO_COPY != 0 {
            return Err(Errno::NOBUFS.into());
        }
        let total = outgoing.total();
        if !socket.is_stream() && total > LONGEST {
            return Err(Errno::MSGSIZE.into());
        }
        if !matches!(socket.domain, libc::AF_UNIX | libc::AF_INET | libc::AF_INET6 | libc::AF_NETLINK) {
            return Err(super::unmediated(context, call, socket));
        }
        let target = destination(context, call, socket, outgoing.address, flags)?;
        let (control, attached) = attachments(context, call, socket, outgoing.control)?;
        Ok(Self {
            memory: AgentMemory { tid: call.tid },
            listener: Arc::clone(&context.listener),
            call: call.id,
            connects: target.is_some() && socket.domain != libc::AF_UNIX && socket.is_stream(),
            socket: Arc::clone(socket),
            target,
            parts: outgoing.parts,
            total,
            control,
            attached,
            flags,
        })
    }

    /// Sends what goes without waiting.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`, with the signal that comes with `EPIPE`.
    pub(super) fn start(self) -> Result<Started, Errno> {
        let waits = self.flags & libc::MSG_DONTWAIT == 0 && self.socket.blocks()?;
        if waits && self.connects {
            return Ok(Started::Waits(Box::new(self), 0));
        }
        match self.send_now() {
            Ok(Progress::Sent(bytes)) => Ok(Started::Sent(bytes)),
            Ok(Progress::Blocked { sent }) if waits => Ok(Started::Waits(Box::new(self), sent)),
            Ok(Progress::Blocked { sent: 0 }) => Err(Errno::AGAIN),
            Ok(Progress::Blocked { sent }) => Ok(Started::Cut(sent)),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    /// Whether it holds descriptors, or much memory beside its data, until it is sent.
    pub(super) fn is_heavy(&self) -> bool {
        !self.attached.is_empty() || self.control.len() > LIGHT
    }

    /// Its data, in bytes.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// As much as goes without waiting.
    fn send_now(&self) -> Result<Progress, Errno> {
        let mut sent = 0;
        loop {
            let more = match self.piece(sent, self.flags | libc::MSG_DONTWAIT) {
                Err(Errno::AGAIN) => return Ok(Progress::Blocked { sent }),
                Err(_) if sent > 0 => return Ok(Progress::Sent(sent)),
                other => other?,
            };
            sent += more.sent;
            if sent >= self.total || !self.socket.is_stream() {
                return Ok(Progress::Sent(sent));
            }
            if more.sent < more.offered {
                return Ok(Progress::Blocked { sent });
            }
        }
    }

    /// The rest, waiting for room.
    ///
    /// # Errors
    /// As [`Letter::start`]; `EINTR` before anything was sent.
    pub(super) fn send_rest(&self, sent: u64) -> Result<u64, Errno> {
        let mut sent = sent;
        loop {
            match self.piece(sent, self.flags) {
                Err(_) if sent > 0 => return Ok(sent),
                Err(errno) => return Err(self.failed(errno)),
                Ok(more) => {
                    sent += more.sent;
                    if sent >= self.total || !self.socket.is_stream() || more.sent < more.offered {
                        return Ok(sent);
                    }
                }
            }
        }
    }

    /// One piece of a stream, or a whole message.
    fn piece(&self, skip: u64, flags: i32) -> Result<Piece, Errno> {
        let most = if self.socket.is_stream() { PIECE } else { LONGEST as usize };
        let data = message::data(&self.memory, &self.parts, skip, most)?;
        // The caller's number may be somebody else's by now, and so what was read.
        if !self.listener.is_pending(self.call) {
            return Err(Errno::INTR);
        }
        let first = skip == 0;
        let send = |address: Option<&[u8]>| {
            let outgoing = sys::socket::Message {
                address,
                data: &data,
                control: if first { &self.control } else { &[] },
                flags: if first { flags } else { flags & !libc::MSG_FASTOPEN },
            };
            sys::socket::send(&*self.socket, outgoing)
        };
        let sent = match self.target.as_ref().filter(|_| first) {
            Some(target) => target.make(|bytes| send(Some(bytes)))?,
            None => send(None)?,
        } as u64;
        Ok(Piece { sent, offered: data.len() as u64 })
    }

    /// Gives `errno`, after the signal that the kernel sends a writer to a stream that nobody reads.
    fn failed(&self, errno: Errno) -> Errno {
        if errno != Errno::PIPE || !self.socket.is_stream() || self.flags & libc::MSG_NOSIGNAL != 0 {
            return errno;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.memory.tid)).unwrap_or_default();
        let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        if let Some(tgid) = tgid.filter(|_| self.listener.is_pending(self.call)) {
            let _ = sys::signal::signal_thread(tgid, self.memory.tid, libc::SIGPIPE);
        }
        errno
    }
}

struct Piece {
    sent: u64,
    offered: u64,
}

fn destination(
    context: &Context,
    call: &Call,
    socket: &Socket,
    address: Option<Vec<u8>>,
    flags: i32,
) -> Result<Option<Target>, Stop> {
    let Some(bytes) = address else { return Ok(None) };
    match (socket.domain, socket.kind) {
        // Refused or ignored whatever it says.
        (libc::AF_UNIX, libc::SOCK_STREAM) => return Ok(Some(Target::unread(bytes))),
        (libc::AF_UNIX, libc::SOCK_SEQPACKET) => return Ok(None),
        _ => {}
    }
    let Some(kind) = name::is_read(socket, flags) else { return Ok(None) };
    let how = if socket.is_stream() { InetCall::Connect } else { InetCall::Send };
    Target::judged(context, call, socket, Role::Destination(kind), how, &bytes).map(Some)
}

/// Ancillary data with the agent's descriptors replaced by duplicates of ours.
fn attachments(
    context: &Context,
    call: &Call,
    socket: &Socket,
    mut control: Vec<u8>,
) -> Result<(Vec<u8>, Vec<OwnedFd>), Stop> {
    let mut attached = Vec::new();
    for piece in message::pieces(&control)? {
        match (piece.level, piece.kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) if socket.domain == libc::AF_UNIX => {
                let place = &mut control[piece.range];
                let numbers = message::descriptors(place)?;
                for (number, four) in numbers.into_iter().zip(place.chunks_exact_mut(4)) {
                    let ours = duplicate(call.tid, number)?;
                    four.copy_from_slice(&ours.as_raw_fd().to_ne_bytes());
                    attached.push(ours);
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => credentials(context, call, &mut control[piece.range])?,
            // Would send the message by way of another host than the one that was judged.
            (libc::IPPROTO_IP, IP_RETOPTS) | (libc::IPPROTO_IPV6, IPV6_RTHDR | IPV6_2292RTHDR) => {
                let object = SystemObject { class: "socket", detail: "route" };
                let action = Action::System { name: "sendmsg", object };
                return Err(context.judge.deny(call.actor(), &action, Floor::Unmediated).into());
            }
            _ => {}
        }
    }
    Ok((control, attached))
}

/// The agent may only say its own pid; the one that sends is the guard's.
fn credentials(context: &Context, call: &Call, data: &mut [u8]) -> Result<(), Stop> {
    let Some(pid) = data.get_mut(..4) else { return Err(Errno::INVAL.into()) };
    let status = context.agent(call.tid).status()?;
    let said = pid.try_into().map(|four: &mut [u8; 4]| i32::from_ne_bytes(*four)).unwrap_or(0);
    if said == status.tgid {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        if let Some(pid) = data.get_mut(..4) {
            pid.copy_from_slice(&own.to_ne_bytes());
        }
    } else if said == rustix::process::getpid().as_raw_nonzero().get() {
        return Err(Errno::PERM.into());
    }
    Ok(())
}
