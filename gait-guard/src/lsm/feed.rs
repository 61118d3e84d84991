//! From records to the session: what the kernel decided is decided again and written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gait_core::journal::EngineName;
use gait_ebpf::op::Op;
use gait_ebpf::record::{Header, kind};
use gait_ebpf::tables::{ENGINE_MOVING, FLOOR_OUTSIDER, FLOOR_PRIVILEGE, FLOOR_UNRESOLVED};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;

use crate::bpf::watch::{Decision, Decisions};
use crate::event::{Action, Actor, PathOp, Via, Why};
use crate::intent::path_op;
use crate::session::{Floor, Judge, Session, Stop};

/// How long a pause may be before the end of the run is looked for, in nanoseconds.
const PAUSE: i64 = 20_000_000;

pub(super) struct Feeder {
    pub(super) ring: OwnedFd,
    pub(super) decisions: Decisions,
    pub(super) session: Arc<Session>,
    pub(super) over: Arc<AtomicBool>,
}

impl Feeder {
    /// Until the run is over and the ring is empty.
    pub(super) fn run(&self) {
        loop {
            // Looked at before the ring: what was written before it was set is taken.
            let over = self.over.load(Ordering::Acquire);
            loop {
                // What is in the ring; the session takes in the process tree, decisions come here.
                self.session.observe();
                let Some(decision) = self.decisions.take() else { break };
                take(&self.session, &decision);
                while let Some(decision) = self.decisions.take() {
                    take(&self.session, &decision);
                }
            }
            if over {
                return;
            }
            let mut waiting = [PollFd::new(&self.ring, PollFlags::IN)];
            // An error or a timeout: looked at again.
            let _ = poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: PAUSE }));
        }
    }
}

fn take(session: &Session, (header, payload): &Decision) {
    match header.kind {
        kind::PATH => path(session, header, payload),
        // A lock held because the first one failed, or a record that nobody writes.
        _ => session.stop(Stop::Disagreement),
    }
}

fn path(session: &Session, header: &Header, path: &[u8]) {
    let actor = Actor { tid: header.tid as i32 };
    let Some(op) = Op::of(header.op).and_then(path_op) else {
        session.stop(Stop::GuardError);
        return;
    };
    let via = (op == PathOp::Map).then_some(Via::Mmap);
    let action = Action::Path { op, path: path.into(), via };
    // The error that is recorded is the one that the kernel gave.
    match header.outcome {
        FLOOR_OUTSIDER => {
            session.deny(actor, &action, Floor::Outsider);
        }
        FLOOR_PRIVILEGE => {
            session.deny(actor, &action, Floor::Privilege);
        }
        FLOOR_UNRESOLVED => {
            session.deny(actor, &Action::Unresolved { op, why: Why::Unreachable }, Floor::Unresolved);
        }
        ENGINE_MOVING => {
            session.deny(actor, &action, Floor::Unresolved);
        }
        _ => session.witnessed(EngineName::Lsm, actor, &action, header.detail == 1),
    }
}
