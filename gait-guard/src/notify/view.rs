//! The file system as the guard sees it on behalf of the agent: roots, procfs, and names of objects.

use std::cell::Cell;
use std::sync::Arc;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, MemfdFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::agent::{Agent, Stop};
use super::names::{NameBuffer, is_number, stable_proc_path, too_long};
use super::resolve::Slot;
use super::text::ShortText;
use super::tree::Tree;
use crate::event::Why;
use crate::session::Floor;

/// Inode of the root of every procfs (`PROC_ROOT_INO`).
const PROC_ROOT: u64 = 1;

/// A resolved object: a handle that stays on it whatever happens to its name.
pub(super) struct Object {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
}

impl Object {
    /// # Errors
    /// Those of `fstat(2)`.
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Stop> {
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self { fd, stat })
    }

    /// What kind of file it is.
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Whether it is a directory.
    pub(super) fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }
}

/// Which restrictions on sticky directories the kernel has on (`/proc/sys/fs/protected_*`): they
/// are checked while a path is walked, and we walk some ourselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sticky {
    pub(super) symlinks: u8,
    pub(super) fifos: u8,
    pub(super) regular: u8,
}

/// What a name is for the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// The path is in the buffer.
    Path,
    /// It has none: a pipe, socket, memory file. Whoever holds it was given it by its own tree.
    Nameless,
}

/// To whom a process belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Tree,
    Guard,
    Outside,
}

/// Handles and facts that stay the same for a run.
pub(super) struct View {
    root: OwnedFd,
    proc: OwnedFd,
    own_descriptors: OwnedFd,
    proc_device: u64,
    root_device: u64,
    /// The working directory that the agent started in, and its device, which is no procfs. As long as the handle is
    /// there nothing else can get that number.
    start: Option<(OwnedFd, u64)>,
    memory_device: u64,
    tree: Arc<Tree>,
    pub(super) sticky: Sticky,
    umask: Cell<Option<u32>>,
}

