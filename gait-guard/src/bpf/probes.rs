//! The probes of one run: a second witness of what programs run, and a second lock on what sockets do.

use std::fs;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{WaitOptions, waitpid};

use super::cgroup::{self, ControlGroup};
use super::lock::SocketLock;
use super::lsm;
use super::object::Attached;
use super::watch::{Seen, Watch};
use super::{BpfError, Object, Options, Purpose, Reader};
use crate::host::State;
use crate::sys::process::make_within;

/// Bytes of the ring: the witness is read at each decision and whenever something is seen, so it never holds much.
pub const RING_BYTES: u32 = 1 << 20;

/// What is loaded where programs only watch.
pub const WATCHING: Options = Options { ring_bytes: RING_BYTES, simulate: false, purpose: Purpose::Watch };

/// The BTF tracepoints.
pub(super) const TRACEPOINTS: [(&str, &str); 3] =
    [("on_fork", "sched_process_fork"), ("on_exec", "sched_process_exec"), ("on_exit", "sched_process_exit")];

const CAP_NET_ADMIN: u32 = 12;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
const CAP_SYS_ADMIN: u32 = 21;

/// Programs in the kernel, and what they report. Dropped, they are gone.
pub struct Probes {
    // Before the group: a group is removed once nothing is attached to it.
    object: Object,
    watch: Option<Watch>,
    group: Option<(ControlGroup, Arc<SocketLock>)>,
}

/// What there is of the probes here.
pub struct Found {
    /// In force, if they are.
    pub probes: Option<Probes>,
    /// The tracepoints.
    pub tracepoints: State,
    /// The socket hooks.
    pub sockets: State,
    /// What became of the canary of the LSM engine.
    pub lsm: Result<(), BpfError>,
}

/// Loads and attaches what this kernel and this user can, and triggers it. Any thread may do this.
///
/// With [`Purpose::DecideOrWatch`] and a canary that fired there is no control group: the LSM engine has hooks of its own in
/// the place of those on sockets.
pub fn load(options: Options) -> Found {
    let nothing = |tracepoints: State, sockets, lsm| Found { probes: None, tracepoints, sockets, lsm };
    if !is_permitted() {
        let state = || absent("bpf(BPF_PROG_LOAD)", Errno::PERM, "run as root, or give CAP_BPF and CAP_PERFMON");
        return nothing(state(), state(), Err(BpfError::Btf(std::io::Error::from(Errno::PERM))));
    }
    let (mut object, reader, lsm) = match load_with_canary(options) {
        Ok(loaded) => loaded,
        Err(error) => return nothing(refused(&error), refused(&error), Err(error)),
    };
    let needs_group = options.purpose != Purpose::DecideOrWatch || lsm.is_err();
    // What the engine attaches later is verified here too, where other things can be done meanwhile. It takes longest, so it is first.
    let engine: &[(&str, &str)] = if options.purpose == Purpose::DecideOpens { &[crate::hybrid::PROGRAM] } else { &[] };
    let others = [engine, if needs_group { &cgroup::HOOKS } else { lsm::HOOKS }].concat();
    let begun = object.load_beside(&others, |object| {
        TRACEPOINTS.iter().try_for_each(|(program, tracepoint)| object.attach(program, tracepoint))?;
        let mut watch = Watch::new(reader.with_log(object.log()));
        fire(object, &mut watch)?;
        Ok((watch, needs_group.then(ControlGroup::make)))
    });
    let (watch, group) = match begun {
        Ok(begun) => begun,
        Err(error) => return nothing(refused(&error), untried(), lsm),
    };
    let locked = group.map(|group| {
        let group = group?;
        object.attach_sockets(&group)?;
        Ok((group, Arc::new(object.socket_lock()?)))
    });
    let (sockets, group) = match locked {
        Some(Ok(locked)) => {
            (State::Present { detail: "connect, sendmsg, bind, sock_create in a cgroup".into() }, Some(locked))
        }
        Some(Err(error)) => (no_sockets(&error), None),
        None => (State::Broken { what: "the engine lsm has hooks of its own in their place".into() }, None),
    };
    let tracepoints = State::Present { detail: "fork, exec and exit tracepoints, fired".into() };
    Found { probes: Some(Probes { object, watch: Some(watch), group }), tracepoints, sockets, lsm }
}

/// The object, its records, and what became of the canary.
type WithCanary = (Object, Reader, Result<(), BpfError>);

