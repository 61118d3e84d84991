//! Links the committed BPF object while the guard is built, so that no start has to: `src/bpf/committed.rs` says what comes out.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use aya_obj::btf::BtfFeatures;
use aya_obj::generated::{bpf_attach_type, bpf_insn};
use aya_obj::{EbpfSectionKind, Map, ProgramSection};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use sha2::{Digest as _, Sha256};

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
        let maps: BTreeMap<String, Map> = object.maps.drain().collect();
        self.maps(&maps)?;
        self.constants(bytes, &maps)?;
        // A map is named by its place among them, until it is there and has a descriptor.
        let named = maps.iter().zip(0..).map(|((name, map), place)| (name.as_str(), place, map));
        let texts = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_maps(named, &texts)?;
        object.relocate_calls(&texts)?;
        self.programs(&object)?;
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
        for symbol in file.symbols().filter(|symbol| symbol.size() > 0) {
            let Some(section) = symbol.section_index() else { continue };
            let section = file.section_by_index(section)?.index().0;
            let is_here = |map: &Map| map.section_kind() == EbpfSectionKind::Rodata && map.section_index() == section;
            let Some(map) = maps.values().position(is_here) else { continue };
            constants.insert(symbol.name()?, (map, symbol.address(), symbol.size()));
        }
        writeln!(self.code, "pub static CONSTANTS: &[Constant] = &[")?;
        for (name, (map, at, bytes)) in constants {
            writeln!(self.code, "Constant {{ name: {name:?}, map: {map}, at: {at}, bytes: {bytes} }},")?;
        }
        Ok(writeln!(self.code, "];")?)
    }

    fn programs(&mut self, object: &aya_obj::Object) -> Result<(), Box<dyn Error>> {
        writeln!(self.code, "pub static PROGRAMS: &[Program] = &[")?;
        for (name, program) in object.programs.iter().collect::<BTreeMap<_, _>>() {
            let function = object.functions.get(&program.function_key()).ok_or("a program without instructions")?;
            let instructions: Vec<u8> = function.instructions.iter().flat_map(encode).collect();
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
