//! What engines ask of a run.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use gait_core::journal::{Body, Enforced};
use rustix::io::Errno;

use super::config::Enforcement;
use super::decide;
use super::lines::exec_line;
use super::run::{Session, Shared, State};
use super::{ExecEnd, Floor, Judge, Ruling};
use crate::event::{Action, Actor};

impl Judge for Session {
    fn judge(&self, actor: Actor, action: &Action<'_>) -> Ruling {
        let key = self.shared.keys.of(action);
        self.shared
            .rule(actor.into(), key, false, |shared, state, t| shared.define_judged(state, action, shared.own(), t))
    }

    fn deny(&self, actor: Actor, action: &Action<'_>, floor: Floor) -> Errno {
        self.deny_as(actor, action, floor, floor.errno(action))
    }

    fn deny_as(&self, actor: Actor, action: &Action<'_>, floor: Floor, errno: Errno) -> Errno {
        let key = self.shared.keys.of((action, floor, errno.raw_os_error()));
        let define =
            |shared: &Shared, state: &mut State, t| shared.define_floor(state, action, floor, errno, shared.own(), t);
        match self.shared.rule(actor.into(), key, false, define) {
            Ruling::Deny(errno) => errno,
            // A floor denial is never defined as anything else.
            Ruling::Allow => Errno::PERM,
        }
    }

    fn foresee(&self, action: &Action<'_>) -> Ruling {
        let shared = &self.shared;
        if let Some(floor) = shared.paths.judge(action) {
            return Ruling::Deny(floor.errno(action));
        }
        let denied = Enforced::of(shared.rules.compiled(action)) == Enforced::Deny;
        if denied && shared.enforcement == Enforcement::Enforce {
            Ruling::Deny(decide::policy_errno(action))
        } else {
            Ruling::Allow
        }
    }

    fn gives(&self, tid: i32, file: Option<BorrowedFd<'_>>) {
        if let Some(tell) = self.shared.giving.get() {
            tell(tid, file);
        }
    }

    fn lets_rings(&self) -> bool {
        self.shared.rings.load(Ordering::Acquire)
    }

    fn moving(&self, moves: bool) -> bool {
        self.shared.moving.get().is_none_or(|tell| tell(moves))
    }

    fn executed(&self, actor: Actor, file: &[u8], argv: &[Vec<u8>]) {
        self.shared.with(|shared, state, t| {
            let who = state.who(actor.tid, t)?;
            let line = exec_line(who.proc, file, argv, shared.capture)?;
            state.line(&Body::Exec(line), t).map(drop)
        });
    }

    fn is_watching(&self) -> bool {
        self.shared.state.lock().is_ok_and(|state| state.observer.is_some())
    }

    fn exec_begins(&self, tgid: i32) {
        self.shared.with(|_, state, _| {
            state.exec_begins(tgid);
            Ok(())
        });
    }

    fn exec_ends(&self, tgid: i32, end: ExecEnd) {
        self.shared.with(|_, state, _| {
            state.exec_ends(tgid, end);
            Ok(())
        });
    }
}
