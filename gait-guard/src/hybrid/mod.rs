//! The engine `hybrid`: the supervisor of `notify`, but plain reads run by themselves (docs/decisions/0012-hybrid.md).
//!
//! ```text
//! reach    what the policy can say about all below a folder
//! grants   which folders the agent may therefore open by itself: the Landlock rules
//! ```
//! An open whose registers say that it can only read is not held. Landlock bounds it; a program at the return of the call,
//! beside the probes, looks at what was opened, decides with the policy's own tables, writes a record and kills the process
//! if that was denied. The session decides each record again ([`crate::kernel`]).

mod grants;
mod reach;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use gait_core::policy::compile::CompiledPolicy;
use gait_core::policy::{Policy, Strictness};
use gait_ebpf::record::kind;
use gait_ebpf::tables::FLOOR_PATH;
use rustix::io::Errno;

pub use self::grants::{Bounds, Grant, GrantError, Grants};
pub use self::reach::{Place, Reading, Span};
use crate::bpf::canary::Stage;
use crate::bpf::probes::{Probes, WATCHING};
use crate::bpf::watch::{Decisions, Watch};
use crate::bpf::{Options, Purpose};
use crate::cache::Cache;
use crate::intent::Translator;
use crate::kernel::feed::Feed;
use crate::kernel::{Setup, Unfit};
use crate::session::{GuardedPaths, PolicyRules, Session, Stop};
use crate::sys::process::in_child;

/// The program that looks at opens, and where it is attached.
pub(crate) const PROGRAM: (&str, &str) = ("on_open", "sys_exit");

/// What is said about every run of this engine, in the receipt and on the terminal.
pub const LIMIT: &str = "reads run by themselves: what the policy denies by name inside of a folder that it lets the agent \
                         read is not prevented; the process is killed once it has opened it, and a second thread can have \
                         read it by then";

/// A run's programs in force, before the run begins.
pub struct Hybrid {
    watch: Watch,
    /// What Landlock lets the agent open by itself.
    pub grants: Grants,
}

impl Hybrid {
    /// Puts the policy and the program beside `probes`, and lets the program fire on a child of this process.
    ///
    /// # Errors
    /// [`Unfit`]: the run must not start with this engine.
    pub fn start(probes: &mut Probes, setup: &Setup<'_>, grants: Grants) -> Result<Self, Unfit> {
        let image = setup.image().map_err(Unfit::at(Stage::Load))?;
        let object = probes.object();
        object.fill(image).map_err(Unfit::at(Stage::Load))?;
        object.attach(PROGRAM.0, PROGRAM.1)?;
        let watch = probes.take_watch().ok_or_else(|| Unfit::silent("somebody else reads the records"))?;
        let (mut watch, decisions) = watch.deciding();
        let closed = setup.paths.a_closed_one().ok_or_else(|| Unfit::silent("there is nothing to try the floor on"))?;
        fire(probes, &mut watch, &decisions, closed)?;
        Ok(Self { watch, grants })
    }

    /// Begins to feed the session of the run.
    ///
    /// # Errors
    /// No thread.
    pub fn watch(self, session: &Arc<Session>) -> io::Result<Watched> {
        Ok(Watched { feed: Feed::start(session, self.watch)? })
    }
}

/// A run's records on their way into its session, until [`Watched::end`].
pub struct Watched {
    feed: Feed,
}

impl Watched {
    /// Takes what is left in the ring, once nothing of the tree is.
    pub fn end(self, session: &Session, probes: &Probes) {
        if self.feed.end(session, probes.counters()).is_err() {
            session.stop(Stop::GuardError);
        }
    }
}

/// Which folders may be read under `policy`, on a machine on which the guard's own folders lie at `closed`.
///
/// # Errors
/// [`GrantError`]: the policy or the workspace is not one that this engine can bound.
pub fn grants(
    policy: &CompiledPolicy,
    is_enforced: bool,
    closed: &[PathBuf],
    workspace: &Path,
) -> Result<Grants, GrantError> {
    Bounds { policy, is_enforced, closed, workspace }.grants()
}

/// What the probes are loaded with for [`check`].
pub const CHECKING: Options = Options { purpose: Purpose::DecideOpens, ..WATCHING };

/// Whether the engine works here at all, apart from any run. `probes`, loaded with [`CHECKING`], can't be used for another engine
/// then.
///
/// # Errors
/// [`Unfit`]
pub fn check(probes: &mut Probes) -> Result<(), Unfit> {
    const POLICY: &str = "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: allow\n";
    let broken = |error: &dyn std::fmt::Display| Unfit::silent(&format!("nothing to test it with: {error}"));
    let policy = Policy::parse(POLICY, Strictness::Strict).map_err(|error| broken(&error))?;
    let translator = Translator::new("doctor", b"/", "high").map_err(|error| broken(&error))?;
    let context = translator.context();
    let rules = PolicyRules::new(policy, context.clone()).map_err(|error| broken(&error))?;
    let setup = Setup {
        policy: rules.tables(),
        context: &Arc::new(context.clone()),
        // Everything is closed to the child of the test.
        paths: &GuardedPaths::new([PathBuf::from("/")], []),
        cache: &Cache::none(),
        image: OnceLock::new(),
    };
    Hybrid::start(probes, &setup, Grants::default()).map(drop)
}

/// Proves on a child that an open is seen, recorded and answered with a kill where the floor denies it.
fn fire(probes: &mut Probes, watch: &mut Watch, decisions: &Decisions, closed: &Path) -> Result<(), Unfit> {
    let opens = || in_child(|| if File::open(closed).is_ok() { 0 } else { 1 });
    let ended = probes.seeded(opens).map_err(Unfit::at(Stage::Fire))?;
    // The tree of the test is no part of the run.
    watch.by_ref().for_each(drop);
    let mut is_recorded = false;
    while let Some((header, _)) = decisions.take() {
        is_recorded |= header.kind == kind::OPEN && header.outcome == FLOOR_PATH && header.detail == 0;
    }
    match ended {
        // Killed: it gave no code.
        Err(Errno::CHILD) if is_recorded => Ok(()),
        Err(Errno::CHILD) => Err(Unfit::silent("an open that was answered with a kill was not recorded")),
        Ok(0) => {
            Err(Unfit::silent("the program `on_open` is attached and an open that the floor denies was let through"))
        }
        Ok(_) => Err(Unfit::silent("the guard can't open its own folder, so nothing could be tried")),
        Err(errno) => Err(Unfit { stage: Stage::Fire, errno: Some(errno), reason: "no process for the test".into() }),
    }
}
