//! Execs, looked at a second time where nobody can change them any more.
//!
//! A judged `execve` is continued by the kernel, which reads path and arguments again: by then a
//! second thread may have changed them. So the caller is seized first. When the exec has happened
//! its other threads are gone, its memory is new and it has not run an instruction: what runs and
//! with which arguments is read there, compared with what was judged, and if it differs judged
//! again. What is denied is killed where it stands.
//!
//! ptrace is bound to threads, so each exec has a thread of this pool to itself from the seizure to
//! the end: no exec waits for another one. A pending interrupt makes sure that there is an end,
//! whether or not the exec succeeds.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::call::Call;
use super::image::{Image, Verdict};
use crate::event::{Action, SystemObject};
use crate::session::{ExecEnd, Floor, Judge};
use crate::sys::listener::Listener;
use crate::sys::ptrace::{self, Reap, Stop};

/// Execs that are under way at one time. Each has a thread; more wait for one.
const MOST_WORKERS: usize = 128;

/// Sees judged execs through to their first instruction.
pub struct Tracer {
    shared: Arc<Shared>,
}

struct Shared {
    listener: Arc<Listener>,
    judge: Arc<dyn Judge>,
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: std::collections::VecDeque<Job>,
    idle: usize,
    workers: usize,
    closed: bool,
}

/// One judged exec.
pub struct Job {
    /// The held call.
    pub call: Call,
    /// What was judged, and how to judge what turns out otherwise.
    pub image: Image,
}

/// How a worker goes on after a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    /// It can take another job.
    Free,
    /// It holds a dead child of this process, whose status is for whoever waits for it: the thread
    /// must end, which lets go of it.
    Holds,
}

