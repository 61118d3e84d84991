//! The committed object, loaded into this kernel.

use aya::maps::{HashMap, MapData, PerCpuArray};
use aya::programs::lsm::LsmLinkId;
use aya::programs::{BtfTracePoint, ProgramError, RawTracePoint, RawTracePointRunOptions};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, Endianness, Pod, TestRun};
use aya_log::EbpfLogger;
use gait_ebpf::config::OFFSETS;
use gait_ebpf::record::counter;
use rustix::fd::AsFd;
use tracing::debug;

use super::btf::Types;
use super::image::Image;
use super::probes::WATCHING;
use super::reader::Reader;
use super::{BpfError, canary};
use crate::sys::mapping::Mapping;

/// The object as `cargo xtask build-ebpf` makes it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../gait-ebpf/object/gait.bpf.o");

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
    /// To decide it.
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
            Purpose::DecideOrWatch if canary::is_expected(types) => Self { purpose: Purpose::Decide, ..self },
            Purpose::DecideOrWatch => WATCHING,
            Purpose::Watch | Purpose::Decide | Purpose::Try => self,
        }
    }
}

/// The programs and maps of one run. Dropped, they leave the kernel.
pub struct Object {
    pub(super) ebpf: Ebpf,
    pub(super) btf: Btf,
    /// Links of hooks of the security module, by program.
    pub(super) links: Vec<(String, LsmLinkId)>,
    pub(super) attached: Vec<Attached>,
    options: Options,
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
    /// Loads maps and constants; no program runs yet.
    ///
    /// # Errors
    /// [`BpfError`]: this kernel, or this user, can't.
    pub fn load(options: Options) -> Result<Self, BpfError> {
        let structures: Vec<&str> = OFFSETS.iter().map(|offset| offset.structure).collect();
        let types = Types::of_kernel(&structures)?;
        let offsets = OFFSETS
            .iter()
            .map(|offset| Ok((offset.symbol, types.offset(offset.structure, offset.member)?)))
            .collect::<Result<Vec<(&str, u32)>, BpfError>>()?;
        let btf =
            Btf::parse(&types.hooks(), Endianness::default()).map_err(|cause| Box::new(EbpfError::BtfError(cause)))?;
        let options = options.settled(&types);
        drop(types);
        let simulate = u32::from(options.simulate);
        let mut loader = EbpfLoader::new();
        // The task storage of our own programs: aya knows no such type.
        loader.btf(None).allow_unsupported_maps().map_max_entries("RECORDS", options.ring_bytes);
        if options.purpose == Purpose::Watch {
            loader.map_max_entries("NUMBERS", 1);
        }
        if options.purpose != Purpose::Try {
            loader.map_max_entries("SUBJECT", 1);
        }
        for (symbol, offset) in &offsets {
            loader.override_global(symbol, offset, true);
        }
        loader.override_global("SIMULATE", &simulate, true);
        // What is not asked for the verifier finds unreachable: the programs are not slower for it.
        let level = log::max_level() as u8;
        loader.override_global(aya_log::LEVEL, &level, true);
        if level == 0 {
            loader.map_max_entries("AYA_LOGS", NO_LOG_BYTES);
        }
        let ebpf = loader.load(OBJECT).map_err(Box::new)?;
        Ok(Self { ebpf, btf, links: Vec::new(), attached: Vec::new(), options })
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
        let data = match self.ebpf.map(map) {
            Some(aya::maps::Map::Array(data)) => data,
            _ => return Err(no_map(map)),
        };
        Mapping::of(data.fd().as_fd(), bytes).map_err(|cause| BpfError::Map { map, cause: Box::new(cause) })
    }