/// Loads the object and fires its canary.
fn load_with_canary(options: Options) -> Result<WithCanary, BpfError> {
    let mut object = Object::load(options)?;
    let mut reader = object.reader()?;
    let lsm = object.fire_canary(&mut reader);
    if options.purpose == Purpose::DecideOrWatch && object.options().purpose == Purpose::Watch && lsm.is_ok() {
        // Against what could be expected. What fired is believed, and nothing can be decided with maps of this size.
        drop((object, reader));
        return load_with_canary(Options { purpose: Purpose::Decide, ..options });
    }
    Ok((object, reader, lsm))
}

fn absent(call: &'static str, errno: Errno, remedy: &'static str) -> State {
    State::Absent { call, errno, remedy }
}

fn untried() -> State {
    State::Broken { what: "not tried without the tracepoints".into() }
}

fn refused(error: &BpfError) -> State {
    match error.errno() {
        Some(errno) => absent("bpf", errno, "use a kernel with BTF, outside of a container that refuses bpf"),
        None => State::Broken { what: error.chain() },
    }
}

fn no_sockets(error: &BpfError) -> State {
    match (error, error.errno()) {
        (BpfError::ControlGroup { .. }, errno) => {
            let errno = errno.unwrap_or(Errno::NOENT);
            absent("mkdir in cgroup2", errno, "run as root, or in a delegated control group")
        }
        (_, Some(errno @ (Errno::PERM | Errno::ACCESS))) if !has(CAP_NET_ADMIN) => {
            absent("bpf(BPF_PROG_LOAD)", errno, "give CAP_NET_ADMIN too")
        }
        _ => State::Broken { what: error.chain() },
    }
}

/// Makes a child and looks whether both its start and its end were seen.
fn fire(object: &mut Object, watch: &mut Watch) -> Result<(), BpfError> {
    const CODE: u8 = 77;
    object.seed()?;
    let made = make_within(|| CODE);
    object.unseed()?;
    let child = made.map_err(|errno| BpfError::NoProcess(errno.into()))?;
    while let Err(Errno::INTR) = waitpid(Some(child), WaitOptions::empty()) {}
    let child = child.as_raw_nonzero().get();
    let (mut born, mut ended) = (false, false);
    for seen in watch.by_ref() {
        born |= matches!(seen, Seen::Fork { tgid, .. } if tgid == child);
        ended |= seen == Seen::Exit { tgid: child, code: u32::from(CODE) << 8 };
    }
    match (born, ended) {
        (true, true) => Ok(()),
        (false, _) => Err(BpfError::Silent { program: "on_fork" }),
        (true, false) => Err(BpfError::Silent { program: "on_exit" }),
    }
}

/// Whether it is worth reading the kernel's types.
fn is_permitted() -> bool {
    has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON))
}

/// Whether a capability is in this process's effective set.
fn has(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    set.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|set| set >> capability & 1 == 1)
}

impl Probes {
    /// The programs in force.
    pub fn attached(&self) -> &[Attached] {
        self.object.attached()
    }

    /// The object itself, for programs that decide.
    pub(crate) fn object(&mut self) -> &mut Object {
        &mut self.object
    }

    /// The counters ([`gait_ebpf::record::counter`]).
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub(crate) fn counters(&self) -> Result<[u64; gait_ebpf::record::counter::COUNT as usize], BpfError> {
        self.object.counters()
    }

    /// Bytes of the ring.
    pub fn ring_bytes(&self) -> u32 {
        self.object.options().ring_bytes
    }

    /// What they report, once.
    pub fn take_watch(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    /// The group that the agent is to be made in, and what unlocks its sockets.
    pub fn group(&self) -> Option<(&ControlGroup, &Arc<SocketLock>)> {
        self.group.as_ref().map(|(group, lock)| (group, lock))
    }

    /// Records of processes that had no room.
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn lost(&self) -> Result<u64, BpfError> {
        let counters = self.object.counters()?;
        let of = |index: u32| counters.get(index as usize).copied().unwrap_or(0);
        use gait_ebpf::record::counter;
        Ok(of(counter::LOST) + of(counter::UNSCOPED) + of(counter::NO_ROOM))
    }

    /// Has the calling thread make a child, whose tree is watched.
    ///
    /// # Errors
    /// [`BpfError::Map`]: nothing was forked.
    pub fn seeded<R>(&mut self, make: impl FnOnce() -> R) -> Result<R, BpfError> {
        self.object.seed()?;
        let made = make();
        self.object.unseed()?;
        Ok(made)
    }
}
