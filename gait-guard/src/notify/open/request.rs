//! What an open asks for, checked as the kernel checks it (`build_open_how`, `build_open_flags`).

use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;

use super::super::Call;
use super::super::agent::{AT_FDCWD, Agent, Stop};
use super::super::resolve::Last;
use crate::event::PathOp;

const TMPFILE: u32 = 0o20_000_000;
const SYNC: u32 = 0o4_000_000;
/// `VALID_OPEN_FLAGS`
const KNOWN: u32 = (libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_NOCTTY
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_DSYNC
    | libc::O_ASYNC
    | libc::O_DIRECT
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | libc::O_NOATIME
    | libc::O_CLOEXEC
    | libc::O_PATH) as u32
    | 0o100_000 // O_LARGEFILE
    | SYNC
    | TMPFILE;
/// `VALID_RESOLVE_FLAGS`: NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT, CACHED
const KNOWN_RESOLVE: u64 = 0x3f;
/// What `O_PATH` goes with.
const WITH_PATH: u32 = (libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u32;
const PERMISSIONS: u32 = 0o7777;
/// `sizeof(struct open_how)` in its first version, and the most that is copied.
const HOW_BYTES: usize = 24;
const HOW_MOST: u64 = 4096;

/// Where the flags of the call are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// `open`, `openat`, `creat`
    Registers,
    /// `openat2`
    Memory,
}

/// One open.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) caller: Caller,
    pub(super) dirfd: i32,
    /// Address of the path.
    pub(super) path: u64,
    pub(super) flags: OFlags,
    pub(super) mode: u32,
    pub(super) resolve: ResolveFlags,
}

