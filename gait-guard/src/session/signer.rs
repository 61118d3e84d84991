//! Signs traces beside the run, on a thread that takes only time nobody else wants.

use std::sync::{Arc, Condvar, Mutex};

use gait_core::guarded::{Presigned, Presigner};
use gait_core::journal::{Decided, LedgerIntent};

/// Definitions handed over at a time: waking a thread costs more than many of them.
const BATCH: usize = 32;
/// Definitions that wait at most; further ones are signed when the run is packed.
const WAITING: usize = 1 << 14;

/// The way to the thread.
pub(super) struct Signer {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    made: Mutex<Presigned>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(LedgerIntent, Decided)>,
    is_over: bool,
}

impl Signer {
    /// Starts it. Without a thread nothing is signed beforehand.
    pub(super) fn start(presigner: Presigner) -> Self {
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), made: Mutex::default() });
        // Never joined: a thread of low priority is slow to end on a busy machine, and has nothing left to say.
        let _ = std::thread::Builder::new().name("signer".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.sign(&presigner)
        });
        Self { shared }
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
        self.shared.made.lock().map_or_else(|_| Presigned::default(), |mut made| std::mem::take(&mut *made))
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
    fn sign(&self, presigner: &Presigner) {
        // Of the calling thread, as Linux has it. Only a wish.
        let _ = rustix::process::setpriority_process(None, 19);
        while let Some(batch) = self.next() {
            for (intent, decision) in batch {
                if self.queue.lock().map_or(true, |queue| queue.is_over) {
                    return;
                }
                if let (Some(made), Ok(mut all)) = (presigner.sign(&intent, &decision), self.made.lock()) {
                    all.keep(made);
                }
            }
        }
    }

    fn next(&self) -> Option<Vec<(LedgerIntent, Decided)>> {
        let mut queue = self.queue.lock().ok()?;
        while queue.waiting.len() < BATCH && !queue.is_over {
            queue = self.filled.wait(queue).ok()?;
        }
        (!queue.is_over).then(|| std::mem::take(&mut queue.waiting))
    }
}
