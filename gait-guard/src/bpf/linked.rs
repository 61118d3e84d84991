//! The committed object, put together for this kernel: the maps themselves, and instructions that name them.
//!
//! `build.rs` read and linked it by `aya-obj`. What `aya` would do beyond that, and takes longer than all the rest, is not needed: reading
//! every type of the kernel, for relocations that our programs have none of ([`super::btf`] finds the offsets), and trying
//! out what a kernel can do that is too old for these programs.

use std::io;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use super::BpfError;
use super::btf::Hooks;
use super::committed::{CONSTANTS, Constant, IMMEDIATES, MAPS, Map, Place, TYPES, program};
use crate::sys::bpf::map::{self, Shape};
use crate::sys::bpf::program::{self, Functions, Kind};

/// `BPF_LD | BPF_IMM | BPF_DW`: the first of two instructions.
const LOAD_WIDE: u8 = 0x18;
/// `BPF_PSEUDO_MAP_FD`: what is loaded is a map.
const PSEUDO_MAP_FD: u8 = 1;
/// `BPF_PSEUDO_MAP_VALUE`: it is a place in the value of one.
const PSEUDO_MAP_VALUE: u8 = 2;

/// What is loaded is an immediate constant: a mark of `build.rs`, which no kernel takes.
const IMMEDIATE: u8 = 15;

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
    /// In the order of [`MAPS`].
    maps: Vec<OwnedFd>,
    /// In the order of [`IMMEDIATES`].
    immediates: Vec<u32>,
    /// The object's own types.
    types: OwnedFd,
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
    /// Makes the maps.
    ///
    /// # Errors
    /// [`BpfError::Load`] or [`BpfError::NoMap`]
    pub fn of(changes: &Changes<'_>) -> Result<Self, BpfError> {
        let unfit = |what: String| BpfError::Load(what.into());
        let types = map::load_types(TYPES).map_err(|errno| BpfError::Load(Box::new(io::Error::from(errno))))?;
        for (name, bytes) in &changes.constants {
            let is_immediate = bytes.len() == size_of::<u32>() && IMMEDIATES.contains(name);
            if !is_immediate
                && !CONSTANTS.iter().any(|constant| constant.name == *name && constant.bytes == bytes.len())
            {
                return Err(unfit(format!("it has no constant `{name}` of {} bytes", bytes.len())));
            }
        }
        let make = |(place, map): (usize, &Map)| {
            let constants = CONSTANTS.iter().filter(|constant| constant.map == place);
            make(map, changes, constants, types.as_fd())
                .map_err(|errno| BpfError::NoMap { map: map.name.to_owned(), cause: errno.into() })
        };
        let maps = MAPS.iter().enumerate().map(make).collect::<Result<_, _>>()?;
        let immediate = |name: &&str| {
            let set = changes.constants.iter().find(|(of, _)| of == name);
            let bytes = set.and_then(|(_, bytes)| bytes.first_chunk::<4>());
            bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(|| unfit(format!("nobody has set `{name}`")))
        };
        let immediates = IMMEDIATES.iter().map(immediate).collect::<Result<_, _>>()?;
        Ok(Self { maps, immediates, types })
    }

    /// A map.
    pub fn map(&self, name: &str) -> Option<BorrowedFd<'_>> {
        MAPS.iter().zip(&self.maps).find(|(map, _)| map.name == name).map(|(_, fd)| fd.as_fd())
    }

    /// Instructions that name the maps that were made, and have the constants that were set.
    fn instructions(&self, committed: &[u8]) -> Vec<[u8; 8]> {
        let mut instructions = committed.as_chunks::<8>().0.to_vec();
        // By place, since `build.rs` made them so. A map that is not there has no descriptor, which no kernel takes, and neither does one
        // take the mark of a constant.
        for [code, registers, _, _, named @ ..] in &mut instructions {
            let place = u32::from_ne_bytes(*named) as usize;
            match (*code, *registers >> 4) {
                (LOAD_WIDE, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE) => {
                    *named = self.maps.get(place).map_or(-1, |map| map.as_raw_fd()).to_ne_bytes();
                }
                (LOAD_WIDE, IMMEDIATE) => {
                    if let Some(value) = self.immediates.get(place) {
                        *registers &= 0xf;
                        *named = value.to_ne_bytes();
                    }
                }
                _ => {}
            }
        }
        instructions
    }

    /// Loads a program, for the hook of this name where its section names none.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn load(&self, name: &str, hook: &str, hooks: &Hooks) -> Result<(OwnedFd, Kind), Refusal> {
        let committed = program(name).ok_or(Refusal::Missing)?;
        let no_hook = || Refusal::NoHook { hook: hook.to_owned() };
        let kind = match committed.place {
            Place::Tracepoint => Kind::Tracepoint(hooks.tracepoint(hook).ok_or_else(no_hook)?),
            Place::Lsm => Kind::Lsm(hooks.function(hook).ok_or_else(no_hook)?),
            Place::Fixed(kind) => kind,
        };
        let program = program::Program {
            name,
            kind,
            instructions: &self.instructions(committed.instructions),
            license: committed.license,
            functions: Some(Functions { types: self.types.as_fd(), places: committed.functions.as_chunks().0 }),
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

/// Makes a map, with its contents if the object has some.
fn make<'a>(
    map: &Map,
    changes: &Changes<'_>,
    constants: impl Iterator<Item = &'a Constant>,
    types: BorrowedFd<'_>,
) -> rustix::io::Result<OwnedFd> {
    const RING: u32 = 27;
    let is_ring = map.kind == RING;
    let is_unused = changes.unused.contains(&map.name);
    let entries = changes.entries.iter().find(|(of, _)| *of == map.name).map_or(map.entries, |(_, entries)| *entries);
    let shape = Shape {
        name: map.name,
        kind: map.kind,
        key: map.key,
        value: match (is_ring, is_unused) {
            (true, _) => 0,
            (false, true) => size_of::<u64>() as u32,
            (false, false) => map.value,
        },
        entries,
        flags: map.flags,
        // Of values of that size.
        types: map.types.filter(|_| !is_ring && !is_unused).map(|(key, value)| (types, key, value)),
    };
    let fd = map::create(&shape)?;
    if let Some(value) = map.constants {
        let mut value = value.to_vec();
        for constant in constants {
            let set = changes.constants.iter().find(|(name, _)| *name == constant.name);
            if let (Some((_, bytes)), Some(place)) = (set, value.get_mut(constant.at..constant.at + constant.bytes)) {
                place.copy_from_slice(bytes);
            }
        }
        map::fill(fd.as_fd(), &shape, &value)?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_thing_said() {
        let log = b"0: R1=ctx() R10=fp0\nR2 !read_ok\nprocessed 7 insns (limit 1000000)\n\0\0old";
        assert_eq!(reason(log), "R2 !read_ok");
        assert_eq!((reason(b""), reason(b"\0")), (String::new(), String::new()));
    }

    #[test]
    fn instructions_name_maps_by_descriptor() {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let linked = Linked { maps: vec![null(), null()], immediates: vec![7, 208], types: null() };
        let wide = |source: u8, named: i32| {
            let mut instruction = [LOAD_WIDE, source << 4 | 1, 0, 0, 0, 0, 0, 0];
            instruction[4..].copy_from_slice(&named.to_ne_bytes());
            instruction
        };
        let committed = [
            wide(PSEUDO_MAP_FD, 1),
            [0; 8],
            wide(PSEUDO_MAP_VALUE, 0),
            [0; 8],
            wide(0, 1),
            [0; 8],
            wide(IMMEDIATE, 1),
            [0; 8],
            wide(IMMEDIATE, 2),
            [0; 8],
            wide(1, 2),
        ];
        let [first, second] = [0, 1].map(|place: usize| linked.maps[place].as_raw_fd());
        let named = [
            wide(PSEUDO_MAP_FD, second),
            [0; 8],
            wide(PSEUDO_MAP_VALUE, first),
            [0; 8],
            wide(0, 1),
            [0; 8],
            wide(0, 208),
            [0; 8],
            wide(IMMEDIATE, 2),
            [0; 8],
            wide(1, -1),
        ];
        assert_eq!(linked.instructions(committed.as_flattened()), named);
    }
}
