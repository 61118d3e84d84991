//! `gait exec` from a request to sealed evidence: probe, plan, session, launch, end.
//!
//! Everything that can be wrong is found before the agent starts; from then on every way out goes
//! through the session, so that what was recorded is kept.

pub mod engine;
mod plan;
mod prepared;
mod scratch;
mod settle;
mod watching;

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use gait_core::journal::EngineName;
use gait_core::policy::compile::CompileError;
use gait_core::policy::{PolicyError, Strictness};
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;
use rustix::fd::AsFd;
use tracing::debug;

pub use engine::Engine;
pub use plan::{Demands, PlanError, explain};
pub use scratch::{Scratch, ScratchError};

use crate::bpf::probes;
use crate::cache::Cache;
use crate::host;
use crate::hybrid::GrantError;
use crate::intent::ContextError;
use crate::kernel::{Setup, Unfit};
use crate::launch::minder::Cause;
use crate::launch::watchdog::Wards;
use crate::launch::{Command, CommandError, End, RunError, Status, Terms, run};
use crate::layer::landlock::{LandlockError, domain_of};
use crate::layer::seccomp::Opens;
use crate::lsm::Lsm;
use crate::session::{
    CaptureMode, Enforcement, FinishError, Finished, Judge, Outcome, Session, SessionConfig, StartError,
};
use crate::sys::mount;
use prepared::{Ahead, Prepared, superset};
use settle::Settled;
use watching::Watching;

/// What [`Request::ring_bytes`] can be: powers of two in this range. Less holds no burst, more is memory that can't be swapped.
pub const RING_BYTES: RangeInclusive<u32> = 1 << 16..=1 << 30;

/// [`Request::ring_bytes`] of who asks for nothing else: some 300,000 records of processes, or 120,000 of paths.
pub const DEFAULT_RING_BYTES: u32 = 1 << 24;

/// All that `gait exec` was asked for.
pub struct Request {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// The text of the policy.
    pub policy_source: Vec<u8>,
    /// How it is read.
    pub strictness: Strictness,
    /// Its file, if it has one: the agent can't change it.
    pub policy_path: Option<PathBuf>,
    /// Absolute and resolved.
    pub workspace: PathBuf,
    /// `context.identity`.
    pub identity: String,
    /// `context.risk_class`.
    pub risk_class: String,
    /// Names the run.
    pub run_id: String,
    /// Where the runpack goes: absolute and resolved, exists.
    pub out: PathBuf,
    /// `$HOME`, resolved, if there is one.
    pub home: Option<PathBuf>,
    /// `$HOME/.gait`, resolved.
    pub state: PathBuf,
    /// Other files that are closed to the agent: the signing key.
    pub closed: Vec<PathBuf>,
    /// Whether arguments are recorded.
    pub capture: CaptureMode,
    /// Whether the policy is enforced.
    pub enforcement: Enforcement,
    /// Which engine was asked for.
    pub engine: Engine,
    /// Which layers must be, and need not be, in force.
    pub demands: Demands,
    /// How long the agent may run.
    pub timeout: Option<Duration>,
    /// Size of the ring, for engines that have one: a power of two in [`RING_BYTES`].
    pub ring_bytes: u32,
    /// What this process was started with.
    pub environment: Vec<(OsString, OsString)>,
    /// Names that are passed on whatever they look like.
    pub keep: Vec<OsString>,
    /// Signs the evidence.
    pub key: PrivateKey,
    /// `local`, `file` or `env`.
    pub key_source: String,
    /// Goes into every record.
    pub producer_version: String,
    /// Now.
    pub started_at: Timestamp,
}