    /// Loads a BTF tracepoint and attaches it.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub fn attach_tracepoint(&mut self, program: &str, tracepoint: &str) -> Result<(), BpfError> {
        let failed = failure(program);
        let typed: &mut BtfTracePoint = match self.ebpf.program_mut(program) {
            Some(found) => found.try_into().map_err(failed("load"))?,
            None => return Err(no_program(program)),
        };
        typed.load(tracepoint, &self.btf).map_err(failed("load"))?;
        typed.attach().map_err(failed("attach"))?;
        self.note(program, tracepoint);
        Ok(())
    }

    /// The programs in force, in order of attachment.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    pub(super) fn note(&mut self, program: &str, hook: &str) {
        // What the kernel does not tell is empty: it is for people, nothing depends on it.
        let info = self.ebpf.program(program).and_then(|program| program.info().ok());
        let verified = info.as_ref().and_then(aya::programs::ProgramInfo::verified_instruction_count);
        debug!(program, hook, verified, "in force");
        let tag = info.map(|info| format!("{:016x}", info.tag())).unwrap_or_default();
        self.attached.push(Attached { name: program.to_owned(), hook: hook.to_owned(), tag });
    }

    /// The ring, once.
    ///
    /// # Errors
    /// [`BpfError::Map`] the second time.
    pub fn reader(&mut self) -> Result<Reader, BpfError> {
        let map = self.ebpf.take_map("RECORDS").ok_or_else(|| no_map("RECORDS"))?;
        let log = match log::max_level() {
            log::LevelFilter::Off => None,
            _ => Some(
                EbpfLogger::init(&mut self.ebpf)
                    .map_err(|cause| BpfError::Map { map: "AYA_LOGS", cause: Box::new(cause) })?,
            ),
        };
        Reader::new(map, log)
    }

    /// Puts the children of `process` into the scope, until [`Object::unseed`].
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn seed(&mut self, process: u32) -> Result<(), BpfError> {
        self.hash::<u32, u32>("SEED")?.insert(process, 1, 0).map_err(map_error("SEED"))
    }

    /// Ends [`Object::seed`].
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn unseed(&mut self, process: u32) -> Result<(), BpfError> {
        self.hash::<u32, u32>("SEED")?.remove(&process).map_err(map_error("SEED"))
    }

    /// The counters ([`counter`]), summed over all processors.
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn counters(&self) -> Result<[u64; counter::COUNT as usize], BpfError> {
        let map = self.ebpf.map("COUNTERS").ok_or_else(|| no_map("COUNTERS"))?;
        let counters: PerCpuArray<&MapData, u64> = map.try_into().map_err(map_error("COUNTERS"))?;
        let mut sums = [0; counter::COUNT as usize];
        for (index, sum) in (0..).zip(&mut sums) {
            *sum = counters.get(&index, 0).map_err(map_error("COUNTERS"))?.iter().sum();
        }
        Ok(sums)
    }

    /// Runs one of the programs `trial` and `flood`, which take the first `count` subjects of the map `SUBJECT`.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub(super) fn try_out(&mut self, program: &str, count: u64, first: u64) -> Result<(), BpfError> {
        let failed = failure(program);
        let typed: &mut RawTracePoint = match self.ebpf.program_mut(program) {
            Some(found) => found.try_into().map_err(failed("load"))?,
            None => return Err(no_program(program)),
        };
        if typed.fd().is_err() {
            typed.load().map_err(failed("load"))?;
        }
        let mut options = RawTracePointRunOptions::new();
        options.args[0] = count;
        options.args[1] = first;
        typed.test_run(options).map_err(failed("run"))?;
        Ok(())
    }

    pub(super) fn hash<K: Pod, V: Pod>(&mut self, map: &'static str) -> Result<HashMap<&mut MapData, K, V>, BpfError> {
        self.ebpf.map_mut(map).ok_or_else(|| no_map(map))?.try_into().map_err(map_error(map))
    }
}

/// Where a program failed.
pub(super) fn failure(program: &str) -> impl Fn(&'static str) -> Box<dyn Fn(ProgramError) -> BpfError + '_> + Copy {
    move |stage| {
        let program = program.to_owned();
        Box::new(move |cause| BpfError::Program { program: program.clone(), stage, cause: Box::new(cause) })
    }
}

pub(super) fn no_program(program: &str) -> BpfError {
    BpfError::Program {
        program: program.to_owned(),
        stage: "load",
        cause: Box::new(ProgramError::IOError(std::io::ErrorKind::NotFound.into())),
    }
}

pub(super) fn no_map(map: &'static str) -> BpfError {
    BpfError::Map { map, cause: "it is not in the object".into() }
}

pub(super) fn map_error(map: &'static str) -> impl Fn(aya::maps::MapError) -> BpfError {
    move |cause| BpfError::Map { map, cause: Box::new(cause) }
}
