//! When a run did what: activity in buckets, and single events. Both are of bounded size.

use std::collections::VecDeque;

use serde::Serialize;

/// Buckets at most; their width follows from the length of the run.
pub const BUCKET_LIMIT: usize = 120;
/// Events that are kept from the start of a run.
pub const FIRST_EVENTS: usize = 400;
/// Events that are kept from its end.
pub const LAST_EVENTS: usize = 100;

/// When a run did what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// Width of a bucket.
    pub bucket_ns: u64,
    /// Activity from the start of the run on; the last bucket is not empty.
    pub buckets: Vec<Bucket>,
    /// In the order in which they were written down.
    pub events: Vec<Event>,
    /// Number of events left out, after the first [`FIRST_EVENTS`] of them.
    pub events_cut: u64,
}

/// Decisions in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is the number of decisions that were enforced so")]
pub struct Bucket {
    pub allowed: u64,
    pub denied: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, in nanoseconds after the start of the run.
    pub t_ns: u64,
    /// The process, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<u64>,
    /// What it was.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A process became another program.
    Exec {
        /// The program's file.
        file: String,
    },
    /// A process ended.
    Exit {
        /// Its exit code, 0 if a signal ended it.
        code: u64,
        /// The signal, 0 if none did.
        signal: u64,
    },
    /// An action was denied for the first time.
    Denied {
        /// Index in the list of actions.
        action: usize,
    },
    /// A call waits for an answer.
    Hold,
    /// Compiled policy and reference evaluator did not agree.
    Disagreement,
    /// Decisions without a record of their own.
    Lost {
        /// How many.
        count: u64,
        /// Whether they were let through.
        allowed: bool,
        /// Where the records were lost.
        place: String,
    },
    /// The run ended.
    Closed,
    /// Somebody sealed what a killed guard had left.
    Sealed,
}

/// Collects activity: as time goes on, neighbours are joined and buckets get wider.
pub(super) struct Activity {
    width: u64,
    buckets: Vec<Bucket>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { width: 1_000, buckets: Vec::new() }
    }
}

impl Activity {
    pub(super) fn add(&mut self, t_ns: u64, denied: bool) {
        // 64 doublings of the width reach any time there is.
        while t_ns / self.width >= BUCKET_LIMIT as u64 {
            self.widen();
        }
        let index = usize::try_from(t_ns / self.width).unwrap_or(0);
        if self.buckets.len() <= index {
            self.buckets.resize(index + 1, Bucket::default());
        }
        let bucket = &mut self.buckets[index];
        *(if denied { &mut bucket.denied } else { &mut bucket.allowed }) += 1;
    }

    fn widen(&mut self) {
        self.width = self.width.saturating_mul(2);
        let join = |pair: &[Bucket]| Bucket {
            allowed: pair.iter().map(|bucket| bucket.allowed).sum(),
            denied: pair.iter().map(|bucket| bucket.denied).sum(),
        };
        self.buckets = self.buckets.chunks(2).map(join).collect();
    }
}

/// Collects events: the first and the last of them.
#[derive(Default)]
pub(super) struct Events {
    first: Vec<Event>,
    last: VecDeque<Event>,
    cut: u64,
}

impl Events {
    pub(super) fn push(&mut self, t_ns: u64, proc: Option<u64>, what: What) {
        let event = Event { t_ns, proc, what };
        if self.first.len() < FIRST_EVENTS {
            self.first.push(event);
            return;
        }
        if self.last.len() == LAST_EVENTS {
            self.last.pop_front();
            self.cut += 1;
        }
        self.last.push_back(event);
    }
}

impl Timeline {
    pub(super) fn of(activity: Activity, events: Events) -> Self {
        let mut all = events.first;
        all.extend(events.last);
        Self { bucket_ns: activity.width, buckets: activity.buckets, events: all, events_cut: events.cut }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_joined_when_time_goes_on() {
        let mut activity = Activity::default();
        activity.add(0, false);
        activity.add(1_500, true);
        activity.add(2_000, false);
        assert_eq!(activity.buckets.len(), 3);
        // 120 us do not fit in 120 buckets of 1 us.
        activity.add(120_000, false);
        assert_eq!(activity.width, 2_000);
        assert_eq!(activity.buckets[0], Bucket { allowed: 1, denied: 1 });
        assert_eq!(activity.buckets[1], Bucket { allowed: 1, denied: 0 });
        assert_eq!(activity.buckets[60], Bucket { allowed: 1, denied: 0 });
    }

    #[test]
    fn of_many_events_the_first_and_the_last_are_kept() {
        let mut events = Events::default();
        (0..1000).for_each(|n| events.push(n, None, What::Hold));
        let timeline = Timeline::of(Activity::default(), events);
        assert_eq!(timeline.events_cut, 500);
        let times: Vec<u64> = timeline.events.iter().map(|event| event.t_ns).collect();
        assert_eq!((times[399], times[400], times[499]), (399, 900, 999));
    }

    proptest! {
        #[test]
        fn no_decision_is_lost_whenever_it_was_made(times in prop::collection::vec(prop_oneof![0u64..1 << 53, any::<u64>(), 0u64..1000], 1..60)) {
            let mut activity = Activity::default();
            times.iter().for_each(|t| activity.add(*t, t % 2 == 0));
            let denied: u64 = activity.buckets.iter().map(|bucket| bucket.denied).sum();
            let allowed: u64 = activity.buckets.iter().map(|bucket| bucket.allowed).sum();
            prop_assert_eq!((allowed + denied) as usize, times.len());
            prop_assert_eq!(denied as usize, times.iter().filter(|t| **t % 2 == 0).count());
            prop_assert!(activity.buckets.len() <= BUCKET_LIMIT);
        }
    }
}
