//! The committed object, put together for this kernel: instructions that name its maps, and the maps themselves.
//!
//! `aya-obj` reads and links it. What `aya` would do beyond that, and takes longer than all the rest, is not needed: reading
//! every type of the kernel, for relocations that our programs have none of ([`super::btf`] finds the offsets), and trying
//! out what a kernel can do that is too old for these programs.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;

use aya_obj::btf::BtfFeatures;
use aya_obj::generated::{bpf_attach_type, bpf_insn, bpf_map_type};
use aya_obj::{EbpfSectionKind, Map, ProgramSection};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;

use super::BpfError;
use super::btf::Hooks;
use crate::sys::bpf::map::{self, Shape};
use crate::sys::bpf::program::{self, Functions, Kind};

/// What is changed in the object before it is loaded.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// Constants, by name: as many bytes as they have in the object.
    pub constants: Vec<(&'a str, &'a [u8])>,
    /// Most entries of maps, by name.
    pub entries: Vec<(&'a str, u32)>,
    /// Arrays that no needed program looks into: their values have no size worth mentioning.
    pub unused: Vec<&'a str>,
}

/// Maps in the kernel, and programs that can be loaded.
pub struct Linked {
    /// Maps, by name.
    pub maps: HashMap<String, OwnedFd>,
    /// The object's own types.
    types: OwnedFd,
    programs: HashMap<String, Linkable>,
}

/// A program, as it is loaded.
struct Linkable {
    place: Place,
    instructions: Vec<[u8; 8]>,
    license: CString,
    functions: Vec<[u8; 8]>,
}

/// Where a program belongs, as far as the object says it.
#[derive(Clone, Copy)]
enum Place {
    Tracepoint,
    Lsm,
    Fixed(Kind),
}

/// Why a program is not in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The object has none of this name.
    #[error("it is not in the object")]
    Missing,
    /// The kernel has none of this name.
    #[error("this kernel has no hook `{hook}`")]
    NoHook {
        /// The hook.
        hook: String,
    },
    /// The kernel refused it.
    #[error("{cause}{}", told(.verifier))]
    Kernel {
        /// Its error.
        #[source]
        cause: io::Error,
        /// The last thing that the verifier said, if it did.
        verifier: String,
    },
}

fn told(verifier: &str) -> String {
    if verifier.is_empty() { String::new() } else { format!(" (the verifier: {verifier})") }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Kernel { cause: errno.into(), verifier: String::new() }
    }
}

impl Linked {
    /// Reads `object`, makes its maps, and links those of its programs that are `needed`.
    ///
    /// # Errors
    /// [`BpfError::Load`] or [`BpfError::Map`]
    pub fn of(object: &[u8], changes: &Changes<'_>, needed: impl Fn(&str) -> bool) -> Result<Self, BpfError> {
        let mut object = aya_obj::Object::parse(object).map_err(|cause| BpfError::Load(Box::new(cause)))?;
        let constants = changes.constants.iter().map(|(name, bytes)| (*name, (*bytes, true))).collect();
        object.patch_map_data(constants).map_err(|cause| BpfError::Load(Box::new(cause)))?;
        // What every kernel takes that takes our programs.
        let known = BtfFeatures::new(true, true, true, false, true, false, false, false);
        let types = object.fixup_and_sanitize_btf(&known).map_err(|cause| BpfError::Load(Box::new(cause)))?;
        let types = types.map(|types| types.to_bytes()).unwrap_or_default();
        let types = map::load_types(&types).map_err(|errno| BpfError::Load(Box::new(io::Error::from(errno))))?;
        let made = object
            .maps
            .drain()
            .map(|(name, mut map)| {
                let fd = make(&name, &mut map, changes, &types)
                    .map_err(|errno| BpfError::NoMap { map: name.clone(), cause: errno.into() })?;
                Ok((name, map, fd))
            })
            .collect::<Result<Vec<(String, Map, OwnedFd)>, BpfError>>()?;
        object.programs.retain(|name, _| needed(name));
        let texts = object.functions.keys().map(|(section, _)| *section).collect();
        object
            .relocate_maps(made.iter().map(|(name, map, fd)| (name.as_str(), fd.as_raw_fd(), map)), &texts)
            .map_err(|cause| BpfError::Load(Box::new(cause)))?;
        object.relocate_calls(&texts).map_err(|cause| BpfError::Load(Box::new(cause)))?;
        let mut programs = HashMap::with_capacity(object.programs.len());
        for (name, program) in std::mem::take(&mut object.programs) {
            let Some(function) = object.functions.get(&program.function_key()) else { continue };
            let linkable = Linkable {
                place: Place::of(&program.section),
                instructions: function.instructions.iter().map(encode).collect(),
                license: program.license,
                functions: function.func_info.func_info_bytes().as_chunks::<8>().0.to_vec(),
            };
            programs.insert(name, linkable);
        }
        let maps = made.into_iter().map(|(name, _, fd)| (name, fd)).collect();
        Ok(Self { maps, types, programs })
    }

