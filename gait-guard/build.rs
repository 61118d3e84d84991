//! Links the committed BPF object while the guard is built, so that no start has to: `src/bpf/committed.rs` says what comes out.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use aya_obj::btf::BtfFeatures;
use aya_obj::generated::{bpf_attach_type, bpf_insn};
use aya_obj::{EbpfSectionKind, Map, ProgramSection};
use object::{Object as _, ObjectSymbol as _};
use sha2::{Digest as _, Sha256};

/// Constants that are no memory: where a program loads the address of one it is given the value.
const IMMEDIATES: &str = ".rodata.immediate";
/// The place of those, which are no map, among maps.
const NO_PLACE: i32 = i32::MAX;

const OBJECT: &str = "../gait-ebpf/object/gait.bpf.o";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={OBJECT}");
    println!("cargo::rerun-if-changed=build.rs");
    let bytes = fs::read(OBJECT)?;
    let out = Out { folder: std::env::var("OUT_DIR")?.into(), code: String::new() };
    out.all_of(&bytes)
}

/// The code that is made, and the files beside it.
struct Out {
    folder: PathBuf,
    code: String,
}

impl Out {
    fn all_of(mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let mut object = aya_obj::Object::parse(bytes)?;
        if object.has_btf_relocations() {
            return Err("a program is to be changed by the kernel's types, which the guard does not do".into());
        }
        let digest = Sha256::digest(bytes);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.code, "pub const DIGEST: &str = {digest:?};")?;
        // What every kernel takes that takes our programs.
        let known = BtfFeatures::new(true, true, true, false, true, false, false, false);
        let types = object.fixup_and_sanitize_btf(&known)?.ok_or("an object without types")?.to_bytes();
        let types = self.file("types", &types)?;
        writeln!(self.code, "pub static TYPES: &[u8] = {types};")?;
        let mut maps: BTreeMap<String, Map> = object.maps.drain().collect();
        let immediates = maps.remove(IMMEDIATES).ok_or("an object without immediate constants")?;
        self.maps(&maps)?;
        self.constants(bytes, &maps)?;
        let places = self.immediates(bytes, &immediates)?;
        // A map is named by its place among them, until it is there and has a descriptor.
        let named = maps.iter().zip(0..).map(|((name, map), place)| (name.as_str(), place, map));
        let named = named.chain([(IMMEDIATES, NO_PLACE, &immediates)]);
        let texts = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_maps(named, &texts)?;
        object.relocate_calls(&texts)?;
        self.programs(&object, &places)?;
        fs::write(self.folder.join("committed.rs"), self.code)?;
        Ok(())
    }

    fn maps(&mut self, maps: &BTreeMap<String, Map>) -> Result<(), Box<dyn Error>> {
        writeln!(self.code, "pub static MAPS: &[Map] = &[")?;
        for (name, map) in maps {
            let (kind, key, value) = (map.map_type(), map.key_size(), map.value_size());
            let (entries, flags) = (map.max_entries(), map.map_flags());
            let types = match map {
                Map::Btf(map) => Some((map.def.btf_key_type_id, map.def.btf_value_type_id)),
                Map::Legacy(_) => None,
            };
            let constants = match map.section_kind() {
                EbpfSectionKind::Rodata => format!("Some({})", self.file(name, map.data())?),
                EbpfSectionKind::Data | EbpfSectionKind::Bss => {
                    return Err(format!("variables in {name}, which the guard does not make").into());
                }
                _ => "None".to_owned(),
            };
            writeln!(
                self.code,
                "Map {{ name: {name:?}, kind: {kind}, key: {key}, value: {value}, entries: {entries}, flags: {flags}, \
                 types: {types:?}, constants: {constants} }},"
            )?;
        }
        Ok(writeln!(self.code, "];")?)
    }

    /// Where each constant is, by its symbol.
    fn constants(&mut self, bytes: &[u8], maps: &BTreeMap<String, Map>) -> Result<(), Box<dyn Error>> {
        let file = object::File::parse(bytes)?;
        let mut constants = BTreeMap::new();
        for (place, map) in maps.values().enumerate().filter(|(_, map)| map.section_kind() == EbpfSectionKind::Rodata) {
            for symbol in symbols(&file, map) {
                constants.insert(symbol.name()?, (place, symbol.address(), symbol.size()));
            }
        }
        writeln!(self.code, "pub static CONSTANTS: &[Constant] = &[")?;
        for (name, (map, at, bytes)) in constants {
            writeln!(self.code, "Constant {{ name: {name:?}, map: {map}, at: {at}, bytes: {bytes} }},")?;
        }
        Ok(writeln!(self.code, "];")?)
    }

    /// Names of the immediate constants. Returned is where each was in the section.
    fn immediates(&mut self, bytes: &[u8], section: &Map) -> Result<Vec<u64>, Box<dyn Error>> {
        let file = object::File::parse(bytes)?;
        if section.data().iter().any(|byte| *byte != 0) {
            return Err("an immediate constant with a value that nobody would set".into());
        }
        let mut names = BTreeMap::new();
        for symbol in symbols(&file, section) {
            if symbol.size() != size_of::<u32>() as u64 {
                return Err("an immediate constant that is no number of four bytes".into());
            }
            names.insert(symbol.name()?, symbol.address());
        }
        writeln!(self.code, "pub static IMMEDIATES: &[&str] = &{:?};", names.keys().collect::<Vec<_>>())?;
        Ok(names.into_values().collect())
    }

    fn programs(&mut self, object: &aya_obj::Object, immediates: &[u64]) -> Result<(), Box<dyn Error>> {
        writeln!(self.code, "pub static PROGRAMS: &[Program] = &[")?;
        for (name, program) in object.programs.iter().collect::<BTreeMap<_, _>>() {
            let function = object.functions.get(&program.function_key()).ok_or("a program without instructions")?;
            let mut instructions = function.instructions.clone();
            name_immediates(&mut instructions, immediates)?;
            let instructions: Vec<u8> = instructions.iter().flat_map(encode).collect();
            let instructions = self.file(&format!("{name}.instructions"), &instructions)?;
            let functions = self.file(&format!("{name}.functions"), &function.func_info.func_info_bytes())?;
            let (place, license) = (place(&program.section)?, &program.license);
            writeln!(
                self.code,
                "Program {{ name: {name:?}, place: {place}, license: c{license:?}, instructions: {instructions}, functions: \
                 {functions} }},"
            )?;
        }
        Ok(writeln!(self.code, "];")?)
    }

    /// Writes a file beside the code, for which an expression is returned.
    fn file(&self, name: &str, bytes: &[u8]) -> std::io::Result<String> {
        let path = Path::new(&self.folder).join(name);
        fs::write(&path, bytes)?;
        Ok(format!("include_bytes!({:?})", path))
    }
}

