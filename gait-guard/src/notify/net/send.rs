//! Sending: `sendto` with an address, `sendmsg`, `sendmmsg`.

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
/// `UIO_MAXIOV`: `sendmmsg` sends at most this many.
const MOST_MESSAGES: u32 = 1024;
/// The kernel would send the pages themselves, later: but they are ours.
const ZERO_COPY: i32 = 0x400_0000;
const IP_RETOPTS: i32 = 7;
const IPV6_2292RTHDR: i32 = 5;
const IPV6_RTHDR: i32 = 57;

/// Memory of the agent, from any thread.
#[derive(Clone, Copy, Debug)]
struct AgentMemory {
    tid: i32,
}

impl Memory for AgentMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        match sys::memory::read(self.tid, address, into)? {
            count if count == into.len() => Ok(()),
            _ => Err(Errno::FAULT),
        }
    }
}

fn unreadable(errno: Errno) -> Stop {
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
    post(context, call, letter, None)
}

pub(super) fn sendmsg(context: &mut Context, call: &Call) -> Result<Reply, Stop> {
    let memory = AgentMemory { tid: call.tid };
    let socket = Arc::new(socket(context, call)?);
    let outgoing = message::read_header(&memory, call.args[1]).map_err(unreadable)?;
    let letter = Letter::judged(context, call, &socket, outgoing, call.int(2))?;
    post(context, call, letter, None)
}

/// Sends as many messages as go at once; only the first may wait.
pub(super) fn sendmmsg(context: &mut Context, call: &Call) -> Result<Reply, Stop> {
    let socket = Arc::new(socket(context, call)?);
    let count = (call.args[2] as u32).min(MOST_MESSAGES);
    for n in 0..u64::from(count) {
        let entry = call.args[1].wrapping_add(n * message::ENTRY);
        match one_of_many(context, call, &socket, entry, n) {
            Ok(None) => {}
            Ok(Some(reply)) => return Ok(reply),
            Err(stop) if n == 0 => return Err(stop),
            Err(stop) => {
                super::stopped(context, call, stop);
                return Ok(Reply::Value(n as i64));
            }
        }
    }
    Ok(Reply::Value(count.into()))
}

/// Sends one message of several. `None`: go on with the next.
fn one_of_many(
    context: &mut Context,
    call: &Call,
    socket: &Arc<Socket>,
    entry: u64,
    before: u64,
) -> Result<Option<Reply>, Stop> {
    let memory = AgentMemory { tid: call.tid };
    let outgoing = message::read_header(&memory, entry).map_err(unreadable)?;
    let letter = Letter::judged(context, call, socket, outgoing, call.int(3))?;
    let place = entry.wrapping_add(message::ENTRY_LENGTH);
    if before == 0 {
        return match post(context, call, letter, Some(place))? {
            Reply::Value(_) => Ok(None),
            other => Ok(Some(other)),
        };
    }
    match letter.send_now()? {
        Progress::Sent(bytes) => {
            note_length(call.tid, place, bytes)?;
            Ok(None)
        }
        Progress::Blocked { sent: 0 } => Ok(Some(Reply::Value(before as i64))),
        Progress::Blocked { sent } => {
            note_length(call.tid, place, sent)?;
            Ok(Some(Reply::Value(before as i64 + 1)))
        }
    }
}

fn note_length(tid: i32, place: u64, bytes: u64) -> Result<(), Errno> {
    match sys::memory::write(tid, place, &(bytes as u32).to_ne_bytes())? {
        4 => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

/// Sends, now or on a thread of its own. `length` is where the number of bytes goes, for the first
/// of several messages; the call then returns the number of messages.
fn post(context: &mut Context, call: &Call, letter: Letter, length: Option<u64>) -> Result<Reply, Stop> {
    let waits = letter.flags & libc::MSG_DONTWAIT == 0 && letter.socket.blocks()?;
    let finish = move |sent: u64, tid: i32| match length {
        None => Reply::Value(sent as i64),
        Some(place) => note_length(tid, place, sent).map_or_else(Reply::Errno, |()| Reply::Value(1)),
    };
    if waits && letter.connects {
        return park(context, call, letter, 0, finish);
    }
    match letter.send_now() {
        Ok(Progress::Sent(bytes)) => Ok(finish(bytes, call.tid)),
        Ok(Progress::Blocked { sent }) if waits => park(context, call, letter, sent, finish),
        Ok(Progress::Blocked { sent: 0 }) => Err(Errno::AGAIN.into()),
        Ok(Progress::Blocked { sent }) => Ok(finish(sent, call.tid)),
        Err(errno) => {
            letter.broken_pipe(errno);
            Err(errno.into())
        }
    }
}

fn park(
    context: &mut Context,
    call: &Call,
    letter: Letter,
    sent: u64,
    finish: impl Fn(u64, i32) -> Reply + Send + 'static,
) -> Result<Reply, Stop> {
    let tid = call.tid;
    Ok(context.parking.park(call, move || match letter.send_rest(sent) {
        Ok(sent) => finish(sent, tid),
        Err(errno) => {
            letter.broken_pipe(errno);
            Reply::Errno(errno)
        }
    }))
}

enum Progress {
    /// All of it.
    Sent(u64),
    /// No room for more.
    Blocked { sent: u64 },
}

/// One judged message, ready to be sent.
struct Letter {
    socket: Arc<Socket>,
    memory: AgentMemory,
    listener: Arc<Listener>,
    call: u64,
    target: Option<Target>,
    parts: Vec<Part>,
    total: u64,
    control: Vec<u8>,
    /// Duplicates that `control` names by number.
    _attached: Vec<OwnedFd>,
    flags: i32,
    /// Sending connects first (TCP Fast Open), which may take long.
    connects: bool,
}

impl Letter {
    fn judged(
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
            _attached: attached,
            flags,
        })
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
    fn send_rest(&self, sent: u64) -> Result<u64, Errno> {
        let mut sent = sent;
        loop {
            match self.piece(sent, self.flags) {
                Err(_) if sent > 0 => return Ok(sent),
                Err(errno) => return Err(errno),
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
        let outgoing = sys::socket::Message {
            address: self.target.as_ref().filter(|_| first).map(|target| target.bytes.as_slice()),
            data: &data,
            control: if first { &self.control } else { &[] },
            flags: if first { flags } else { flags & !libc::MSG_FASTOPEN },
        };
        let sent = sys::socket::send(&*self.socket, outgoing)? as u64;
        Ok(Piece { sent, offered: data.len() as u64 })
    }

    /// The signal that the kernel sends a writer to a stream that nobody reads.
    fn broken_pipe(&self, errno: Errno) {
        if errno != Errno::PIPE || !self.socket.is_stream() || self.flags & libc::MSG_NOSIGNAL != 0 {
            return;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.memory.tid)).unwrap_or_default();
        let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        if let Some(tgid) = tgid.filter(|_| self.listener.is_pending(self.call)) {
            let _ = sys::signal::signal_thread(tgid, self.memory.tid, libc::SIGPIPE);
        }
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
