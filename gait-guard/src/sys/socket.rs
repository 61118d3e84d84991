//! Socket calls with addresses and ancillary data as raw bytes: what the guard judged is, byte for
//! byte, what the kernel gets.

use libc::{c_int, c_void, socklen_t};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

use super::last_errno;

fn length(bytes: &[u8]) -> Result<socklen_t, Errno> {
    socklen_t::try_from(bytes.len()).map_err(|_| Errno::INVAL)
}

/// `connect(2)`.
///
/// # Errors
/// The kernel's own.
pub fn connect(socket: impl AsFd, address: &[u8]) -> Result<(), Errno> {
    let len = length(address)?;
    // SAFETY: `address` is readable for `len` bytes; the kernel copies it before it looks at it.
    let result = unsafe { libc::connect(socket.as_fd().as_raw_fd(), address.as_ptr().cast(), len) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `bind(2)`.
///
/// # Errors
/// The kernel's own.
pub fn bind(socket: impl AsFd, address: &[u8]) -> Result<(), Errno> {
    let len = length(address)?;
    // SAFETY: `address` is readable for `len` bytes; the kernel copies it before it looks at it.
    let result = unsafe { libc::bind(socket.as_fd().as_raw_fd(), address.as_ptr().cast(), len) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `listen(2)` with the backlog as the agent gave it, negative or not.
///
/// # Errors
/// The kernel's own.
pub fn listen(socket: impl AsFd, backlog: c_int) -> Result<(), Errno> {
    // SAFETY: takes two numbers.
    let result = unsafe { libc::listen(socket.as_fd().as_raw_fd(), backlog) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `getsockname(2)`, as bytes.
///
/// # Errors
/// The kernel's own.
pub fn local_address(socket: impl AsFd) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0u8; size_of::<libc::sockaddr_storage>()];
    let mut len = length(&bytes)?;
    // SAFETY: `bytes` is writable for `len` bytes, and `len` is a valid place for the length.
    let result = unsafe { libc::getsockname(socket.as_fd().as_raw_fd(), bytes.as_mut_ptr().cast(), &raw mut len) };
    if result < 0 {
        return Err(last_errno());
    }
    bytes.truncate(len as usize);
    Ok(bytes)
}

/// An `int` socket option of `SOL_SOCKET`: type, domain, protocol.
///
/// # Errors
/// `ENOTSOCK`, or the kernel's own.
pub fn option(socket: impl AsFd, name: c_int) -> Result<c_int, Errno> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `value` is writable for `len` bytes, which is its size, and `len` for a length.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut len) };
    if result < 0 { Err(last_errno()) } else { Ok(value) }
}

/// One message to send: everything is a copy of ours.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Destination, if one was given.
    pub address: Option<&'a [u8]>,
    /// The bytes to send.
    pub data: &'a [u8],
    /// Ancillary data in the kernel's layout, descriptors already ours.
    pub control: &'a [u8],
    /// The agent's flags. `MSG_NOSIGNAL` is always added: the signal would hit the guard.
    pub flags: c_int,
}

/// `sendmsg(2)` of one message.
///
/// # Errors
/// The kernel's own.
pub fn send(socket: impl AsFd, message: Message<'_>) -> Result<usize, Errno> {
    let mut part =
        libc::iovec { iov_base: message.data.as_ptr().cast_mut().cast::<c_void>(), iov_len: message.data.len() };
    // SAFETY: msghdr is plain data; all zeroes is a valid, empty one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    if let Some(address) = message.address {
        header.msg_name = address.as_ptr().cast_mut().cast();
        header.msg_namelen = length(address)?;
    }
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !message.control.is_empty() {
        header.msg_control = message.control.as_ptr().cast_mut().cast();
        header.msg_controllen = message.control.len();
    }
    let flags = message.flags | libc::MSG_NOSIGNAL;
    // SAFETY: every pointer in `header` comes from a live slice and goes with that slice's length;
    // sendmsg only reads through them.
    let sent = unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const header, flags) };
    usize::try_from(sent).map_err(|_| last_errno())
}

/// `socket(2)`, close-on-exec whatever was asked for.
///
/// # Errors
/// The kernel's own.
pub fn create(domain: c_int, kind: c_int, protocol: c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: takes three numbers.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pidfd of a *thread*, so that a descriptor table that is not shared with the leader is the right one.
///
/// # Errors
/// `ESRCH` for a dead thread; before Linux 6.9 `EINVAL`, also for any thread but a leader.
pub fn thread_pidfd(tid: i32) -> Result<OwnedFd, Errno> {
    const PIDFD_THREAD: libc::c_uint = libc::O_EXCL as libc::c_uint;
    // SAFETY: takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, tid, PIDFD_THREAD) };
    let fd = c_int::try_from(fd).map_err(|_| Errno::BADF)?;
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A duplicate of descriptor `fd` of the process behind `pidfd`.
///
/// # Errors
/// `EBADF` where there is none, `EPERM` where duplicating is not allowed (containers).
pub fn duplicate(pidfd: BorrowedFd<'_>, fd: c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: takes three numbers.
    let ours = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    let ours = c_int::try_from(ours).map_err(|_| Errno::BADF)?;
    if ours < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(ours) })
}
