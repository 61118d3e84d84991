//! From a path of the agent to a handle on what it names.
//!
//! The kernel resolves what it can in one call. What it would resolve with the guard's eyes (`self`
//! and magic links on a procfs), and what is missing, is walked component by component ([`super::walk`]).

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::agent::{Agent, PathBuffer, Stop};
use super::names::EntryName;
use super::view::{Object, View};
use super::walk::Walk;

/// What to do with a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// Go where it leads.
    Follow,
    /// It is what is meant.
    Keep,
}

/// How far a path is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// To the object.
    Object(Last),
    /// To the directory and the name in it, without looking whether there is such an entry.
    Entry,
}

/// A directory and a name in it.
pub(super) struct Slot {
    pub(super) parent: OwnedFd,
    pub(super) name: EntryName,
}

/// What a path led to. At least one of `slot` and `object` is there.
pub(super) struct Found {
    /// Where the last component is looked up; `None` if it is `/`, `.`, `..`, or a magic link.
    pub(super) slot: Option<Slot>,
    /// What is there; `None` if nothing is, or if it was not asked.
    pub(super) object: Option<Object>,
    /// Whether the path ended in a slash.
    pub(super) slash: Slash,
}

/// Whether the last component of a path was followed by a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slash {
    Trailing,
    None,
}

/// A path to resolve.
#[derive(Clone, Copy)]
pub(super) struct Query<'p> {
    /// Where it starts if it is relative (or scoped): `AT_FDCWD` or a descriptor of the agent.
    pub(super) dirfd: i32,
    pub(super) path: &'p PathBuffer,
    /// The agent's own `openat2` restrictions.
    pub(super) resolve: ResolveFlags,
}

impl<'p> Query<'p> {
    /// A path without restrictions.
    pub(super) fn plain(dirfd: i32, path: &'p PathBuffer) -> Self {
        Self { dirfd, path, resolve: ResolveFlags::empty() }
    }

    fn is_absolute(&self) -> bool {
        self.path.as_bytes().first() == Some(&b'/')
    }

    fn is_scoped(&self) -> bool {
        self.resolve.intersects(ResolveFlags::IN_ROOT | ResolveFlags::BENEATH)
    }

    /// A handle on its start, where one is needed.
    pub(super) fn base(&self, agent: &Agent<'_>) -> Result<Option<OwnedFd>, Stop> {
        if self.path.as_bytes().is_empty() {
            return Err(Errno::NOENT.into());
        }
        if self.is_absolute() && !self.is_scoped() { Ok(None) } else { agent.base(self.dirfd).map(Some) }
    }
}

const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

impl View {
    /// Resolves to the object that a path names.
    ///
    /// # Errors
    /// The kernel's error for that path, `ENOENT` if nothing is there; or the floor's.
    pub(super) fn object(&self, agent: &Agent<'_>, query: Query<'_>, last: Last) -> Result<Object, Stop> {
        self.find(agent, query, last)?.object.ok_or(Stop::Errno(Errno::NOENT))
    }

    /// Resolves to the object that a path names, or to where it would be.
    pub(super) fn find(&self, agent: &Agent<'_>, query: Query<'_>, last: Last) -> Result<Found, Stop> {
        let base = query.base(agent)?;
        let start = base.as_ref().map_or(self.root(), AsFd::as_fd);
        let flags = if last == Last::Keep { HANDLE | OFlags::NOFOLLOW } else { HANDLE };
        let path = query.path.as_c_str();
        match openat2(start, path, flags, Mode::empty(), query.resolve | ResolveFlags::NO_MAGICLINKS) {
            Ok(fd) => {
                let object = Object::new(fd)?;
                if !self.is_proc(object.stat.st_dev, object.fd.as_fd()) {
                    return Ok(Found { slot: None, object: Some(object), slash: Slash::None });
                }
            }
            Err(errno) if !needs_walk(errno) => return Err(errno.into()),
            Err(_) => {}
        }
        Walk::new(self, agent, query.resolve, Goal::Object(last)).run(base, query.path.as_bytes())
    }

