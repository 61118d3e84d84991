//! The committed object, loaded into this kernel.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use aya::Pod;
use aya::maps::{HashMap as HashMapOf, Map, MapData, PerCpuArray};
use aya_log::EbpfLogger;
use gait_ebpf::config::OFFSETS;
use gait_ebpf::record::counter;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use tracing::debug;

use super::btf::{Hooks, Types, Wanted};
use super::image::Image;
use super::linked::{Changes, Linked, Refusal};
use super::probes::{self, WATCHING};
use super::reader::Reader;
use super::{BpfError, canary};
use crate::sys::bpf::program::{self, Kind};
use crate::sys::mapping::Mapping;

/// The ring of `aya-log`.
const LOG: &str = "AYA_LOGS";
/// Smallest ring that there can be: nothing is written to it.
const NO_LOG_BYTES: u32 = 4096;

/// What is decided before the load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of the ring: a power of two, at least a page.
    pub ring_bytes: u32,
    /// What the policy denies is let through and recorded.
    pub simulate: bool,
    /// What for.
    pub purpose: Purpose,
}

/// What an object is loaded for: maps that the purpose does not need are made as small as they can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To see what happens.
    Watch,
    /// To see it, and to decide opens that have returned.
    DecideOpens,
    /// To decide it at hooks of the security module.
    Decide,
    /// To decide it where this kernel calls programs of the security module, else to watch: an object is loaded for one of
    /// the two ([`Object::options`]), as can be expected.
    DecideOrWatch,
    /// To try decisions on subjects out of a map.
    Try,
}

impl Options {
    /// With the purpose that this kernel and this user leave. What only watches needs no large ring.
    fn settled(self, types: &Types) -> Self {
        match self.purpose {
            Purpose::DecideOrWatch if canary::is_expected(types.hooks()) => Self { purpose: Purpose::Decide, ..self },
            Purpose::DecideOrWatch => WATCHING,
            Purpose::Watch | Purpose::DecideOpens | Purpose::Decide | Purpose::Try => self,
        }
    }
}

/// The programs and maps of one run. Dropped, they leave the kernel.
pub struct Object {
    parts: Arc<Parts>,
    /// Programs that are in the kernel and not attached yet.
    loaded: HashMap<String, (OwnedFd, Kind)>,
    /// What keeps programs in force.
    links: Vec<Link>,
    /// The programs in force, so that whoever looks at the machine's programs finds whose they are, and what they cost.
    programs: Vec<OwnedFd>,
    attached: Vec<Attached>,
    /// The number of a program that was attached.
    id: Option<u32>,
    options: Options,
}

/// What programs are loaded from.
struct Parts {
    linked: Linked,
    hooks: Hooks,
}

impl Parts {
    fn load(&self, name: &str, hook: &str) -> Result<(OwnedFd, Kind), Refusal> {
        self.linked.load(name, hook, &self.hooks)
    }
}

/// A program at a hook of the security module, or at another place.
pub(super) struct Link {
    pub program: String,
    pub fd: OwnedFd,
    pub is_lsm: bool,
}

/// A program that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Where it is attached.
    pub hook: String,
    /// The kernel's tag of its instructions.
    pub tag: String,
}

impl Object {
    /// Makes the maps, with their constants; no program is in the kernel yet.
    ///
    /// # Errors
    /// [`BpfError`]: this kernel, or this user, can't.
    pub fn load(options: Options) -> Result<Self, BpfError> {
        let structures: Vec<&str> = OFFSETS.iter().map(|offset| offset.structure).collect();
        let tracepoints = probes::TRACEPOINTS.iter().chain([&crate::hybrid::PROGRAM]);
        let tracepoints: Vec<&str> = tracepoints.map(|(_, tracepoint)| *tracepoint).collect();
        let types = Types::of_kernel(Wanted { structures: &structures, tracepoints: &tracepoints })?;
        let offsets = OFFSETS
            .iter()
            .map(|offset| Ok((offset.symbol, types.offset(offset.structure, offset.member)?.to_ne_bytes())))
            .collect::<Result<Vec<(&str, [u8; 4])>, BpfError>>()?;
        let options = options.settled(&types);
        let hooks = types.into_hooks();
        let simulate = u32::from(options.simulate).to_ne_bytes();
        // What is not asked for the verifier finds unreachable: the programs are not slower for it.
        let level = [log::max_level() as u8];
        let mut changes = Changes::default();
        changes.constants.extend(offsets.iter().map(|(symbol, offset)| (*symbol, &offset[..])));
        changes.constants.extend([("SIMULATE", &simulate[..]), (aya_log::LEVEL, &level[..])]);
        changes.entries.push(("RECORDS", options.ring_bytes));
        if options.purpose == Purpose::Watch {
            changes.entries.push(("NUMBERS", 1));
            // Four megabytes.
            changes.unused.push("TABLES");
        }
        if options.purpose != Purpose::Try {
            changes.entries.push(("SUBJECT", 1));
        }
        if level == [0] {
            changes.entries.push((LOG, NO_LOG_BYTES));
        }
        let linked = Linked::of(&changes)?;
        Ok(Self {
            parts: Arc::new(Parts { linked, hooks }),
            loaded: HashMap::new(),
            links: Vec::new(),
            programs: Vec::new(),
            attached: Vec::new(),
            id: None,
            options,
        })
    }

