//! `truncate`.

use rustix::fd::AsFd;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::Reply;
use super::super::agent::Stop;
use super::super::resolve::Last;
use super::super::view::Object;
use super::{Change, Target};
use crate::event::PathOp;
use crate::sys;

impl Change<'_> {
    pub(super) fn truncate(&self) -> Result<Reply, Stop> {
        let length = self.call.args[1] as i64;
        if length < 0 {
            return Err(Errno::INVAL.into());
        }
        let object = self.object(Target::path(self.call.args[0], Last::Follow))?;
        match object.kind() {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::INVAL.into()),
        }
        self.permit(&object, PathOp::Truncate)?;
        self.check_limit(&object, length)?;
        self.context.confirm(self.call)?;
        let path = self.view().own_path(object.fd.as_fd())?;
        // Somebody's lease would stall the loop: the same rights, without waiting, tell.
        let probe = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if self.view().reopen(object.fd.as_fd(), probe, Mode::empty()).err() == Some(Errno::AGAIN) {
            return Ok(self.context.parking.park(self.call, move || {
                let outcome = sys::files::truncate(path.as_c_str(), length);
                drop(object);
                outcome.map_or_else(Reply::Errno, |()| Reply::Value(0))
            }));
        }
        sys::files::truncate(path.as_c_str(), length)?;
        Ok(Reply::Value(0))
    }

    /// `RLIMIT_FSIZE` is the agent's, not ours (`inode_newsize_ok`).
    fn check_limit(&self, object: &Object, length: i64) -> Result<(), Stop> {
        if length <= object.stat.st_size {
            return Ok(());
        }
        match self.agent.file_size_limit()? {
            Some(limit) if length as u64 > limit => {
                sys::thread::signal(self.agent.tid(), libc::SIGXFSZ);
                Err(Errno::FBIG.into())
            }
            _ => Ok(()),
        }
    }
}
