//! What the probes saw, taken into the journal.

use gait_core::journal::{Body, DecisionLine, Disagreement, Lost, LostOutcome, WriteError};
use gait_core::policy::Verdict;
use rustix::io::Errno;

use super::config::{Outcome, Stop};
use super::lines::exit_line;
use super::run::{Session, Shared, State};
use super::witness::Witness;
use super::{ExecEnd, decide};
use crate::bpf::watch::{Image, Seen};
use crate::event::{Action, ExecObject, SystemObject};

/// Reason code of what the kernel saw and the supervisor did not decide.
pub(super) const UNWITNESSED: &str = "guard_engine_unwitnessed";

/// What was seen, and what is made of it.
pub(super) struct Observer {
    /// Gives what was seen by now; asked again, what was seen since.
    watch: Box<dyn Iterator<Item = Seen> + Send>,
    witness: Witness,
    /// What nobody decided, until it is written down.
    strangers: Vec<Stranger>,
}

/// Something that nobody decided.
enum Stranger {
    /// It runs.
    Program(Image),
    /// It was refused.
    Call(Seen),
}

impl Session {
    /// Takes the process tree, the ends of processes and a second witness of each exec from the probes, from now on.
    pub fn watch(&self, watch: impl Iterator<Item = Seen> + Send + 'static) {
        self.shared.with(|_, state, _| {
            state.processes.is_exact = true;
            let watch = Box::new(watch);
            state.observer = Some(Observer { watch, witness: Witness::default(), strangers: Vec::new() });
            Ok(())
        });
    }

    /// Takes in what was seen by now.
    pub fn observe(&self) {
        self.shared.with(|_, state, t| state.observe(t));
    }

    /// Takes in the rest: the whole tree is dead. `lost` records had no room.
    pub fn observed(&self, lost: u64) {
        self.shared.with(|_, state, t| {
            state.observe(t)?;
            if let Some(observer) = &mut state.observer {
                observer.strangers.extend(observer.witness.closed().into_iter().map(Stranger::Program));
            }
            if lost > 0 {
                let lost = Lost { count: lost, enforced: LostOutcome::Allow, place: "probes".into() };
                state.line(&Body::Lost(lost), t)?;
            }
            Ok(())
        });
    }

    /// Writes down that the kernel denied `count` actions for which it had no room: the run is not complete then.
    pub fn lost_in_kernel(&self, count: u64) {
        self.shared.with(|shared, state, t| {
            let lost = Lost { count, enforced: LostOutcome::Deny, place: "ring".into() };
            state.line(&Body::Lost(lost), t)?;
            shared.halt(state, Stop::Lost);
            Ok(())
        });
    }
}

impl State {
    /// Whether anything was seen that nobody decided.
    pub(super) fn has_strangers(&self) -> bool {
        self.observer.as_ref().is_some_and(|observer| !observer.strangers.is_empty())
    }

    /// The supervisor's side of an exec.
    pub(super) fn exec_begins(&mut self, tgid: i32) {
        if let Some(observer) = &mut self.observer {
            observer.witness.begun(tgid);
        }
    }

    /// The end of that.
    pub(super) fn exec_ends(&mut self, tgid: i32, end: ExecEnd) {
        if let Some(observer) = &mut self.observer {
            let strangers = observer.witness.ended(tgid, end);
            observer.strangers.extend(strangers.into_iter().map(Stranger::Program));
        }
    }

    /// Takes in what is in the ring.
    pub(super) fn observe(&mut self, t: u64) -> Result<(), WriteError> {
        let Some(mut observer) = self.observer.take() else { return Ok(()) };
        let taken = self.take_in(&mut observer, t);
        self.observer = Some(observer);
        taken
    }

