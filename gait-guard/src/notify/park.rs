//! Calls that block, each on a thread of its own so that the loop never does.
//!
//! One watcher looks every 10 ms whether the caller of a parked call is gone or has a signal to
//! handle, and then interrupts the thread that works for it: the caller gets the native answer
//! (`-ERESTARTSYS`: its handler runs, then EINTR or a restart).

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::agent::Agent;
use super::supervisor::answer;
use super::{Call, Reply};
use crate::session::Judge;
use crate::sys::listener::Listener;
use crate::sys::thread as task;

/// Most calls parked at one time; above it a call fails with `EAGAIN`.
const MOST_PARKED: usize = 512;
/// How often callers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const STACK_BYTES: usize = 128 * 1024;

/// Holds blocked calls.
pub(super) struct Parking {
    shared: Arc<Shared>,
}

struct Shared {
    listener: Arc<Listener>,
    judge: Arc<dyn Judge>,
    parked: Mutex<Vec<Arc<Parked>>>,
    arrived: Condvar,
    is_over: AtomicBool,
}

struct Parked {
    call: Call,
    /// The thread that works for the call; 0 until it runs.
    worker: AtomicI32,
}

impl Parking {
    /// An empty one. Its watcher starts with the first call.
    pub(super) fn new(listener: Arc<Listener>, judge: Arc<dyn Judge>) -> Self {
        let shared = Shared {
            listener,
            judge,
            parked: Mutex::new(Vec::new()),
            arrived: Condvar::new(),
            is_over: AtomicBool::new(true),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Lets `work` do the call on a thread of its own; what it returns is the answer, where
    /// [`Errno::INTR`] becomes [`Reply::Restart`]. `work` must block in system calls only, and return
    /// when one is interrupted.
    pub(super) fn park(&self, call: &Call, work: impl FnOnce() -> Reply + Send + 'static) -> Reply {
        if self.start(call, work).is_some() { Reply::Handed } else { Reply::Errno(Errno::AGAIN) }
    }

    fn start(&self, call: &Call, work: impl FnOnce() -> Reply + Send + 'static) -> Option<()> {
        self.watch()?;
        let parked = Arc::new(Parked { call: *call, worker: AtomicI32::new(0) });
        {
            let mut list = self.shared.list();
            if list.len() >= MOST_PARKED {
                return None;
            }
            list.push(Arc::clone(&parked));
        }
        let shared = Arc::clone(&self.shared);
        let mine = Arc::clone(&parked);
        let started = thread::Builder::new().name("parked".into()).stack_size(STACK_BYTES).spawn(move || {
            mine.worker.store(task::own_tid(), Ordering::Release);
            let reply = match work() {
                Reply::Errno(Errno::INTR) => Reply::Restart,
                reply => reply,
            };
            // Off the list first: the watcher must not signal a thread that is no longer ours.
            shared.remove(&mine);
            answer(&shared.listener, shared.judge.as_ref(), &mine.call, reply);
        });
        if started.is_err() {
            self.shared.remove(&parked);
            return None;
        }
        self.shared.arrived.notify_one();
        Some(())
    }

    /// Starts the watcher if it does not run.
    fn watch(&self) -> Option<()> {
        if !self.shared.is_over.swap(false, Ordering::AcqRel) {
            return Some(());
        }
        let shared = Arc::clone(&self.shared);
        let proc = rustix::fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
        let started = task::accept_interrupts().ok().and(proc).and_then(|proc| {
            thread::Builder::new()
                .name("watcher".into())
                .stack_size(STACK_BYTES)
                .spawn(move || shared.watch(&proc))
                .ok()
        });
        if started.is_none() {
            self.shared.is_over.store(true, Ordering::Release);
        }
        started.map(drop)
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Parked>>> {
        // A worker that panicked left the list as it was between two statements: whole.
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, parked: &Arc<Parked>) {
        self.list().retain(|other| !Arc::ptr_eq(other, parked));
    }

    fn watch(&self, proc: &OwnedFd) {
        loop {
            let mut list = self.list();
            while list.is_empty() && !self.is_over.load(Ordering::Acquire) {
                list = self.arrived.wait(list).unwrap_or_else(PoisonError::into_inner);
            }
            if list.is_empty() {
                return;
            }
            // With the list locked no worker ends, so no thread id is stale.
            for parked in list.iter().filter(|parked| self.is_to_end(proc, &parked.call)) {
                task::interrupt(parked.worker.load(Ordering::Acquire));
            }
            drop(list);
            thread::sleep(LOOK_EVERY);
        }
    }

    fn is_to_end(&self, proc: &OwnedFd, call: &Call) -> bool {
        use rustix::fd::AsFd;
        // A caller that can't be examined keeps its call, as long as that stands.
        !self.listener.is_pending(call.id)
            || Agent::new(proc.as_fd(), call.tid).status().is_ok_and(|status| status.interrupted)
    }
}
