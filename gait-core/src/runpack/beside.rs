//! Deflates the members of a runpack side by side.
//!
//! A member is one deflate stream, so no more threads can work on it than one; but most runpacks of a size that matters
//! have several large members.

use super::container::{Deflater, Facts};
use super::write::{Content, PackError, PackMember};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

/// For less than this, all members together, a thread is not worth its start.
const BESIDE_FROM_BYTES: u64 = 1 << 20;
/// Threads at most: more members than this are seldom large.
const THREADS: usize = 4;
/// Members that come before the manifest are deflated at most this far ahead of the one that is written, so that not all
/// of them are held.
const AHEAD: usize = 4;

/// A member that was deflated.
pub(super) struct Deflated {
    /// What the container says of it.
    pub(super) facts: Facts,
    /// The stream; `None` for [`Content::Deflated`], which has it.
    pub(super) bytes: Option<Vec<u8>>,
}

/// Gives all `members`, which are sorted, to `each` in their order, deflated. Those that sort before `manifest` are taken
/// to be gone then, the others to be kept.
///
/// # Errors
/// A member can't be read; what `each` says.
pub(super) fn deflate<'m>(
    members: &[&'m PackMember],
    manifest: &str,
    mut each: impl FnMut(&'m PackMember, Deflated) -> Result<(), PackError>,
) -> Result<(), PackError> {
    let sizes: Vec<u64> = members.iter().map(|member| size(&member.content)).collect();
    let large = sizes.iter().filter(|size| **size > 0).count();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(large);
    if threads < 2 || sizes.iter().sum::<u64>() < BESIDE_FROM_BYTES {
        return one_by_one(members, each);
    }
    let ahead = members.partition_point(|member| member.name.as_str() < manifest);
    let desk = Desk::new(sizes, ahead);
    thread::scope(|scope| {
        let _end = End(&desk);
        let work = || {
            let _end = EndOnPanic(&desk);
            let mut deflater = Deflater::new(Vec::new());
            while let Some(place) = desk.take() {
                desk.put(place, deflated(members[place], &mut deflater));
            }
        };
        let started = (0..threads).filter(|_| Builder::new().name("deflate".into()).spawn_scoped(scope, work).is_ok());
        if started.count() == 0 {
            return one_by_one(members, each);
        }
        for (place, member) in members.iter().enumerate() {
            let deflated = desk.wait(place).unwrap_or_else(|| Err(gone(member)));
            each(member, deflated?)?;
        }
        Ok(())
    })
}

fn one_by_one<'m>(
    members: &[&'m PackMember],
    mut each: impl FnMut(&'m PackMember, Deflated) -> Result<(), PackError>,
) -> Result<(), PackError> {
    let mut deflater = Deflater::new(Vec::new());
    members.iter().try_for_each(|member| each(member, deflated(member, &mut deflater)?))
}

/// Bytes to deflate, as far as they can be told: this decides only in which order and by whom.
fn size(content: &Content) -> u64 {
    match content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Lines(lines) => lines.iter().map(|line| line.len() as u64).sum(),
        Content::File(path) => path.metadata().map_or(0, |found| found.len()),
        Content::Deflated(..) => 0,
    }
}

/// Deflates a member, with a deflater at the start of a stream: which it is again afterwards.
fn deflated(member: &PackMember, deflater: &mut Deflater<Vec<u8>>) -> Result<Deflated, PackError> {
    if let Content::Deflated(_, facts) = &member.content {
        return Ok(Deflated { facts: *facts, bytes: None });
    }
    let mut read = || {
        deflater.take_in(member.content.open()?)?;
        let (bytes, facts) = deflater.next(Vec::new())?;
        Ok(Deflated { facts, bytes: Some(bytes) })
    };
    read().map_err(|source| {
        *deflater = Deflater::new(Vec::new());
        PackError::Read { name: member.name.clone(), source }
    })
}

fn gone(member: &PackMember) -> PackError {
    PackError::Read { name: member.name.clone(), source: io::Error::other("the thread that deflates it is gone") }
}

/// Where members wait for a thread, and the deflated ones for whoever writes them.
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    /// Places before this one are taken no further ahead than [`AHEAD`].
    limited: usize,
}