impl Tracer {
    /// A pool without threads: they come with the first execs. Threads have the credentials of the
    /// thread that calls [`Tracer::hand`].
    pub fn new(listener: Arc<Listener>, judge: Arc<dyn Judge>) -> Self {
        let shared = Shared { listener, judge, queue: Mutex::default(), arrived: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Sees `job` through; the call is answered by the tracer.
    pub fn hand(&self, job: Job) {
        let mut queue = self.shared.lock();
        let id = job.call.id;
        queue.jobs.push_back(job);
        if queue.idle >= queue.jobs.len() || queue.workers >= MOST_WORKERS {
            drop(queue);
            self.shared.arrived.notify_one();
            return;
        }
        queue.workers += 1;
        let shared = Arc::clone(&self.shared);
        if std::thread::Builder::new().name("gait-exec".into()).spawn(move || shared.work()).is_err() {
            queue.workers -= 1;
            if queue.workers == 0 {
                queue.jobs.retain(|job| job.call.id != id);
                drop(queue);
                let _ = self.shared.listener.send_errno(id, Errno::AGAIN);
            }
        }
    }
}

impl Drop for Tracer {
    /// Its threads end once their jobs are done.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            if self.follow(&job) == Worker::Holds {
                break;
            }
        }
        let mut queue = self.lock();
        queue.workers -= 1;
        // A job may have been left to this thread.
        let orphaned = !queue.jobs.is_empty() && queue.workers == 0;
        drop(queue);
        if orphaned {
            self.refuse_rest();
        }
    }

    fn refuse_rest(&self) {
        while let Some(job) = { self.lock().jobs.pop_front() } {
            let _ = self.listener.send_errno(job.call.id, Errno::AGAIN);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    fn follow(&self, job: &Job) -> Worker {
        let tid = job.call.tid;
        match ptrace::seize(tid).and_then(|()| ptrace::interrupt(tid)) {
            Ok(()) => {}
            Err(Errno::SRCH) if !self.listener.is_pending(job.call.id) => return Worker::Free,
            Err(_) => {
                let errno = self.refuse_untraceable(job);
                let _ = self.listener.send_errno(job.call.id, errno);
                return Worker::Free;
            }
        }
        // Read before the exec: a thread that does one takes its process's number.
        let watched = self.judge.is_watching().then(|| process_of(tid).unwrap_or(tid));
        if let Some(process) = watched {
            self.judge.exec_begins(process);
        }
        let ends = |end| {
            if let Some(process) = watched {
                self.judge.exec_ends(process, end);
            }
        };
        if self.listener.send_continue(job.call.id).is_err() {
            ends(ExecEnd::Failed);
            return self.let_go();
        }
        // It was held until now, so it is the one that called.
        loop {
            match self.wait() {
                Ok(Waited::Stop(Stop::Exec { pid })) => return self.inspect(job, pid),
                Ok(Waited::Stop(Stop::Interrupted { tid })) => {
                    ends(ExecEnd::Failed);
                    return self.release(tid);
                }
                Ok(Waited::Stop(Stop::Signal { tid, signal })) => {
                    let _ = ptrace::resume(tid, signal);
                }
                Ok(Waited::Stop(Stop::Gone { .. } | Stop::Nobody)) => {
                    ends(ExecEnd::Killed(job.image.decided()));
                    return Worker::Free;
                }
                // What can't be followed must not run: ending this thread kills it (EXITKILL).
                Ok(Waited::HeldChild) | Err(_) => {
                    ends(ExecEnd::Killed(job.image.decided()));
                    return Worker::Holds;
                }
            }
        }
    }

    /// The caller was killed, and its number may even be another one's by now.
    fn let_go(&self) -> Worker {
        loop {
            match self.wait() {
                Ok(Waited::Stop(Stop::Exec { pid: tid } | Stop::Interrupted { tid })) => return self.release(tid),
                Ok(Waited::Stop(Stop::Signal { tid, signal })) => {
                    let _ = ptrace::resume(tid, signal);
                }
                Ok(Waited::Stop(Stop::Gone { .. } | Stop::Nobody)) => return Worker::Free,
                Ok(Waited::HeldChild) | Err(_) => return Worker::Holds,
            }
        }
    }

    /// Somebody else traces the caller, or it can't be examined: what it executes could not be known.
    fn refuse_untraceable(&self, job: &Job) -> Errno {
        let object = SystemObject { class: "process", detail: "untraceable" };
        let action = Action::System { name: "execve", object };
        self.judge.deny(job.call.actor(), &action, Floor::Unreadable)
    }

    fn inspect(&self, job: &Job, pid: i32) -> Worker {
        match job.image.inspect(&*self.judge, pid) {
            Verdict::Runs => self.release(pid),
            Verdict::Dies => {
                let _ = ptrace::kill(pid);
                self.bury(pid)
            }
        }
    }

    /// Lets a stopped thread go. One that was killed meanwhile can't be: until this thread has taken note of its death, an
    /// exec of another thread of its process would wait for ever.
    fn release(&self, tid: i32) -> Worker {
        if ptrace::detach(tid).is_ok() { Worker::Free } else { self.bury(tid) }
    }

    /// Waits until a killed process is dead. Without that, its death would be taken for that of the
    /// next one.
    fn bury(&self, pid: i32) -> Worker {
        loop {
            match self.wait() {
                Ok(Waited::Stop(Stop::Gone { tid })) if tid == pid => return Worker::Free,
                Ok(Waited::Stop(Stop::Nobody)) => return Worker::Free,
                Ok(Waited::Stop(Stop::Gone { .. })) => {}
                Ok(Waited::Stop(Stop::Exec { pid: tid } | Stop::Interrupted { tid } | Stop::Signal { tid, .. })) => {
                    let _ = ptrace::resume(tid, 0);
                }
                Ok(Waited::HeldChild) | Err(_) => return Worker::Holds,
            }
        }
    }

    /// Looks first, so that the death of a child of this process is left to whoever waits for it.
    fn wait(&self) -> Result<Waited, Errno> {
        if let Stop::Gone { tid } = ptrace::wait(Reap::No)?
            && is_own_child(tid)
        {
            return Ok(Waited::HeldChild);
        }
        ptrace::wait(Reap::Yes).map(Waited::Stop)
    }
}

enum Waited {
    Stop(Stop),
    HeldChild,
}

/// The process of a thread.
fn process_of(tid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// Whether a dead thread is a process whose parent is this one.
fn is_own_child(tid: i32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status")) else { return false };
    let number = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse::<u32>().ok())
    };
    number("Tgid:") == u32::try_from(tid).ok() && number("PPid:") == Some(std::process::id())
}