/// Why there was no run, or why it has no runpack. No agent is left in any case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The command can't be run.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The policy can't be read, or not be used for this run.
    #[error("{}: {cause}", named(path.as_deref()))]
    Policy {
        /// Its file; `None` for the embedded one.
        path: Option<PathBuf>,
        /// Why.
        #[source]
        cause: PolicyError,
    },
    /// The policy is too large.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The context can't be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The layers are not those asked for.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No private temporary folder.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The engine that was asked for does not work here.
    #[error("the engine `{}` does not work here ({}): {}", engine.name(), unfit.stage.name(), unfit.reason)]
    Engine {
        /// Which.
        engine: Engine,
        /// Why.
        #[source]
        unfit: Unfit,
    },
    /// The engine `hybrid` can't serve this run.
    #[error(transparent)]
    Grants(#[from] GrantError),
    /// The programs in the kernel could not be kept or read.
    #[error("the engine `lsm` could not be kept in force: {0}")]
    Programs(#[source] std::io::Error),
    /// No Landlock ruleset.
    #[error(transparent)]
    Landlock(#[from] LandlockError),
    /// The evidence can't be begun.
    #[error("{}", chain(.0))]
    Start(#[source] StartError),
    /// The agent could not be started, or the guard failed while it ran. What was recorded is in the runpack named, if there is one.
    #[error("{cause}")]
    Run {
        /// What happened.
        cause: RunError,
        /// The evidence so far.
        sealed: Option<Box<Finished>>,
    },
    /// The evidence can't be ended.
    #[error("{}; what was recorded is kept: `gait run seal {run_id}`", chain(.cause))]
    Finish {
        /// What happened.
        #[source]
        cause: FinishError,
        /// Which run.
        run_id: String,
        /// How the agent had ended.
        status: Status,
    },
}

fn named(policy: Option<&Path>) -> String {
    policy.map_or_else(|| "the embedded policy".to_owned(), |path| format!("policy {}", path.display()))
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A run that ended, with its evidence.
#[derive(Debug)]
pub struct Ran {
    /// How the command ended.
    pub end: End,
    /// The evidence.
    pub finished: Finished,
    /// The engine that decided.
    pub engine: Engine,
    /// The layers that were in force, outermost first.
    pub layers: Vec<String>,
    /// Those that were missing, as permitted.
    pub degraded: Vec<String>,
    /// How many environment variables were withheld.
    pub withheld: u32,
    /// Runs of before that nobody sealed.
    pub unsealed: Vec<String>,
}

/// Runs the request in the supervisor's process.
///
/// # Errors
/// Those of [`ExecError`].
pub fn exec(request: Request, wards: Wards, packing: &mut dyn FnMut(u64)) -> Result<Ran, ExecError> {
    let path = request.environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    // Before anything is made: a command that is not there needs no run.
    Command::new(&request.command, [], path)?;
    let options = settle::options(&request);
    let cache = Cache::below(&request.state);
    // Side by side, since each takes long; whatever comes first, nothing is left in the kernel if one of them fails.
    let (sender, found) = mpsc::channel();
    let load = move || drop(sender.send(probes::load(options)));
    // Not joined: what it found is there before the thread has ended.
    let _ = std::thread::Builder::new().name("gait-bpf".into()).spawn(load);
    let mut report = host::probe();
    let prepared = Prepared::of(&request, path, &cache);
    // If there is no thread, or it panicked, which was reported by itself.
    let loaded = found.recv().unwrap_or_else(|_| probes::load(options));
    let prepared = prepared?;
    let rules = prepared.rules;
    let (granted, image) =
        prepared.ahead.map_or((None, OnceLock::new()), |Ahead { granted, image }| (Some(granted), image));
    let setup =
        Setup { policy: rules.tables(), context: &prepared.context, paths: &prepared.paths, cache: &cache, image };
    let mut settled = settle::settle(request.engine, loaded, &setup, &mut report)?;
    for (layer, state) in &report.0 {
        debug!(layer = layer.name(), "{}", explain(state));
    }
    for rejected in &settled.choice.rejected {
        debug!(engine = rejected.engine.name(), stage = rejected.stage.name(), "not used: {}", rejected.reason);
    }
    let mut layers = request.demands.layers(&report, rules.policy())?;
    // What the supervisor opens for the agent still can't be mapped executable.
    let noexec_root = if layers.has(host::Layer::Noexec) { mount::noexec_root().ok() } else { None };
    let mut hybrid = None;
    if let Some(granted) = granted {
        layers = layers.with_reads_of_its_own(&request.demands)?;
        hybrid = Some(settled.start_hybrid(&setup, granted?, &report)?);
    }
    // Removed when the run is over.
    let _scratch = prepared.scratch;
    let opens = settled.choice.engine.opens();
    let landlock = match (&hybrid, prepared.landlock) {
        (Some(hybrid), _) => Some(domain_of(&hybrid.grants.rules)?),
        (None, _) if !layers.has(host::Layer::Landlock) => None,
        (None, Some(made)) if opens == Opens::Held => Some(made?),
        (None, _) => Some(superset(&request, &rules, opens)?),
    };

    let (programs, ring_bytes) = settled.programs();
    let decider = plan::Decider { choice: &settled.choice, programs, ring_bytes };
    let plan = plan::plan(prepared.draft, &layers, landlock.as_ref(), &decider)?;
    let Settled { choice, lsm, mut probes } = settled;
    let mut self_test = plan::self_tests(&report);
    self_test.extend(hybrid.as_ref().map(|hybrid| plan::hybrid_test(&hybrid.grants)));
    let Request { enforcement, timeout, .. } = request;
    let config = SessionConfig {
        run_id: request.run_id.clone(),
        producer_version: request.producer_version,
        started_at: request.started_at,
        translator: prepared.translator,
        rules: Box::new(rules),
        policy_yaml: prepared.policy_yaml,
        command: request.command.iter().map(|arg| arg.as_encoded_bytes().to_vec()).collect(),
        key: request.key,
        key_source: request.key_source,
        plan,
        host: prepared.host,
        self_test,
        engine: EngineName::Notify,
        enforcement,
        capture: request.capture,
        dirs: prepared.dirs,
    };
    let session = Arc::new(Session::start(config).map_err(ExecError::Start)?);
    debug!(run_id = request.run_id, engine = choice.engine.name(), folder = %session.folder().display(), "the run begins");
    let cannot_start = |cause| ExecError::Run { cause: RunError::Start(cause), sealed: None };
    let seen = hybrid.map(|hybrid| hybrid.watch(&session)).transpose().map_err(cannot_start)?;
    // Taken by `hybrid`, if that is the engine.
    let watching = probes.as_mut().and_then(probes::Probes::take_watch).map(|watch| Watching::start(&session, watch));
    let watching = watching.transpose().map_err(cannot_start)?;
    let begins = || session.sync_beginning();
    let spawned = |pid| session.spawned(pid);
    let scope = lsm.as_ref().map(Lsm::scope);
    let in_scope = |begins| scope.as_ref().map_or(Ok(()), |scope| scope(begins));
    let watched = lsm.map(|lsm| lsm.watch(&session, session.folder())).transpose().map_err(ExecError::Programs)?;
    let terms = Terms {
        judge: Arc::clone(&session) as Arc<dyn Judge>,
        landlock: landlock.as_ref().map(|domain| domain.ruleset.as_fd()),
        noexec_root,
        opens,
        scope: &in_scope,
        stop: session.stop_event(),
        begins: &begins,
        spawned: &spawned,
        timeout,
        probes: probes.as_mut(),
    };
    let ended = run(&prepared.command, terms, wards);
    debug!("the agent's tree has ended");
    if let (Some(watching), Some(probes)) = (watching, &probes) {
        watching.end(&session, probes);
    }
    if let (Some(seen), Some(probes)) = (seen, &probes) {
        seen.end(&session, probes);
    }
    if let Some(watched) = watched
        && watched.end(&session).is_err()
    {
        session.stop(crate::session::Stop::GuardError);
    }
    // Nobody is left to be watched: the programs leave the kernel while the runpack is made.
    let released = std::thread::Builder::new().name("gait-release".into()).spawn(move || drop(probes));
    let finished = finish(session, &ended, &request.run_id, packing);
    if let Ok(released) = released {
        // A panic was reported by itself.
        let _ = released.join();
    }
    match (ended, finished) {
        (Ok(end), Ok(finished)) => {
            let (engine, degraded) = (choice.engine, layers.degraded());
            let (withheld, unsealed) = (prepared.withheld, prepared.unsealed);
            Ok(Ran { end, finished, engine, layers: layers.names(), degraded, withheld, unsealed })
        }
        (Ok(_), Err(error)) => Err(error),
        (Err(cause), finished) => Err(ExecError::Run { cause, sealed: finished.ok().map(Box::new) }),
    }
}

fn finish(
    session: Arc<Session>,
    ended: &Result<End, RunError>,
    run_id: &str,
    packing: &mut dyn FnMut(u64),
) -> Result<Finished, ExecError> {
    let status = match ended {
        Ok(end) => end.status,
        Err(_) => {
            session.stop(crate::session::Stop::GuardError);
            Status::Signaled(libc::SIGKILL)
        }
    };
    let outcome = match status {
        Status::Exited(code) => Outcome::Exited(code as u8),
        Status::Signaled(signal) => Outcome::Signalled(signal as u8),
    };
    let run_id = || run_id.to_owned();
    let Some(session) = alone(session) else {
        let cause = std::io::Error::other("a thread of the supervisor did not end");
        return Err(ExecError::Run { cause: RunError::Start(cause), sealed: None });
    };
    session.finish_telling(outcome, packing).map_err(|cause| ExecError::Finish { cause, run_id: run_id(), status })
}

/// The session, once the threads of the supervisor have let go of it: they end with the tree.
fn alone(mut session: Arc<Session>) -> Option<Session> {
    let start = Instant::now();
    loop {
        match Arc::try_unwrap(session) {
            Ok(session) => return Some(session),
            Err(_) if start.elapsed() > Duration::from_secs(10) => return None,
            Err(shared) => {
                session = shared;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Ran {
    /// Whether the agent was ended because of `--timeout`.
    pub fn timed_out(&self) -> bool {
        self.end.cause == Cause::Timeout
    }
}
