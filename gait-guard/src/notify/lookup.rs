//! Paths that stand in other places than the arguments of file calls: programs, their interpreters,
//! socket files.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use super::Context;
use super::agent::{AT_FDCWD, Agent, PathBuffer, Stop};
use super::names::NameBuffer;
use super::resolve::{Goal, Last, Query};
use super::view::{Named, Object};
use crate::event::Why;
use crate::session::Floor;

impl Context {
    /// One thread of the agent.
    pub(super) fn agent(&self, tid: i32) -> Agent<'_> {
        self.view.agent(tid)
    }

    /// A handle on what `path` leads to for the agent.
    ///
    /// # Errors
    /// As the kernel's own walk, and the floor's for objects that are not the agent's.
    pub(super) fn lookup(&self, agent: &Agent<'_>, dirfd: i32, path: &[u8], last: Last) -> Result<OwnedFd, Stop> {
        let path = PathBuffer::of(path)?;
        self.view.object(agent, Query::plain(dirfd, &path), last).map(|object| object.fd)
    }

    /// The name under which the object of a handle is judged.
    ///
    /// # Errors
    /// The floor's, or that it has none.
    pub(super) fn name(&self, agent: &Agent<'_>, handle: impl AsFd) -> Result<Vec<u8>, Stop> {
        let stat = rustix::fs::fstat(&handle)?;
        let mut name = NameBuffer::new();
        match self.view.name(agent, handle.as_fd(), &stat, &mut name)? {
            Named::Path => Ok(name.as_bytes().to_vec()),
            Named::Nameless => Err(Stop::Unresolved(Why::Unreachable, Floor::Unresolved)),
        }
    }

    /// The name that a new entry at `path` would have, and where a relative path starts.
    ///
    /// # Errors
    /// As the kernel's own walk; `EADDRINUSE` for a path that can only name what is there.
    pub(super) fn new_entry(&self, agent: &Agent<'_>, path: &[u8]) -> Result<(Vec<u8>, OwnedFd), Stop> {
        let path = PathBuffer::of(path)?;
        let found = self.view.entry(agent, Query::plain(AT_FDCWD, &path), Goal::Entry)?;
        let slot = found.slot.ok_or(Errno::ADDRINUSE)?;
        let parent = Object::new(slot.parent)?;
        let mut name = NameBuffer::new();
        match self.view.name(agent, parent.fd.as_fd(), &parent.stat, &mut name)? {
            Named::Path => name.push(slot.name.as_bytes())?,
            Named::Nameless => return Err(Stop::Unresolved(Why::Unreachable, Floor::Unresolved)),
        }
        Ok((name.as_bytes().to_vec(), agent.base(AT_FDCWD)?))
    }
}
