//! Which engine decides, chosen by what fired.

use rustix::io::Errno;

use super::plan::PlanError;
use crate::bpf::BpfError;
use crate::bpf::canary::Stage;
use crate::kernel::Unfit;
use crate::layer::seccomp::Opens;

/// What `--engine` can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The best that fires here, of those that keep every promise: `lsm`, else `notify`.
    #[default]
    Auto,
    /// BPF LSM programs decide in the kernel.
    Lsm,
    /// The supervisor decides each call.
    Notify,
    /// As `notify`, but plain reads run by themselves, bounded by Landlock, and are looked at when they return.
    Hybrid,
}

impl Engine {
    /// All.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Lsm, Self::Notify, Self::Hybrid];

    /// Its name in flags and receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Lsm => "lsm",
            Self::Notify => "notify",
            Self::Hybrid => "hybrid",
        }
    }

    /// Who decides opens.
    pub fn opens(self) -> Opens {
        match self {
            Self::Lsm => Opens::Decided,
            Self::Hybrid => Opens::Seen,
            Self::Auto | Self::Notify => Opens::Held,
        }
    }

    /// The engine of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }
}

/// A better engine that can't be used, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which.
    pub engine: Engine,
    /// Where it failed.
    pub stage: Stage,
    /// The kernel's error, if there was one.
    pub errno: Option<Errno>,
    /// In words.
    pub reason: String,
}

/// The engine of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Never [`Engine::Auto`].
    pub engine: Engine,
    /// Why not a better one: what `auto` would have preferred.
    pub rejected: Vec<Rejected>,
}

impl Rejected {
    /// An engine that did not start.
    pub fn of(engine: Engine, unfit: Unfit) -> Self {
        let Unfit { stage, errno, reason } = unfit;
        Self { engine, stage, errno, reason }
    }
}

impl From<Unfit> for Choice {
    /// What `auto` takes after an engine whose canary fired did not start.
    fn from(unfit: Unfit) -> Self {
        Self { engine: Engine::Notify, rejected: vec![Rejected::of(Engine::Lsm, unfit)] }
    }
}

/// What the self-test of `lsm` says about an engine; `None`: it can be tried. That of `hybrid` is made with it
/// ([`crate::hybrid::Hybrid::start`]).
pub fn reject(engine: Engine, lsm: Option<&BpfError>) -> Option<Rejected> {
    match (engine, lsm) {
        (Engine::Lsm, Some(error)) => {
            Some(Rejected { engine, stage: Stage::of(error), errno: error.errno(), reason: error.chain() })
        }
        _ => None,
    }
}

/// Takes the engine that was asked for, or the best.
///
/// # Errors
/// [`PlanError::Engine`]: it was asked for by name and can't be used.
pub fn choose(asked: Engine, lsm: Option<&BpfError>) -> Result<Choice, PlanError> {
    if asked == Engine::Auto {
        return Ok(match reject(Engine::Lsm, lsm) {
            None => Choice { engine: Engine::Lsm, rejected: Vec::new() },
            Some(rejected) => Choice { engine: Engine::Notify, rejected: vec![rejected] },
        });
    }
    match reject(asked, lsm) {
        // `auto` would have preferred `lsm` to `hybrid` too.
        None => {
            let better = (asked == Engine::Hybrid).then(|| reject(Engine::Lsm, lsm)).flatten();
            Ok(Choice { engine: asked, rejected: better.into_iter().collect() })
        }
        Some(rejected) => {
            let why = format!("{} failed: {}", rejected.stage.name(), rejected.reason);
            Err(PlanError::Engine { engine: asked, why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_never_takes_an_engine_whose_self_test_failed() {
        let silent = BpfError::Silent { program: "canary" };
        let choice = choose(Engine::Auto, Some(&silent)).unwrap();
        assert_eq!(choice.engine, Engine::Notify);
        let [rejected] = &choice.rejected[..] else { panic!("{choice:?}") };
        assert_eq!((rejected.engine, rejected.stage), (Engine::Lsm, Stage::Fire));
        assert!(rejected.reason.contains("was not called"), "{rejected:?}");
    }

    #[test]
    fn auto_never_takes_hybrid() {
        assert_ne!(choose(Engine::Auto, None).unwrap().engine, Engine::Hybrid);
        let silent = BpfError::Silent { program: "canary" };
        assert_ne!(choose(Engine::Auto, Some(&silent)).unwrap().engine, Engine::Hybrid);
        assert_eq!(choose(Engine::Hybrid, Some(&silent)).unwrap().engine, Engine::Hybrid);
    }

    #[test]
    fn an_engine_that_was_asked_for_is_that_one_or_none() {
        let error = BpfError::Program { program: "canary".into(), stage: "attach", cause: Errno::PERM.into() };
        assert_eq!(error.errno(), Some(Errno::PERM));
        let refused = choose(Engine::Lsm, Some(&error)).unwrap_err();
        assert!(matches!(refused, PlanError::Engine { engine: Engine::Lsm, .. }), "{refused}");
        assert!(refused.to_string().contains("attach failed"), "{refused}");
        assert_eq!(choose(Engine::Notify, Some(&error)).unwrap().engine, Engine::Notify);
    }
}
