//! Who waits for an answer.

use std::collections::{HashMap, HashSet, VecDeque};

use super::ledger::Judged;
use crate::mcp::message::Id;

/// Most requests that may wait in one direction.
pub(super) const MOST: usize = 4096;
/// Cancelled requests whose answer may still come.
const MOST_CANCELLED: usize = 256;

/// A request of the client that went on.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A tool call.
    Call(Box<Judged>),
    /// A stream of notifications, which has no end of its own.
    Listening,
    /// Any other.
    Other,
}

impl Waiting {
    pub(super) fn of_method(method: &str) -> Self {
        if method == "subscriptions/listen" { Self::Listening } else { Self::Other }
    }
}

/// All requests that wait, in both directions.
#[derive(Debug, Default)]
pub(super) struct Waits {
    of_client: HashMap<Id, Waiting>,
    /// Those of them that the client has cancelled, oldest first.
    cancelled: VecDeque<Id>,
    of_server: HashSet<Id>,
}

impl Waits {
    pub(super) fn holds(&self, id: &Id) -> bool {
        self.of_client.contains_key(id)
    }

    /// Whether no more can wait, even if cancelled ones are forgotten.
    pub(super) fn is_full(&self) -> bool {
        self.of_client.len() >= MOST
    }

    pub(super) fn add(&mut self, id: Id, waiting: Waiting) {
        self.of_client.insert(id, waiting);
    }

    /// The request that an answer is for.
    pub(super) fn answered(&mut self, id: &Id) -> Option<Waiting> {
        let waiting = self.of_client.remove(id)?;
        self.cancelled.retain(|cancelled| cancelled != id);
        Some(waiting)
    }

    /// The client needs no answer any more; one may still come. Of many such requests the oldest are forgotten, unless
    /// they are calls, whose end is recorded.
    pub(super) fn cancelled(&mut self, id: &Id) {
        if !self.holds(id) || self.cancelled.contains(id) {
            return;
        }
        self.cancelled.push_back(id.clone());
        if self.cancelled.len() > MOST_CANCELLED
            && let Some(oldest) = self.cancelled.pop_front()
            && !matches!(self.of_client.get(&oldest), Some(Waiting::Call(_)))
        {
            self.of_client.remove(&oldest);
        }
    }

    pub(super) fn any_answer_due(&self) -> bool {
        let is_due =
            |(id, waiting): (&Id, &Waiting)| !matches!(waiting, Waiting::Listening) && !self.cancelled.contains(id);
        self.of_client.iter().any(is_due)
    }

    /// All of them, calls in their order, then the others; and whether the client still wants an answer.
    pub(super) fn drain(&mut self) -> Vec<(Id, Waiting, bool)> {
        let cancelled = std::mem::take(&mut self.cancelled);
        let with_want = |(id, waiting)| {
            let is_wanted = !cancelled.contains(&id);
            (id, waiting, is_wanted)
        };
        let mut all: Vec<_> = self.of_client.drain().map(with_want).collect();
        all.sort_by(|(left_id, left, _), (right_id, right, _)| (number(left), left_id).cmp(&(number(right), right_id)));
        all
    }

    /// Takes note of a request of the server; not if there are too many.
    pub(super) fn server_asks(&mut self, id: &Id) -> bool {
        let is_known = self.of_server.len() < MOST;
        if is_known {
            self.of_server.insert(id.clone());
        }
        is_known
    }

    /// Whether the client may answer this, once.
    pub(super) fn client_answers(&mut self, id: &Id) -> bool {
        self.of_server.remove(id)
    }
}

fn number(waiting: &Waiting) -> u64 {
    match waiting {
        Waiting::Call(judged) => judged.number,
        Waiting::Listening | Waiting::Other => u64::MAX,
    }
}
