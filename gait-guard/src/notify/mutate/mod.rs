//! Calls that change names or attributes, performed on behalf of the agent on judged handles.
//!
//! A call on a name is done as its `*at` form on a handle of the parent directory, a call on an
//! object through a handle of the object: nothing is looked up by the agent's string a second time.
//! What is not there, or already there, gives the kernel's answer without a decision: whether a name
//! exists is no secret here (`stat` is not mediated), and nothing would happen.

mod attributes;
mod link;
mod make;
mod remove;
mod rename;
mod times;
mod truncate;
mod xattr;

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use super::agent::{AT_FDCWD, Agent, PathBuffer, Stop};
use super::names::NameBuffer;
use super::resolve::{Dots, Found, Goal, Last, Query, Slash, Slot};
use super::view::{Named, Object, View};
use super::{Call, Context, Reply};
use crate::event::{Action, PathOp, SystemObject};
use crate::session::Floor;

/// Decides a call of the classes `mutate` and `fdmut`.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    let context = &*context;
    let change = Change { context, call, agent: context.view.agent(call.tid) };
    let a = &call.args;
    let (op, outcome) = match call.nr {
        libc::SYS_unlink => (PathOp::Delete, change.unlink(AT_FDCWD, a[0])),
        libc::SYS_rmdir => (PathOp::Rmdir, change.rmdir(AT_FDCWD, a[0])),
        libc::SYS_unlinkat => change.unlinkat(),
        libc::SYS_rename => (PathOp::RenameFrom, change.rename([AT_FDCWD; 2], [a[0], a[1]], 0)),
        libc::SYS_renameat => (PathOp::RenameFrom, change.rename([call.int(0), call.int(2)], [a[1], a[3]], 0)),
        libc::SYS_renameat2 => {
            (PathOp::RenameFrom, change.rename([call.int(0), call.int(2)], [a[1], a[3]], a[4] as u32))
        }
        libc::SYS_mkdir => (PathOp::Mkdir, change.mkdir(AT_FDCWD, a[0], a[1] as u32)),
        libc::SYS_mkdirat => (PathOp::Mkdir, change.mkdir(call.int(0), a[1], a[2] as u32)),
        libc::SYS_mknod => (PathOp::Create, change.mknod(AT_FDCWD, a[0], a[1] as u32, a[2] as u32)),
        libc::SYS_mknodat => (PathOp::Create, change.mknod(call.int(0), a[1], a[2] as u32, a[3] as u32)),
        libc::SYS_symlink => (PathOp::Symlink, change.symlink(a[0], AT_FDCWD, a[1])),
        libc::SYS_symlinkat => (PathOp::Symlink, change.symlink(a[0], call.int(1), a[2])),
        libc::SYS_link => (PathOp::Link, change.link([AT_FDCWD; 2], [a[0], a[1]], 0)),
        libc::SYS_linkat => (PathOp::Link, change.link([call.int(0), call.int(2)], [a[1], a[3]], a[4] as u32)),
        libc::SYS_truncate => {
            return change.truncate().unwrap_or_else(|stop| context.stop(call, PathOp::Truncate, stop));
        }
        libc::SYS_chmod | libc::SYS_fchmodat | libc::SYS_fchmodat2 | libc::SYS_fchmod => change.any_chmod(),
        libc::SYS_chown | libc::SYS_lchown | libc::SYS_fchownat | libc::SYS_fchown => {
            (PathOp::Chown, change.any_chown())
        }
        libc::SYS_utime | libc::SYS_utimes | libc::SYS_futimesat | libc::SYS_utimensat => {
            (PathOp::Utimes, change.any_times())
        }
        xattr::SETXATTRAT | libc::SYS_setxattr | libc::SYS_lsetxattr | libc::SYS_fsetxattr => {
            (PathOp::Setxattr, change.any_setxattr())
        }
        xattr::REMOVEXATTRAT | libc::SYS_removexattr | libc::SYS_lremovexattr | libc::SYS_fremovexattr => {
            (PathOp::Removexattr, change.any_removexattr())
        }
        _ => return unsupported(context, call),
    };
    match outcome {
        Ok(()) => Reply::Value(0),
        Err(stop) => context.stop(call, op, stop),
    }
}

/// `file_setattr`: the programs that use it go on without.
fn unsupported(context: &Context, call: &Call) -> Reply {
    let object = SystemObject { class: "file", detail: "flags" };
    context.judge.deny(call.actor(), &Action::System { name: "file_setattr", object }, Floor::Unmediated);
    Reply::Errno(Errno::OPNOTSUPP)
}

/// One call under way.
struct Change<'a> {
    context: &'a Context,
    call: &'a Call,
    agent: Agent<'a>,
}

