//! `mkdir`, `mkdirat`, `mknod`, `mknodat`.

use rustix::fs::Mode;
use rustix::io::Errno;

use super::super::agent::Stop;
use super::super::open::sets_id;
use super::Change;
use super::link::Directory;
use crate::event::{NodeKind, PathOp};
use crate::session::Floor;
use crate::sys;

impl Change<'_> {
    pub(super) fn mkdir(&self, dirfd: i32, path: u64, mode: u32) -> Result<(), Stop> {
        let slot = self.vacant(dirfd, &self.path(path)?, Directory::Yes)?;
        self.view().adopt_umask(&self.agent)?;
        self.permit_slot(&slot, &[PathOp::Mkdir])?;
        let (parent, name) = slot.parts();
        Ok(rustix::fs::mkdirat(parent, name, Mode::from_bits_retain(mode & 0o7777))?)
    }

    pub(super) fn mknod(&self, dirfd: i32, path: u64, mode: u32, device: u32) -> Result<(), Stop> {
        let node = node_kind(mode)?;
        let slot = self.vacant(dirfd, &self.path(path)?, Directory::No)?;
        // A device under another name is a way round every rule for the first; the number 0 is none.
        let is_device = matches!(node, NodeKind::Char | NodeKind::Block) && device != 0;
        if is_device || sets_id(mode) {
            return Err(self.refuse_slot(&slot, Floor::Privilege));
        }
        self.view().adopt_umask(&self.agent)?;
        self.permit_slot(&slot, &[PathOp::Mknod { node, mode: (mode & 0o7777) as u16 }])?;
        let (parent, name) = slot.parts();
        Ok(sys::files::make_node(parent, name, mode & 0xffff, device)?)
    }
}

/// As `may_mknod` in the kernel.
fn node_kind(mode: u32) -> Result<NodeKind, Errno> {
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Ok(NodeKind::Regular),
        libc::S_IFIFO => Ok(NodeKind::Fifo),
        libc::S_IFSOCK => Ok(NodeKind::Socket),
        libc::S_IFCHR => Ok(NodeKind::Char),
        libc::S_IFBLK => Ok(NodeKind::Block),
        libc::S_IFDIR => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}