    /// What it was loaded with, once it was settled what for.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Writes the tables of a policy, which the programs walk from then on.
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn fill(&mut self, image: &Image) -> Result<(), BpfError> {
        let mut tables = self.mapping("TABLES", size_of::<gait_ebpf::tables::Tables>())?;
        image.write(tables.words());
        Ok(())
    }

    /// A map whose values are mapped into memory.
    pub(super) fn mapping(&self, map: &'static str, bytes: usize) -> Result<Mapping, BpfError> {
        let data = self.parts.linked.map(map).ok_or_else(|| no_map(map))?;
        Mapping::of(data, bytes).map_err(|cause| BpfError::Map { map, cause: Box::new(cause) })
    }

    /// Loads programs for these hooks, two at a time where there are two processors: most of a start is the verifier. What
    /// can't be loaded is told when it is attached.
    pub(super) fn load_all(&mut self, programs: &[(&str, &str)]) {
        self.load_beside(programs, |_| ());
    }

    /// [`Object::load_all`] on another thread, and on this one once `beside` is done.
    pub(super) fn load_beside<T>(&mut self, programs: &[(&str, &str)], beside: impl FnOnce(&mut Self) -> T) -> T {
        let parts = Arc::clone(&self.parts);
        let unknown = programs.iter().filter(|(name, _)| !self.loaded.contains_key(*name));
        let programs: Vec<(&str, &str)> = unknown.copied().collect();
        let next = AtomicUsize::new(0);
        let some = || {
            let chosen = std::iter::from_fn(|| programs.get(next.fetch_add(1, Ordering::Relaxed)));
            let loaded = chosen.map_while(|(name, hook)| match parts.load(name, hook) {
                Ok(loaded) => Some(Some(((*name).to_owned(), loaded))),
                // Not every kernel has every hook.
                Err(Refusal::NoHook { .. }) => Some(None),
                Err(_) => None,
            });
            loaded.flatten().collect::<Vec<(String, (OwnedFd, Kind))>>()
        };
        let is_alone = programs.is_empty() || processors() == 1;
        thread::scope(|scope| {
            let thread = || thread::Builder::new().name("gait-bpf".into()).spawn_scoped(scope, some).ok();
            let other = if is_alone { None } else { thread() };
            let done = beside(self);
            self.loaded.extend(some());
            // No thread, or one that failed: the rest is loaded when it is attached.
            self.loaded.extend(other.and_then(|other| other.join().ok()).unwrap_or_default());
            done
        })
    }

    /// Loads a program for the hook of this name, if that is not done yet.
    fn loaded(&mut self, name: &str, hook: &str) -> Result<(OwnedFd, Kind), Refusal> {
        match self.loaded.remove(name) {
            Some(loaded) => Ok(loaded),
            None => self.parts.load(name, hook),
        }
    }

