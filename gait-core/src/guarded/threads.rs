//! Work on many things that need nothing of each other.

use std::thread::{self, Builder};

/// Threads at most.
const THREADS: usize = 4;
/// Fewer things than this are not worth another thread.
const ALONE: usize = 64;

/// What `work` makes of `all` in pieces, in their order. There are as many pieces as it is worth to have threads.
///
/// # Panics
/// Where `work` does.
pub(super) fn side_by_side<T: Sync, R: Send>(all: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let pieces = all.chunks(all.len().div_ceil(threads).max(ALONE));
    if pieces.len() < 2 {
        return pieces.map(work).collect();
    }
    let work = &work;
    thread::scope(|scope| {
        let started: Vec<_> = pieces
            .map(|piece| {
                Builder::new().name("derive".into()).spawn_scoped(scope, move || work(piece)).map_err(|_| piece)
            })
            .collect();
        let done = started.into_iter().map(|started| match started {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // There is no thread to be had.
            Err(piece) => work(piece),
        });
        done.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::side_by_side;

    #[test]
    fn pieces_come_in_their_order_and_are_all_there() {
        for length in [0, 1, 64, 65, 1000] {
            let all: Vec<usize> = (0..length).collect();
            assert_eq!(side_by_side(&all, <[usize]>::to_vec).concat(), all);
        }
    }
}
