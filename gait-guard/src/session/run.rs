//! One run: decides each action once, records every one, and signs what was recorded.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use gait_core::digest::Sha256Hex;
use gait_core::guarded::{Presigned, Presigner, Receipt};
use gait_core::intent::Intent;
use gait_core::journal::{
    Body, Decided, DecisionLine, DefineParts, Disagreement, EngineName, LedgerIntent, Lost, LostOutcome, WriteError,
    Writer,
};
use rustix::event::EventfdFlags;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::beginning::{check, nonce, open_line, receipt};
use super::config::{CaptureMode, Enforcement, Outcome, Rules, SessionConfig, StartError, Stop};
use super::decide;
use super::floor::{GuardedPaths, guarded_paths};
use super::folder::{RunFolder, SegmentFiles};
use super::known::{Key, Keys, Known, KnownActions, Spellings};
use super::lines::{close_line, exit_line};
use super::observe::Observer;
use super::origin::{Acting, Author};
use super::process::{ProcFs, Processes, Who};
use super::signer::Signer;
use super::{Floor, Ruling};
use crate::event::{Action, ExecObject};
use crate::intent::Translator;

/// Lines between two checkpoints.
pub(super) const CHECKPOINT_EVERY: u64 = 1024;
/// The oldest line without a checkpoint is never older, in nanoseconds.
const CHECKPOINT_AGE: u64 = 1_000_000_000;
/// A run that goes on. Engines use it as their [`Judge`](super::Judge) through a shared reference.
pub struct Session {
    pub(super) shared: Arc<Shared>,
    attestor: Option<JoinHandle<()>>,
    pub(super) folder: RunFolder,
    pub(super) receipt: Receipt,
    pub(super) out: std::path::PathBuf,
    pub(super) policy_yaml: Vec<u8>,
}

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Lines without a checkpoint appeared, or the session ends.
    changed: Condvar,
    /// Readable once the session can't go on.
    stopped: OwnedFd,
    pub(super) keys: Keys,
    base: u64,
    pub(super) rules: Box<dyn Rules>,
    pub(super) translator: Translator,
    pub(super) paths: GuardedPaths,
    pub(super) enforcement: Enforcement,
    pub(super) capture: CaptureMode,
    pub(super) engine: EngineName,
    signer: Signer,
    /// Told when a folder is moved and when that is done: see [`Session::on_moving`].
    pub(super) moving: OnceLock<Box<dyn Fn(bool) -> bool + Send + Sync>>,
    /// Told when a descriptor is given to the agent: see [`Session::on_giving`].
    pub(super) giving: OnceLock<Giving>,
    /// See [`Session::let_rings`].
    pub(super) rings: AtomicBool,
}