impl Request {
    /// Decodes any call of the class `open`.
    ///
    /// # Errors
    /// Those that the kernel gives before it looks at the path.
    pub(super) fn decode(agent: &Agent<'_>, call: &Call) -> Result<Self, Stop> {
        let creat = (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u32;
        match call.nr {
            libc::SYS_open => Self::from_registers(AT_FDCWD, call.args[0], call.int(1) as u32, call.args[2] as u32),
            libc::SYS_creat => Self::from_registers(AT_FDCWD, call.args[0], creat, call.args[1] as u32),
            libc::SYS_openat => {
                Self::from_registers(call.int(0), call.args[1], call.int(2) as u32, call.args[3] as u32)
            }
            libc::SYS_openat2 => Self::from_memory(agent, call),
            _ => Err(Errno::NOSYS.into()),
        }
    }

    fn from_registers(dirfd: i32, path: u64, flags: u32, mode: u32) -> Result<Self, Stop> {
        let mut flags = flags & KNOWN;
        if flags & libc::O_PATH as u32 != 0 {
            flags &= WITH_PATH;
        }
        let mode = if will_create(flags) { mode & PERMISSIONS } else { 0 };
        Self::checked(Caller::Registers, dirfd, path, How { flags: flags.into(), mode: mode.into(), resolve: 0 })
    }

    fn from_memory(agent: &Agent<'_>, call: &Call) -> Result<Self, Stop> {
        let size = call.args[3];
        if size < HOW_BYTES as u64 {
            return Err(Errno::INVAL.into());
        }
        if size > HOW_MOST {
            return Err(Errno::TOOBIG.into());
        }
        let mut bytes = [0; HOW_MOST as usize];
        let bytes = &mut bytes[..size as usize];
        agent.bytes(call.args[2], bytes)?;
        // What a newer kernel may know: only allowed if it is not used.
        if bytes[HOW_BYTES..].iter().any(|byte| *byte != 0) {
            return Err(Errno::TOOBIG.into());
        }
        let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let how = How { flags: number(0), mode: number(8), resolve: number(16) };
        Self::checked(Caller::Memory, call.int(0), call.args[1], how)
    }

    fn checked(caller: Caller, dirfd: i32, path: u64, how: How) -> Result<Self, Stop> {
        let (flags, mut resolve) = how.check()?;
        if resolve.contains(ResolveFlags::CACHED) {
            let changes = (libc::O_TRUNC | libc::O_CREAT) as u32 | TMPFILE;
            if flags & changes != 0 {
                return Err(Errno::AGAIN.into());
            }
            // Only a hint that the caller would rather not wait.
            resolve.remove(ResolveFlags::CACHED);
        }
        let flags = OFlags::from_bits_retain(flags);
        Ok(Self { caller, dirfd, path, flags, mode: how.mode as u32, resolve })
    }

    /// Whether it makes the file if there is none.
    pub(super) fn creates(&self) -> bool {
        self.flags.contains(OFlags::CREATE)
    }

    /// Whether it is for a file without a name.
    pub(super) fn is_temporary(&self) -> bool {
        self.flags.bits() & TMPFILE != 0
    }

    /// Whether it is for a handle without rights.
    pub(super) fn is_handle(&self) -> bool {
        self.flags.contains(OFlags::PATH)
    }

    /// What happens to a link at the end of the path.
    pub(super) fn last(&self) -> Last {
        let is_exclusive = self.flags.contains(OFlags::CREATE | OFlags::EXCL);
        if is_exclusive || self.flags.contains(OFlags::NOFOLLOW) { Last::Keep } else { Last::Follow }
    }

    /// Whether it does nothing but read, without restrictions.
    pub(super) fn is_plain_read(&self) -> bool {
        let more = OFlags::ACCMODE | OFlags::CREATE | OFlags::TRUNC | OFlags::PATH;
        self.resolve.is_empty() && !self.flags.intersects(more) && !self.is_temporary()
    }

    /// Whether a directory is no answer.
    pub(super) fn wants_a_file(&self) -> bool {
        let writes = self.may_write() || self.flags.contains(OFlags::TRUNC);
        !self.is_handle() && !self.is_temporary() && (self.creates() || writes)
    }

    /// Whether the descriptor can read. Access mode 3 asks for both rights, though it gives neither.
    pub(super) fn may_read(&self) -> bool {
        self.access() != libc::O_WRONLY as u32
    }

    fn may_write(&self) -> bool {
        self.access() != libc::O_RDONLY as u32
    }

    fn access(&self) -> u32 {
        self.flags.bits() & libc::O_ACCMODE as u32
    }

    /// What it is judged as on something that exists.
    pub(super) fn rights(&self, is_dir: bool) -> [Option<PathOp>; 2] {
        let change = if self.flags.contains(OFlags::TRUNC) {
            Some(PathOp::Truncate)
        } else if self.may_write() {
            Some(PathOp::Write)
        } else {
            None
        };
        let look = if is_dir { PathOp::List } else { PathOp::Read };
        [change, self.may_read().then_some(look)]
    }

    /// What it counts as where nothing was resolved.
    pub(super) fn main_op(&self) -> PathOp {
        if self.creates() || self.is_temporary() {
            PathOp::Create
        } else {
            let [change, look] = self.rights(false);
            change.or(look).unwrap_or(PathOp::Read)
        }
    }
}

fn will_create(flags: u32) -> bool {
    flags & (libc::O_CREAT as u32 | TMPFILE) != 0
}

/// `struct open_how`
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

impl How {
    fn check(&self) -> Result<(u32, ResolveFlags), Errno> {
        let flags = u32::try_from(self.flags).map_err(|_| Errno::INVAL)?;
        // Not `from_bits`: it takes any bit for one of a newer kernel.
        let resolve = ResolveFlags::from_bits_retain(self.resolve);
        let has = |flag: i32| flags & flag as u32 != 0;
        let is_bad = flags & !KNOWN != 0
            || self.resolve & !KNOWN_RESOLVE != 0
            || resolve.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT)
            || self.mode & !u64::from(if will_create(flags) { PERMISSIONS } else { 0 }) != 0
            || (has(libc::O_DIRECTORY) && has(libc::O_CREAT))
            || (flags & TMPFILE != 0 && (!has(libc::O_DIRECTORY) || flags & libc::O_ACCMODE as u32 == 0))
            || (has(libc::O_PATH) && flags & !WITH_PATH != 0);
        if is_bad { Err(Errno::INVAL) } else { Ok((flags, resolve)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{AT_FDCWD, How, Request};
    use crate::event::PathOp;
    use rustix::io::Errno;

    fn rights(flags: i32) -> [Option<PathOp>; 2] {
        Request::from_registers(AT_FDCWD, 0, flags as u32, 0).expect("a valid open").rights(false)
    }

    #[test]
    fn an_open_is_judged_by_the_rights_it_gives() {
        let cases = [
            (libc::O_RDONLY, [None, Some(PathOp::Read)]),
            (libc::O_WRONLY, [Some(PathOp::Write), None]),
            (libc::O_RDWR, [Some(PathOp::Write), Some(PathOp::Read)]),
            (3, [Some(PathOp::Write), Some(PathOp::Read)]),
            (libc::O_WRONLY | libc::O_TRUNC, [Some(PathOp::Truncate), None]),
            (libc::O_RDONLY | libc::O_TRUNC, [Some(PathOp::Truncate), Some(PathOp::Read)]),
            (libc::O_PATH | libc::O_RDWR | libc::O_TRUNC, [None, Some(PathOp::Read)]),
        ];
        for (flags, expected) in cases {
            assert_eq!(rights(flags), expected, "flags {flags:o}");
        }
    }

    #[test]
    fn flags_are_refused_as_the_kernel_refuses_them() {
        let check = |flags: u64, mode, resolve| How { flags, mode, resolve }.check().err();
        assert_eq!(check(0x1_0000_0000, 0, 0), Some(Errno::INVAL));
        assert_eq!(check(0, 0o777, 0), Some(Errno::INVAL), "a mode without a file to make");
        assert_eq!(check(libc::O_CREAT as u64, 0o10_777, 0), Some(Errno::INVAL));
        assert_eq!(check((libc::O_CREAT | libc::O_DIRECTORY) as u64, 0, 0), Some(Errno::INVAL));
        assert_eq!(check(libc::O_TMPFILE as u64, 0o600, 0), Some(Errno::INVAL), "a file that nobody can write");
        assert_eq!(check((libc::O_PATH | libc::O_RDWR) as u64, 0, 0), Some(Errno::INVAL));
        assert_eq!(check(0, 0, 0x80), Some(Errno::INVAL));
        assert_eq!(check(0, 0, 0x08 | 0x10), Some(Errno::INVAL), "beneath and in root");
        assert_eq!(check((libc::O_TMPFILE | libc::O_RDWR) as u64, 0o600, 0), None);
    }
}
