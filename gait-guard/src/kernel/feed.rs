//! From records to the session: what the kernel decided is decided again and written down.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use gait_core::journal::{Attribution, EngineName};
use gait_ebpf::op::Op;
use gait_ebpf::record::{Header, counter, kind, lock, open, path};
use gait_ebpf::tables::{ENGINE_MOVING, FLOOR_OUTSIDER, FLOOR_PRIVILEGE, FLOOR_UNRESOLVED};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::refused;
use crate::bpf::BpfError;
use crate::bpf::watch::{Decision, Decisions, Watch};
use crate::event::{Action, Actor, ExecObject, PathOp, SystemObject, Via, Why};
use crate::intent::path_op;
use crate::notify::{TEMPORARY, is_number};
use crate::session::{Denial, Floor, Origin, Session, Stop};

/// By [`counter`].
pub(crate) type Counters = [u64; counter::COUNT as usize];

/// How long a pause may be before the ring is looked at again, in nanoseconds: not every record wakes.
const PAUSE: i64 = 20_000_000;

/// A thread that takes records into a session, until [`Feed::end`].
pub(crate) struct Feed {
    over: OwnedFd,
    thread: JoinHandle<()>,
}

impl Feed {
    /// Hands the process tree of `watch` to the session, and starts the thread. Before the agent is made.
    ///
    /// # Errors
    /// No thread, or no descriptor for it.
    pub(crate) fn start(session: &Arc<Session>, watch: Watch) -> io::Result<Self> {
        let ring = watch.as_fd().try_clone_to_owned()?;
        let (watch, decisions) = watch.deciding();
        session.watch(watch);
        let over = eventfd(0, EventfdFlags::CLOEXEC)?;
        let feeder = Feeder { ring, decisions, session: Arc::clone(session), over: over.try_clone()? };
        let thread = std::thread::Builder::new().name("gait-records".into()).spawn(move || feeder.run())?;
        Ok(Self { over, thread })
    }

    /// Takes what is left, once nothing of the tree is. `counters` tell what has no record.
    ///
    /// # Errors
    /// The thread failed, or the counters can't be read: the run must not count as complete.
    pub(crate) fn end(self, session: &Session, counters: Result<Counters, BpfError>) -> io::Result<()> {
        rustix::io::write(&self.over, &1u64.to_ne_bytes())?;
        self.thread.join().map_err(|_| io::Error::other("the thread that reads records failed"))?;
        let counters = counters.map_err(io::Error::other)?;
        let of = |index: u32| counters.get(index as usize).copied().unwrap_or(0);
        let denied = of(counter::NO_ROOM);
        if denied > 0 {
            session.lost_in_kernel(denied);
        }
        session.observed(of(counter::LOST) + of(counter::UNSCOPED));
        Ok(())
    }
}

struct Feeder {
    ring: OwnedFd,
    decisions: Decisions,
    session: Arc<Session>,
    /// Readable once the run is over.
    over: OwnedFd,
}

impl Feeder {
    /// Until the run is over and the ring is empty.
    fn run(&self) {
        let mut spelt = HashMap::new();
        let mut over = false;
        loop {
            // Also after it was told that the run is over: what was written before is taken.
            loop {
                // What is in the ring; the session takes in the process tree, decisions come here.
                self.session.observe();
                let Some(decision) = self.decisions.take() else { break };
                take(&self.session, &mut spelt, decision);
                while let Some(decision) = self.decisions.take() {
                    take(&self.session, &mut spelt, decision);
                }
            }
            if over {
                return;
            }
            let mut waiting = [PollFd::new(&self.ring, PollFlags::IN), PollFd::new(&self.over, PollFlags::IN)];
            // An error or a timeout: looked at again.
            let _ = poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: PAUSE }));
            over = waiting[1].revents().contains(PollFlags::IN);
        }
    }
}

/// By thread: what it called the file that its next record is about.
type Spelt = HashMap<u32, Vec<u8>>;

