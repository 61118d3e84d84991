//! Where the members of this kernel's structures are, from the types that it publishes (BTF,
//! Documentation/bpf/btf.rst). Read once a run: a single pass that keeps only what is asked for.

use std::collections::HashMap;

use super::BpfError;

/// `/sys/kernel/btf/vmlinux` as bytes, with the place of each type.
pub struct Types {
    bytes: Vec<u8>,
    strings: usize,
    /// By type number: where it is.
    places: Vec<u32>,
    /// Structures and unions by name.
    structures: HashMap<Vec<u8>, u32>,
}

const MAGIC: u16 = 0xeb9f;

mod kind {
    pub const INT: u32 = 1;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// Structures in structures: no member that is asked for is deeper.
const DEEPEST: u32 = 8;

impl Types {
    /// Those of the running kernel.
    ///
    /// # Errors
    /// [`BpfError::Btf`] or [`BpfError::Types`].
    pub fn of_kernel(wanted: &[&str]) -> Result<Self, BpfError> {
        Self::parse(std::fs::read("/sys/kernel/btf/vmlinux").map_err(BpfError::Btf)?, wanted)
    }

    /// Reads the types; structures that are not `wanted` can be members but not be asked for.
    ///
    /// # Errors
    /// [`BpfError::Types`]
    pub fn parse(bytes: Vec<u8>, wanted: &[&str]) -> Result<Self, BpfError> {
        let bad = |what| BpfError::Types { what };
        let word = |at: usize| word(&bytes, at).ok_or(bad("it ends too early"));
        if bytes.first_chunk::<2>().map(|two| u16::from_ne_bytes(*two)) != Some(MAGIC) {
            return Err(bad("no BTF"));
        }
        let header = word(4)? as usize;
        let types = header.saturating_add(word(8)? as usize);
        let end = types.saturating_add(word(12)? as usize);
        let strings = header.saturating_add(word(16)? as usize);
        // Type 0 is void.
        let mut places = vec![0];
        let mut structures = HashMap::new();
        let mut at = types;
        while at < end {
            let info = word(at + 4)?;
            let (kind, length) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            if matches!(kind, kind::STRUCT | kind::UNION) {
                let name = text(&bytes, strings.saturating_add(word(at)? as usize));
                if wanted.iter().any(|wanted| wanted.as_bytes() == name) {
                    structures.entry(name.to_vec()).or_insert(places.len() as u32);
                }
            }
            places.push(at as u32);
            at += 12
                + match kind {
                    kind::INT | kind::VAR | kind::DECL_TAG => 4,
                    kind::ARRAY => 12,
                    kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => length * 12,
                    kind::ENUM | kind::FUNC_PROTO => length * 8,
                    _ => 0,
                };
        }
        Ok(Self { bytes, strings, places, structures })
    }

    /// The offset of a member in bytes; `.` between nested members. Members of anonymous unions and structures count as
    /// the outer one's.
    ///
    /// # Errors
    /// [`BpfError::Member`] if there is no such member, or it is a bit field.
    pub fn offset(&self, structure: &str, member: &str) -> Result<u32, BpfError> {
        let missing = || BpfError::Member { structure: structure.to_owned(), member: member.to_owned() };
        let mut of = *self.structures.get(structure.as_bytes()).ok_or_else(missing)?;
        let mut bits = 0_u32;
        for part in member.split('.') {
            let (offset, next) = self.find(of, part.as_bytes(), DEEPEST).ok_or_else(missing)?;
            bits = bits.checked_add(offset).ok_or_else(missing)?;
            of = self.plain(next);
        }
        if bits.is_multiple_of(8) { Ok(bits / 8) } else { Err(missing()) }
    }

    /// Offset in bits and type of the member `name`.
    fn find(&self, of: u32, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        let place = *self.places.get(of as usize)? as usize;
        let info = word(&self.bytes, place + 4)?;
        if !matches!(info >> 24 & 0x1f, kind::STRUCT | kind::UNION) || depth == 0 {
            return None;
        }
        let has_fields = info >> 31 == 1;
        for number in 0..(info & 0xffff) as usize {
            let member = place + 12 + number * 12;
            let called = text(&self.bytes, self.strings.saturating_add(word(&self.bytes, member)? as usize));
            let (of, raw) = (word(&self.bytes, member + 4)?, word(&self.bytes, member + 8)?);
            let offset = if has_fields { raw & 0x00ff_ffff } else { raw };
            if called == name {
                return Some((offset, of));
            }
            if called.is_empty()
                && let Some((inner, of)) = self.find(self.plain(of), name, depth - 1)
            {
                return Some((offset.checked_add(inner)?, of));
            }
        }
        None
    }

    /// A type without names and qualifiers.
    fn plain(&self, mut of: u32) -> u32 {
        for _ in 0..32 {
            let place = self.places.get(of as usize).map_or(0, |place| *place as usize);
            let (Some(info), Some(next)) = (word(&self.bytes, place + 4), word(&self.bytes, place + 8)) else { break };
            match info >> 24 & 0x1f {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => of = next,
                _ => break,
            }
        }
        of
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn text(bytes: &[u8], at: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    &rest[..memchr(rest)]
}

fn memchr(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; union { int b; struct inner c; }; }`, `struct inner { int x; int y; }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0c\0inner\0x\0y\0int\0";
        let at = |name: &str| {
            let needle = [name.as_bytes(), b"\0"].concat();
            strings.windows(needle.len()).position(|window| window == needle).unwrap() as u32
        };
        let info = |kind: u32, length: u32| kind << 24 | length;
        let words: Vec<u32> = [
            // 1: int
            vec![at("int"), info(kind::INT, 0), 4, 32],
            // 2: inner
            vec![at("inner"), info(kind::STRUCT, 2), 8, at("x"), 1, 0, at("y"), 1, 32],
            // 3: union
            vec![0, info(kind::UNION, 2), 8, at("b"), 1, 0, at("c"), 4, 0],
            // 4: const inner
            vec![0, info(kind::CONST, 0), 2],
            // 5: outer
            vec![at("outer"), info(kind::STRUCT, 2), 12, at("a"), 1, 0, 0, 3, 32],
        ]
        .concat();
        let types = words.len() as u32 * 4;
        let header = [24, 0, types, types, strings.len() as u32];
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend(header.iter().chain(&words).flat_map(|word| word.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn members_of_anonymous_unions_and_nested_structures_are_found() {
        let types = Types::parse(sample(), &["outer", "inner"]).unwrap();
        let offset = |structure, member| types.offset(structure, member).ok();
        assert_eq!(offset("outer", "a"), Some(0));
        assert_eq!(offset("outer", "b"), Some(4));
        assert_eq!(offset("outer", "c.y"), Some(8));
        assert_eq!(offset("inner", "y"), Some(4));
    }

    #[test]
    fn what_is_missing_is_named() {
        let types = Types::parse(sample(), &["outer"]).unwrap();
        let told = |structure, member| types.offset(structure, member).unwrap_err().to_string();
        assert_eq!(told("outer", "z"), "this kernel has no `outer.z`, which the programs need");
        assert!(told("inner", "x").contains("`inner.x`"));
        assert!(told("outer", "a.b").contains("`outer.a.b`"));
    }

    #[test]
    fn broken_types_are_an_error_and_no_panic() {
        let whole = sample();
        for cut in 0..whole.len() {
            let _ = Types::parse(whole[..cut].to_vec(), &["outer"]).map(|types| types.offset("outer", "c.y"));
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[cut] = value;
                let _ = Types::parse(changed, &["outer", "inner"]).map(|types| types.offset("outer", "c.y"));
            }
        }
    }
}