    /// Resolves to the directory and the name in it that a path ends with, looking at the entry
    /// itself if `goal` asks for it.
    pub(super) fn entry(&self, agent: &Agent<'_>, query: Query<'_>, goal: Goal) -> Result<Found, Stop> {
        let base = query.base(agent)?;
        let path = query.path.as_bytes();
        // Mount points are compared at each step, so that takes a walk.
        if !query.resolve.contains(ResolveFlags::NO_XDEV)
            && let Some((folder, name, slash)) = split(path)
            && let Some(parent) = self.folder(base.as_ref(), folder, query.resolve)?
        {
            let slot = Slot { parent, name: EntryName::new(name)? };
            if let Some(found) = self.look(slot, slash, goal)? {
                return Ok(found);
            }
        }
        Walk::new(self, agent, query.resolve, goal).run(base, path)
    }

    /// The directory `folder` of a path, if the kernel can resolve it on its own.
    fn folder(&self, base: Option<&OwnedFd>, folder: &[u8], resolve: ResolveFlags) -> Result<Option<OwnedFd>, Stop> {
        let start = base.map_or(self.root(), AsFd::as_fd);
        let folder = if folder.is_empty() { b"." } else { folder };
        let flags = HANDLE | OFlags::DIRECTORY;
        match openat2(start, folder, flags, Mode::empty(), resolve | ResolveFlags::NO_MAGICLINKS) {
            Ok(fd) => {
                let device = rustix::fs::fstat(&fd)?.st_dev;
                Ok((!self.is_proc(device, fd.as_fd())).then_some(fd))
            }
            Err(errno) if needs_walk(errno) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Looks up the entry of a slot, unless that takes a walk.
    fn look(&self, slot: Slot, slash: Slash, goal: Goal) -> Result<Option<Found>, Stop> {
        let Goal::Object(last) = goal else {
            return Ok(Some(Found { slot: Some(slot), object: None, slash }));
        };
        match rustix::fs::openat(&slot.parent, slot.name.as_c_str(), HANDLE | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => {
                let object = Object::new(fd)?;
                let is_followed = last == Last::Follow || slash == Slash::Trailing;
                let on_proc = self.is_proc(object.stat.st_dev, object.fd.as_fd());
                if on_proc || (object.kind() == FileType::Symlink && is_followed) {
                    return Ok(None);
                }
                Ok(Some(Found { slot: Some(slot), object: Some(object), slash }))
            }
            Err(Errno::NOENT) => Ok(Some(Found { slot: Some(slot), object: None, slash })),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Whether an error may come from seeing a procfs with the guard's eyes, or be about something missing.
fn needs_walk(errno: Errno) -> bool {
    matches!(errno, Errno::LOOP | Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::AGAIN)
}

/// Splits a path before its last component; `None` if that is no name.
fn split(path: &[u8]) -> Option<(&[u8], &[u8], Slash)> {
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    let start = path[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let name = &path[start..end];
    if name == b"." || name == b".." {
        return None;
    }
    let slash = if end < path.len() { Slash::Trailing } else { Slash::None };
    Some((&path[..start], name, slash))
}

/// The last component of a path as it is written, where it is none that can be created or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dots {
    /// `/`
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
}

impl Dots {
    /// What `path` ends with.
    pub(super) fn of(path: &[u8]) -> Self {
        let trimmed = path.iter().rposition(|byte| *byte != b'/').map_or(&b""[..], |end| &path[..=end]);
        match trimmed.rsplit(|byte| *byte == b'/').next() {
            Some(b".") => Self::Dot,
            Some(b"..") => Self::DotDot,
            _ => Self::Root,
        }
    }
}

/// Borrowed parent and name of a slot, for the calls that take both.
impl Slot {
    pub(super) fn parts(&self) -> (BorrowedFd<'_>, &std::ffi::CStr) {
        (self.parent.as_fd(), self.name.as_c_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Dots, Slash, split};

    #[test]
    fn a_path_is_split_before_its_last_name() {
        let text = |path: &'static str| {
            let (folder, name, slash) = split(path.as_bytes())?;
            Some((str::from_utf8(folder).ok()?, str::from_utf8(name).ok()?, slash))
        };
        let cases = [
            ("a", Some(("", "a", Slash::None))),
            ("/a", Some(("/", "a", Slash::None))),
            ("/a/b//", Some(("/a/", "b", Slash::Trailing))),
            ("a/..", None),
            ("./.", None),
            ("/", None),
            ("//", None),
        ];
        for (path, expected) in cases {
            assert_eq!(text(path), expected);
        }
    }

    #[test]
    fn dots_are_told_apart() {
        assert_eq!(
            [Dots::of(b"/"), Dots::of(b"a/./"), Dots::of(b".."), Dots::of(b"//")],
            [Dots::Root, Dots::Dot, Dots::DotDot, Dots::Root]
        );
    }
}
