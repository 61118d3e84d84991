//! Where the members of this kernel's structures are, and the numbers of its hooks, from the types that it publishes (BTF,
//! Documentation/bpf/btf.rst). Read once a run: a single pass that keeps only what is asked for.

use std::ffi::CStr;
use std::fs::{self, File};
use std::ops::{Deref, Range};

use memchr::memmem;
use rustix::fd::AsFd;

use super::BpfError;
use crate::sys::mapping::Image;

/// `/sys/kernel/btf/vmlinux` as bytes, and where in it is what.
pub struct Types {
    bytes: Bytes,
    strings: usize,
    /// Where every [`STRIDE`]th type is.
    places: Vec<u32>,
    end: usize,
    /// Structures and unions that were asked for, by name.
    structures: Vec<(String, u32)>,
    hooks: Hooks,
}

/// What is looked for among the types, by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Structures and unions whose members are asked for.
    pub structures: &'a [&'a str],
    /// Tracepoints.
    pub tracepoints: &'a [&'a str],
}

/// What programs can be attached to on this kernel, with their numbers among its types: the tracepoints that were wanted, and all
/// hooks of the security module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks(Vec<(u32, Hook)>);

/// Mapped where the kernel can (6.16 and later), else a copy.
enum Bytes {
    Mapped(Image),
    Copied(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(image) => image,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// What a program is attached to, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hook {
    /// A tracepoint: its typedef.
    Tracepoint(Vec<u8>),
    /// A hook of the security module: its function.
    Function(Vec<u8>),
}

const MAGIC: u16 = 0xeb9f;
/// What the typedefs of tracepoints begin with.
const TRACEPOINT: &[u8] = b"btf_trace_";
/// What the functions of the security module's hooks begin with.
const FUNCTION: &[u8] = b"bpf_lsm_";

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
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// A kernel has a hundred thousand types, and a few hundred of them are looked at.
const STRIDE: u32 = 64;

/// After so many it is looked whether all is found that is wanted: it is half way on a kernel of these years.
const PIECE: u32 = 64 * STRIDE;

/// Bytes of a type beyond its head of twelve: so many, and so many for each of its members, by kind.
const SIZES: [(u8, u8); 32] = {
    let mut sizes = [(0, 0); 32];
    sizes[kind::INT as usize].0 = 4;
    sizes[kind::VAR as usize].0 = 4;
    sizes[kind::DECL_TAG as usize].0 = 4;
    sizes[kind::ARRAY as usize].0 = 12;
    sizes[kind::STRUCT as usize].1 = 12;
    sizes[kind::UNION as usize].1 = 12;
    sizes[kind::DATASEC as usize].1 = 12;
    sizes[kind::ENUM64 as usize].1 = 12;
    sizes[kind::ENUM as usize].1 = 8;
    sizes[kind::FUNC_PROTO as usize].1 = 8;
    sizes
};

/// Kinds of types whose names are looked at, a bit each. Functions come besides, if their names are [where](functions) hooks' are.
const LOOKED_AT: u32 = 1 << kind::STRUCT | 1 << kind::UNION | 1 << kind::TYPEDEF;

/// Structures in structures: no member that is asked for is deeper.
const DEEPEST: u32 = 8;

impl Types {
    /// Those of the running kernel.
    ///
    /// # Errors
    /// [`BpfError::Btf`] or [`BpfError::Types`].
    pub fn of_kernel(wanted: Wanted<'_>) -> Result<Self, BpfError> {
        const FILE: &str = "/sys/kernel/btf/vmlinux";
        let file = File::open(FILE).map_err(BpfError::Btf)?;
        let length = file.metadata().map_err(BpfError::Btf)?.len() as usize;
        let bytes = match Image::of(file.as_fd(), length) {
            Ok(image) => Bytes::Mapped(image),
            Err(_) => Bytes::Copied(fs::read(FILE).map_err(BpfError::Btf)?),
        };
        Self::parse(bytes, wanted)
    }