    /// Loads a program, for the hook of this name where its section names none.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn load(&self, name: &str, hook: &str, hooks: &Hooks) -> Result<(OwnedFd, Kind), Refusal> {
        let linkable = self.programs.get(name).ok_or(Refusal::Missing)?;
        let no_hook = || Refusal::NoHook { hook: hook.to_owned() };
        let kind = match linkable.place {
            Place::Tracepoint => Kind::Tracepoint(hooks.tracepoint(hook).ok_or_else(no_hook)?),
            Place::Lsm => Kind::Lsm(hooks.function(hook).ok_or_else(no_hook)?),
            Place::Fixed(kind) => kind,
        };
        let program = program::Program {
            name,
            kind,
            instructions: &linkable.instructions,
            license: &linkable.license,
            functions: Some(Functions { types: self.types.as_fd(), places: &linkable.functions }),
        };
        match program::load(&program, &mut []) {
            Ok(fd) => Ok((fd, kind)),
            Err(Errno::PERM) => Err(Errno::PERM.into()),
            Err(errno) => {
                // Once more, for what the verifier has to say. What it lets through now, it lets through.
                let mut log = vec![0; LOG_BYTES];
                let again = program::load(&program, &mut log);
                again.map(|fd| (fd, kind)).map_err(|_| Refusal::Kernel { cause: errno.into(), verifier: reason(&log) })
            }
        }
    }
}

/// More than the verifier says about the largest program.
const LOG_BYTES: usize = 16 << 20;

/// The last line of the verifier's log but its statistics, which is why it refused.
fn reason(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default());
    let is_telling = |line: &&str| !line.is_empty() && !line.starts_with("processed ");
    text.lines().rev().find(is_telling).unwrap_or_default().to_owned()
}

impl Place {
    fn of(section: &ProgramSection) -> Self {
        match section {
            ProgramSection::BtfTracePoint => Self::Tracepoint,
            ProgramSection::Lsm { .. } => Self::Lsm,
            ProgramSection::CgroupSockAddr { attach_type } => {
                Self::Fixed(Kind::SocketAddress(bpf_attach_type::from(*attach_type) as u32))
            }
            ProgramSection::CgroupSock { attach_type } => {
                Self::Fixed(Kind::Socket(bpf_attach_type::from(*attach_type) as u32))
            }
            _ => Self::Fixed(Kind::Raw),
        }
    }
}

fn encode(instruction: &bpf_insn) -> [u8; 8] {
    let registers = instruction.dst_reg() | instruction.src_reg() << 4;
    let ([low, high], imm) = (instruction.off.to_ne_bytes(), instruction.imm.to_ne_bytes());
    [instruction.code, registers, low, high, imm[0], imm[1], imm[2], imm[3]]
}

/// Makes a map, with its contents if the object has some.
fn make(name: &str, map: &mut Map, changes: &Changes<'_>, types: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    if let Some((_, entries)) = changes.entries.iter().find(|(of, _)| *of == name) {
        map.set_max_entries(*entries);
    }
    let is_ring = map.map_type() == bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32;
    let is_unused = changes.unused.contains(&name);
    let shape = Shape {
        name,
        kind: map.map_type(),
        key: map.key_size(),
        value: match (is_ring, is_unused) {
            (true, _) => 0,
            (false, true) => size_of::<u64>() as u32,
            (false, false) => map.value_size(),
        },
        entries: map.max_entries(),
        flags: map.map_flags(),
        types: match map {
            // Of values of that size.
            Map::Btf(map) if !is_ring && !is_unused => {
                Some((types.as_fd(), map.def.btf_key_type_id, map.def.btf_value_type_id))
            }
            _ => None,
        },
    };
    let fd = map::create(&shape)?;
    match map.section_kind() {
        EbpfSectionKind::Rodata => map::fill(fd.as_fd(), &shape, map.data(), true)?,
        EbpfSectionKind::Data | EbpfSectionKind::Bss => map::fill(fd.as_fd(), &shape, map.data(), false)?,
        _ => {}
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::object::OBJECT;

    #[test]
    fn the_reason_is_the_last_thing_said() {
        let log = b"0: R1=ctx() R10=fp0\nR2 !read_ok\nprocessed 7 insns (limit 1000000)\n\0\0old";
        assert_eq!(reason(log), "R2 !read_ok");
        assert_eq!((reason(b""), reason(b"\0")), (String::new(), String::new()));
    }

    #[test]
    fn each_program_of_the_object_has_a_place() {
        let object = aya_obj::Object::parse(OBJECT).unwrap();
        for (name, program) in &object.programs {
            let is_raw = matches!(Place::of(&program.section), Place::Fixed(Kind::Raw));
            let is_trial = matches!(program.section, ProgramSection::RawTracePoint);
            assert_eq!(is_raw, is_trial, "{name}");
        }
    }

    #[test]
    fn the_object_needs_no_relocation_by_the_kernels_types() {
        assert!(!aya_obj::Object::parse(OBJECT).unwrap().has_btf_relocations());
    }
}
