//! The committed object as the guard's `build.rs` took it apart and linked it, which a start would otherwise do each time.
//!
//! Everything is in order of its name.

use std::ffi::CStr;

use crate::sys::bpf::program::Kind;

/// A map as the object defines it.
#[derive(Debug)]
pub struct Map {
    /// Its name.
    pub name: &'static str,
    /// `enum bpf_map_type`.
    pub kind: u32,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Most entries; bytes, of a ring.
    pub entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Of its keys and values, by number among [`TYPES`].
    pub types: Option<(u32, u32)>,
    /// Its one value, which nobody may change: constants.
    pub constants: Option<&'static [u8]>,
}

/// A constant that is set before the programs are loaded.
#[derive(Debug)]
pub struct Constant {
    /// Its symbol.
    pub name: &'static str,
    /// The place of its map among [`MAPS`].
    pub map: usize,
    /// Where in the map's value.
    pub at: usize,
    /// Of how many bytes.
    pub bytes: usize,
}

/// A program with all functions that it calls.
#[derive(Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Where it belongs.
    pub place: Place,
    /// Its license.
    pub license: &'static CStr,
    /// `struct bpf_insn` each. Those that name a map name it by its place among [`MAPS`].
    pub instructions: &'static [u8],
    /// `struct bpf_func_info` each.
    pub functions: &'static [u8],
}

/// Where a program belongs, as far as the object says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a tracepoint.
    Tracepoint,
    /// At a hook of the security module.
    Lsm,
    /// Where this says.
    Fixed(Kind),
}

// TYPES: the types of the object, as the kernel takes them. DIGEST: SHA-256 of the object, in hexadecimal. MAPS, CONSTANTS, PROGRAMS.
// IMMEDIATES: names of constants of four bytes that are in no map but in the instructions, which name them by place among these.
include!(concat!(env!("OUT_DIR"), "/committed.rs"));

/// The program of this name.
pub fn program(name: &str) -> Option<&'static Program> {
    PROGRAMS.binary_search_by(|program| program.name.cmp(name)).ok().and_then(|place| PROGRAMS.get(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_committed_object() {
        let object = include_bytes!("../../../gait-ebpf/object/gait.bpf.o");
        assert_eq!(DIGEST, gait_core::digest::Sha256Hex::of(object).to_string());
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(PROGRAMS.len() > 10);
        for named in PROGRAMS {
            assert_eq!(program(named.name).unwrap().name, named.name);
        }
        assert!(program("on_nothing").is_none());
    }

    #[test]
    fn constants_lie_in_maps_of_constants() {
        assert!(!CONSTANTS.is_empty());
        for constant in CONSTANTS {
            let value = MAPS[constant.map].constants.unwrap();
            assert!(constant.at + constant.bytes <= value.len(), "{}", constant.name);
        }
    }

    #[test]
    fn immediate_constants_are_what_the_loader_sets() {
        let mut offsets: Vec<&str> = gait_ebpf::config::OFFSETS.iter().map(|offset| offset.symbol).collect();
        offsets.push("SIMULATE");
        offsets.sort_unstable();
        assert_eq!(IMMEDIATES, offsets);
    }

    #[test]
    fn only_programs_that_are_tried_out_belong_nowhere() {
        let raw =
            PROGRAMS.iter().filter(|program| program.place == Place::Fixed(Kind::Raw)).map(|program| program.name);
        assert_eq!(raw.collect::<Vec<_>>(), ["flood", "trial"]);
    }
}
