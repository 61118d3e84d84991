//! What every handler has at hand.

use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::agent::Stop;
use super::park::Parking;
use super::tracer::Tracer;
use super::view::View;
use super::{Call, Reply, Tree};
use crate::bpf::lock::SocketLock;
use crate::event::{Action, PathOp};
use crate::session::{Floor, Judge, Ruling};
use crate::sys::listener::Listener;

/// The state of one supervisor. It belongs to the acting thread; what other threads need is shared.
pub struct Context {
    /// Decides and records.
    pub judge: Arc<dyn Judge>,
    /// Answers held calls, from any thread.
    pub listener: Arc<Listener>,
    /// Which processes are the agent's.
    pub tree: Arc<Tree>,
    /// A view of `/` whose files can't be executed ([`crate::sys::mount::noexec_root`]), where it can be had.
    pub noexec_root: Option<OwnedFd>,
    /// The second lock on the agent's sockets, where it can be had.
    pub lock: Option<Arc<SocketLock>>,
    /// The file system, on behalf of the agent.
    pub(super) view: View,
    /// Calls that block.
    pub(super) parking: Parking,
    /// Sees execs through.
    pub(super) tracer: Tracer,
}

impl Context {
    /// A context for the tree behind `listener`.
    ///
    /// # Errors
    /// `/` or `/proc` can't be opened.
    pub fn new(
        judge: Arc<dyn Judge>,
        listener: Listener,
        tree: Tree,
        noexec_root: Option<OwnedFd>,
    ) -> Result<Self, Errno> {
        let (listener, tree) = (Arc::new(listener), Arc::new(tree));
        let view = View::new(Arc::clone(&tree))?;
        let parking = Parking::new(Arc::clone(&listener), Arc::clone(&judge));
        let tracer = Tracer::new(Arc::clone(&listener), Arc::clone(&judge));
        Ok(Self { judge, listener, tree, noexec_root, lock: None, view, parking, tracer })
    }

    /// Has an operation on a path decided and recorded.
    ///
    /// # Errors
    /// The error of the denial.
    pub(super) fn permit(&self, call: &Call, op: PathOp, path: &[u8]) -> Result<(), Stop> {
        match self.judge.judge(call.actor(), &Action::Path { op, path: path.into(), via: None }) {
            Ruling::Allow => Ok(()),
            Ruling::Deny(errno) => Err(Stop::Errno(errno)),
        }
    }

    /// The answer to a call that goes no further: what the floor refuses is recorded as `op`.
    pub(super) fn stop(&self, call: &Call, op: PathOp, stop: Stop) -> Reply {
        let action = match &stop {
            Stop::Errno(errno) => return Reply::Errno(*errno),
            Stop::Floor(_, path) => Action::Path { op, path: path.into(), via: None },
            Stop::Unresolved(why, _) => Action::Unresolved { op, why: *why },
        };
        let floor = match stop {
            Stop::Floor(floor, _) | Stop::Unresolved(_, floor) => floor,
            Stop::Errno(_) => Floor::Unresolved,
        };
        Reply::Errno(self.judge.deny(call.actor(), &action, floor))
    }

    /// Makes sure that everything read from `/proc` was about the caller: to be asked after the last
    /// such read and before anything is changed.
    ///
    /// # Errors
    /// `ESRCH`, which nobody receives.
    pub(super) fn confirm(&self, call: &Call) -> Result<(), Stop> {
        if self.listener.is_pending(call.id) { Ok(()) } else { Err(Stop::Errno(Errno::SRCH)) }
    }
}