    /// Reads the types as far as is needed to find what is `wanted`; other structures can be members but not be asked for.
    fn parse(bytes: Bytes, wanted: Wanted<'_>) -> Result<Self, BpfError> {
        let bad = |what| BpfError::Types { what };
        let all: &[u8] = &bytes;
        let word = |at: usize| word(all, at).ok_or_else(|| bad("it ends too early"));
        if all.first_chunk::<2>().map(|two| u16::from_ne_bytes(*two)) != Some(MAGIC) {
            return Err(bad("no BTF"));
        }
        let header = word(4)? as usize;
        let types = header.saturating_add(word(8)? as usize);
        let end = types.saturating_add(word(12)? as usize);
        let strings = header.saturating_add(word(16)? as usize);
        let mut named = wanted.structures.to_vec();
        named.sort_unstable();
        named.dedup();
        let can_be_wanted = filter(&named);
        let (functions, count) = functions(all.get(strings..).unwrap_or_default());
        let (mut structures, mut hooks) = (Vec::<(String, u32)>::new(), Vec::new());
        // One that is there twice must not count for one that is still to come.
        let mut known = Vec::new();
        let mut is_first = |named_at: u32| {
            let is_first = !known.contains(&named_at);
            known.push(named_at);
            is_first
        };
        let mut pass = Pass { all, end, functions, at: types, number: 0, places: Vec::new() };
        while pass.at < end && !(structures.len() == named.len() && hooks.len() == wanted.tracepoints.len() + count) {
            for (number, at) in pass.piece().ok_or_else(|| bad("it ends too early"))? {
                let named_at = word(at)?;
                let name = all.get(strings.saturating_add(named_at as usize)..).unwrap_or_default();
                match word(at + 4)? >> 24 & 0x1f {
                    kind::TYPEDEF => {
                        if let Some(name) = after(name, TRACEPOINT).map(until_zero)
                            && wanted.tracepoints.iter().any(|wanted| wanted.as_bytes() == name)
                            && is_first(named_at)
                        {
                            hooks.push((number, Hook::Tracepoint(name.to_vec())));
                        }
                    }
                    kind::FUNC => {
                        if let Some(name) = after(name, FUNCTION).map(until_zero)
                            && is_first(named_at)
                        {
                            hooks.push((number, Hook::Function(name.to_vec())));
                        }
                    }
                    _ if !can_be_wanted(name) => {}
                    _ => {
                        let name = until_zero(name);
                        if let Ok(found) = named.binary_search_by(|named| named.as_bytes().cmp(name))
                            && !structures.iter().any(|(known, _)| known == named[found])
                        {
                            structures.push((named[found].to_owned(), number));
                        }
                    }
                }
            }
        }
        let places = pass.places;
        Ok(Self { bytes, strings, places, end, structures, hooks: Hooks(hooks) })
    }

    /// What programs can be attached to.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// The same, on its own.
    pub fn into_hooks(self) -> Hooks {
        self.hooks
    }

    /// The offset of a member in bytes; `.` between nested members. Members of anonymous unions and structures count as
    /// the outer one's.
    ///
    /// # Errors
    /// [`BpfError::Member`] if there is no such member, or it is a bit field.
    pub fn offset(&self, structure: &str, member: &str) -> Result<u32, BpfError> {
        let missing = || BpfError::Member { structure: structure.to_owned(), member: member.to_owned() };
        let &(_, mut of) = self.structures.iter().find(|(name, _)| name == structure).ok_or_else(missing)?;
        let mut bits = 0_u32;
        for part in member.split('.') {
            let (offset, next) = self.find(of, part.as_bytes(), DEEPEST).ok_or_else(missing)?;
            bits = bits.checked_add(offset).ok_or_else(missing)?;
            of = self.plain(next);
        }
        if bits.is_multiple_of(8) { Ok(bits / 8) } else { Err(missing()) }
    }

