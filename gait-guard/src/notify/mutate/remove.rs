//! `unlink`, `rmdir`, `unlinkat`.

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::super::agent::Stop;
use super::super::resolve::{Dots, Slash};
use super::{Change, Place, kind};
use crate::event::PathOp;

impl Change<'_> {
    pub(super) fn unlinkat(&self) -> (PathOp, Result<(), Stop>) {
        let (dirfd, path) = (self.call.int(0), self.call.args[1]);
        match self.call.int(2) {
            0 => (PathOp::Delete, self.unlink(dirfd, path)),
            libc::AT_REMOVEDIR => (PathOp::Rmdir, self.rmdir(dirfd, path)),
            _ => (PathOp::Delete, Err(Errno::INVAL.into())),
        }
    }

    pub(super) fn unlink(&self, dirfd: i32, path: u64) -> Result<(), Stop> {
        let Place::Slot(slot, slash) = self.place(dirfd, &self.path(path)?)? else {
            return Err(Errno::ISDIR.into());
        };
        let there = self.look(&slot)?.ok_or(Errno::NOENT)?;
        if kind(&there) == FileType::Directory {
            return Err(Errno::ISDIR.into());
        }
        if slash == Slash::Trailing {
            return Err(Errno::NOTDIR.into());
        }
        self.permit_slot(&slot, &[PathOp::Delete])?;
        let (parent, name) = slot.parts();
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
    }

    pub(super) fn rmdir(&self, dirfd: i32, path: u64) -> Result<(), Stop> {
        let slot = match self.place(dirfd, &self.path(path)?)? {
            Place::Slot(slot, _) => slot,
            Place::Dots(Dots::Dot) => return Err(Errno::INVAL.into()),
            Place::Dots(Dots::DotDot) => return Err(Errno::NOTEMPTY.into()),
            Place::Dots(Dots::Root) => return Err(Errno::BUSY.into()),
        };
        let there = self.look(&slot)?.ok_or(Errno::NOENT)?;
        if kind(&there) != FileType::Directory {
            return Err(Errno::NOTDIR.into());
        }
        self.permit_slot(&slot, &[PathOp::Rmdir])?;
        let (parent, name) = slot.parts();
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }
}
