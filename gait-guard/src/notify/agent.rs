//! The thread that made a call: its memory, and what `/proc` says of it.
//!
//! Everything read here may be out of date as soon as it was read, and after the thread died it may
//! be that of another one: whoever acts on it asks first whether the notification still stands.

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::text::ShortText;
use crate::event::Why;
use crate::session::Floor;
use crate::sys;

/// Longest path the kernel takes from a process, with its NUL (`PATH_MAX`).
pub(super) const PATH_MAX: usize = 4096;
const PAGE: u64 = 4096;
/// What a dirfd argument is for "the current directory".
pub(super) const AT_FDCWD: i32 = libc::AT_FDCWD;

/// Why an action goes no further.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The call fails natively with this error, and nothing was at stake.
    Errno(Errno),
    /// The floor refuses it; the path names what was aimed at, without pids.
    Floor(Floor, Vec<u8>),
    /// Its target can't be named, so it can't be judged.
    Unresolved(Why, Floor),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// Room for one path of the agent.
pub(super) struct PathBuffer {
    bytes: [u8; PATH_MAX],
    len: usize,
}

impl PathBuffer {
    /// An empty path.
    pub(super) fn new() -> Self {
        Self { bytes: [0; PATH_MAX], len: 0 }
    }

    /// A path that came from elsewhere than a pointer.
    ///
    /// # Errors
    /// `ENAMETOOLONG`; `EINVAL` for one with a NUL in it.
    pub(super) fn of(path: &[u8]) -> Result<Self, Stop> {
        if path.len() >= PATH_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        if path.contains(&0) {
            return Err(Errno::INVAL.into());
        }
        let mut buffer = Self::new();
        buffer.bytes[..path.len()].copy_from_slice(path);
        buffer.len = path.len();
        Ok(buffer)
    }

    /// The path with its NUL.
    pub(super) fn as_c_str(&self) -> &CStr {
        // INVARIANT: `len` is the position of the first NUL.
        CStr::from_bytes_with_nul(&self.bytes[..=self.len]).unwrap_or(c"")
    }

    /// The path without its NUL.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// One thread of the agent, by its id in the guard's pid namespace.
#[derive(Clone, Copy)]
pub(super) struct Agent<'a> {
    proc: BorrowedFd<'a>,
    tid: i32,
}

impl<'a> Agent<'a> {
    /// `proc` is the procfs of the guard's own pid namespace.
    pub(super) fn new(proc: BorrowedFd<'a>, tid: i32) -> Self {
        Self { proc, tid }
    }

    /// Its thread id, in the guard's pid namespace.
    pub(super) fn tid(&self) -> i32 {
        self.tid
    }

    /// Reads the path at `address` as the kernel would: page by page, so that a string that ends
    /// right before an unmapped page is whole, at most `PATH_MAX` bytes with its NUL.
    ///
    /// # Errors
    /// `EFAULT`, `ENAMETOOLONG`; [`Floor::Unreadable`] where the memory may not be read.
    pub(super) fn path(&self, address: u64, buffer: &mut PathBuffer) -> Result<(), Stop> {
        buffer.len = self.string(address, &mut buffer.bytes)?.ok_or(Errno::NAMETOOLONG)?;
        Ok(())
    }

    /// Reads the string at `address` into `room` and gives its length; `None` if it has no NUL there.
    pub(super) fn string(&self, address: u64, room: &mut [u8]) -> Result<Option<usize>, Stop> {
        let mut have = 0;
        while have < room.len() {
            let at = address.wrapping_add(have as u64);
            let to_page_end = (PAGE - at % PAGE) as usize;
            let end = room.len().min(have + to_page_end);
            let count = sys::memory::read(self.tid, at, &mut room[have..end]).map_err(unreadable)?;
            if let Some(nul) = room[have..have + count].iter().position(|byte| *byte == 0) {
                return Ok(Some(have + nul));
            }
            have += count;
        }
        Ok(None)
    }

    /// Fills `buffer` from `address`.
    ///
    /// # Errors
    /// `EFAULT` if it isn't all there; [`Floor::Unreadable`].
    pub(super) fn bytes(&self, address: u64, buffer: &mut [u8]) -> Result<(), Stop> {
        let count = sys::memory::read(self.tid, address, buffer).map_err(unreadable)?;
        if count == buffer.len() { Ok(()) } else { Err(Errno::FAULT.into()) }
    }