/// Told the thread, and the file that it is about to be given; `None`: it has it, or will not get it.
pub type Giving = Box<dyn Fn(i32, Option<BorrowedFd<'_>>) + Send + Sync>;

pub(super) struct State {
    /// Gone once the journal is closed.
    writer: Option<Writer<SegmentFiles>>,
    pub(super) known: KnownActions,
    spellings: Spellings,
    pub(super) processes: Processes,
    definitions: u64,
    pub(super) root: Option<i32>,
    /// What the probes report, if there are any.
    pub(super) observer: Option<Observer>,
    stop: Option<Stop>,
    /// Denied without a record.
    unrecorded: u64,
    /// Let through by a program in the kernel, whose record came when none could be kept any more.
    passed_unrecorded: u64,
    closing: bool,
}

/// A journal that has its end.
pub(super) type Ended = gait_core::journal::Ended<SegmentFiles>;

impl Session {
    /// Makes the folder of the run, writes what does not change any more, and begins the journal. The agent may act once all of it
    /// is on the disk ([`Session::sync_beginning`]).
    ///
    /// # Errors
    /// [`StartError`]; nothing must be started then.
    pub fn start(config: SessionConfig) -> Result<Self, StartError> {
        check(&config)?;
        let nonce = nonce()?;
        let started_at = config.started_at.to_utc().to_string();
        let receipt = receipt(&config, nonce.clone(), started_at.clone());
        let guard = gait_core::canonical::canonical_bytes(&receipt).map_err(WriteError::from)?;
        let folder = RunFolder::create(&config.dirs.state, &config.run_id, &config.policy_yaml, &guard)?;
        let files = SegmentFiles::begin(&folder).map_err(io("the journal's first segment can't be made"))?;
        let open = open_line(&config, nonce, started_at)?;
        let signer = Signer::start(Presigner::new(&open, config.key.duplicate()));
        let writer = Writer::begin(files, config.key, open)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(writer)),
            changed: Condvar::new(),
            stopped: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(|errno| io("no event descriptor")(errno.into()))?,
            keys: Keys::default(),
            base: boottime(),
            rules: config.rules,
            paths: guarded_paths(&config.dirs, config.translator.context().workspace.as_bytes()),
            translator: config.translator,
            enforcement: config.enforcement,
            capture: config.capture,
            engine: config.engine,
            signer,
            moving: OnceLock::new(),
            giving: OnceLock::new(),
            rings: AtomicBool::new(false),
        });
        let attestor = std::thread::Builder::new()
            .name("attestor".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.attest()
            })
            .map_err(io("no thread for checkpoints"))?;
        let (out, policy_yaml) = (config.dirs.out, config.policy_yaml);
        Ok(Self { shared, attestor: Some(attestor), folder, receipt, out, policy_yaml })
    }

    /// Readable once the session can't go on: the agent has to be killed, then [`Session::finish`] called.
    pub fn stop_event(&self) -> BorrowedFd<'_> {
        self.shared.stopped.as_fd()
    }

    /// Why it can't, if it can't.
    pub fn stopped(&self) -> Option<Stop> {
        self.shared.state.lock().map_or(Some(Stop::GuardError), |state| state.stop)
    }

    /// Ends the run from the guard's side: every further action is denied.
    pub fn stop(&self, why: Stop) {
        if let Ok(mut state) = self.shared.state.lock() {
            self.shared.halt(&mut state, why);
        }
    }

    /// Puts the beginning of the run on the disk: nothing may act before.
    ///
    /// # Errors
    /// It may not be there, so nothing may act at all.
    pub fn sync_beginning(&self) -> std::io::Result<()> {
        self.folder.sync_beginning()
    }

    /// Writes down the first process of the run, before it acts.
    pub fn spawned(&self, pid: i32) {
        self.shared.with(|_, state, t| {
            state.root = Some(pid);
            state.who(pid, t).map(drop)
        });
    }

    /// Writes down the end of a process, if it is known.
    pub fn exited(&self, pid: i32, outcome: Outcome) {
        self.shared.with(|_, state, t| {
            let Some(proc) = state.processes.ended(pid) else { return Ok(()) };
            state.line(&Body::Exit(exit_line(proc, outcome)), t).map(drop)
        });
    }

    /// Who has to be told when the supervisor moves a folder: what decides creations in the kernel refuses them meanwhile.
    pub fn on_moving(&self, tell: Box<dyn Fn(bool) -> bool + Send + Sync>) {
        // Set once, by the one engine.
        let _ = self.shared.moving.set(tell);
    }

    /// Who has to be told when the supervisor installs a descriptor in the agent: what judges those that it receives.
    pub fn on_giving(&self, tell: Giving) {
        // As above.
        let _ = self.shared.giving.set(tell);
    }

    /// From now on the policy decides whether the agent may have a ring of io_uring: what comes through it is judged.
    pub fn let_rings(&self) {
        self.shared.rings.store(true, Ordering::Release);
    }

    /// The folder of the run's files.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Traces that were signed while the run went on. To be asked once, at its end.
    pub(super) fn presigned(&self) -> Presigned {
        self.shared.signer.finish()
    }

    /// Writes `exit` of the command if nobody did, `close` and the final checkpoint. They are on the disk once the segments
    /// were synced.
    pub(super) fn close(&mut self, outcome: Outcome) -> Result<Ended, WriteError> {
        let result = self.shared.close(outcome);
        self.shared.changed.notify_all();
        if let Some(attestor) = self.attestor.take() {
            // A panic of that thread was reported by itself; checkpoints it missed were just written.
            let _ = attestor.join();
        }
        result
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.closing = true;
        }
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn now(&self) -> u64 {
        boottime().saturating_sub(self.base)
    }

    /// Finds or makes the definition of an action, records the decision, and only then answers. `passed`: it has happened
    /// already, and is lost if it can't be recorded; else it is denied then.
    pub(super) fn rule(
        &self,
        who: Acting,
        key: Key,
        passed: bool,
        define: impl FnOnce(&Self, &mut State, u64) -> Result<Known, WriteError>,
    ) -> Ruling {
        // A thread that panicked with the lock may have left anything behind: nothing is allowed any more.
        let Ok(mut state) = self.state.lock() else { return Ruling::Deny(Errno::PERM) };
        if state.stop.is_some() || state.writer.is_none() {
            state.lose(passed);
            return Ruling::Deny(Errno::PERM);
        }
        let t = self.now();
        let idle = state.is_idle();
        let recorded = self.record(&mut state, who, key, define, t);
        if idle {
            self.changed.notify_all();
        }
        match recorded {
            Ok(Some(known)) => known.ruling,
            // The run was ended by what was found: nothing happens any more.
            Ok(None) => {
                state.lose(passed);
                Ruling::Deny(Errno::PERM)
            }
            Err(_) => {
                state.lose(passed);
                self.halt(&mut state, Stop::Disk);
                Ruling::Deny(Errno::PERM)
            }
        }
    }

    fn record(
        &self,
        state: &mut State,
        acting: Acting,
        key: Key,
        define: impl FnOnce(&Self, &mut State, u64) -> Result<Known, WriteError>,
        t: u64,
    ) -> Result<Option<Known>, WriteError> {
        let who = state.who(acting.actor.tid, t)?;
        if state.has_strangers() {
            self.disagree(state, t)?;
            return Ok(None);
        }
        let known = match state.known.get(key) {
            Some(known) => known,
            None => {
                let known = define(self, state, t)?;
                if state.stop.is_some() {
                    return Ok(None);
                }
                state.known.insert(key, known);
                known
            }
        };
        let attribution = acting.attribution;
        let line =
            DecisionLine { def: known.def, proc: who.proc, tid: who.tid, attribution, ..DecisionLine::default() };
        state.writer()?.decision(&line, known.verdict, t)?;
        Ok(Some(known))
    }

    /// First sight of an action that the policy may decide: floor, reference, compiled.
    pub(super) fn define_judged(
        &self,
        state: &mut State,
        action: &Action<'_>,
        by: Author,
        t: u64,
    ) -> Result<Known, WriteError> {
        if let Some(floor) = self.paths.judge(action) {
            return self.define_floor(state, action, floor, floor.errno(action), by, t);
        }
        let Ok(intent) = self.translator.translate(action) else {
            return self.define_untranslatable(state, t);
        };
        let said = self.rules.reference(&intent);
        let compiled = self.rules.compiled(action);
        let agreed = said.verdict == compiled;
        let decided = by.of(decide::by_policy(said, self.enforcement));
        let known = state.define(self, &intent, decided, by.engine, decide::policy_errno(action), t)?;
        if !agreed {
            state.line(&Body::Disagreement(Disagreement { def: known.def, kernel: compiled }), t)?;
            self.halt(state, Stop::Disagreement);
        }
        Ok(known)
    }

    pub(super) fn define_floor(
        &self,
        state: &mut State,
        action: &Action<'_>,
        floor: Floor,
        errno: Errno,
        by: Author,
        t: u64,
    ) -> Result<Known, WriteError> {
        let Ok(intent) = self.translator.translate(action) else {
            return self.define_untranslatable(state, t);
        };
        state.define(self, &intent, by.of(decide::by_floor(floor)), by.engine, errno, t)
    }

    /// No argument the kernel passes on leads here; if one did, its record would say so.
    pub(super) fn define_untranslatable(&self, state: &mut State, t: u64) -> Result<Known, WriteError> {
        let stand_in =
            Action::Exec { object: ExecObject::Memory((&b"untranslatable"[..]).into()), argv: Vec::new(), via: None };
        let intent = self.translator.translate(&stand_in)?;
        state.define(self, &intent, decide::by_engine("guard_engine_untranslatable"), self.engine, Errno::PERM, t)
    }

    /// Does something that is recorded but not answered.
    pub(super) fn with(&self, act: impl FnOnce(&Self, &mut State, u64) -> Result<(), WriteError>) {
        let Ok(mut state) = self.state.lock() else { return };
        if state.stop.is_some() || state.writer.is_none() {
            return;
        }
        let t = self.now();
        let idle = state.is_idle();
        let mut done = act(self, &mut state, t);
        if done.is_ok() && state.has_strangers() {
            done = self.disagree(&mut state, t);
        }
        if done.is_err() {
            self.halt(&mut state, Stop::Disk);
        }
        if idle {
            self.changed.notify_all();
        }
    }

    pub(super) fn halt(&self, state: &mut State, why: Stop) {
        if state.stop.is_none() {
            state.stop = Some(why);
            // The counter can't overflow: it is written once. Whoever waits also looks at `stopped`.
            let _ = rustix::io::write(&self.stopped, &1u64.to_ne_bytes());
        }
    }

    fn close(&self, outcome: Outcome) -> Result<Ended, WriteError> {
        let mut state = match self.state.lock() {
            Ok(state) => state,
            Err(poisoned) => {
                let mut state = poisoned.into_inner();
                state.stop = Some(Stop::GuardError);
                state
            }
        };
        state.closing = true;
        let t = self.now();
        let closed: Result<(), WriteError> = state.last_lines(outcome, t);
        if closed.is_err() {
            self.halt(&mut state, Stop::Disk);
        }
        let stop = state.stop;
        let writer = state.writer.take();
        let Some(mut writer) = writer else {
            return Err(WriteError::Io(std::io::Error::other("the journal is closed already")));
        };
        if stop.is_some() {
            writer.segments().release_reserve();
        }
        if state.unrecorded > 0 {
            let lost = Lost { count: state.unrecorded, enforced: LostOutcome::Deny, place: "journal".into() };
            writer.line(&Body::Lost(lost), t)?;
        }
        if state.passed_unrecorded > 0 {
            let count = state.passed_unrecorded;
            let lost = Lost { count, enforced: LostOutcome::Allow, place: "journal".into() };
            writer.line(&Body::Lost(lost), t)?;
        }
        writer.close(close_line(outcome, stop), t)
    }

    /// Signs checkpoints of lines that get old, and puts them on the disk without holding up decisions.
    fn attest(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        while !state.closing {
            let oldest = state.writer.as_ref().and_then(Writer::oldest);
            let pause = oldest.map(|oldest| CHECKPOINT_AGE.saturating_sub(self.now().saturating_sub(oldest)));
            let waited = match pause {
                None => self.changed.wait(state),
                Some(0) => {
                    state = match self.attest_now(state) {
                        Some(state) => state,
                        None => return,
                    };
                    continue;
                }
                Some(pause) => self.changed.wait_timeout(state, Duration::from_nanos(pause)).map_or_else(
                    |poisoned| Err(std::sync::PoisonError::new(poisoned.into_inner().0)),
                    |(state, _)| Ok(state),
                ),
            };
            let Ok(next) = waited else { return };
            state = next;
        }
    }

    fn attest_now<'s>(&'s self, mut state: MutexGuard<'s, State>) -> Option<MutexGuard<'s, State>> {
        let t = self.now();
        let files = state.writer.as_mut().map(|writer| {
            writer.checkpoint(t)?;
            writer.segments().to_sync().map_err(WriteError::from)
        });
        match files {
            Some(Ok(files)) => {
                drop(state);
                let synced = files.iter().try_for_each(File::sync_data);
                let mut state = self.state.lock().ok()?;
                if synced.is_err() {
                    self.halt(&mut state, Stop::Disk);
                }
                Some(state)
            }
            Some(Err(_)) => {
                self.halt(&mut state, Stop::Disk);
                None
            }
            None => None,
        }
    }
}

