//! What a program in the kernel decided: decided again, and written down with what is to be known about the record.

use gait_core::journal::{Attribution, Body, Decided, Disagreement, EngineName};
use gait_core::policy::Verdict;
use rustix::io::Errno;

use super::config::Stop;
use super::run::{Session, Shared, State};
use super::{Floor, Judge, Ruling, decide};
use crate::event::{Action, Actor};

/// Reason code of what the policy allows and the boundary of the engine does not.
const REFUSED: &str = "guard_engine_refused";

/// Reason code of what was let through and can be another object than the one that was opened.
const UNATTRIBUTED: &str = "guard_engine_unattributed";

/// How a program in the kernel, or the kernel itself, denied something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// With an error, on the object that the kernel had before it.
    Error,
    /// With an error, before there was an object: what it was is known only from what the caller called it.
    Spelt,
    /// It had happened, so the process was killed.
    Kill,
}

/// Where a decision comes from that a program in the kernel made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whose program.
    pub engine: EngineName,
    /// Whose action.
    pub actor: Actor,
    /// How a denial was enforced.
    pub denial: Denial,
    /// What may be wrong with the record.
    pub attribution: Option<Attribution>,
}

impl Session {
    /// Writes down an action that a program in the kernel decided, did and reserved a record for. Floor, reference and
    /// compiled policy decide it again: if they come to something else, the run ends as a disagreement.
    ///
    /// `allowed` is what the kernel did. A denial by the kernel's own floor goes to [`Session::refused`] instead.
    pub fn witnessed(&self, origin: Origin, action: &Action<'_>, allowed: bool) {
        let shared = &self.shared;
        let key = shared.keys.of((action, origin.engine.is_of_kernel(), origin.denial));
        let define = |shared: &Shared, state: &mut State, t| shared.define_judged(state, action, origin.into(), t);
        let ruling = shared.rule(origin.into(), key, allowed, define);
        if (ruling == Ruling::Allow) != allowed {
            shared.with(|shared, state, t| {
                if let Some(known) = state.known.get(key) {
                    let kernel = if allowed { Verdict::Allow } else { Verdict::Block };
                    state.line(&Body::Disagreement(Disagreement { def: known.def, kernel }), t)?;
                    shared.halt(state, Stop::Disagreement);
                }
                Ok(())
            });
        }
    }

    /// Writes down a denial by the floor of a program in the kernel, which no policy can lift, with the error that the agent
    /// got.
    pub fn refused(&self, origin: Origin, action: &Action<'_>, floor: Floor, errno: Errno) {
        let shared = &self.shared;
        let key = shared.keys.of((action, floor, errno.raw_os_error(), origin.engine.is_of_kernel(), origin.denial));
        let define =
            |shared: &Shared, state: &mut State, t| shared.define_floor(state, action, floor, errno, origin.into(), t);
        shared.rule(origin.into(), key, false, define);
    }

    /// Writes down an open that the kernel refused without asking anybody (`EACCES`). `is_readable`: by its mode, so that
    /// what refused it was Landlock.
    ///
    /// The policy denies it too, or it would have let it be tried, or the boundary is narrower than the policy.
    pub fn turned_away(&self, origin: Origin, action: &Action<'_>, is_readable: bool) {
        match self.foresee(action) {
            Ruling::Deny(_) => self.witnessed(origin, action, false),
            Ruling::Allow if !is_readable => self.witnessed(origin, action, true),
            Ruling::Allow => self.said_by_engine(origin, action, REFUSED),
        }
    }

    /// Writes down an open that was let through and of which nobody knows what it was: a descriptor without a name came of
    /// it, which another thread can have put there.
    pub fn unattributed(&self, origin: Origin, action: &Action<'_>) {
        self.said_by_engine(origin, action, UNATTRIBUTED);
    }

    fn said_by_engine(&self, origin: Origin, action: &Action<'_>, code: &'static str) {
        let shared = &self.shared;
        let key = shared.keys.of((action, code));
        let passed = code == UNATTRIBUTED;
        let define = |shared: &Shared, state: &mut State, t| {
            let Ok(intent) = shared.translator.translate(action) else {
                return shared.define_untranslatable(state, t);
            };
            let decided = if passed { decide::passed_by_engine(code) } else { decide::by_engine(code) };
            let decided = Author::from(origin).of(decided);
            state.define(shared, &intent, decided, origin.engine, Errno::ACCESS, t)
        };
        shared.rule(origin.into(), key, passed, define);
    }
}

/// Who acted, and what may be wrong with the record of it.
#[derive(Clone, Copy)]
pub(super) struct Acting {
    pub(super) actor: Actor,
    pub(super) attribution: Option<Attribution>,
}

impl From<Actor> for Acting {
    fn from(actor: Actor) -> Self {
        Self { actor, attribution: None }
    }
}

impl From<Origin> for Acting {
    fn from(origin: Origin) -> Self {
        Self { actor: origin.actor, attribution: origin.attribution }
    }
}

/// Who decided, and by what means a denial was enforced.
#[derive(Clone, Copy)]
pub(super) struct Author {
    pub(super) engine: EngineName,
    denial: Denial,
}

impl From<Origin> for Author {
    fn from(origin: Origin) -> Self {
        Self { engine: origin.engine, denial: origin.denial }
    }
}

impl Author {
    /// A decision of this author's.
    pub(super) fn of(self, decided: Decided) -> Decided {
        decide::denied_by(decided, self.denial)
    }
}

impl Shared {
    /// The engine that answers calls, with an error where it denies.
    pub(super) fn own(&self) -> Author {
        Author { engine: self.engine, denial: Denial::Error }
    }
}
