//! `link`, `linkat`, `symlink`, `symlinkat`.
//!
//! A hard link gives a file a second name, under which it will be read and written. So the source is
//! judged as read and as written too: a file that is denied can't be reached by linking it to where
//! it is not.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::super::agent::Stop;
use super::super::names::NameBuffer;
use super::super::resolve::{Last, Slash, Slot};
use super::super::view::{Named, Object};
use super::{Change, Empty, Place, Target};
use crate::event::PathOp;

impl Change<'_> {
    pub(super) fn link(&self, dirfds: [i32; 2], paths: [u64; 2], flags: u32) -> Result<(), Stop> {
        const KNOWN: u32 = (libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH) as u32;
        if flags & !KNOWN != 0 {
            return Err(Errno::INVAL.into());
        }
        let has = |flag: i32| flags & flag as u32 != 0;
        let source = self.object(Target {
            dirfd: dirfds[0],
            path: paths[0],
            last: if has(libc::AT_SYMLINK_FOLLOW) { Last::Follow } else { Last::Keep },
            empty: if has(libc::AT_EMPTY_PATH) { Empty::Itself } else { Empty::Missing },
        })?;
        let path = self.path(paths[1])?;
        let slot = self.vacant(dirfds[1], &path, Directory::No)?;
        if source.is_dir() {
            return Err(Errno::PERM.into());
        }
        let mut name = NameBuffer::new();
        self.permit_source(&source, &mut name)?;
        self.permit_slot(&slot, &[PathOp::Link])?;
        match self.link_to(source.fd.as_fd(), &slot) {
            // A file that was opened through the noexec view is on another mount there.
            Err(Stop::Errno(Errno::XDEV)) => match self.view().again(name.as_bytes(), &source.stat) {
                Some(source) => self.link_to(source.as_fd(), &slot),
                None => Err(Errno::XDEV.into()),
            },
            other => other,
        }
    }

    fn link_to(&self, source: BorrowedFd<'_>, slot: &Slot) -> Result<(), Stop> {
        let (parent, name) = slot.parts();
        let source = self.view().own_path(source)?;
        Ok(rustix::fs::linkat(CWD, source.as_c_str(), parent, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn permit_source(&self, source: &Object, name: &mut NameBuffer) -> Result<(), Stop> {
        if self.view().name(&self.agent, source.fd.as_fd(), &source.stat, name)? == Named::Path {
            self.context.permit(self.call, PathOp::Read, name.as_bytes())?;
            self.context.permit(self.call, PathOp::Link, name.as_bytes())?;
        }
        Ok(())
    }

    pub(super) fn symlink(&self, text: u64, dirfd: i32, path: u64) -> Result<(), Stop> {
        let text = self.path(text)?;
        if text.as_bytes().is_empty() {
            return Err(Errno::NOENT.into());
        }
        let slot = self.vacant(dirfd, &self.path(path)?, Directory::No)?;
        self.permit_slot(&slot, &[PathOp::Symlink])?;
        let (parent, name) = slot.parts();
        Ok(rustix::fs::symlinkat(text.as_c_str(), parent, name)?)
    }

    /// A place for something new, where nothing is yet.
    pub(super) fn vacant(
        &self,
        dirfd: i32,
        path: &super::super::agent::PathBuffer,
        directory: Directory,
    ) -> Result<Slot, Stop> {
        let Place::Slot(slot, slash) = self.place(dirfd, path)? else {
            return Err(Errno::EXIST.into());
        };
        if self.look(&slot)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        if slash == Slash::Trailing && directory == Directory::No {
            return Err(Errno::NOENT.into());
        }
        Ok(slot)
    }
}

/// Whether what is made is a directory: only its name may end in a slash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Directory {
    Yes,
    No,
}