fn take(session: &Session, spelt: &mut Spelt, (header, payload): Decision) {
    let engine = match header.kind {
        kind::PATH => EngineName::Lsm,
        kind::OPEN => EngineName::Hybrid,
        kind::SPELT => {
            spelt.insert(header.tid, payload);
            return;
        }
        kind::RING => {
            let Some(hook) = lock::NAMES.get(header.op as usize) else { return session.stop(Stop::GuardError) };
            let object = SystemObject { class: "io_uring", detail: hook };
            let actor = Actor { tid: header.tid as i32 };
            let origin = Origin { engine: EngineName::Lsm, actor, denial: Denial::Error, attribution: None };
            let action = Action::System { name: "io_uring_enter", object };
            return session.refused(origin, &action, Floor::Unmediated, Floor::Unmediated.errno(&action));
        }
        // A lock held because the first one failed, or a record that nobody writes.
        _ => return session.stop(Stop::Disagreement),
    };
    let Some(mut told) = told(&header, &payload) else { return session.stop(Stop::GuardError) };
    let attribution = told.is_shared.then_some(Attribution::SharedFdTable);
    let actor = Actor { tid: header.tid as i32 };
    let mut origin = Origin { engine, actor, denial: told.denial, attribution };
    if told.is_refused
        && let Some(named) = spelt.remove(&header.tid).and_then(|name| refused::find(&name, &payload))
    {
        origin.denial = Denial::Spelt;
        let action = Action::Path { op: named.op, path: named.path.into(), via: None };
        return session.turned_away(origin, &action, named.is_readable);
    }
    match told.floor.take() {
        Some(_) if header.detail == 1 => session.unattributed(origin, &told.action),
        Some(floor) => session.refused(origin, &told.action, floor, errno(&header, &told.action, floor)),
        None => session.witnessed(origin, &told.action, header.detail == 1),
    }
}

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
struct Told<'a> {
    action: Action<'a>,
    /// The kernel denied it by this, whatever the policy says. What the path alone explains is found again by the session.
    floor: Option<Floor>,
    denial: Denial,
    /// The kernel itself refused it, before there was an object.
    is_refused: bool,
    is_shared: bool,
}

fn told<'a>(header: &Header, named: &'a [u8]) -> Option<Told<'a>> {
    let op = Op::of(header.op)?;
    if op == Op::Exec {
        return Some(exec_refused(header, named));
    }
    let op = path_op(op)?;
    let is_return = header.kind == kind::OPEN;
    let is = |bit| is_return && header.extra & bit != 0;
    let is_refused = is(open::REFUSED);
    let op = match op {
        PathOp::Chmod { .. } => PathOp::Chmod { mode: header.extra as u16 },
        op => op,
    };
    let via = match op {
        PathOp::Map => Some(Via::Mmap),
        _ if !is_return && header.extra & path::RECEIVED != 0 => Some(Via::ReceivedFd),
        _ => None,
    };
    let path = if is(open::UNLINKED) { without_number(named) } else { named.into() };
    let path = if header.outcome == FLOOR_OUTSIDER { of_outsider(path) } else { path };
    let whole = Action::Path { op, path, via };
    let (action, floor) = match header.outcome {
        FLOOR_OUTSIDER => (whole, Some(Floor::Outsider)),
        FLOOR_PRIVILEGE => (whole, Some(Floor::Privilege)),
        FLOOR_UNRESOLVED => {
            let why = if is_refused { Why::Refused } else { Why::Unreachable };
            (Action::Unresolved { op, why }, Some(Floor::Unresolved))
        }
        ENGINE_MOVING => (whole, Some(Floor::Unresolved)),
        _ => (whole, None),
    };
    let denial = if is_return && !is_refused { Denial::Kill } else { Denial::Error };
    Some(Told { action, floor, denial, is_refused, is_shared: is(open::SHARED) })
}

/// The error that the agent got: see `path_rename` of the programs.
fn errno(header: &Header, action: &Action<'_>, floor: Floor) -> Errno {
    match action {
        Action::Path { op: PathOp::RenameFrom, .. } if header.outcome == ENGINE_MOVING => Errno::XDEV,
        _ => floor.errno(action),
    }
}

/// A program that the kernel refused to run: its arguments are those of the exec that was judged, and not known here.
fn exec_refused<'a>(header: &Header, file: &'a [u8]) -> Told<'a> {
    let action = Action::Exec { object: ExecObject::Path(file.into()), argv: Vec::new(), via: None };
    let floor = (header.outcome == FLOOR_UNRESOLVED).then_some(Floor::Unresolved);
    Told { action, floor, denial: Denial::Error, is_refused: false, is_shared: false }
}

/// The kernel calls every process but the one that asks `pid`, records those outside of the tree `outside`.
fn of_outsider(path: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match path.strip_prefix(b"/proc/pid") {
        Some(rest) => [b"/proc/outside", rest].concat().into(),
        None => path,
    }
}

