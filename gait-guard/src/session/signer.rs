//! Signs traces beside the run, on a thread that takes only time nobody else wants.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use gait_core::guarded::{Presigned, Presigner};
use gait_core::journal::{Decided, LedgerIntent};

/// Definitions handed over at a time: waking a thread costs more than many of them.
const BATCH: usize = 32;
/// Definitions that wait at most; further ones are signed when the run is packed.
const WAITING: usize = 1 << 14;

/// The way to the thread.
pub(super) struct Signer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Presigned>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(LedgerIntent, Decided)>,
    is_over: bool,
}

impl Signer {
    /// Starts it. Without a thread nothing is signed beforehand.
    pub(super) fn start(presigner: Presigner) -> Self {
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new() });
        let thread = std::thread::Builder::new().name("signer".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.sign(presigner)
        });
        Self { shared, thread: Mutex::new(thread.ok()) }
    }

    /// Hands a definition over.
    pub(super) fn add(&self, intent: LedgerIntent, decision: Decided) {
        // What a thread that panicked left undone is signed when the run is packed.
        let Ok(mut queue) = self.shared.queue.lock() else { return };
        if queue.waiting.len() < WAITING {
            queue.waiting.push((intent, decision));
            if queue.waiting.len() == BATCH {
                self.shared.filled.notify_one();
            }
        }
    }

    /// Ends the thread and gives what it signed; nothing the second time. What it has not come to is not signed.
    pub(super) fn finish(&self) -> Presigned {
        self.end();
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    }

    fn end(&self) {
        if let Ok(mut queue) = self.shared.queue.lock() {
            queue.is_over = true;
            queue.waiting.clear();
        }
        self.shared.filled.notify_one();
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn sign(&self, mut presigner: Presigner) -> Presigned {
        // Of the calling thread, as Linux has it. Only a wish.
        let _ = rustix::process::setpriority_process(None, 19);
        while let Some(batch) = self.next() {
            for (intent, decision) in batch {
                presigner.add(&intent, &decision);
                if self.is_over() {
                    return presigner.finish();
                }
            }
        }
        presigner.finish()
    }

    fn next(&self) -> Option<Vec<(LedgerIntent, Decided)>> {
        let mut queue = self.queue.lock().ok()?;
        while queue.waiting.len() < BATCH && !queue.is_over {
            queue = self.filled.wait(queue).ok()?;
        }
        (!queue.is_over).then(|| std::mem::take(&mut queue.waiting))
    }

    fn is_over(&self) -> bool {
        self.queue.lock().map_or(true, |queue| queue.is_over)
    }
}
