//! `rename`, `renameat`, `renameat2`.
//!
//! The source is judged as deleted and as read, the destination as written: whoever may move a file
//! to a place where it can be read must be allowed to read it where it is. An exchange moves both.

use rustix::fd::OwnedFd;
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::super::agent::Stop;
use super::super::names::NameBuffer;
use super::super::resolve::{Slash, Slot};
use super::{Change, Place, kind};
use crate::event::{Action, PathOp};
use crate::session::{Floor, Judge, Ruling};
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
        let _still = Still::of(self.context.judge.as_ref(), [Some(&source), target.as_ref()])?;
        self.permit_move(&from, &to, &source)?;
        if let (true, Some(target)) = (is_exchange, &target) {
            self.permit_move(&to, &from, target)?;
        }
        let ((from, from_name), (to, to_name)) = (from.parts(), to.parts());
        Ok(sys::files::rename(from, from_name, to, to_name, flags)?)
    }

    fn permit_move(&self, from: &Slot, to: &Slot, moved: &Stat) -> Result<(), Stop> {
        let is_dir = kind(moved) == FileType::Directory;
        let look = if is_dir { PathOp::List } else { PathOp::Read };
        self.permit_slot(from, &[PathOp::RenameFrom, look])?;
        self.permit_slot(to, &[PathOp::RenameTo])?;
        if is_dir { self.check_contents(from, to) } else { Ok(()) }
    }

    /// Refuses to move a folder if that would change what is decided on anything in it: a file that
    /// is denied by its path must not become reachable because a folder above it has another name,
    /// nor appear where it could not be made. The agent gets `EXDEV`, as between file systems, so
    /// that programs move file by file, and each file is decided.
    fn check_contents(&self, from: &Slot, to: &Slot) -> Result<(), Stop> {
        let (mut old, mut new) = (NameBuffer::new(), NameBuffer::new());
        self.view().slot_name(&self.agent, from, &mut old)?;
        self.view().slot_name(&self.agent, to, &mut new)?;
        let folder = rustix::fs::openat(&from.parent, from.name.as_bytes(), FOLDER, Mode::empty());
        let names = Names { old: old.as_bytes().to_vec(), new: new.as_bytes().to_vec() };
        let is_same = match folder {
            Ok(folder) => is_decided_alike(self.context.judge.as_ref(), folder, names),
            // What can't be looked at could hold anything.
            Err(_) => false,
        };
        if is_same {
            return self.context.confirm(self.call);
        }
        let action = Action::Path { op: PathOp::RenameFrom, path: old.as_bytes().into(), via: None };
        Err(self.context.judge.deny_as(self.call.actor(), &action, Floor::Unresolved, Errno::XDEV).into())
    }
}

/// While a folder is looked through and moved nothing is created in it unseen.
struct Still<'a>(Option<&'a dyn Judge>);

impl<'a> Still<'a> {
    fn of(judge: &'a dyn Judge, moved: [Option<&Stat>; 2]) -> Result<Self, Stop> {
        if !moved.into_iter().flatten().any(|stat| kind(stat) == FileType::Directory) {
            return Ok(Self(None));
        }
        if judge.moving(true) { Ok(Self(Some(judge))) } else { Err(Errno::XDEV.into()) }
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        if let Some(judge) = self.0 {
            // If it stays, creations stay refused: the safe side.
            judge.moving(false);
        }
    }
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Most entries that are looked at; a larger folder is moved file by file.
const MOST_ENTRIES: usize = 200_000;

/// What something is called, and what it would be called.
struct Names {
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Names {
    fn of(&self, entry: &[u8]) -> Self {
        Self { old: [&self.old, entry].join(&b'/'), new: [&self.new, entry].join(&b'/') }
    }

    fn are_alike(&self, judge: &dyn Judge, op: PathOp) -> bool {
        let foresee = |path: &[u8]| judge.foresee(&Action::Path { op, path: path.into(), via: None }) == Ruling::Allow;
        foresee(&self.old) == foresee(&self.new)
    }
}

/// Whether everything below a folder is decided alike under both names.
fn is_decided_alike(judge: &dyn Judge, folder: OwnedFd, names: Names) -> bool {
    let mut left = MOST_ENTRIES;
    let mut folders = vec![(folder, names)];
    while let Some((folder, names)) = folders.pop() {
        let Ok(mut entries) = Dir::read_from(&folder) else { return false };
        while let Some(entry) = entries.read() {
            let Ok(entry) = entry else { return false };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            left -= 1;
            let names = names.of(name.to_bytes());
            let child = match entry.file_type() {
                FileType::Directory | FileType::Unknown => rustix::fs::openat(&folder, name, FOLDER, Mode::empty()),
                _ => Err(Errno::NOTDIR),
            };
            let ops: &[PathOp] = match &child {
                Ok(_) => &[PathOp::List, PathOp::Create, PathOp::Rmdir],
                Err(Errno::NOTDIR | Errno::LOOP) => &[PathOp::Read, PathOp::Write, PathOp::Delete, PathOp::Map],
                Err(_) => return false,
            };
            if left == 0 || !ops.iter().all(|op| names.are_alike(judge, *op)) {
                return false;
            }
            if let Ok(child) = child {
                folders.push((child, names));
            }
        }
    }
    true
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
