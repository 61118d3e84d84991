//! Where an address leads, judged, and the bytes with which the kernel is led there.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;

use super::address::{self, Address, Destination, Role};
use super::{judge, socket::Socket, unmediated};
use crate::bpf::lock::SocketLock;
use crate::event::{Action, InetCall, UnixName};
use crate::notify::agent::{AT_FDCWD, Stop};
use crate::notify::resolve::Last;
use crate::notify::{Call, Context, Reply};
use crate::sys;

/// An address that was judged.
#[derive(Debug)]
pub struct Target {
    /// What to give the kernel.
    pub bytes: Vec<u8>,
    /// It ends an association instead of making one.
    pub leads_nowhere: bool,
    /// Keeps the socket file that `bytes` names by its handle.
    _file: Option<OwnedFd>,
    announcement: Option<Announcement>,
}

/// What the socket hooks are told before the call is made.
struct Announcement {
    lock: Arc<SocketLock>,
    how: InetCall,
    address: SocketAddr,
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.how, self.address)
    }
}

impl Target {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, leads_nowhere: false, _file: None, announcement: None }
    }

    /// Makes the call that was judged, with the judged bytes, on this thread.
    ///
    /// # Errors
    /// Those of `act`; `ENOBUFS` if the call could not be announced.
    pub fn make<R>(&self, act: impl FnOnce(&[u8]) -> Result<R, Errno>) -> Result<R, Errno> {
        match &self.announcement {
            Some(Announcement { lock, how, address }) => lock.announce(*how, *address, || act(&self.bytes)),
            None => act(&self.bytes),
        }
    }

    /// An address that the kernel never reads, whatever it says.
    pub fn unread(bytes: Vec<u8>) -> Self {
        Self::of(bytes)
    }

    /// Judges where `bytes` lead for `socket`.
    ///
    /// # Errors
    /// The judge's, or the kernel's own for an address that it would refuse.
    pub fn judged(
        context: &Context,
        call: &Call,
        socket: &Socket,
        role: Role,
        how: InetCall,
        bytes: &[u8],
    ) -> Result<Self, Stop> {
        match address::parse(socket.domain, role, bytes) {
            Address::Inet(found) => {
                let found = match role {
                    Role::Local => found,
                    Role::Destination(_) => {
                        let local = sys::socket::local_address(socket)?;
                        address::without_unspecified(socket.domain, found, &local)
                    }
                };
                let action = Action::Inet { call: how, protocol: socket.internet_protocol(), address: found };
                judge(context, call, &action)?;
                let announcement =
                    context.lock.as_ref().map(|lock| Announcement { lock: Arc::clone(lock), how, address: found });
                Ok(Self { announcement, ..Self::of(address::encode(bytes, found)) })
            }
            Address::UnixAbstract(name) => {
                judge(context, call, &unix(how, socket, UnixName::Abstract(name.into())))?;
                Ok(Self::of(bytes.to_vec()))
            }
            Address::UnixUnnamed => {
                judge(context, call, &unix(how, socket, UnixName::Unnamed))?;
                Ok(Self::of(bytes.to_vec()))
            }
            Address::UnixPath(path) => file(context, call, &path, how, socket),
            Address::NetlinkKernel => Ok(Self::of(bytes.to_vec())),
            Address::Disconnect => Ok(Self { leads_nowhere: true, ..Self::of(bytes.to_vec()) }),
            Address::Refused(errno) => Err(errno.into()),
            Address::Unmediated => Err(unmediated(context, call, socket)),
        }
    }
}

fn unix<'a>(how: InetCall, socket: &Socket, name: UnixName<'a>) -> Action<'a> {
    Action::Unix { call: how, socket: socket.unix_type(), name }
}

/// A socket file: the object is judged, and reached through our handle, so that the string is not
/// looked up a second time.
fn file(context: &Context, call: &Call, path: &[u8], how: InetCall, socket: &Socket) -> Result<Target, Stop> {
    let agent = context.agent(call.tid);
    let handle = context.lookup(&agent, AT_FDCWD, path, Last::Follow)?;
    let name = context.name(&agent, &handle)?;
    judge(context, call, &unix(how, socket, UnixName::Path(name.into())))?;
    let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    bytes.extend(format!("/proc/self/fd/{}\0", handle.as_fd().as_raw_fd()).into_bytes());
    Ok(Target { _file: Some(handle), ..Target::of(bytes) })
}

/// Binds a UNIX socket to a path: the parent directory and the name are judged, and then the agent's
/// own string is bound, from its directory, because the kernel keeps it as the socket's name. Nothing
/// of the tree can be moved meanwhile: all that moves things is done by this thread.
pub fn bind_path(context: &Context, call: &Call, socket: &Socket, bytes: &[u8], path: &[u8]) -> Result<Reply, Stop> {
    let agent = context.agent(call.tid);
    let (name, base) = context.new_entry(&agent, path)?;
    judge(context, call, &unix(InetCall::Bind, socket, UnixName::Path(name.into())))?;
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(agent.status()?.umask));
    // Where the thread can't have a working directory of its own it must not stay there.
    let back =
        rustix::fs::open(".", rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    rustix::process::fchdir(&base)?;
    let bound = sys::socket::bind(socket, bytes);
    rustix::process::fchdir(&back)?;
    Ok(super::finish(bound))
}

/// Which addresses of messages mean anything: the kernel ignores those given to a connected stream.
pub fn is_read(socket: &Socket, flags: i32) -> Option<Destination> {
    match (socket.domain, socket.kind) {
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM) if flags & libc::MSG_FASTOPEN != 0 => {
            Some(Destination::Peer)
        }
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM) => None,
        _ => Some(Destination::Message),
    }
}