    /// Where a type is.
    fn place(&self, number: u32) -> Option<usize> {
        let index = number.checked_sub(1)?;
        // One that is after all that was looked for is a longer way off.
        let near = (index / STRIDE).min((self.places.len() as u32).checked_sub(1)?);
        let mut at = *self.places.get(near as usize)? as usize;
        for _ in near * STRIDE..index {
            if at >= self.end {
                return None;
            }
            at += size(word(&self.bytes, at + 4)?);
        }
        (at < self.end).then_some(at)
    }

    /// Offset in bits and type of the member `name`.
    fn find(&self, of: u32, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        let place = self.place(of)?;
        let info = word(&self.bytes, place + 4)?;
        if !matches!(info >> 24 & 0x1f, kind::STRUCT | kind::UNION) || depth == 0 {
            return None;
        }
        let has_fields = info >> 31 == 1;
        for number in 0..(info & 0xffff) as usize {
            let member = place + 12 + number * 12;
            let called = self.bytes.get(self.strings.saturating_add(word(&self.bytes, member)? as usize)..);
            let called = called.unwrap_or_default();
            let (of, raw) = (word(&self.bytes, member + 4)?, word(&self.bytes, member + 8)?);
            let offset = if has_fields { raw & 0x00ff_ffff } else { raw };
            if is_called(called, name) {
                return Some((offset, of));
            }
            if is_called(called, b"")
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
            let Some(place) = self.place(of) else { break };
            let (Some(info), Some(next)) = (word(&self.bytes, place + 4), word(&self.bytes, place + 8)) else { break };
            match info >> 24 & 0x1f {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => of = next,
                _ => break,
            }
        }
        of
    }
}

impl Hooks {
    /// The number of a hook of the security module, if there is one of this name.
    pub fn function(&self, name: &str) -> Option<u32> {
        self.number(|hook| match hook {
            Hook::Function(function) => function == name.as_bytes(),
            Hook::Tracepoint(_) => false,
        })
    }

    /// The number of a tracepoint, if there is one of this name.
    pub fn tracepoint(&self, name: &str) -> Option<u32> {
        self.number(|hook| match hook {
            Hook::Tracepoint(tracepoint) => tracepoint == name.as_bytes(),
            Hook::Function(_) => false,
        })
    }

    fn number(&self, is_it: impl Fn(&Hook) -> bool) -> Option<u32> {
        self.0.iter().find(|(_, hook)| is_it(hook)).map(|(number, _)| *number)
    }
}

/// A pass over the types, as far as it has come.
struct Pass<'a> {
    all: &'a [u8],
    /// Where the types end.
    end: usize,
    /// Where names of functions are that are looked at.
    functions: Range<u32>,
    at: usize,
    /// Types before: type 0 is void, and is not there.
    number: u32,
    /// Where every [`STRIDE`]th type is.
    places: Vec<u32>,
}

impl Pass<'_> {
    /// Of the next [`PIECE`] types, number and place of each whose name is looked at. `None`: they end too early.
    ///
    /// By itself, so that what the loop needs stays in registers.
    #[inline(never)]
    fn piece(&mut self) -> Option<Vec<(u32, usize)>> {
        let (all, functions) = (self.all, self.functions.clone());
        let (mut at, mut number) = (self.at, self.number);
        let last = number + PIECE;
        let mut looked_at = Vec::new();
        while at < self.end && number < last {
            if number.is_multiple_of(STRIDE) {
                self.places.push(at as u32);
            }
            number += 1;
            let [named, info] = all.get(at..)?.first_chunk::<8>()?.as_chunks::<4>().0 else { return None };
            let (named, info) = (u32::from_ne_bytes(*named), u32::from_ne_bytes(*info));
            let kind = info >> 24 & 0x1f;
            // One branch for both: kinds follow each other as if at random, and no processor foresees that.
            if (LOOKED_AT >> kind & 1 == 1) | ((kind == kind::FUNC) & functions.contains(&named)) {
                looked_at.push((number, at));
            }
            at += size(info);
        }
        (self.at, self.number) = (at, number);
        Some(looked_at)
    }
}

