//! What every handler has at hand.

use std::sync::Arc;

use rustix::fd::OwnedFd;

use super::Tree;
use crate::session::Judge;
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
}

impl Context {
    /// A context for the tree behind `listener`.
    pub fn new(judge: Arc<dyn Judge>, listener: Listener, tree: Tree, noexec_root: Option<OwnedFd>) -> Self {
        Self { judge, listener: Arc::new(listener), tree: Arc::new(tree), noexec_root }
    }
}