/// What lies in the section that a map of constants stands for.
fn symbols<'a>(file: &'a object::File<'a>, of: &Map) -> impl Iterator<Item = object::Symbol<'a, 'a>> {
    let section = of.section_index();
    file.symbols()
        .filter(move |symbol| symbol.size() > 0 && symbol.section_index().is_some_and(|index| index.0 == section))
}

/// Has the instructions that load an immediate constant name it by its place among them, as `src/bpf/linked.rs` expects it.
fn name_immediates(instructions: &mut [bpf_insn], places: &[u64]) -> Result<(), Box<dyn Error>> {
    /// `BPF_LD | BPF_IMM | BPF_DW`: the first of two instructions.
    const LOAD_WIDE: u8 = 0x18;
    /// `BPF_PSEUDO_MAP_VALUE`
    const MAP_VALUE: u8 = 2;
    /// No kernel's.
    const IMMEDIATE: u8 = 15;
    for at in 0..instructions.len().saturating_sub(1) {
        let (first, second) = (instructions[at], instructions[at + 1].imm);
        if first.code != LOAD_WIDE || first.src_reg() != MAP_VALUE || first.imm != NO_PLACE {
            continue;
        }
        let named = places.iter().position(|place| u64::try_from(second) == Ok(*place));
        instructions[at].set_src_reg(IMMEDIATE);
        instructions[at].imm = named.ok_or("a place in the midst of an immediate constant")? as i32;
        instructions[at + 1].imm = 0;
    }
    Ok(())
}

fn place(section: &ProgramSection) -> Result<String, Box<dyn Error>> {
    Ok(match section {
        ProgramSection::BtfTracePoint => "Place::Tracepoint".to_owned(),
        ProgramSection::Lsm { .. } => "Place::Lsm".to_owned(),
        ProgramSection::CgroupSockAddr { attach_type } => {
            format!("Place::Fixed(Kind::SocketAddress({}))", bpf_attach_type::from(*attach_type) as u32)
        }
        ProgramSection::CgroupSock { attach_type } => {
            format!("Place::Fixed(Kind::Socket({}))", bpf_attach_type::from(*attach_type) as u32)
        }
        ProgramSection::RawTracePoint => "Place::Fixed(Kind::Raw)".to_owned(),
        other => return Err(format!("a program in {other:?}, which the guard can't attach").into()),
    })
}

fn encode(instruction: &bpf_insn) -> [u8; 8] {
    let registers = instruction.dst_reg() | instruction.src_reg() << 4;
    let ([low, high], imm) = (instruction.off.to_ne_bytes(), instruction.imm.to_ne_bytes());
    [instruction.code, registers, low, high, imm[0], imm[1], imm[2], imm[3]]
}
