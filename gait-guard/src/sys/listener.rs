//! The seccomp listener: receives held syscalls and answers them.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{self, Errno};

/// The kernel's own number for "run a pending handler, then restart or give EINTR".
const ERESTARTSYS: i32 = 512;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`: hand the processor over instead of waking another one.
const SYNC_WAKE_UP: libc::c_ulong = 1;

/// One held syscall, as the kernel reports it.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// Its name among the pending ones.
    pub id: u64,
    /// The thread, in the pid namespace of whoever received it.
    pub tid: i32,
    /// The syscall number.
    pub nr: i32,
    /// The architecture, `AUDIT_ARCH_*`.
    pub arch: u32,
    /// The six argument registers.
    pub args: [u64; 6],
}

/// How the agent's close-on-exec flag for an injected descriptor is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExec {
    /// The descriptor stays open.
    Keep,
    /// The descriptor is closed.
    Close,
}

/// Whether adding a descriptor also answers the call with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In one step: the agent runs at once.
    Now,
    /// Not yet: [`Listener::send_value`] must follow.
    Later,
}

/// The descriptor that `seccomp(2)` gave for a filter with `NEW_LISTENER`.
///
/// Any thread may answer, and any may receive.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    /// Locked by the thread that waits for a call, on kernels where it must not wait in the ioctl.
    turn: Option<Mutex<()>>,
}

impl Listener {
    /// Takes over a descriptor that [`super::seccomp`] made.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, turn: (!wakes_when_deserted(rustix::system::uname().release().to_bytes())).then(Mutex::default) }
    }

    /// Makes wake-ups of either side stay on this processor (Linux 6.6).
    pub fn wake_synchronously(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open for as long as `self`; this request takes its argument by value.
        let rc = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
        check(rc.into()).map(drop)
    }

    /// Waits for the next held call. `ENOENT`: the caller died meanwhile, or nobody is left under the filter
    /// (see [`Listener::is_deserted`]).
    pub fn receive(&self) -> io::Result<Notification> {
        let _turn = self.turn.as_ref().map(|turn| self.wait_outside(turn)).transpose()?;
        // SAFETY: all fields are integers, for which zero is a value; the kernel demands zeroes.
        let mut raw: libc::seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the descriptor is open for as long as `self`; the kernel writes one `seccomp_notif`
        // into `raw`, which is of that type and outlives the call.
        let rc = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &mut raw) };
        check(rc.into())?;
        Ok(Notification { id: raw.id, tid: raw.pid as i32, nr: raw.data.nr, arch: raw.data.arch, args: raw.data.args })
    }

    /// Waits until the ioctl will not: before Linux 6.11 it would wait for ever once nobody is left. One thread at a
    /// time, so that nobody takes the call that another saw coming; the turn ends when the call was received.
    fn wait_outside<'t>(&self, turn: &'t Mutex<()>) -> io::Result<MutexGuard<'t, ()>> {
        // It guards no data that a panic could leave in pieces.
        let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        rustix::event::poll(&mut fds, None)?;
        if fds[0].revents().contains(PollFlags::IN) { Ok(turn) } else { Err(Errno::NOENT) }
    }

    /// Whether no task under the filter is left.
    pub fn is_deserted(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }

    /// Whether `id` still belongs to a live thread that waits.
    pub fn is_pending(&self, id: u64) -> bool {
        // SAFETY: the descriptor is open for as long as `self`; the kernel reads 8 bytes from `id`, which
        // outlives the call.
        let rc = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &id) };
        rc == 0
    }

    /// The call returns `value`.
    pub fn send_value(&self, id: u64, value: i64) -> io::Result<()> {
        self.send(id, value, 0, 0)
    }

    /// The call fails with `error`.
    pub fn send_errno(&self, id: u64, error: Errno) -> io::Result<()> {
        self.send(id, 0, -error.raw_os_error(), 0)
    }

    /// The call is interrupted: its signal handler runs, then it restarts or gives EINTR.
    pub fn send_restart(&self, id: u64) -> io::Result<()> {
        self.send(id, 0, -ERESTARTSYS, 0)
    }

    /// The kernel performs the call.
    pub fn send_continue(&self, id: u64) -> io::Result<()> {
        self.send(id, 0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32)
    }

    fn send(&self, id: u64, val: i64, error: i32, flags: u32) -> io::Result<()> {
        let response = libc::seccomp_notif_resp { id, val, error, flags };
        // SAFETY: the descriptor is open for as long as `self`; the kernel reads one `seccomp_notif_resp`
        // from `response`, which is of that type and outlives the call.
        let rc = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &response) };
        check(rc.into()).map(drop)
    }

    /// Installs a copy of `fd` in the table of the caller of `id`; gives the number it has there.
    pub fn add_fd(&self, id: u64, fd: BorrowedFd<'_>, on_exec: OnExec, answer: Answer) -> io::Result<i32> {
        let request = libc::seccomp_notif_addfd {
            id,
            flags: match answer {
                Answer::Now => libc::SECCOMP_ADDFD_FLAG_SEND as u32,
                Answer::Later => 0,
            },
            srcfd: fd.as_raw_fd() as u32,
            newfd: 0,
            newfd_flags: match on_exec {
                OnExec::Keep => 0,
                OnExec::Close => libc::O_CLOEXEC as u32,
            },
        };
        loop {
            // SAFETY: both descriptors are open for this call because they are borrowed; the kernel reads one
            // `seccomp_notif_addfd` from `request`, which is of that type and outlives the call.
            let rc = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &request) };
            match check(rc.into()) {
                Err(Errno::INTR | Errno::INPROGRESS) => {}
                done => return done.map(|number| number as i32),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a kernel of this release interrupts a waiting receiver when the last task under the filter is gone.
fn wakes_when_deserted(release: &[u8]) -> bool {
    let mut numbers = release
        .split(|byte| !byte.is_ascii_digit())
        .map(|digits| std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (6, 11)
}

fn check(rc: i64) -> io::Result<i64> {
    if rc < 0 { Err(super::last_errno()) } else { Ok(rc) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_wake_a_receiver_are_told_by_their_release() {
        for old in ["5.19.0", "6.1.0-56-cloud-amd64", "6.10.11", "6", ""] {
            assert!(!wakes_when_deserted(old.as_bytes()), "{old}");
        }
        for new in ["6.11.0", "6.12.117+deb12-cloud-amd64", "7.0-rc1"] {
            assert!(wakes_when_deserted(new.as_bytes()), "{new}");
        }
    }
}