/// Tells most names from those that are `wanted` by their first four bytes.
///
/// All but a few of ten thousand names are none that is looked for, and each comparison of names is a call.
fn filter(wanted: &[&str]) -> impl Fn(&[u8]) -> bool {
    let place = |first: &[u8; 4]| u32::from_ne_bytes(*first).wrapping_mul(0x9e37_79b1) >> 26;
    let places = wanted.iter().map(|name| [name.as_bytes(), b"\0"].concat().first_chunk().map(place));
    // Shorter names tell nothing.
    let set = places.map(|place| place.map_or(u64::MAX, |place| 1 << place)).fold(0, std::ops::BitOr::bitor);
    move |name| name.first_chunk().is_none_or(|first| set >> place(first) & 1 == 1)
}

/// Where in `strings` names that begin with [`FUNCTION`] are, and how many at most.
///
/// Half of all types are functions, and to look at the name of each is half of the time: these stand together, as one file
/// of the kernel's defines them.
fn functions(strings: &[u8]) -> (Range<u32>, usize) {
    let mut found = memmem::find_iter(strings, FUNCTION).map(|at| at as u32);
    let Some(first) = found.next() else { return (0..0, 0) };
    let (last, count) = found.fold((first, 1), |(_, count), at| (at, count + 1));
    (first..last + 1, count)
}

/// What follows `prefix`, of at least four bytes, in `name`.
fn after<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    (name.first_chunk::<4>() == prefix.first_chunk()).then(|| name.strip_prefix(prefix)).flatten()
}