/// A file that never had a name is called by its inode in the kernel, and in records as `notify` calls it.
fn without_number(path: &[u8]) -> Cow<'_, [u8]> {
    let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    match path[at..].strip_prefix(b"#") {
        Some(digits) if is_number(digits) => [&path[..at], TEMPORARY].concat().into(),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gait_ebpf::tables::{Effect, FLOOR_PATH, outcome};

    fn of_open(op: Op, outcome: u32, extra: u64) -> Header {
        Header { kind: kind::OPEN, op: op as u32, outcome, extra, ..Header::default() }
    }

    fn path(op: PathOp, path: &[u8]) -> Action<'_> {
        Action::Path { op, path: path.into(), via: None }
    }

    #[test]
    fn each_record_of_an_open_says_what_happened() {
        let allow = outcome(3, Effect::Allow);
        let says = |header: Header, bytes: &'static [u8]| {
            told(&header, bytes).map(|told| (told.action, told.floor, told.is_shared))
        };
        let read = |bytes| path(PathOp::Read, bytes);
        assert_eq!(says(of_open(Op::Read, allow, open::SHARED), b"/a"), Some((read(b"/a"), None, true)));
        assert_eq!(says(of_open(Op::List, 0, 0), b"/a"), Some((path(PathOp::List, b"/a"), None, false)));
        // The session knows its own paths.
        assert_eq!(says(of_open(Op::Read, FLOOR_PATH, 0), b"/a"), Some((read(b"/a"), None, false)));
        assert_eq!(
            says(of_open(Op::Read, allow, open::UNLINKED), b"/a/#77"),
            Some((read(b"/a/#tmpfile"), None, false))
        );
        assert_eq!(says(of_open(Op::Read, allow, open::UNLINKED), b"/a/#7x"), Some((read(b"/a/#7x"), None, false)));
        assert_eq!(
            says(of_open(Op::Read, FLOOR_OUTSIDER, 0), b"/p"),
            Some((read(b"/p"), Some(Floor::Outsider), false))
        );
        assert_eq!(
            says(of_open(Op::Read, FLOOR_OUTSIDER, 0), b"/proc/pid/comm"),
            Some((read(b"/proc/outside/comm"), Some(Floor::Outsider), false))
        );
        for (about, why) in [(open::REFUSED, Why::Refused), (0, Why::Unreachable)] {
            let action = Action::Unresolved { op: PathOp::Read, why };
            let said = says(of_open(Op::Read, FLOOR_UNRESOLVED, about), b"");
            assert_eq!(said, Some((action, Some(Floor::Unresolved), false)));
            let denial = told(&of_open(Op::Read, FLOOR_UNRESOLVED, about), b"").map(|told| told.denial);
            // Nothing was opened, so nobody was killed.
            assert_eq!(denial, Some(if why == Why::Refused { Denial::Error } else { Denial::Kill }));
        }
        assert_eq!(says(Header { op: 99, ..of_open(Op::Read, allow, 0) }, b"/a"), None);
    }

    #[test]
    fn a_folder_that_is_not_moved_gets_the_error_of_two_file_systems() {
        let moving = Header { kind: kind::PATH, outcome: ENGINE_MOVING, ..Header::default() };
        for (op, error) in [(PathOp::RenameFrom, Errno::XDEV), (PathOp::RenameTo, Errno::ACCESS)] {
            assert_eq!(errno(&moving, &path(op, b"/a"), Floor::Unresolved), error);
        }
        let unresolved = Header { outcome: FLOOR_UNRESOLVED, ..moving };
        assert_eq!(errno(&unresolved, &path(PathOp::RenameFrom, b"/a"), Floor::Unresolved), Errno::ACCESS);
    }

    #[test]
    fn what_was_received_or_changed_is_told_as_the_supervisor_would() {
        let of_hook = |op: Op, extra| Header {
            kind: kind::PATH,
            op: op as u32,
            outcome: outcome(3, Effect::Allow),
            extra,
            ..Header::default()
        };
        let received = told(&of_hook(Op::Read, super::path::RECEIVED), b"/a").unwrap();
        let action = Action::Path { op: PathOp::Read, path: b"/a".into(), via: Some(Via::ReceivedFd) };
        assert_eq!(received.action, action);
        let changed = told(&of_hook(Op::Chmod, 0o640), b"/a").unwrap();
        assert_eq!(changed.action, path(PathOp::Chmod { mode: 0o640 }, b"/a"));
    }

    #[test]
    fn the_mode_in_a_record_of_a_hook_is_no_bit_about_an_open() {
        let header = Header { kind: kind::PATH, extra: 0o777, ..of_open(Op::Create, outcome(3, Effect::Allow), 0) };
        let told = told(&header, b"/a/#7").unwrap();
        assert_eq!((told.action, told.denial), (path(PathOp::Create, b"/a/#7"), Denial::Error));
        assert!(!told.is_shared && !told.is_refused);
    }
}