    fn take_in(&mut self, observer: &mut Observer, t: u64) -> Result<(), WriteError> {
        for seen in observer.watch.by_ref() {
            match seen {
                Seen::Fork { parent, tid, tgid, start } => {
                    if let Some(fork) = self.processes.born(parent, tid, tgid, start) {
                        self.line(&Body::Fork(fork), t)?;
                    }
                }
                Seen::Exit { tgid, code } => {
                    observer.witness.exited(tgid);
                    if let Some(proc) = self.processes.ended(tgid) {
                        self.line(&Body::Exit(exit_line(proc, outcome(code))), t)?;
                    }
                }
                Seen::Exec(image) => {
                    let strangers = observer.witness.seen(*image);
                    observer.strangers.extend(strangers.into_iter().map(Stranger::Program));
                }
                seen @ (Seen::Socket { .. } | Seen::Garbled) => observer.strangers.push(Stranger::Call(seen)),
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Writes down what nobody decided, and ends the run.
    pub(super) fn disagree(&self, state: &mut State, t: u64) -> Result<(), WriteError> {
        let strangers = state.observer.as_mut().map(|observer| std::mem::take(&mut observer.strangers));
        for stranger in strangers.unwrap_or_default() {
            let (tid, kernel) = match &stranger {
                Stranger::Program(image) => (image.tgid, Verdict::Allow),
                Stranger::Call(Seen::Socket { tid, .. }) => (*tid, Verdict::Block),
                Stranger::Call(_) => (0, Verdict::Block),
            };
            let action = action(&stranger);
            let intent = self.translator.translate(&action).or_else(|_| self.translator.translate(&unreadable()));
            let intent = intent.map_err(WriteError::from)?;
            let decided = decide::by_engine(UNWITNESSED);
            let known = state.define(self, &intent, decided, self.engine, Errno::PERM, t)?;
            // A thread of the guard is no process of the run: then it is the first one's.
            let proc = state.processes.known(tid).or_else(|| state.root.and_then(|root| state.processes.known(root)));
            let proc = match proc {
                Some(proc) => proc,
                None => state.who(state.root.unwrap_or(tid), t)?.proc,
            };
            let line = DecisionLine { def: known.def, proc, ..DecisionLine::default() };
            state.writer()?.decision(&line, known.verdict, t)?;
            state.line(&Body::Disagreement(Disagreement { def: known.def, kernel }), t)?;
            self.halt(state, Stop::Disagreement);
        }
        Ok(())
    }
}

/// What a stranger is, in terms of the policy.
fn action(stranger: &Stranger) -> Action<'_> {
    match stranger {
        Stranger::Program(image) => {
            let object = match &image.path {
                Some(path) => ExecObject::Path(path.as_slice().into()),
                None => ExecObject::Memory((&b""[..]).into()),
            };
            let bytes = image.arguments.as_ref().map_or(&b""[..], |arguments| &arguments.bytes);
            let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
            let argv = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
            Action::Exec { object, argv, via: None }
        }
        Stranger::Call(Seen::Socket { address: Some((call, protocol, address)), .. }) => {
            Action::Inet { call: *call, protocol: *protocol, address: *address }
        }
        Stranger::Call(Seen::Socket { address: None, .. }) => {
            Action::System { name: "socket", object: SystemObject { class: "socket", detail: "unmediated" } }
        }
        Stranger::Call(_) => unreadable(),
    }
}

fn unreadable() -> Action<'static> {
    Action::System { name: "execve", object: SystemObject { class: "process", detail: "unreadable" } }
}

/// From the kernel's exit code. What dumps core is a signal all the same.
fn outcome(code: u32) -> Outcome {
    match code & 0x7f {
        0 => Outcome::Exited((code >> 8) as u8),
        signal => Outcome::Signalled(signal as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_exit_code_is_a_code_or_a_signal() {
        assert_eq!(outcome(3 << 8), Outcome::Exited(3));
        assert_eq!(outcome(9), Outcome::Signalled(9));
        assert_eq!(outcome(11 | 0x80), Outcome::Signalled(11));
    }
}
