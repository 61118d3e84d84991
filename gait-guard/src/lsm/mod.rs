//! The engine `lsm`: programs in the kernel decide and record opens, most changes of names and attributes, descriptors that
//! are received, and executable mappings; this side loads them, proves that they fire, and reads what they wrote.
//!
//! Moves, execs and the network stay with the supervisor ([`crate::notify`]): it judges them as before. Hooks that such calls
//! come by refuse the tree itself, so nothing is left that neither decides.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gait_ebpf::record::{kind, switch};

use crate::bpf::canary::Stage;
use crate::bpf::object::Attached;
use crate::bpf::watch::Watch;
use crate::bpf::{Object, Options, Purpose, Reader};
use crate::kernel::feed::Feed;
use crate::kernel::{Setup, Unfit};
use crate::notify::RING;
use crate::session::{GuardedPaths, Judge, PINS, Ruling, Session};
use crate::sys::mount;

/// The programs in force, before the run begins.
pub struct Lsm {
    object: Arc<Mutex<Object>>,
    reader: Reader,
    /// What is in force, for the receipt.
    pub programs: Vec<Attached>,
}

/// A run's programs: read by a thread until [`Watched::end`].
pub struct Watched {
    object: Arc<Mutex<Object>>,
    feed: Feed,
    pins: Option<PathBuf>,
}

impl Lsm {
    /// Loads, attaches, and lets the programs fire on a child of this process, which must have one thread.
    ///
    /// # Errors
    /// [`Unfit`]: nothing of it is left in the kernel.
    pub fn start(setup: &Setup<'_>) -> Result<Self, Unfit> {
        let at = Unfit::at;
        let image = setup.image().map_err(at(Stage::Load))?;
        let options = Options { ring_bytes: setup.ring_bytes, simulate: setup.simulate, purpose: Purpose::Decide };
        let mut object = Object::load(options).map_err(at(Stage::Load))?;
        object.fill(&image).map_err(at(Stage::Load))?;
        object.attach_hooks()?;
        for (program, point) in TRACEPOINTS {
            object.attach_tracepoint(program, point)?;
        }
        let mut reader = object.reader().map_err(at(Stage::Load))?;
        fire(&mut object, &mut reader, setup.paths)?;
        let programs = object.attached().to_vec();
        Ok(Self { object: Arc::new(Mutex::new(object)), reader, programs })
    }

    /// Brings what this process forks into the scope (true), until told not to (false).
    ///
    /// # Errors
    /// The map's.
    pub fn scope(&self) -> impl Fn(bool) -> io::Result<()> + Sync + use<> {
        let object = Arc::clone(&self.object);
        move |begins| {
            let mut object = object.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = if begins { object.seed(std::process::id()) } else { object.unseed(std::process::id()) };
            changed.map_err(io::Error::other)
        }
    }

    /// Pins the programs below the run's folder and begins to feed its session.
    ///
    /// # Errors
    /// No bpffs, or no thread.
    pub fn watch(self, session: &Arc<Session>, folder: &Path) -> io::Result<Watched> {
        let pins = folder.join(PINS);
        std::fs::create_dir(&pins)?;
        mount::bpffs(&pins)?;
        {
            let mut object = self.object.lock().unwrap_or_else(PoisonError::into_inner);
            object.pin_lsm(&pins).map_err(io::Error::other)?;
            // Only where the policy lets the tree have rings do the hooks have to expect what comes through one.
            if session.foresee(&RING) == Ruling::Allow {
                object.switch(switch::RINGS, 1).map_err(io::Error::other)?;
                session.let_rings();
            }
        }
        let switch = Arc::clone(&self.object);
        session.on_moving(Box::new(move |moves| {
            let mut object = switch.lock().unwrap_or_else(PoisonError::into_inner);
            object.switch(switch::MOVING, u32::from(moves)).is_ok()
        }));
        let given = self.object.lock().unwrap_or_else(PoisonError::into_inner).given().map_err(io::Error::other)?;
        session.on_giving(Box::new(move |tid, file| given.tell(tid, file)));
        let feed = Feed::start(session, Watch::new(self.reader))?;
        Ok(Watched { object: self.object, feed, pins: Some(pins) })
    }
}

impl Watched {
    /// Takes what is left in the ring, once nothing of the tree is; then the programs leave the kernel. Denials without a
    /// record are told to the session.
    ///
    /// # Errors
    /// The thread failed, or the counters can't be read: the run must not count as complete.
    pub fn end(mut self, session: &Session) -> io::Result<()> {
        let counters = self.object.lock().unwrap_or_else(PoisonError::into_inner).counters();
        self.feed.end(session, counters)?;
        if let Some(pins) = self.pins.take() {
            mount::remove_bpffs(&pins)?;
        }
        Ok(())
    }
}

/// The tracepoints that go with the hooks.
const TRACEPOINTS: [(&str, &str); 3] =
    [("on_fork", "sched_process_fork"), ("on_exec", "sched_process_exec"), ("on_exit", "sched_process_exit")];

/// Proves on a child that the programs are called and that what they refuse is refused: a kernel may take programs of the
/// security module and never call them (`bpf` is not in its `lsm=`).
fn fire(object: &mut Object, reader: &mut Reader, paths: &GuardedPaths) -> Result<(), Unfit> {
    let (silent, at) = (Unfit::silent, Unfit::at);
    let closed = paths.a_closed_one().ok_or_else(|| silent("there is nothing to try the floor on"))?;
    object.seed(std::process::id()).map_err(at(Stage::Fire))?;
    let refused = crate::sys::process::in_child(|| match std::fs::read_dir(closed) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => 0,
        _ => 1,
    });
    object.unseed(std::process::id()).map_err(at(Stage::Fire))?;
    let mut recorded = 0;
    while let Some(is_of_it) = reader.next(|record| record.is_some_and(|record| record.header.kind == kind::PATH)) {
        recorded += u32::from(is_of_it);
    }
    match refused {
        Ok(0) if recorded > 0 => Ok(()),
        Ok(0) => Err(silent("what was refused was not recorded")),
        Ok(_) => Err(silent(
            "the kernel takes programs of the security module and does not call them: `bpf` is missing in its lsm= line",
        )),
        Err(errno) => Err(Unfit { stage: Stage::Fire, errno: Some(errno), reason: "no process for the test".into() }),
    }
}