    /// Loads a program for a tracepoint or a hook of the security module, and attaches it.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub fn attach(&mut self, name: &str, hook: &str) -> Result<(), BpfError> {
        self.attach_by(name, hook, |program, _| program::attach(program))
    }

    /// Loads a program for a call on the sockets of `group`, and attaches it there.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub fn attach_to_group(&mut self, name: &str, hook: &str, group: BorrowedFd<'_>) -> Result<(), BpfError> {
        self.attach_by(name, hook, |program, kind| program::attach_to_group(program, group, kind))
    }

    fn attach_by(
        &mut self,
        name: &str,
        hook: &str,
        attach: impl FnOnce(BorrowedFd<'_>, Kind) -> rustix::io::Result<OwnedFd>,
    ) -> Result<(), BpfError> {
        let (program, kind) = self.loaded(name, hook).map_err(failed(name, "load"))?;
        let fd = attach(program.as_fd(), kind).map_err(|errno| failed(name, "attach")(errno.into()))?;
        let is_lsm = matches!(kind, Kind::Lsm(_));
        self.links.push(Link { program: name.to_owned(), fd, is_lsm });
        // What the kernel does not tell is empty: it is for people, nothing depends on it.
        let told = program::describe(program.as_fd()).ok();
        let hook = if is_lsm { format!("lsm/{hook}") } else { hook.to_owned() };
        debug!(program = name, hook, verified = told.and_then(|told| told.verified), "in force");
        let tag = told.map(|told| format!("{:016x}", u64::from_be_bytes(told.tag))).unwrap_or_default();
        self.id = told.map(|told| told.id).or(self.id);
        self.attached.push(Attached { name: name.to_owned(), hook, tag });
        self.programs.push(program);
        Ok(())
    }

    /// Takes away the program that was attached last, and all memory of it.
    pub(super) fn detach_last(&mut self) {
        self.links.pop();
        self.programs.pop();
        self.attached.pop();
    }

    /// The links of all programs at hooks of the security module, which are then somebody else's.
    pub(super) fn take_lsm_links(&mut self) -> Vec<Link> {
        let (taken, kept) = std::mem::take(&mut self.links).into_iter().partition(|link| link.is_lsm);
        self.links = kept;
        taken
    }

    /// The programs in force, in order of attachment.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// The ring.
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn reader(&self) -> Result<Reader, BpfError> {
        Reader::new(self.map("RECORDS")?)
    }

    /// The lines of the programs, for people, once one is attached; none if they were not asked for, or this user may not
    /// look for maps (`CAP_SYS_ADMIN`).
    pub fn log(&self) -> Option<EbpfLogger<&'static dyn log::Log>> {
        let id = self.id.filter(|_| log::max_level() != log::LevelFilter::Off)?;
        let found = EbpfLogger::init_from_id(id);
        found.inspect_err(|cause| debug!(%cause, "no lines of the programs")).ok()
    }

    /// Puts the children that the calling thread makes into the scope, until [`Object::unseed`] by the same thread.
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn seed(&mut self) -> Result<(), BpfError> {
        self.hash::<u32, u32>("SEED")?.insert(this_thread(), 1, 0).map_err(map_error("SEED"))
    }

    /// Ends [`Object::seed`].
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn unseed(&mut self) -> Result<(), BpfError> {
        self.hash::<u32, u32>("SEED")?.remove(&this_thread()).map_err(map_error("SEED"))
    }

    /// The counters ([`counter`]), summed over all processors.
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn counters(&self) -> Result<[u64; counter::COUNT as usize], BpfError> {
        let map = self.map("COUNTERS")?;
        let counters: PerCpuArray<MapData, [u64; counter::COUNT as usize]> =
            map.try_into().map_err(map_error("COUNTERS"))?;
        let mut sums = [0; counter::COUNT as usize];
        for of_one in counters.get(&0, 0).map_err(map_error("COUNTERS"))?.iter() {
            for (sum, count) in sums.iter_mut().zip(of_one) {
                *sum += count;
            }
        }
        Ok(sums)
    }

    /// Runs one of the programs `trial` and `flood`, which take the first `count` subjects of the map `SUBJECT`.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub(super) fn try_out(&mut self, program: &str, count: u64, first: u64) -> Result<(), BpfError> {
        let loaded = match self.loaded.entry(program.to_owned()) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => place.insert(self.parts.load(program, "").map_err(failed(program, "load"))?),
        };
        program::run(loaded.0.as_fd(), [count, first]).map_err(|errno| failed(program, "run")(errno.into()))
    }

    /// A map of the object, as one of `aya`'s.
    pub(super) fn map(&self, map: &'static str) -> Result<Map, BpfError> {
        let fd = self.parts.linked.map(map).ok_or_else(|| no_map(map))?;
        let fd = fd.try_clone_to_owned().map_err(|cause| BpfError::Map { map, cause: Box::new(cause) })?;
        MapData::from_fd(fd).and_then(Map::from_map_data).map_err(map_error(map))
    }

    pub(super) fn hash<K: Pod, V: Pod>(&self, map: &'static str) -> Result<HashMapOf<MapData, K, V>, BpfError> {
        self.map(map)?.try_into().map_err(map_error(map))
    }
}

/// On how many processors this thread may run. The standard library would look at quotas of control groups too: half a dozen files.
fn processors() -> u32 {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count())
}

fn this_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

/// A program that is not in force, and how far it came.
pub(super) fn failed(program: &str, stage: &'static str) -> impl FnOnce(Refusal) -> BpfError {
    move |cause| BpfError::Program { program: program.to_owned(), stage, cause }
}

pub(super) fn no_map(map: &'static str) -> BpfError {
    BpfError::Map { map, cause: "it is not in the object".into() }
}

pub(super) fn map_error(map: &'static str) -> impl Fn(aya::maps::MapError) -> BpfError {
    move |cause| BpfError::Map { map, cause: Box::new(cause) }
}
