//! Calls on sockets that name somebody: `connect`, `bind`, `listen`, and sending with an address or
//! with descriptors.
//!
//! Neither the address nor the descriptor number can be trusted to stay what they were: so the
//! socket is duplicated, the address copied, the copy judged, and the call made here with both.
//! What the agent sees of that is told in the documentation: peers that ask for the pid behind a
//! UNIX socket are given the guard's.

mod address;
mod many;
mod message;
mod name;
mod send;
mod socket;

use rustix::io::Errno;

use self::address::{Address, Destination, Role};
use self::name::Target;
use self::socket::Socket;
use super::agent::Stop;
use super::{Call, Context, Reply};
use crate::event::{Action, InetCall, SystemObject, UnixName, Why};
use crate::session::{Floor, Ruling};
use crate::sys;

/// Decides and performs a call of the class `Net`.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    let done = match call.nr {
        libc::SYS_connect => connect(context, call),
        libc::SYS_bind => bind(context, call),
        libc::SYS_listen => listen(context, call),
        libc::SYS_sendto => send::sendto(context, call),
        libc::SYS_sendmsg => send::sendmsg(context, call),
        libc::SYS_sendmmsg => many::sendmmsg(context, call),
        _ => Err(Stop::Errno(Errno::NOSYS)),
    };
    done.unwrap_or_else(|stop| Reply::Errno(stopped(context, call, stop)))
}

/// Records a refusal that needed no policy.
fn stopped(context: &Context, call: &Call, stop: Stop) -> Errno {
    let name = super::refuse::name(call.nr);
    let deny = |class, detail, floor| {
        let action = Action::System { name, object: SystemObject { class, detail } };
        context.judge.deny(call.actor(), &action, floor)
    };
    match stop {
        Stop::Errno(errno) => errno,
        Stop::Floor(floor, path) => {
            let name = UnixName::Path(path.into());
            let action = Action::Unix { call: InetCall::Connect, socket: crate::event::UnixType::Stream, name };
            context.judge.deny(call.actor(), &action, floor)
        }
        Stop::Unresolved(Why::Unreadable, floor) => deny("process", "unreadable", floor),
        Stop::Unresolved(_, floor) => deny("socket", "unresolved", floor),
    }
}

/// Duplicates the socket of argument 0.
///
/// Where that is refused (containers) nothing can be done on behalf of the agent: the call is judged
/// by its address alone, so that it is recorded, and then refused in any case.
fn socket(context: &Context, call: &Call) -> Result<Socket, Stop> {
    match Socket::of(call.tid, call.int(0)) {
        Err(Errno::PERM) => {
            unreachable_socket(context, call)?;
            Err(Errno::PERM.into())
        }
        other => other.map_err(Stop::Errno),
    }
}