impl State {
    fn new(writer: Writer<SegmentFiles>) -> Self {
        Self {
            writer: Some(writer),
            known: KnownActions::default(),
            spellings: Spellings::default(),
            processes: Processes::new(Box::new(ProcFs)),
            definitions: 0,
            root: None,
            observer: None,
            stop: None,
            unrecorded: 0,
            passed_unrecorded: 0,
            closing: false,
        }
    }

    pub(super) fn writer(&mut self) -> Result<&mut Writer<SegmentFiles>, WriteError> {
        open(&mut self.writer)
    }

    pub(super) fn line(&mut self, body: &Body, t: u64) -> Result<u64, WriteError> {
        self.writer()?.line(body, t)
    }

    /// Counts a decision that can't be recorded.
    fn lose(&mut self, passed: bool) {
        if passed {
            self.passed_unrecorded += 1;
        } else {
            self.unrecorded += 1;
        }
    }

    /// Whether every line has its checkpoint.
    fn is_idle(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| writer.oldest().is_none())
    }

    pub(super) fn who(&mut self, tid: i32, t: u64) -> Result<Who, WriteError> {
        // The probes know who was made by whom before anybody can have acted.
        self.observe(t)?;
        let Self { processes, writer, .. } = self;
        let writer = open(writer)?;
        processes.of(tid, t, |fork| writer.line(&Body::Fork(fork), t).map(drop))
    }

    pub(super) fn define(
        &mut self,
        shared: &Shared,
        intent: &Intent,
        decision: Decided,
        engine: EngineName,
        errno: Errno,
        t: u64,
    ) -> Result<Known, WriteError> {
        let ruling = decide::ruling(&decision, errno);
        let verdict = decision.verdict;
        let def = self.definitions + 1;
        let canonical = intent.canonical_bytes()?;
        let errno = match ruling {
            Ruling::Deny(errno) if !decide::is_kill(&decision) => Some(decide::errno_name(errno)),
            Ruling::Allow | Ruling::Deny(_) => None,
        };
        let Self { spellings, writer, .. } = self;
        let digest = Sha256Hex::of(&canonical);
        let parts = DefineParts {
            def,
            intent: &canonical,
            intent_digest: &digest,
            decision: spellings.of(&decision)?,
            engine,
            errno: errno.as_deref(),
        };
        open(writer)?.define(&parts, t)?;
        self.definitions = def;
        let intent = LedgerIntent {
            digest,
            canonical: canonical.into(),
            tool_name: intent.tool_name().into(),
            value: Box::default(),
        };
        shared.signer.add(intent, decision);
        Ok(Known { def, verdict, ruling })
    }

    /// The end of the command, if nobody wrote it down.
    fn last_lines(&mut self, outcome: Outcome, t: u64) -> Result<(), WriteError> {
        let Some(proc) = self.root.and_then(|root| self.processes.ended(root)) else { return Ok(()) };
        self.line(&Body::Exit(exit_line(proc, outcome)), t).map(drop)
    }
}

fn open(writer: &mut Option<Writer<SegmentFiles>>) -> Result<&mut Writer<SegmentFiles>, WriteError> {
    writer.as_mut().ok_or_else(|| WriteError::Io(std::io::Error::other("the journal is closed")))
}

pub(super) fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> StartError {
    move |cause| StartError::Io { what, cause }
}

/// Nanoseconds since boot, time asleep included.
fn boottime() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