    /// A handle on the directory that a relative path starts from.
    ///
    /// # Errors
    /// `EBADF` for a descriptor that is not open; [`Floor::Unreadable`] if the thread can't be examined.
    pub(super) fn base(&self, dirfd: i32) -> Result<OwnedFd, Stop> {
        if dirfd == AT_FDCWD { self.link(format_args!("{}/cwd", self.tid)) } else { self.descriptor(dirfd) }
    }

    /// A handle on the object of one of its descriptors.
    ///
    /// # Errors
    /// As [`Agent::base`].
    pub(super) fn descriptor(&self, fd: i32) -> Result<OwnedFd, Stop> {
        if fd < 0 {
            return Err(Errno::BADF.into());
        }
        self.link(format_args!("{}/fd/{fd}", self.tid))
    }

    /// Whether one of its descriptors is a mere `O_PATH` handle, on which most calls are `EBADF`.
    ///
    /// # Errors
    /// As [`Agent::base`].
    pub(super) fn is_handle(&self, fd: i32) -> Result<bool, Stop> {
        const READ_OR_WRITE: u32 = libc::S_IRUSR | libc::S_IWUSR;
        // The mode of the link tells what the descriptor was opened for, at a third of the price.
        let link = ShortText::format(format_args!("{}/fd/{fd}", self.tid))?;
        let link = rustix::fs::statat(self.proc, link.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(of_descriptor)?;
        if link.st_mode & READ_OR_WRITE != 0 {
            return Ok(false);
        }
        // A handle, or one that was opened for neither (access mode 3).
        let mut room = [0; 256];
        let name = ShortText::format(format_args!("{}/fdinfo/{fd}", self.tid))?;
        let count = self.file(&name, &mut room).map_err(of_descriptor)?;
        let flags = field(&room[..count], b"flags:").and_then(octal).ok_or(Errno::BADF)?;
        Ok(flags & libc::O_PATH as u32 != 0)
    }

    /// What `/proc/TID/status` says of it now.
    ///
    /// # Errors
    /// [`Floor::Unreadable`] if it can't be read or lacks a field.
    pub(super) fn status(&self) -> Result<Status, Stop> {
        let mut room = [0; 4096];
        let name = ShortText::format(format_args!("{}/status", self.tid))?;
        let count = self.file(&name, &mut room).map_err(unreadable)?;
        Status::parse(&room[..count]).ok_or(Stop::Unresolved(Why::Unreadable, Floor::Unreadable))
    }

    /// The device number of its controlling terminal, as the kernel encodes it in field 7 of
    /// `/proc/TID/stat`; 0 is none.
    ///
    /// # Errors
    /// [`Floor::Unreadable`].
    pub(super) fn terminal(&self) -> Result<u32, Stop> {
        let mut room = [0; 1024];
        let name = ShortText::format(format_args!("{}/stat", self.tid))?;
        let count = self.file(&name, &mut room).map_err(unreadable)?;
        terminal_of(&room[..count]).ok_or(Stop::Unresolved(Why::Unreadable, Floor::Unreadable))
    }

    /// Its soft limit on the size of files (`RLIMIT_FSIZE`), in bytes; `None` is unlimited.
    ///
    /// # Errors
    /// [`Floor::Unreadable`].
    pub(super) fn file_size_limit(&self) -> Result<Option<u64>, Stop> {
        let mut room = [0; 2048];
        let name = ShortText::format(format_args!("{}/limits", self.tid))?;
        let count = self.file(&name, &mut room).map_err(unreadable)?;
        let value =
            field(&room[..count], b"Max file size").ok_or(Stop::Unresolved(Why::Unreadable, Floor::Unreadable))?;
        let word = value.split(|byte| *byte == b' ').find(|word| !word.is_empty()).unwrap_or(b"");
        Ok(std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()))
    }

