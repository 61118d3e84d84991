//! Resolution of a path component by component, where the kernel can't do it in one call for us.
//!
//! Each step opens one component without following it, so nothing is followed that was not looked
//! at. Symbolic links are read and continued with; magic links of a procfs are followed only where
//! the process they belong to is the agent's.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags};
use rustix::io::Errno;

use super::agent::{Agent, Stop};
use super::names::EntryName;
use super::resolve::{Found, Goal, Last, Slash, Slot};
use super::view::{Object, View, is_proc_root};

/// Symbolic links followed in one path (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// One resolution under way.
pub(super) struct Walk<'w> {
    view: &'w View,
    agent: &'w Agent<'w>,
    resolve: ResolveFlags,
    goal: Goal,
    links: u32,
    scope: Option<OwnedFd>,
}

/// Where a symbolic link leads.
enum Leads {
    Text(Vec<u8>),
    Object(OwnedFd),
}

impl<'w> Walk<'w> {
    pub(super) fn new(view: &'w View, agent: &'w Agent<'w>, resolve: ResolveFlags, goal: Goal) -> Self {
        Self { view, agent, resolve, goal, links: 0, scope: None }
    }

    /// Walks `path` from `base`, which is there if the path needs it.
    pub(super) fn run(mut self, base: Option<OwnedFd>, path: &[u8]) -> Result<Found, Stop> {
        let start = if path.first() == Some(&b'/') && self.resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::XDEV.into());
        } else if let Some(base) = base {
            base
        } else {
            rustix::io::fcntl_dupfd_cloexec(self.view.root(), 0)?
        };
        if self.resolve.intersects(ResolveFlags::IN_ROOT | ResolveFlags::BENEATH) {
            self.scope = Some(rustix::io::fcntl_dupfd_cloexec(&start, 0)?);
        }
        self.steps(start, path.to_vec())
    }

    fn steps(&mut self, start: OwnedFd, path: Vec<u8>) -> Result<Found, Stop> {
        let (mut at, mut rest) = (start, path);
        let mut position = 0;
        loop {
            let Some(part) = Part::next(&rest, position) else {
                return Ok(Found { slot: None, object: Some(Object::new(at)?), slash: Slash::None });
            };
            let component = &rest[part.start..part.end];
            if component == b"." || component == b".." {
                at = self.dots(at, component)?;
                position = part.end;
                continue;
            }
            let name = EntryName::new(component)?;
            if part.is_last && self.goal == Goal::Entry {
                return Ok(Found { slot: Some(Slot { parent: at, name }), object: None, slash: part.slash });
            }
            let object = match rustix::fs::openat(&at, name.as_c_str(), HANDLE | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(fd) => Object::new(fd)?,
                Err(Errno::NOENT) if part.is_last => {
                    return Ok(Found { slot: Some(Slot { parent: at, name }), object: None, slash: part.slash });
                }
                Err(errno) => return Err(errno.into()),
            };
            if object.kind() == FileType::Symlink && self.follows(&part) {
                match self.link(&at, &object, &name)? {
                    Leads::Text(mut text) => {
                        if text.first() == Some(&b'/') {
                            at = self.absolute()?;
                        }
                        text.extend_from_slice(&rest[part.end..]);
                        (rest, position) = (text, 0);
                    }
                    Leads::Object(fd) => {
                        let object = Object::new(fd)?;
                        if (!part.is_last || part.slash == Slash::Trailing) && !object.is_dir() {
                            return Err(Errno::NOTDIR.into());
                        }
                        if part.is_last {
                            return Ok(Found { slot: None, object: Some(object), slash: part.slash });
                        }
                        (at, position) = (object.fd, part.end);
                    }
                }
                continue;
            }
            if (!part.is_last || part.slash == Slash::Trailing) && !object.is_dir() {
                return Err(Errno::NOTDIR.into());
            }
            self.check_mount(&at, &object.fd)?;
            if part.is_last {
                return Ok(Found { slot: Some(Slot { parent: at, name }), object: Some(object), slash: part.slash });
            }
            (at, position) = (object.fd, part.end);
        }
    }

    fn follows(&self, part: &Part) -> bool {
        !part.is_last || part.slash == Slash::Trailing || self.goal == Goal::Object(Last::Follow)
    }

    fn dots(&self, at: OwnedFd, component: &[u8]) -> Result<OwnedFd, Stop> {
        if component == b".."
            && let Some(scope) = &self.scope
            && self.place(&at)? == self.place(scope)?
        {
            if self.resolve.contains(ResolveFlags::BENEATH) {
                return Err(Errno::XDEV.into());
            }
            return Ok(rustix::fs::openat(&at, c".", HANDLE | OFlags::DIRECTORY, Mode::empty())?);
        }
        let next = rustix::fs::openat(&at, component, HANDLE | OFlags::DIRECTORY, Mode::empty())?;
        self.check_mount(&at, &next)?;
        Ok(next)
    }

    fn absolute(&self) -> Result<OwnedFd, Stop> {
        if self.resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::XDEV.into());
        }
        let root = self.scope.as_ref().map_or(self.view.root(), AsFd::as_fd);
        Ok(rustix::io::fcntl_dupfd_cloexec(root, 0)?)
    }

    /// Reads a link, or follows it if it is a magic one.
    fn link(&mut self, folder: &OwnedFd, link: &Object, name: &EntryName) -> Result<Leads, Stop> {
        self.links += 1;
        if self.links > MOST_LINKS || self.resolve.contains(ResolveFlags::NO_SYMLINKS) {
            return Err(Errno::LOOP.into());
        }
        if self.view.is_proc(link.stat.st_dev, link.fd.as_fd()) {
            return self.link_in_proc(folder, link, name);
        }
        self.check_sticky(folder, &link.stat)?;
        read_link(&link.fd)
    }

    fn link_in_proc(&self, folder: &OwnedFd, link: &Object, name: &EntryName) -> Result<Leads, Stop> {
        let device = link.stat.st_dev;
        let is_top = is_proc_root(&rustix::fs::fstat(folder)?);
        match name.as_bytes() {
            b"self" if is_top => {
                return Ok(Leads::Text(self.view.own_ids(self.agent, device)?.0.to_string().into_bytes()));
            }
            b"thread-self" if is_top => {
                let (process, thread) = self.view.own_ids(self.agent, device)?;
                return Ok(Leads::Text(format!("{process}/task/{thread}").into_bytes()));
            }
            _ => {}
        }
        let plain = rustix::fs::openat2(folder, name.as_c_str(), HANDLE, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        match plain.err() {
            Some(Errno::LOOP) if self.resolve.contains(ResolveFlags::NO_MAGICLINKS) => return Err(Errno::LOOP.into()),
            // A link that may not be looked behind is a magic one too.
            Some(Errno::LOOP | Errno::ACCESS | Errno::PERM) => {
                self.view.check_owner(self.agent, folder.as_fd(), name.as_bytes())?;
            }
            _ => return read_link(&link.fd),
        }
        let target = rustix::fs::openat(folder, name.as_c_str(), HANDLE, Mode::empty())?;
        self.check_mount(folder, &target)?;
        if self.scope.is_some() {
            return Err(Errno::XDEV.into());
        }
        Ok(Leads::Object(target))
    }

    /// `fs.protected_symlinks`: in a sticky directory that anybody may write to, only links of its
    /// owner and of the follower are followed (proc_sys_fs(5)).
    fn check_sticky(&self, folder: &OwnedFd, link: &Stat) -> Result<(), Stop> {
        const STICKY_FOR_ALL: u32 = libc::S_ISVTX | libc::S_IWOTH;
        if self.view.sticky.symlinks == 0 || link.st_uid == rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        let folder = rustix::fs::fstat(folder)?;
        if folder.st_mode & STICKY_FOR_ALL != STICKY_FOR_ALL || folder.st_uid == link.st_uid {
            return Ok(());
        }
        Err(Errno::ACCESS.into())
    }

    /// `RESOLVE_NO_XDEV`: no step leads to another mount.
    fn check_mount(&self, from: &OwnedFd, to: &OwnedFd) -> Result<(), Stop> {
        if self.resolve.contains(ResolveFlags::NO_XDEV) && self.place(from)?.mount != self.place(to)?.mount {
            return Err(Errno::XDEV.into());
        }
        Ok(())
    }

    fn place(&self, fd: &OwnedFd) -> Result<Place, Stop> {
        let facts = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::MNT_ID)?;
        Ok(Place { mount: facts.stx_mnt_id, inode: facts.stx_ino })
    }
}

/// A directory on one mount.
#[derive(PartialEq, Eq)]
struct Place {
    mount: u64,
    inode: u64,
}

/// One component of what is left of a path.
struct Part {
    start: usize,
    end: usize,
    is_last: bool,
    slash: Slash,
}

impl Part {
    fn next(rest: &[u8], position: usize) -> Option<Self> {
        let start = position + rest[position..].iter().position(|byte| *byte != b'/')?;
        let end = rest[start..].iter().position(|byte| *byte == b'/').map_or(rest.len(), |at| start + at);
        let is_last = rest[end..].iter().all(|byte| *byte == b'/');
        let slash = if is_last && end < rest.len() { Slash::Trailing } else { Slash::None };
        Some(Self { start, end, is_last, slash })
    }
}

fn read_link(link: &OwnedFd) -> Result<Leads, Stop> {
    let text = rustix::fs::readlinkat(link, c"", Vec::new())?.into_bytes();
    if text.is_empty() { Err(Errno::NOENT.into()) } else { Ok(Leads::Text(text)) }
}