impl View {
    /// Opens what every resolution needs. The calling thread must be the one that acts.
    ///
    /// # Errors
    /// `/` or `/proc` can't be opened or examined, or `/proc` is not this pid namespace's.
    pub(super) fn new(tree: Arc<Tree>) -> Result<Self, Errno> {
        let handle =
            |path: &str| rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let root = handle("/")?;
        let proc = handle("/proc")?;
        let own_descriptors = handle("/proc/self/fd")?;
        let memory = rustix::fs::memfd_create("gait", MemfdFlags::CLOEXEC)?;
        let device = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|stat| stat.st_dev);
        let level = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/fs/protected_{name}"));
            text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        };
        Ok(Self {
            proc_device: device(proc.as_fd())?,
            root_device: device(root.as_fd())?,
            start: handle(".").ok().and_then(|start| {
                let is_proc = rustix::fs::fstatfs(&start).ok()?.f_type == rustix::fs::PROC_SUPER_MAGIC;
                let device = device(start.as_fd()).ok()?;
                (!is_proc).then_some((start, device))
            }),
            memory_device: device(memory.as_fd())?,
            root,
            proc,
            own_descriptors,
            tree,
            sticky: Sticky { symlinks: level("symlinks"), fifos: level("fifos"), regular: level("regular") },
            umask: Cell::new(None),
        })
    }

    /// One thread of the agent.
    pub(super) fn agent(&self, tid: i32) -> Agent<'_> {
        Agent::new(self.proc.as_fd(), tid)
    }

    /// Makes the agent's file mode creation mask that of the acting thread.
    ///
    /// # Errors
    /// The agent can't be examined.
    pub(super) fn adopt_umask(&self, agent: &Agent<'_>) -> Result<(), Stop> {
        let umask = agent.status()?.umask;
        if self.umask.get() != Some(umask) {
            rustix::process::umask(Mode::from_raw_mode(umask));
            self.umask.set(Some(umask));
        }
        Ok(())
    }

    /// Where absolute paths start.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether an object with this device number is on a procfs. `probe` is the object.
    pub(super) fn is_proc(&self, device: u64, probe: BorrowedFd<'_>) -> bool {
        if device == self.proc_device {
            return true;
        }
        if !self.may_be_proc(device) {
            return false;
        }
        rustix::fs::fstatfs(probe).is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC)
    }

    /// As [`View::is_proc`], of a number alone: `false` only if it surely is not one.
    pub(super) fn may_be_proc(&self, device: u64) -> bool {
        // These are pinned by our handles; numbers with a major are of real devices.
        let is_known = device == self.root_device || self.start.as_ref().is_some_and(|(_, start)| *start == device);
        device == self.proc_device || (!is_known && rustix::fs::major(device) == 0)
    }

    /// A path that leads to the object of one of our own descriptors, for calls without a handle form.
    pub(super) fn own_path(&self, fd: BorrowedFd<'_>) -> Result<OwnPath, Stop> {
        Ok(OwnPath(ShortText::format(format_args!("/proc/self/fd/{}", fd.as_raw_fd()))?))
    }

    /// Opens the object of a handle anew, with rights.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub(super) fn reopen(&self, object: BorrowedFd<'_>, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let name = ShortText::format(format_args!("{}", object.as_raw_fd()))?;
        rustix::fs::openat(&self.own_descriptors, name.as_c_str(), flags, mode)
    }

    /// Names the object of `fd` as it is judged: its resolved path, in `name`.
    ///
    /// # Errors
    /// The floor's, for an object of a process outside the tree; [`Why`] it has no usable name.
    pub(super) fn name(
        &self,
        agent: &Agent<'_>,
        fd: BorrowedFd<'_>,
        stat: &Stat,
        name: &mut NameBuffer,
    ) -> Result<Named, Stop> {
        self.kernel_name(fd, name)?;
        if name.bytes[0] != b'/' || stat.st_dev == self.memory_device {
            return Ok(Named::Nameless);
        }
        if name.looks_deleted() && !self.is_at(name.as_bytes(), stat) {
            name.strip_deleted(stat.st_ino);
        }
        if self.may_be_proc(stat.st_dev) && self.is_proc(stat.st_dev, fd) {
            self.name_in_proc(agent, stat.st_dev, name)?;
        }
        Ok(Named::Path)
    }

    /// Names an entry of a directory, whether it is there or not.
    ///
    /// # Errors
    /// As [`View::name`]; `ENOENT` if the directory was removed, since nothing can be in it.
    pub(super) fn slot_name(&self, agent: &Agent<'_>, slot: &Slot, name: &mut NameBuffer) -> Result<(), Stop> {
        let stat = rustix::fs::fstat(&slot.parent)?;
        if stat.st_nlink == 0 {
            return Err(Errno::NOENT.into());
        }
        match self.name(agent, slot.parent.as_fd(), &stat, name)? {
            Named::Path => name.push(slot.name.as_bytes()),
            Named::Nameless => Err(unnameable()),
        }
    }

    /// Refuses to follow a link out of the `/proc` folder of a process that is not the agent's.
    /// `folder` is the directory that holds the link.
    pub(super) fn check_owner(&self, agent: &Agent<'_>, folder: BorrowedFd<'_>, entry: &[u8]) -> Result<(), Stop> {
        let stat = rustix::fs::fstat(folder)?;
        let mut name = NameBuffer::new();
        self.kernel_name(folder, &mut name)?;
        name.push(entry)?;
        self.name_in_proc(agent, stat.st_dev, &mut name)
    }

    /// The pids that `self` and `thread-self` stand for in the procfs `device`.
    pub(super) fn own_ids(&self, agent: &Agent<'_>, device: u64) -> Result<(i32, i32), Stop> {
        if device != self.proc_device {
            return Err(Stop::Errno(Errno::NOENT));
        }
        Ok((agent.status()?.tgid, agent.tid()))
    }

    fn kernel_name(&self, fd: BorrowedFd<'_>, name: &mut NameBuffer) -> Result<(), Stop> {
        let link = ShortText::format(format_args!("{}", fd.as_raw_fd()))?;
        name.len = match rustix::fs::readlinkat_raw(&self.own_descriptors, link.as_c_str(), &mut name.bytes[..]) {
            Ok(len) if len > 0 => len,
            Err(Errno::NAMETOOLONG) => return Err(too_long()),
            Ok(_) | Err(_) => return Err(Stop::Unresolved(Why::Failed, Floor::Unresolved)),
        };
        Ok(())
    }

    /// A handle on the object of `stat` by its resolved name, if that is still its name.
    pub(super) fn again(&self, name: &[u8], stat: &Stat) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.root, name, flags, Mode::empty()).ok()?;
        let there = rustix::fs::fstat(&fd).ok()?;
        ((there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)).then_some(fd)
    }

    /// Whether the object of `stat` is what `path` leads to.
    fn is_at(&self, path: &[u8], stat: &Stat) -> bool {
        rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino))
    }

    /// Checks to whom an object on a procfs belongs, and writes its name without pids.
    fn name_in_proc(&self, agent: &Agent<'_>, device: u64, name: &mut NameBuffer) -> Result<(), Stop> {
        let split = self.proc_mount(device, name.as_bytes()).ok_or(unnameable())?;
        let (mount, tail) = name.as_bytes().split_at(split);
        let first = tail.split(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or(b"");
        if !is_number(first) {
            return Ok(());
        }
        let pid = std::str::from_utf8(first).ok().and_then(|digits| digits.parse().ok()).ok_or(unnameable())?;
        let stable = match self.owner_in(agent, device, pid)? {
            (Owner::Tree, label) => stable_proc_path(mount, tail, label),
            (Owner::Guard, label) => return Err(Stop::Floor(Floor::GuardAccess, stable_proc_path(mount, tail, label))),
            (Owner::Outside, label) => return Err(Stop::Floor(Floor::Outsider, stable_proc_path(mount, tail, label))),
        };
        name.set(&stable)
    }

    fn owner(&self, pid: i32) -> Owner {
        if self.tree.is_guard(pid) {
            Owner::Guard
        // A parent that died during the first look may have been replaced by another process with its
        // number; its children have another parent by then, which the second look sees.
        } else if self.tree.contains(pid) && self.tree.contains(pid) {
            Owner::Tree
        } else {
            Owner::Outside
        }
    }

    fn owner_in(&self, agent: &Agent<'_>, device: u64, pid: i32) -> Result<(Owner, &'static [u8]), Stop> {
        // The procfs of a namespace we know nothing of: its pids could be anybody's.
        if device != self.proc_device {
            return Ok((Owner::Outside, b"outside"));
        }
        if pid == agent.tid() || pid == agent.status()?.tgid {
            return Ok((Owner::Tree, b"self"));
        }
        match self.owner(pid) {
            Owner::Tree => Ok((Owner::Tree, b"pid")),
            owner => Ok((owner, b"outside")),
        }
    }

    /// How much of `path` is the place where the procfs `device` is mounted.
    fn proc_mount(&self, device: u64, path: &[u8]) -> Option<usize> {
        let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.chain([path.len()]).find(|end| {
            rustix::fs::statat(&self.root, &path[..*end], AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| stat.st_dev == device && stat.st_ino == PROC_ROOT)
        })
    }
}

/// Whether `stat` is the root of a procfs, given that it is on one.
pub(super) fn is_proc_root(stat: &Stat) -> bool {
    stat.st_ino == PROC_ROOT
}

/// A path below `/proc/self/fd` to one of our own handles.
pub(super) struct OwnPath(ShortText);

impl OwnPath {
    /// The path for the kernel.
    pub(super) fn as_c_str(&self) -> &std::ffi::CStr {
        self.0.as_c_str()
    }
}

fn unnameable() -> Stop {
    Stop::Unresolved(Why::Unreachable, Floor::Unresolved)
}
