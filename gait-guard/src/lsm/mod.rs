//! The engine `lsm`: programs in the kernel decide and record opens and executable mappings; this side loads them, proves
//! that they fire, and reads what they wrote.
//!
//! What changes names or attributes, execs, and the network stay with the supervisor ([`crate::notify`]): it judges them as
//! before. Hooks that such calls come by refuse the tree itself, so nothing is left that neither decides.

mod feed;
mod floor;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use gait_core::intent::Context;
use gait_core::policy::compile::CompiledPolicy;
use gait_ebpf::record::{counter, kind};
use rustix::io::Errno;

use self::feed::Feeder;
use crate::bpf::canary::Stage;
use crate::bpf::image::Image;
use crate::bpf::lsm::HOOKS;
use crate::bpf::object::Attached;
use crate::bpf::watch::Watch;
use crate::bpf::{BpfError, Object, Options, Purpose, Reader};
use crate::session::{GuardedPaths, PINS, Session};
use crate::sys::mount;

/// Why the engine can't be used here.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unfit {
    /// Where.
    pub stage: Stage,
    /// The kernel's error, if there was one.
    pub errno: Option<Errno>,
    /// In words.
    pub reason: String,
}

/// What the engine is made of.
pub struct Setup<'a> {
    /// The policy of the run.
    pub policy: &'a CompiledPolicy,
    /// Its context.
    pub context: &'a Arc<Context>,
    /// What no policy opens.
    pub paths: &'a GuardedPaths,
    /// What the policy denies is let through and recorded.
    pub simulate: bool,
    /// Bytes of the ring.
    pub ring_bytes: u32,
}

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
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    pins: Option<PathBuf>,
}

impl Lsm {
    /// Loads, attaches, and lets the programs fire on a child of this process, which must have one thread.
    ///
    /// # Errors
    /// [`Unfit`]: nothing of it is left in the kernel.
    pub fn start(setup: &Setup<'_>) -> Result<Self, Unfit> {
        let image = Image::of(setup.policy).and_then(|image| floor::add(image, setup)).map_err(at(Stage::Load))?;
        let options = Options { ring_bytes: setup.ring_bytes, simulate: setup.simulate, purpose: Purpose::Decide };
        let mut object = Object::load(options).map_err(at(Stage::Load))?;
        object.fill(&image).map_err(at(Stage::Load))?;
        for (program, hook) in HOOKS {
            object.attach_lsm(program, hook).map_err(|cause| at(Stage::of(&cause))(cause))?;
        }
        for (program, point) in TRACEPOINTS {
            object.attach_tracepoint(program, point).map_err(|cause| at(Stage::of(&cause))(cause))?;
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
        }
        let switch = Arc::clone(&self.object);
        session.on_moving(Box::new(move |moves| {
            let mut object = switch.lock().unwrap_or_else(PoisonError::into_inner);
            object.switch(0, u32::from(moves)).is_ok()
        }));
        let over = Arc::new(AtomicBool::new(false));
        let ring = self.reader.as_fd().try_clone_to_owned()?;
        let (watch, decisions) = Watch::deciding(self.reader);
        session.watch(watch);
        let feeder = Feeder { ring, decisions, session: Arc::clone(session), over: Arc::clone(&over) };
        let thread = std::thread::Builder::new().name("gait-records".into()).spawn(move || feeder.run())?;
        Ok(Watched { object: self.object, over, thread, pins: Some(pins) })
    }
}

impl Watched {
    /// Takes what is left in the ring, once nothing of the tree is; then the programs leave the kernel. Denials without a
    /// record are told to the session.
    ///
    /// # Errors
    /// The thread failed, or the counters can't be read: the run must not count as complete.
    pub fn end(mut self, session: &Session) -> io::Result<()> {
        self.over.store(true, Ordering::Release);
        self.thread.join().map_err(|_| io::Error::other("the thread that reads records failed"))?;
        let counters = self.object.lock().unwrap_or_else(PoisonError::into_inner).counters();
        let counters = counters.map_err(io::Error::other)?;
        let of = |index: u32| counters.get(index as usize).copied().unwrap_or(0);
        let denied = of(counter::NO_ROOM);
        if denied > 0 {
            session.lost_in_kernel(denied);
        }
        session.observed(of(counter::LOST) + of(counter::UNSCOPED));
        if let Some(pins) = self.pins.take() {
            mount::remove_bpffs(&pins)?;
        }
        Ok(())
    }
}

/// The tracepoints that go with the hooks.
const TRACEPOINTS: [(&str, &str); 3] =
    [("on_fork", "sched_process_fork"), ("on_exec", "sched_process_exec"), ("on_exit", "sched_process_exit")];

fn at(stage: Stage) -> impl Fn(BpfError) -> Unfit {
    move |cause| Unfit { stage, errno: cause.errno(), reason: cause.chain() }
}

/// Proves on a child that the programs are called and that what they refuse is refused: a kernel may take programs of the
/// security module and never call them (`bpf` is not in its `lsm=`).
fn fire(object: &mut Object, reader: &mut Reader, paths: &GuardedPaths) -> Result<(), Unfit> {
    let silent = |reason: &str| Unfit { stage: Stage::Fire, errno: None, reason: reason.to_owned() };
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
