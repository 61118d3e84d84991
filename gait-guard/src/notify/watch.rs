//! `inotify_add_watch`: the watch is added to a duplicate of the agent's inotify descriptor, on the
//! object that was judged.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::agent::{AT_FDCWD, PathBuffer, Stop};
use super::names::NameBuffer;
use super::resolve::{Last, Query};
use super::view::Named;
use super::{Call, Context, Reply};
use crate::event::PathOp;
use crate::session::Floor;
use crate::sys;

const DONT_FOLLOW: u32 = libc::IN_DONT_FOLLOW;

/// Decides a watch.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    match watch(context, call) {
        Ok(number) => Reply::Value(number.into()),
        Err(stop) => context.stop(call, PathOp::Watch, stop),
    }
}

fn watch(context: &Context, call: &Call) -> Result<i32, Stop> {
    let (view, agent, mask) = (&context.view, context.view.agent(call.tid), call.args[2] as u32);
    let mut path = PathBuffer::new();
    agent.path(call.args[1], &mut path)?;
    let last = if mask & DONT_FOLLOW != 0 { Last::Keep } else { Last::Follow };
    let object = view.object(&agent, Query::plain(AT_FDCWD, &path), last)?;
    let mut name = NameBuffer::new();
    if view.name(&agent, object.fd.as_fd(), &object.stat, &mut name)? == Named::Path {
        context.permit(call, PathOp::Watch, name.as_bytes())?;
    }
    let inotify = match duplicate(call.tid, agent.status()?.tgid, call.int(0)) {
        // Where descriptors can't be taken (containers without CAP_SYS_PTRACE), there are no watches.
        Err(Errno::PERM | Errno::NOSYS) => return Err(Stop::Floor(Floor::Unmediated, name.as_bytes().to_vec())),
        other => other?,
    };
    context.confirm(call)?;
    // The path leads to the object itself, so there is no link left that could be followed.
    let path = view.own_path(object.fd.as_fd())?;
    Ok(sys::files::add_watch(inotify.as_fd(), path.as_c_str(), mask & !DONT_FOLLOW)?)
}

/// A duplicate of descriptor `fd` of a thread, or of its process where the kernel can't tell threads
/// apart (before Linux 6.9).
fn duplicate(tid: i32, tgid: i32, fd: i32) -> Result<OwnedFd, Errno> {
    /// `PIDFD_THREAD`
    const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL as u32);
    let pid = |number| Pid::from_raw(number).ok_or(Errno::SRCH);
    let task = match pidfd_open(pid(tid)?, THREAD) {
        Err(Errno::INVAL) => pidfd_open(pid(tgid)?, PidfdFlags::empty()),
        other => other,
    }?;
    pidfd_getfd(task, fd, PidfdGetfdFlags::empty())
}
