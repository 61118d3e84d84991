//! The engine `lsm`: programs in the kernel decide and record opens, most changes of names and attributes, descriptors that
//! are received, and executable mappings; this side puts them beside the probes, proves that they fire, and reads what they
//! wrote.
//!
//! Moves, execs and the network stay with the supervisor ([`crate::notify`]): it judges them as before. Hooks that such calls
//! come by refuse the tree itself, so nothing is left that neither decides.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gait_ebpf::record::{kind, switch};

use crate::bpf::canary::Stage;
use crate::bpf::object::Attached;
use crate::bpf::probes::Probes;
use crate::bpf::watch::{Decisions, Watch};
use crate::kernel::feed::Feed;
use crate::kernel::{Setup, Unfit};
use crate::notify::RING;
use crate::session::{GuardedPaths, Judge, PINS, Ruling, Session};
use crate::sys::mount;
use crate::sys::process::in_child;

/// The programs in force, before the run begins.
pub struct Lsm {
    probes: Arc<Mutex<Probes>>,
    watch: Watch,
    /// What is in force, for the receipt.
    pub programs: Vec<Attached>,
    /// Bytes of the ring.
    pub ring_bytes: u32,
}

/// A run's programs: read by a thread until [`Watched::end`].
pub struct Watched {
    probes: Arc<Mutex<Probes>>,
    feed: Feed,
    pins: Pins,
}

impl Lsm {
    /// Puts the policy and the hooks beside `probes`, whose object was loaded to decide, and lets the programs fire on a
    /// child of this process.
    ///
    /// # Errors
    /// [`Unfit`]: nothing of it, nor of the probes, is left in the kernel.
    pub fn start(mut probes: Probes, setup: &Setup<'_>) -> Result<Self, Unfit> {
        let at = Unfit::at;
        let image = setup.image().map_err(at(Stage::Load))?;
        let watch = probes.take_watch().ok_or_else(|| Unfit::silent("somebody else reads the records"))?;
        let object = probes.object();
        object.fill(image).map_err(at(Stage::Load))?;
        object.attach_hooks()?;
        let (mut watch, decisions) = watch.deciding();
        fire(&mut probes, &mut watch, &decisions, setup.paths)?;
        let (programs, ring_bytes) = (probes.attached().to_vec(), probes.ring_bytes());
        Ok(Self { probes: Arc::new(Mutex::new(probes)), watch, programs, ring_bytes })
    }

    /// Brings what this process forks into the scope (true), until told not to (false).
    ///
    /// # Errors
    /// The map's.
    pub fn scope(&self) -> impl Fn(bool) -> io::Result<()> + Sync + use<> {
        let probes = Arc::clone(&self.probes);
        move |begins| {
            let mut probes = probes.lock().unwrap_or_else(PoisonError::into_inner);
            let object = probes.object();
            let changed = if begins { object.seed() } else { object.unseed() };
            changed.map_err(io::Error::other)
        }
    }

    /// Pins the programs below the run's folder and begins to feed its session.
    ///
    /// # Errors
    /// No bpffs, or no thread.
    pub fn watch(self, session: &Arc<Session>, folder: &Path) -> io::Result<Watched> {
        let pins = Pins::mount(folder)?;
        {
            let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
            let object = probes.object();
            object.pin_lsm(&pins.0).map_err(io::Error::other)?;
            // Only where the policy lets the tree have rings do the hooks have to expect what comes through one.
            if session.foresee(&RING) == Ruling::Allow {
                object.switch(switch::RINGS, 1).map_err(io::Error::other)?;
                session.let_rings();
            }
            let given = object.given().map_err(io::Error::other)?;
            session.on_giving(Box::new(move |tid, file| given.tell(tid, file)));
        }
        let shared = Arc::clone(&self.probes);
        session.on_moving(Box::new(move |moves| {
            let mut probes = shared.lock().unwrap_or_else(PoisonError::into_inner);
            probes.object().switch(switch::MOVING, u32::from(moves)).is_ok()
        }));
        let feed = Feed::start(session, self.watch)?;
        Ok(Watched { probes: self.probes, feed, pins })
    }
}

impl Watched {
    /// Takes what is left in the ring, once nothing of the tree is; then the programs leave the kernel. Denials without a
    /// record are told to the session.
    ///
    /// # Errors
    /// The thread failed, or the counters can't be read: the run must not count as complete.
    pub fn end(self, session: &Session) -> io::Result<()> {
        let counters = self.probes.lock().unwrap_or_else(PoisonError::into_inner).counters();
        self.feed.end(session, counters)?;
        self.pins.remove()
    }
}

/// The bpffs in the folder of a run whose names keep the programs in force when this process is gone. Dropped, it is gone too: that
/// a run could not be started, or that its end was not told well, is no reason for programs to stay.
struct Pins(PathBuf);

impl Pins {
    fn mount(folder: &Path) -> io::Result<Self> {
        let pins = folder.join(PINS);
        std::fs::create_dir(&pins)?;
        mount::bpffs(&pins)?;
        Ok(Self(pins))
    }

    fn remove(mut self) -> io::Result<()> {
        Ok(mount::remove_bpffs(&std::mem::take(&mut self.0))?)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // Who panics may leave a tree behind, which the watchdog ends; until then the programs hold.
        if !self.0.as_os_str().is_empty() && !std::thread::panicking() {
            let _ = mount::remove_bpffs(&self.0);
        }
    }
}

/// Proves on a child that the programs are called and that what they refuse is refused: a kernel may take programs of the
/// security module and never call them (`bpf` is not in its `lsm=`).
fn fire(probes: &mut Probes, watch: &mut Watch, decisions: &Decisions, paths: &GuardedPaths) -> Result<(), Unfit> {
    let (silent, at) = (Unfit::silent, Unfit::at);
    let closed = paths.a_closed_one().ok_or_else(|| silent("there is nothing to try the floor on"))?;
    let lists = || {
        in_child(|| {
            let is_refused =
                |error: Option<io::Error>| error.is_some_and(|error| error.raw_os_error() == Some(libc::EACCES));
            // By hooks that find out about names in different ways.
            let listed = is_refused(std::fs::read_dir(closed).err());
            let made = is_refused(std::fs::create_dir(closed.join("self-test")).err());
            if listed && made { 0 } else { 1 }
        })
    };
    let refused = probes.seeded(lists).map_err(at(Stage::Fire))?;
    // The tree of the test is no part of the run.
    watch.by_ref().for_each(drop);
    let mut recorded = 0;
    while let Some((header, _)) = decisions.take() {
        recorded += u32::from(header.kind == kind::PATH);
    }
    match refused {
        Ok(0) if recorded >= 2 => Ok(()),
        Ok(0) => Err(silent("what was refused was not recorded")),
        Ok(_) => Err(silent(
            "the kernel takes programs of the security module and does not call them: `bpf` is missing in its lsm= line",
        )),
        Err(errno) => Err(Unfit { stage: Stage::Fire, errno: Some(errno), reason: "no process for the test".into() }),
    }
}
