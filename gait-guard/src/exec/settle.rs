//! The engine of a run, settled: chosen by what fired, started, and what is in force where it did not start.

use super::engine::{self, Choice, Engine};
use super::{ExecError, Request};
use crate::bpf::canary::Stage;
use crate::bpf::object::Attached;
use crate::bpf::probes::{self, Found, Probes};
use crate::bpf::{Options, Purpose};
use crate::host::{Layer, Report, State};
use crate::hybrid::{Grants, Hybrid};
use crate::kernel::{Setup, Unfit};
use crate::lsm::Lsm;
use crate::session::Enforcement;

/// What is in force before the layers of the run are planned. The engine `hybrid` comes later: it needs them.
pub(super) struct Settled {
    /// The engine.
    pub choice: Choice,
    /// Its programs, if it is `lsm`.
    pub lsm: Option<Lsm>,
    /// The programs beside any other engine.
    pub probes: Option<Probes>,
}

/// What the object is loaded with for a request.
pub(super) fn options(request: &Request) -> Options {
    let purpose = match request.engine {
        Engine::Auto | Engine::Lsm => Purpose::DecideOrWatch,
        Engine::Hybrid => Purpose::DecideOpens,
        Engine::Notify => return probes::WATCHING,
    };
    Options { ring_bytes: request.ring_bytes, simulate: request.enforcement == Enforcement::Simulate, purpose }
}

/// Takes what was `found` into use for the engine that was asked for, or for the best, and adds to `report` the layers that
/// are in force with it.
///
/// # Errors
/// [`ExecError`]: it was asked for by name and can't be used.
pub(super) fn settle(
    asked: Engine,
    found: Found,
    setup: &Setup<'_>,
    report: &mut Report,
) -> Result<Settled, ExecError> {
    let choice = engine::choose(asked, found.lsm.as_ref().err())?;
    let (settled, tracepoints, sockets) = match choice.engine {
        Engine::Lsm => match start(found.probes, &found.tracepoints, setup) {
            Ok(lsm) => (Settled { choice, lsm: Some(lsm), probes: None }, found.tracepoints, found.sockets),
            Err(unfit) if asked == Engine::Lsm => return Err(ExecError::Engine { engine: asked, unfit }),
            Err(unfit) => {
                // Nothing is left of the first object, and `notify` has the socket hooks that it was loaded without.
                let Found { probes, tracepoints, sockets, .. } = probes::load(probes::WATCHING);
                (Settled { choice: unfit.into(), lsm: None, probes }, tracepoints, sockets)
            }
        },
        _ => (Settled { choice, lsm: None, probes: found.probes }, found.tracepoints, found.sockets),
    };
    report.add(Layer::Probes, tracepoints);
    report.add(Layer::SocketHooks, sockets);
    Ok(settled)
}

fn start(probes: Option<Probes>, tracepoints: &State, setup: &Setup<'_>) -> Result<Lsm, Unfit> {
    Lsm::start(probes.ok_or_else(|| without_probes(Some(tracepoints)))?, setup)
}

/// Why a program can't be put beside the probes, whose state is given.
fn without_probes(tracepoints: Option<&State>) -> Unfit {
    let why = tracepoints.map_or_else(|| "unknown".to_owned(), super::explain);
    let errno = match tracepoints {
        Some(State::Absent { errno, .. }) => Some(*errno),
        _ => None,
    };
    Unfit { stage: Stage::Load, errno, reason: format!("it needs the layer `probes`: {why}") }
}

impl Settled {
    /// Starts the engine `hybrid` beside the probes.
    ///
    /// # Errors
    /// [`ExecError::Engine`]
    pub fn start_hybrid(&mut self, setup: &Setup<'_>, grants: Grants, report: &Report) -> Result<Hybrid, ExecError> {
        let probes = self.probes.as_mut().ok_or_else(|| without_probes(report.state(Layer::Probes)));
        probes
            .and_then(|probes| Hybrid::start(probes, setup, grants))
            .map_err(|unfit| ExecError::Engine { engine: Engine::Hybrid, unfit })
    }

    /// The programs in force, in order of attachment, and the bytes of their ring.
    pub fn programs(&self) -> (&[Attached], u32) {
        match (&self.lsm, &self.probes) {
            (Some(lsm), _) => (&lsm.programs, lsm.ring_bytes),
            (None, Some(probes)) => (probes.attached(), probes.ring_bytes()),
            (None, None) => (&[], 0),
        }
    }
}
