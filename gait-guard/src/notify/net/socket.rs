//! A socket of the agent, duplicated: what it is, and who it belongs to.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::event::{Protocol, UnixType};
use crate::sys::socket;

/// A duplicate of a descriptor of the agent: the same open socket, whatever its descriptor number
/// comes to mean meanwhile.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// `AF_*`.
    pub domain: i32,
    /// `SOCK_*`, without flags.
    pub kind: i32,
    /// `IPPROTO_*`.
    pub protocol: i32,
}

impl Socket {
    /// Duplicates descriptor `fd` of thread `tid`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTSOCK`; `EPERM` where descriptors can't be duplicated.
    pub fn of(tid: i32, fd: i32) -> Result<Self, Errno> {
        Self::new(duplicate(tid, fd)?)
    }

    fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let domain = socket::option(&fd, libc::SO_DOMAIN)?;
        let kind = socket::option(&fd, libc::SO_TYPE)?;
        let protocol = socket::option(&fd, libc::SO_PROTOCOL)?;
        Ok(Self { fd, domain, kind, protocol })
    }

    /// What an internet socket speaks.
    pub fn internet_protocol(&self) -> Protocol {
        match (self.kind, self.protocol) {
            (libc::SOCK_STREAM, libc::IPPROTO_TCP) => Protocol::Tcp,
            (libc::SOCK_DGRAM, libc::IPPROTO_UDP) => Protocol::Udp,
            (libc::SOCK_RAW, _) => Protocol::Raw,
            _ => Protocol::Other,
        }
    }

    /// What kind of UNIX socket it is.
    pub fn unix_type(&self) -> UnixType {
        match self.kind {
            libc::SOCK_STREAM => UnixType::Stream,
            libc::SOCK_SEQPACKET => UnixType::Seqpacket,
            _ => UnixType::Dgram,
        }
    }

    /// Whether it keeps order and boundaries of a stream, so that part of the data can be sent.
    pub fn is_stream(&self) -> bool {
        self.kind == libc::SOCK_STREAM
    }

    /// Whether its calls may block. The flag is shared with the agent: it is never changed here.
    ///
    /// # Errors
    /// Those of `fcntl(2)`.
    pub fn blocks(&self) -> Result<bool, Errno> {
        Ok(!rustix::fs::fcntl_getfl(&self.fd)?.contains(rustix::fs::OFlags::NONBLOCK))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Duplicates a descriptor of thread `tid`.
///
/// # Errors
/// `EBADF` where there is none, `EPERM` where it is not allowed.
pub fn duplicate(tid: i32, fd: i32) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    let pidfd = match socket::thread_pidfd(tid) {
        Ok(pidfd) => pidfd,
        // Before Linux 6.9 there are only pidfds of processes, whose table threads nearly always share.
        Err(Errno::INVAL) => process_pidfd(tid)?,
        Err(errno) => return Err(errno),
    };
    socket::duplicate(pidfd.as_fd(), fd)
}

fn process_pidfd(tid: i32) -> Result<OwnedFd, Errno> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).map_err(|_| Errno::SRCH)?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    let pid = tgid.and_then(rustix::process::Pid::from_raw).ok_or(Errno::SRCH)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
}