    fn link(&self, name: std::fmt::Arguments<'_>) -> Result<OwnedFd, Stop> {
        let name = ShortText::format(name)?;
        rustix::fs::openat(self.proc, name.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(of_descriptor)
    }

    fn file(&self, name: &ShortText, room: &mut [u8]) -> Result<usize, Errno> {
        let file = rustix::fs::openat(self.proc, name.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        // The kernel makes such a file as a whole and gives as much of it as there is room for.
        rustix::io::read(file.as_fd(), room)
    }
}

fn of_descriptor(errno: Errno) -> Stop {
    match errno {
        Errno::NOENT => Stop::Errno(Errno::BADF),
        other => unreadable(other),
    }
}

/// A thread that is gone has nobody to answer to; one that may not be examined is refused.
fn unreadable(errno: Errno) -> Stop {
    match errno {
        Errno::PERM | Errno::ACCESS => Stop::Unresolved(Why::Unreadable, Floor::Unreadable),
        other => Stop::Errno(other),
    }
}

/// The lines of `/proc/TID/status` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// The file mode creation mask.
    pub(super) umask: u32,
    /// The process, in the guard's pid namespace.
    pub(super) tgid: i32,
    /// Whether a signal is pending that would end a blocked call.
    pub(super) interrupted: bool,
}

impl Status {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let set = |name: &[u8]| hexadecimal(field(text, name)?);
        let pending = set(b"SigPnd:")? | set(b"ShdPnd:")?;
        Some(Self {
            umask: octal(field(text, b"Umask:")?)?,
            tgid: decimal(field(text, b"Tgid:")?)?,
            interrupted: pending & !set(b"SigBlk:")? & !set(b"SigIgn:")? != 0,
        })
    }
}

/// The rest of the line that starts with `name`, trimmed. The kernel escapes newlines in names of
/// threads, so no agent can add a line of its own.
fn field<'t>(text: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name)).map(<[u8]>::trim_ascii)
}

fn decimal(digits: &[u8]) -> Option<i32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn octal(digits: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn terminal_of(stat: &[u8]) -> Option<u32> {
    // The name in field 2 may hold spaces and parentheses: fields are counted from the last `)`.
    let after_name = &stat[stat.iter().rposition(|byte| *byte == b')')? + 1..];
    let tty = after_name.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).nth(4)?;
    decimal(tty).map(|number| number as u32)
}

#[cfg(test)]
mod tests {
    use super::{Agent, PathBuffer, Status, Stop, terminal_of};
    use rustix::fd::AsFd;
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;

    fn with_agent(check: impl FnOnce(Agent<'_>)) {
        let proc = rustix::fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("/proc");
        check(Agent::new(proc.as_fd(), rustix::thread::gettid().as_raw_nonzero().get()));
    }

    #[test]
    fn status_is_read_field_by_field() {
        let text = b"Name:\tevil Umask:\\n\nUmask:\t0027\nState:\tR (running)\nTgid:\t12\n\
            SigQ:\t0/1\nSigPnd:\t0000000000000002\nShdPnd:\t0000000000000001\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001000\n";
        let expected = Status { umask: 0o27, tgid: 12, interrupted: true };
        assert_eq!(Status::parse(text), Some(expected));
    }

    #[test]
    fn the_terminal_is_found_behind_a_name_that_looks_like_fields() {
        assert_eq!(terminal_of(b"7 (a) S 1 1 1 99 (b)) S 1 7 7 34817 7 0"), Some(34817));
    }

    #[test]
    fn own_facts_are_read_from_proc() {
        with_agent(|agent| {
            let status = agent.status().expect("status");
            assert_eq!(status.tgid, std::process::id() as i32);
            assert_eq!(agent.descriptor(-1).map(drop), Err(Stop::Errno(Errno::BADF)));
            assert_eq!(agent.descriptor(1_000_000).map(drop), Err(Stop::Errno(Errno::BADF)));
            let handle = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("/");
            use std::os::fd::AsRawFd;
            assert_eq!(agent.is_handle(handle.as_raw_fd()), Ok(true));
            // Access mode 3 is for neither reading nor writing (open(2)), and is no mere handle.
            let neither = OFlags::from_bits_retain(3) | OFlags::CLOEXEC;
            for flags in [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, neither] {
                let file = rustix::fs::open("/dev/null", flags, Mode::empty()).expect("a file");
                assert_eq!(agent.is_handle(file.as_raw_fd()), Ok(false), "{flags:?}");
            }
        });
    }

    #[test]
    fn a_path_that_is_too_long_or_not_there_gives_the_kernels_errors() {
        with_agent(|agent| {
            let mut buffer = PathBuffer::new();
            let long = vec![b'a'; 4096];
            assert_eq!(agent.path(long.as_ptr() as u64, &mut buffer), Err(Stop::Errno(Errno::NAMETOOLONG)));
            let mut fits = vec![b'a'; 4096];
            fits[4095] = 0;
            assert_eq!(agent.path(fits.as_ptr() as u64, &mut buffer), Ok(()));
            assert_eq!(buffer.as_bytes().len(), 4095);
            assert_eq!(agent.path(1, &mut buffer), Err(Stop::Errno(Errno::FAULT)));
        });
    }
}
