//! Mappings that can be executed: `mmap`, `mprotect` and `pkey_mprotect` with `PROT_EXEC` on files.
//!
//! The kernel makes the mapping, and by then another thread may have put another file behind the
//! descriptor number. What such a race wins is code that the agent could also have read into memory
//! of its own: the boundary is who may read a file. Where the host allows it, files whose execution
//! is denied are opened through a view of `/` that can't be executed, and then there is nothing to
//! win: the kernel refuses.

use rustix::fd::AsFd;
use rustix::io::Errno;

use super::agent::Stop;
use super::names::NameBuffer;
use super::program::{self, Mapped};
use super::view::Named;
use super::{Call, Context, RegisterOnly, Reply};
use crate::event::{Action, PathOp, Via, Why};
use crate::session::{Floor, Ruling};

/// Decides a call of the class `Map`.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    let decided = match call.nr {
        libc::SYS_mmap => file(context, call),
        _ => range(context, call),
    };
    match decided {
        Ok(()) => Reply::Continue(RegisterOnly::because("see the module: a guard against ld.so, not a boundary")),
        Err(stop) => context.stop(call, PathOp::Map, stop),
    }
}

/// The file behind a descriptor. One without a name holds what the agent wrote, as its memory does.
fn file(context: &Context, call: &Call) -> Result<(), Stop> {
    let agent = context.agent(call.tid);
    let handle = agent.descriptor(call.int(4))?;
    let stat = rustix::fs::fstat(&handle)?;
    let mut name = NameBuffer::new();
    match context.view.name(&agent, handle.as_fd(), &stat, &mut name)? {
        Named::Path => permit(context, call, name.as_bytes()),
        Named::Nameless => Ok(()),
    }
}

/// The files that are mapped where memory is to become executable.
fn range(context: &Context, call: &Call) -> Result<(), Stop> {
    let start = call.args[0];
    let end = start.saturating_add(call.args[1]);
    let maps = std::fs::read(format!("/proc/{}/maps", call.tid)).map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH | libc::ENOENT) => Stop::Errno(Errno::SRCH),
        _ => Stop::Unresolved(Why::Unreadable, Floor::Unreadable),
    })?;
    let mut last: Option<Vec<u8>> = None;
    for mapped in program::mapped(&maps).into_iter().filter(|mapped| overlaps(mapped, start, end)) {
        let name = named(&mapped);
        if !mapped.executable && !is_memory(name) && last.as_deref() != Some(name) {
            permit(context, call, name)?;
            last = Some(name.to_vec());
        }
    }
    Ok(())
}

fn overlaps(mapped: &Mapped, start: u64, end: u64) -> bool {
    mapped.start < end && start < mapped.end
}

fn named(mapped: &Mapped) -> &[u8] {
    mapped.name.strip_suffix(b" (deleted)".as_slice()).unwrap_or(&mapped.name)
}

/// Memory files and shared anonymous memory have inodes, but no names that lead anywhere.
fn is_memory(name: &[u8]) -> bool {
    [b"/memfd:".as_slice(), b"/dev/zero", b"/SYSV", b"/anon_hugepage"].iter().any(|start| name.starts_with(start))
        || !name.starts_with(b"/")
}

fn permit(context: &Context, call: &Call, path: &[u8]) -> Result<(), Stop> {
    context.confirm(call)?;
    let action = Action::Path { op: PathOp::Map, path: path.into(), via: Some(Via::Mmap) };
    match context.judge.judge(call.actor(), &action) {
        Ruling::Allow => Ok(()),
        Ruling::Deny(errno) => Err(Stop::Errno(errno)),
    }
}