struct State {
    /// Sizes of the members that nobody took, by their place.
    left: BTreeMap<usize, u64>,
    done: BTreeMap<usize, Result<Deflated, PackError>>,
    /// Members that were written.
    given: usize,
    is_over: bool,
}

impl Desk {
    fn new(sizes: Vec<u64>, limited: usize) -> Self {
        let left = sizes.into_iter().enumerate().collect();
        let state = State { left, done: BTreeMap::new(), given: 0, is_over: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), limited }
    }

    /// The largest member that may be deflated now; waits for one; `None` once all were taken.
    fn take(&self) -> Option<usize> {
        let mut state = self.state();
        loop {
            if state.is_over || state.left.is_empty() {
                return None;
            }
            let may = |place: usize| place >= self.limited || place < state.given + AHEAD;
            let largest = state.left.iter().filter(|(place, _)| may(**place)).max_by_key(|(_, size)| **size);
            if let Some(place) = largest.map(|(place, _)| *place) {
                state.left.remove(&place);
                return Some(place);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, place: usize, deflated: Result<Deflated, PackError>) {
        self.state().done.insert(place, deflated);
        self.changed.notify_all();
    }

    /// The member at `place`, once it is deflated; `None` if it won't be.
    fn wait(&self, place: usize) -> Option<Result<Deflated, PackError>> {
        let mut state = self.state();
        loop {
            if let Some(deflated) = state.done.remove(&place) {
                state.given = place + 1;
                self.changed.notify_all();
                return Some(deflated);
            }
            if state.is_over {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in between can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the threads, also where whoever writes gives up.
struct End<'a>(&'a Desk);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Nobody waits for a thread that panicked.
struct EndOnPanic<'a>(&'a Desk);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, length: usize) -> PackMember {
        PackMember::bytes(name, (0..length).map(|at| (at * at % 253) as u8).collect())
    }

    fn alone(member: &PackMember) -> Deflated {
        deflated(member, &mut Deflater::new(Vec::new())).unwrap()
    }

    #[test]
    fn members_come_in_order_with_the_bytes_that_they_have_alone() {
        let lengths = [0, 3 << 20, 10, 1 << 20, 1 << 16, 2 << 20, 70_000, 1, 1 << 20, 5];
        let members: Vec<PackMember> =
            lengths.iter().enumerate().map(|(place, length)| member(&format!("m{place}"), *length)).collect();
        let sorted: Vec<&PackMember> = members.iter().collect();
        for manifest in ["a", "m5", "z"] {
            let mut names = Vec::new();
            deflate(&sorted, manifest, |member, found| {
                let alone = alone(member);
                assert_eq!(found.facts.digest, alone.facts.digest);
                assert!(found.bytes == alone.bytes, "{}", member.name);
                names.push(member.name.clone());
                Ok(())
            })
            .unwrap();
            assert_eq!(names, members.iter().map(|member| member.name.clone()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn lines_give_the_bytes_of_their_whole() {
        let whole = member("m", 3 << 20);
        let Content::Bytes(bytes) = &whole.content else { panic!("bytes") };
        let lines = bytes.chunks(777).flat_map(|line| [line.to_vec(), Vec::new()]).collect();
        let joined = PackMember { name: "m".into(), content: Content::Lines(lines) };
        assert!(alone(&whole).bytes == alone(&joined).bytes);
    }

    #[test]
    fn an_error_ends_it_whoever_made_it() {
        let mut members: Vec<PackMember> = (0..9).map(|place| member(&format!("m{place}"), 1 << 19)).collect();
        let sorted: Vec<&PackMember> = members.iter().collect();
        let refused = deflate(&sorted, "z", |member, _| if member.name == "m2" { Err(gone(member)) } else { Ok(()) });
        assert!(refused.is_err());
        members[4].content = Content::File("/nowhere/at/all".into());
        let sorted: Vec<&PackMember> = members.iter().collect();
        let mut given = 0;
        let unread = deflate(&sorted, "z", |_, _| {
            given += 1;
            Ok(())
        });
        assert!(matches!(unread, Err(PackError::Read { name, .. }) if name == "m4"));
        assert_eq!(given, 4);
    }
}
