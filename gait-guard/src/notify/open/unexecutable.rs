//! Files whose execution is denied are opened through a view of `/` that is mounted `noexec`: then
//! the kernel itself refuses to map them executable or to execute them by descriptor, whatever a
//! second thread does meanwhile. Where there is no such view ([`Context::noexec_root`]) those calls
//! are only judged.
//!
//! A file that can't be found in the view by its name (removed, without a name) is opened as it is.
//!
//! [`Context::noexec_root`]: super::super::Context

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, openat2};

use super::super::names::NameBuffer;
use super::Open;
use crate::event::{Action, PathOp};
use crate::session::Ruling;

/// A resolved name has no links, so none is followed.
const AS_NAMED: ResolveFlags =
    ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::BENEATH);

impl Open<'_> {
    /// Opens the regular file of `stat` and `name` in the view, if it may not be executed. Never with
    /// `O_TRUNC`: only afterwards is it sure that it is the file that was judged.
    pub(super) fn unexecutable(&self, stat: &Stat, name: &NameBuffer, flags: OFlags) -> Option<OwnedFd> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        self.in_view(name.as_bytes(), name.as_bytes(), flags).filter(|fd| is_same(fd, stat))
    }

    /// The parent directory of the new file `name` in the view, if that may not be executed.
    pub(super) fn unexecutable_parent(
        &self,
        parent: BorrowedFd<'_>,
        name: &NameBuffer,
        entry: &[u8],
    ) -> Option<OwnedFd> {
        let stat = rustix::fs::fstat(parent).ok()?;
        let folder = name.as_bytes().strip_suffix(entry)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.in_view(name.as_bytes(), folder, flags).filter(|fd| is_same(fd, &stat))
    }

    fn in_view(&self, name: &[u8], path: &[u8], flags: OFlags) -> Option<OwnedFd> {
        let root = self.context.noexec_root.as_ref()?;
        let below = path.strip_prefix(b"/")?;
        let map = Action::Path { op: PathOp::Map, path: name.into(), via: None };
        if self.context.judge.foresee(&map) == Ruling::Allow {
            return None;
        }
        let below = if below.is_empty() { b"." } else { below };
        openat2(root, below, flags, Mode::empty(), AS_NAMED).ok()
    }
}

fn is_same(fd: &OwnedFd, stat: &Stat) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino))
}
