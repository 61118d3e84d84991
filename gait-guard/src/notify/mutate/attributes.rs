//! `chmod` and `chown` in all their forms.

use rustix::fd::AsFd;
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::super::agent::{AT_FDCWD, Stop};
use super::super::open::sets_id;
use super::super::resolve::Last;
use super::super::view::Object;
use super::{Change, Target};
use crate::event::PathOp;
use crate::session::Floor;
use crate::sys;

impl Change<'_> {
    pub(super) fn any_chmod(&self) -> (PathOp, Result<(), Stop>) {
        let a = &self.call.args;
        let mode = match self.call.nr {
            libc::SYS_chmod | libc::SYS_fchmod => a[1],
            _ => a[2],
        } as u32
            & 0o7777;
        let object = match self.call.nr {
            libc::SYS_fchmod => self.descriptor(self.call.int(0)),
            libc::SYS_chmod => self.object(Target::path(a[0], Last::Follow)),
            libc::SYS_fchmodat => self.object(Target { dirfd: self.call.int(0), ..Target::path(a[1], Last::Follow) }),
            _ => Target::with_flags(self.call.int(0), a[1], a[3] as u32)
                .map_err(Stop::Errno)
                .and_then(|target| self.object(target)),
        };
        let op = PathOp::Chmod { mode: mode as u16 };
        (op, object.and_then(|object| self.chmod(&object, mode, op)))
    }

    fn chmod(&self, object: &Object, mode: u32, op: PathOp) -> Result<(), Stop> {
        if object.kind() == FileType::RegularFile && sets_id(mode) {
            return Err(self.refuse(object, Floor::Privilege));
        }
        self.permit(object, op)?;
        match sys::files::chmod_handle(object.fd.as_fd(), mode) {
            Err(Errno::NOSYS) => {
                let path = self.view().own_path(object.fd.as_fd())?;
                Ok(rustix::fs::chmod(path.as_c_str(), Mode::from_bits_retain(mode))?)
            }
            other => Ok(other?),
        }
    }

    pub(super) fn any_chown(&self) -> Result<(), Stop> {
        let a = &self.call.args;
        let (object, owner, group) = match self.call.nr {
            libc::SYS_fchown => (self.descriptor(self.call.int(0))?, a[1], a[2]),
            libc::SYS_chown => (self.object(Target::path(a[0], Last::Follow))?, a[1], a[2]),
            libc::SYS_lchown => (self.object(Target::path(a[0], Last::Keep))?, a[1], a[2]),
            _ => {
                let target = Target::with_flags(self.call.int(0), a[1], a[4] as u32)?;
                (self.object(target)?, a[2], a[3])
            }
        };
        self.permit(&object, PathOp::Chown)?;
        Ok(sys::files::chown_handle(object.fd.as_fd(), owner as u32, group as u32)?)
    }

    /// A path argument that may be NULL, which then means the descriptor itself.
    pub(super) fn object_or_descriptor(&self, dirfd: i32, path: u64, flags: u32) -> Result<Object, Stop> {
        if path != 0 || dirfd == AT_FDCWD {
            return self.object(Target::with_flags(dirfd, path, flags)?);
        }
        if flags != 0 {
            return Err(Errno::INVAL.into());
        }
        self.descriptor(dirfd)
    }
}