/// Judges what can be judged of a call whose socket can't be had. Only the refusal is of use.
fn unreachable_socket(context: &Context, call: &Call) -> Result<(), Stop> {
    let role = match call.nr {
        libc::SYS_connect => Role::Destination(Destination::Peer),
        libc::SYS_sendto => Role::Destination(Destination::Message),
        libc::SYS_bind => Role::Local,
        _ => return Err(Stop::Unresolved(Why::Unreachable, Floor::Unreadable)),
    };
    let (pointer, length) = if call.nr == libc::SYS_sendto { (4, 5) } else { (1, 2) };
    let bytes = copy_address(context, call.tid, call.args[pointer], call.int(length))?;
    let domain = bytes.get(..2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
    let domain = i32::from(domain);
    let parsed = address::parse(domain, role, &bytes);
    let how = match role {
        Role::Destination(Destination::Peer) => InetCall::Connect,
        Role::Destination(Destination::Message) => InetCall::Send,
        Role::Local => InetCall::Bind,
    };
    match parsed {
        Address::Inet(address) => {
            let address = address::without_unspecified(domain, address, &[]);
            let action = Action::Inet { call: how, protocol: crate::event::Protocol::Other, address };
            judge(context, call, &action)
        }
        Address::UnixAbstract(name) => {
            let name = UnixName::Abstract(name.into());
            let action = Action::Unix { call: how, socket: crate::event::UnixType::Stream, name };
            judge(context, call, &action)
        }
        Address::Refused(errno) => Err(errno.into()),
        _ => Err(Stop::Unresolved(Why::Unreachable, Floor::Unreadable)),
    }
}

/// Copies an address as `connect` and `bind` do (`move_addr_to_kernel`).
fn copy_address(context: &Context, tid: i32, pointer: u64, length: i32) -> Result<Vec<u8>, Stop> {
    let length = usize::try_from(length).ok().filter(|length| *length <= address::LONGEST).ok_or(Errno::INVAL)?;
    let mut bytes = vec![0; length];
    if length > 0 {
        context.agent(tid).bytes(pointer, &mut bytes)?;
    }
    Ok(bytes)
}

fn judge(context: &Context, call: &Call, action: &Action<'_>) -> Result<(), Stop> {
    context.confirm(call)?;
    match context.judge.judge(call.actor(), action) {
        Ruling::Allow => Ok(()),
        Ruling::Deny(errno) => Err(Stop::Errno(errno)),
    }
}

/// A socket or address of a kind that nothing judges.
fn unmediated(context: &Context, call: &Call, socket: &Socket) -> Stop {
    let args = [socket.domain as u64, socket.kind as u64, socket.protocol as u64, 0, 0, 0];
    let object = super::refuse::refuse("socket", &args, |_| super::refuse::Whose::Outside).object;
    let action = Action::System { name: super::refuse::name(call.nr), object };
    Stop::Errno(context.judge.deny(call.actor(), &action, Floor::Unmediated))
}

fn connect(context: &mut Context, call: &Call) -> Result<Reply, Stop> {
    let socket = socket(context, call)?;
    let bytes = copy_address(context, call.tid, call.args[1], call.int(2))?;
    let role = Role::Destination(Destination::Peer);
    let target = Target::judged(context, call, &socket, role, InetCall::Connect, &bytes)?;
    // A datagram socket only notes the address, and a disconnection waits for nobody.
    if target.leads_nowhere || socket.kind == libc::SOCK_DGRAM || !socket.blocks()? {
        return Ok(finish(target.make(|bytes| sys::socket::connect(&socket, bytes))));
    }
    // The whole target goes along: it holds the socket file open.
    let connect = move |target: Target| finish(target.make(|bytes| sys::socket::connect(&socket, bytes)));
    Ok(context.parking.park(call, move || connect(target)))
}

fn bind(context: &mut Context, call: &Call) -> Result<Reply, Stop> {
    let socket = socket(context, call)?;
    let bytes = copy_address(context, call.tid, call.args[1], call.int(2))?;
    match address::parse(socket.domain, Role::Local, &bytes) {
        Address::UnixPath(path) => name::bind_path(context, call, &socket, &bytes, &path),
        _ => {
            let target = Target::judged(context, call, &socket, Role::Local, InetCall::Bind, &bytes)?;
            Ok(finish(target.make(|bytes| sys::socket::bind(&socket, bytes))))
        }
    }
}

/// `listen` on an internet socket without an address takes a free port of all addresses. A UNIX
/// socket can only listen where it was bound, which was judged.
fn listen(context: &mut Context, call: &Call) -> Result<Reply, Stop> {
    let socket = socket(context, call)?;
    if matches!(socket.domain, libc::AF_INET | libc::AF_INET6) {
        let bytes = sys::socket::local_address(&socket)?;
        Target::judged(context, call, &socket, Role::Local, InetCall::Bind, &bytes)?;
    } else if socket.domain != libc::AF_UNIX {
        return Err(unmediated(context, call, &socket));
    }
    Ok(finish(sys::socket::listen(&socket, call.int(1))))
}

fn finish(done: Result<(), Errno>) -> Reply {
    match done {
        Ok(()) => Reply::Value(0),
        Err(errno) => Reply::Errno(errno),
    }
}