/// Bytes of a type, by the word that says what it is.
fn size(info: u32) -> usize {
    let (fixed, each) = SIZES[(info >> 24 & 0x1f) as usize];
    12 + usize::from(fixed) + usize::from(each) * (info & 0xffff) as usize
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Whether the text that `bytes` begin with is `name`.
fn is_called(bytes: &[u8], name: &[u8]) -> bool {
    bytes.starts_with(name) && matches!(bytes.get(name.len()), None | Some(0))
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    CStr::from_bytes_until_nul(bytes).map_or(bytes, CStr::to_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of types: words of types, then texts.
    fn encode(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let bytes = types.len() as u32 * 4;
        // hdr_len, type_off, type_len, str_off, str_len
        let header = [24, 0, bytes, bytes, strings.len() as u32];
        let mut file = MAGIC.to_ne_bytes().to_vec();
        file.extend([1, 0]);
        file.extend(header.iter().chain(types).flat_map(|word| word.to_ne_bytes()));
        file.extend_from_slice(strings);
        file
    }

    /// `struct outer { int a; union { int b; struct inner c; }; }`, `struct inner { int x; int y; }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0c\0inner\0x\0y\0int\0btf_trace_sched\0bpf_lsm_file_open\0";
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
            // 6 and 7: the hooks
            vec![at("btf_trace_sched"), info(kind::TYPEDEF, 0), 1],
            vec![at("bpf_lsm_file_open"), info(kind::FUNC, 1), 1],
        ]
        .concat();
        encode(&words, strings)
    }

    fn parse(bytes: Vec<u8>, structures: &[&str]) -> Result<Types, BpfError> {
        Types::parse(Bytes::Copied(bytes), Wanted { structures, tracepoints: &["sched"] })
    }

    #[test]
    fn members_of_anonymous_unions_and_nested_structures_are_found() {
        let types = parse(sample(), &["outer", "inner"]).unwrap();
        let offset = |structure, member| types.offset(structure, member).ok();
        assert_eq!(offset("outer", "a"), Some(0));
        assert_eq!(offset("outer", "b"), Some(4));
        assert_eq!(offset("outer", "c.y"), Some(8));
        assert_eq!(offset("inner", "y"), Some(4));
    }

    #[test]
    fn a_hook_is_found_by_its_whole_name() {
        let hooks = parse(sample(), &[]).unwrap().into_hooks();
        let names = ["file_open", "file", "file_open_", "", "sched"];
        assert_eq!(names.map(|name| hooks.function(name)), [Some(7), None, None, None, None]);
        let names = ["sched", "sche", "sched_", "", "file_open"];
        assert_eq!(names.map(|name| hooks.tracepoint(name)), [Some(6), None, None, None, None]);
    }

    #[test]
    fn types_are_found_however_many_are_before_them() {
        let strings = b"\0outer\0a\0y\0";
        let structure = |name, member, of: u32| vec![name, kind::STRUCT << 24 | 1, 8, member, of, 32];
        assert_eq!(parse(encode(&structure(7, 7, 1), strings), &["a"]).unwrap().offset("a", "a").ok(), Some(4));
        for before in 0..3 * STRIDE {
            let mut types = [0, kind::INT << 24, 4, 32].repeat(before as usize);
            types.extend(structure(1, 7, before + 2));
            types.extend(structure(0, 9, 1));
            let found = parse(encode(&types, strings), &["outer"]).unwrap();
            assert_eq!(found.offset("outer", "a.y").ok(), Some(8), "{before}");
        }
    }

    #[test]
    fn types_after_all_that_is_wanted_can_be_members_of_it() {
        let strings = b"\0outer\0a\0y\0";
        let structure = |name, member, of: u32| vec![name, kind::STRUCT << 24 | 1, 8, member, of, 32];
        for between in [0, 1, PIECE - 2, PIECE, 3 * PIECE] {
            let mut types = structure(1, 7, between + 2);
            types.extend([0, kind::INT << 24, 4, 32].repeat(between as usize));
            types.extend(structure(0, 9, 1));
            let wanted = Wanted { structures: &["outer"], tracepoints: &[] };
            let found = Types::parse(Bytes::Copied(encode(&types, strings)), wanted).unwrap();
            assert!(found.places.len() as u32 <= PIECE / STRIDE, "{between}");
            assert_eq!(found.offset("outer", "a.y").ok(), Some(8), "{between}");
            // One that does not come is looked for to the end.
            assert!(parse(encode(&types, strings), &["outer"]).unwrap().places.len() as u32 > between / STRIDE);
        }
    }

    #[test]
    fn a_hook_that_is_there_twice_hides_no_other() {
        let strings = b"\0bpf_lsm_one\0bpf_lsm_two\0";
        let function = |name: u32| vec![name, kind::FUNC << 24 | 1, 1];
        let others = [0, kind::INT << 24, 4, 32].repeat(PIECE as usize);
        let words = [function(1), function(1), others, function(13)].concat();
        let types = Types::parse(Bytes::Copied(encode(&words, strings)), Wanted::default()).unwrap();
        assert_eq!(["one", "two"].map(|name| types.hooks().function(name)), [Some(1), Some(PIECE + 3)]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let types = parse(sample(), &["outer"]).unwrap();
        let told = |structure, member| types.offset(structure, member).unwrap_err().to_string();
        assert_eq!(told("outer", "z"), "this kernel has no `outer.z`, which the programs need");
        assert!(told("inner", "x").contains("`inner.x`"));
        assert!(told("outer", "a.b").contains("`outer.a.b`"));
    }

    #[test]
    fn broken_types_are_an_error_and_no_panic() {
        let whole = sample();
        for cut in 0..whole.len() {
            let _ = parse(whole[..cut].to_vec(), &["outer"]).map(|types| types.offset("outer", "c.y"));
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[cut] = value;
                let _ = parse(changed, &["outer", "inner"]).map(|types| types.offset("outer", "c.y"));
            }
        }
    }
}