/// Which object a path argument names.
#[derive(Clone, Copy)]
struct Target {
    dirfd: i32,
    /// Address of the path.
    path: u64,
    last: Last,
    empty: Empty,
}

/// What an empty path means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    /// Nothing: `ENOENT`.
    Missing,
    /// The object of the descriptor (`AT_EMPTY_PATH`).
    Itself,
}

impl Target {
    /// A path in the current directory.
    fn path(path: u64, last: Last) -> Self {
        Self { dirfd: AT_FDCWD, path, last, empty: Empty::Missing }
    }

    /// With the flags `AT_SYMLINK_NOFOLLOW` and `AT_EMPTY_PATH`; any other one is `EINVAL`.
    fn with_flags(dirfd: i32, path: u64, flags: u32) -> Result<Self, Errno> {
        const KNOWN: u32 = (libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) as u32;
        if flags & !KNOWN != 0 {
            return Err(Errno::INVAL);
        }
        let has = |flag: i32| flags & flag as u32 != 0;
        Ok(Self {
            dirfd,
            path,
            last: if has(libc::AT_SYMLINK_NOFOLLOW) { Last::Keep } else { Last::Follow },
            empty: if has(libc::AT_EMPTY_PATH) { Empty::Itself } else { Empty::Missing },
        })
    }
}

/// A directory and a name in it, or none.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack, and hardly ever the small one")]
enum Place {
    Slot(Slot, Slash),
    Dots(Dots),
}

impl<'a> Change<'a> {
    fn view(&self) -> &'a View {
        &self.context.view
    }

    fn path(&self, address: u64) -> Result<PathBuffer, Stop> {
        let mut path = PathBuffer::new();
        self.agent.path(address, &mut path)?;
        Ok(path)
    }

    /// Where the entry that a path names is, or would be. A slash after the name is kept on it.
    fn place(&self, dirfd: i32, path: &PathBuffer) -> Result<Place, Stop> {
        let found = self.view().entry(&self.agent, Query::plain(dirfd, path), Goal::Entry)?;
        let Found { slot: Some(mut slot), slash, .. } = found else {
            return Ok(Place::Dots(Dots::of(path.as_bytes())));
        };
        if slash == Slash::Trailing {
            slot.name.push_slash();
        }
        Ok(Place::Slot(slot, slash))
    }

    /// What is at a slot, not following a link.
    fn look(&self, slot: &Slot) -> Result<Option<Stat>, Stop> {
        match rustix::fs::statat(&slot.parent, slot.name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn object(&self, target: Target) -> Result<Object, Stop> {
        let path = self.path(target.path)?;
        if path.as_bytes().is_empty() && target.empty == Empty::Itself {
            return Object::new(self.agent.base(target.dirfd)?);
        }
        self.view().object(&self.agent, Query::plain(target.dirfd, &path), target.last)
    }

    /// The object of a descriptor that is more than a handle.
    fn descriptor(&self, fd: i32) -> Result<Object, Stop> {
        let object = self.agent.descriptor(fd)?;
        if self.agent.is_handle(fd)? {
            return Err(Errno::BADF.into());
        }
        Object::new(object)
    }

    /// Has an operation on an object decided, then makes sure that the caller is still there.
    fn permit(&self, object: &Object, op: PathOp) -> Result<(), Stop> {
        let mut name = NameBuffer::new();
        if self.view().name(&self.agent, object.fd.as_fd(), &object.stat, &mut name)? == Named::Path {
            self.context.permit(self.call, op, name.as_bytes())?;
        }
        self.context.confirm(self.call)
    }

    /// As [`Change::permit`], on an entry of a directory.
    fn permit_slot(&self, slot: &Slot, ops: &[PathOp]) -> Result<(), Stop> {
        let mut name = NameBuffer::new();
        self.view().slot_name(&self.agent, slot, &mut name)?;
        for op in ops {
            self.context.permit(self.call, *op, name.as_bytes())?;
        }
        self.context.confirm(self.call)
    }

    /// Refuses what the floor refuses on an object, by its name.
    fn refuse(&self, object: &Object, floor: Floor) -> Stop {
        let mut name = NameBuffer::new();
        match self.view().name(&self.agent, object.fd.as_fd(), &object.stat, &mut name) {
            Ok(_) => Stop::Floor(floor, name.as_bytes().to_vec()),
            Err(stop) => stop,
        }
    }

    /// Refuses what the floor refuses on an entry.
    fn refuse_slot(&self, slot: &Slot, floor: Floor) -> Stop {
        let mut name = NameBuffer::new();
        match self.view().slot_name(&self.agent, slot, &mut name) {
            Ok(()) => Stop::Floor(floor, name.as_bytes().to_vec()),
            Err(stop) => stop,
        }
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
