//! A thread that takes in what the probes see while nobody makes a call.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;

use crate::bpf::probes::Probes;
use crate::bpf::watch::Watch;
use crate::session::{Session, Stop};

/// The thread. To be ended once the tree is dead.
pub struct Watching {
    over: OwnedFd,
    thread: JoinHandle<()>,
}

impl Watching {
    /// Hands `watch` to the session, and starts the thread. Before the agent is made.
    ///
    /// # Errors
    /// No thread, or no descriptor for it.
    pub fn start(session: &Arc<Session>, watch: Watch) -> io::Result<Self> {
        let ring = watch.as_fd().try_clone_to_owned()?;
        let over = eventfd(0, EventfdFlags::CLOEXEC)?;
        let ended = over.try_clone()?;
        session.watch(watch);
        let session = Arc::clone(session);
        let work = move || {
            loop {
                let mut both = [PollFd::new(&ring, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
                // A poll that fails is one that saw nothing: the end of the run takes in the rest.
                let _ = poll(&mut both, None);
                if both[1].revents().contains(PollFlags::IN) {
                    return;
                }
                session.observe();
            }
        };
        let thread = std::thread::Builder::new().name("gait-witness".into()).spawn(work)?;
        Ok(Self { over, thread })
    }

    /// Takes in all that is left.
    pub fn end(self, session: &Session, probes: &Probes) {
        let _ = rustix::io::write(&self.over, &1u64.to_ne_bytes());
        let joined = self.thread.join().is_ok();
        match probes.lost() {
            Ok(lost) if joined => session.observed(lost),
            _ => session.stop(Stop::GuardError),
        }
    }
}
