//! `rename`, `renameat`, `renameat2`.
//!
//! The source is judged as deleted and as read, the destination as written: whoever may move a file
//! to a place where it can be read must be allowed to read it where it is. An exchange moves both.

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::super::agent::Stop;
use super::super::resolve::{Slash, Slot};
use super::{Change, Place, kind};
use crate::event::PathOp;
use crate::sys;

const NOREPLACE: u32 = 1;
const EXCHANGE: u32 = 2;
const WHITEOUT: u32 = 4;

impl Change<'_> {
    pub(super) fn rename(&self, dirfds: [i32; 2], paths: [u64; 2], flags: u32) -> Result<(), Stop> {
        let is_exchange = flags & EXCHANGE != 0;
        if flags & !(NOREPLACE | EXCHANGE | WHITEOUT) != 0 || (is_exchange && flags != EXCHANGE) {
            return Err(Errno::INVAL.into());
        }
        let from_path = self.path(paths[0])?;
        let to_path = self.path(paths[1])?;
        let from = self.place(dirfds[0], &from_path)?;
        let to = self.place(dirfds[1], &to_path)?;
        let Place::Slot(from, from_slash) = from else { return Err(Errno::BUSY.into()) };
        let Place::Slot(to, to_slash) = to else {
            return Err(if flags & NOREPLACE != 0 { Errno::EXIST } else { Errno::BUSY }.into());
        };
        let source = self.look(&from)?.ok_or(Errno::NOENT)?;
        let target = self.look(&to)?;
        check_shapes(&source, target.as_ref(), [from_slash, to_slash], flags)?;
        self.permit_move(&from, &to, &source)?;
        if let (true, Some(target)) = (is_exchange, &target) {
            self.permit_move(&to, &from, target)?;
        }
        let ((from, from_name), (to, to_name)) = (from.parts(), to.parts());
        Ok(sys::files::rename(from, from_name, to, to_name, flags)?)
    }

    fn permit_move(&self, from: &Slot, to: &Slot, moved: &Stat) -> Result<(), Stop> {
        let look = if kind(moved) == FileType::Directory { PathOp::List } else { PathOp::Read };
        self.permit_slot(from, &[PathOp::RenameFrom, look])?;
        self.permit_slot(to, &[PathOp::RenameTo])
    }
}

/// What the kernel refuses whatever the rights are (`do_renameat2`).
fn check_shapes(source: &Stat, target: Option<&Stat>, slashes: [Slash; 2], flags: u32) -> Result<(), Errno> {
    let is_dir = |stat: &Stat| kind(stat) == FileType::Directory;
    match target {
        Some(_) if flags & NOREPLACE != 0 => return Err(Errno::EXIST),
        None if flags & EXCHANGE != 0 => return Err(Errno::NOENT),
        Some(target) if flags & EXCHANGE != 0 && !is_dir(target) && slashes[1] == Slash::Trailing => {
            return Err(Errno::NOTDIR);
        }
        _ => {}
    }
    let has_slash = slashes[0] == Slash::Trailing || (flags & EXCHANGE == 0 && slashes[1] == Slash::Trailing);
    if !is_dir(source) && has_slash { Err(Errno::NOTDIR) } else { Ok(()) }
}
