//! Walking the compiled policy over bytes: the same cells that user space walks.

use core::arch::asm;
use core::ffi::c_void;
use core::ptr;

use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_map;
use gait_ebpf::tables::{
    self, AUTOMATA, Automaton, BLOCK, CELLS, FLOOR_PATH, JOINS, KINDS, LIMIT, NO_AUTOMATON, PATH_BYTES, Tables,
    UNDECIDED, shape,
};

use crate::kernel;
use crate::path::Place;
use crate::scope::Scratch;

/// `BPF_F_MMAPABLE`: user space fills the value through a mapping.
const MMAPABLE: usize = 1 << 10;

/// Words of an `Automaton`, and where its classes begin in bytes.
const STARTS: usize = 0;
/// See [`STARTS`].
const ROOTED: usize = 2;
/// See [`STARTS`].
const END: usize = 4;
/// See [`STARTS`].
const CLASSES: usize = 32;

/// What [`walked`] returns of nothing: no join is so large.
const NO_END: u32 = JOINS as u32;

/// Words of a `KindEntry`.
const SHAPE: usize = 0;
/// See [`SHAPE`].
const AUTOMATON: usize = 1;
/// See [`SHAPE`].
const FIRST: usize = 2;
/// See [`SHAPE`].
const WIDTH: usize = 3;
/// See [`SHAPE`].
const DOMAIN: usize = 4;

#[btf_map]
static TABLES: Array<Tables, 1, MMAPABLE> = Array::new();

/// Bytes that are walked over, and what must follow them.
#[repr(C)]
struct Bytes([u8; PATH_BYTES + BLOCK]);

#[repr(C)]
struct Walk {
    tables: *const Tables,
    bytes: *const Bytes,
    at: u32,
    automaton: u32,
    row: u32,
    reserved: u32,
}

/// A load that the compiler neither moves nor narrows: its index was masked for the verifier.
#[inline(always)]
fn at<T: Copy>(first: *const T, index: usize) -> T {
    // SAFETY: each caller masks `index` to the size of the array.
    unsafe { ptr::read_volatile(first.add(index)) }
}

/// The address `bytes` after another one. Written so, the sum takes the place of the number: the compiler would copy the address first.
#[inline(always)]
fn after<T>(bytes: u64, first: *const T) -> *const T {
    let mut sum = bytes;
    // SAFETY: an addition.
    unsafe {
        asm!("{sum} += {first}", sum = inout(reg) sum, first = in(reg) first, options(pure, readonly, nostack));
    }
    sum as *const T
}

/// The limit of a row. The compiler would have it from the row again, for each byte, if it knew that it can.
#[inline(always)]
fn limit(row: u32) -> u32 {
    kernel::opaque(row >> LIMIT)
}

/// The cell of a row and a column. The row's limit is masked off.
#[inline(always)]
fn cell(tables: *const Tables, row: u32, column: u32) -> u32 {
    // SAFETY: `cells` are the first of all; the index is masked.
    unsafe { ptr::read_volatile(after(u64::from(row.wrapping_add(column) & (CELLS as u32 - 1)) * 4, tables).cast()) }
}

/// The words of a pair of automata; its classes follow them.
#[inline(always)]
fn pair(tables: *const Tables, automaton: u32) -> *const u32 {
    // SAFETY: masked.
    unsafe { (&raw const (*tables).automata).cast::<Automaton>().add(automaton as usize & (AUTOMATA - 1)).cast() }
}

/// Walks some bytes from `place` on: as many as there are numbers. A byte that does not lead out of its row takes four
/// instructions, another one eleven; written out, as a loop would take as many again to count.
///
/// The place of each is known to be in memory once that of the first is: [`BLOCK`].
macro_rules! steps {
    ($tables:ident, $pair:ident, $bytes:expr, $place:expr, $row:ident, $limit:ident, $($step:literal)*) => {
        // What comes from memory is masked where it is used: of what it knows the compiler would draw conclusions.
        let bytes = $bytes.cast::<u8>().wrapping_add($place as usize & (PATH_BYTES - 1));
        $(
            let class = after(u64::from(at(bytes, $step)), $pair.cast::<u8>());
            let column = u32::from(at(class, CLASSES));
            if column < $limit {
                $row = cell($tables, $row, column);
                $limit = limit($row);
            }
        )*
    };
}

extern "C" fn block(turn: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `bpf_loop` passes on what it was given: a structure on the stack of the caller.
    let walk = unsafe { &mut *walk };
    let place = walk.at.wrapping_add(turn * BLOCK as u32);
    let (tables, pair, mut row) = (walk.tables, pair(walk.tables, walk.automaton), walk.row);
    let mut limit_of_row = limit(row);
    steps!(tables, pair, walk.bytes, place, row, limit_of_row,
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
        32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
    walk.row = row;
    i64::from(limit_of_row == 0)
}

/// The end class of the bytes at a [`Place`] in one automaton of the pair `automaton`, from `row` on. Arguments are five at most.
///
/// A function of its own for the verifier, which looks at it once and not again for each way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walked(tables: *const Tables, bytes: *const Bytes, automaton: u32, place: u32, row: u32) -> u32 {
    // The verifier takes nothing but null or whole structures.
    if tables.is_null() || bytes.is_null() {
        return NO_END;
    }
    let (pair, mut row) = (pair(tables, automaton), row);
    let mut limit_of_row = limit(row);
    let (start, length) = (Place(place).start(), Place(place).length() & (2 * PATH_BYTES as u32 - 1));
    // What makes no whole block, by halves. The place of each is computed by itself: of one that is moved on the verifier would look
    // at all that follows once for each way to get there.
    let place = |bytes: u32| start.wrapping_add(length & (bytes - 1));
    if length & 1 != 0 {
        steps!(tables, pair, bytes, start, row, limit_of_row, 0);
    }
    if length & 2 != 0 {
        steps!(tables, pair, bytes, place(2), row, limit_of_row, 0 1);
    }
    if length & 4 != 0 {
        steps!(tables, pair, bytes, place(4), row, limit_of_row, 0 1 2 3);
    }
    if length & 8 != 0 {
        steps!(tables, pair, bytes, place(8), row, limit_of_row, 0 1 2 3 4 5 6 7);
    }
    // Where nothing matches any more it is over soon.
    if length & 16 != 0 && limit_of_row != 0 {
        steps!(tables, pair, bytes, place(16), row, limit_of_row, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    }
    if length & 32 != 0 && limit_of_row != 0 {
        steps!(tables, pair, bytes, place(32), row, limit_of_row,
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    }
    let turns = length / BLOCK as u32;
    if turns != 0 && limit_of_row != 0 {
        let mut state = Walk { tables, bytes, at: place(BLOCK as u32), automaton, row, reserved: 0 };
        // SAFETY: the callback takes what it is given; the kernel stops it after so many turns.
        unsafe { h::bpf_loop(turns, block as *mut c_void, (&raw mut state).cast(), 0) };
        row = state.row;
    }
    cell(tables, row, at(pair, END))
}

/// The end classes of the bytes at a place in both automata of a pair. `IS_ROOTED`: they begin with a slash.
#[inline(always)]
fn walk<const IS_ROOTED: bool>(tables: &Tables, automaton: u32, bytes: *const u8, place: Place) -> (u32, u32) {
    let pair = pair(tables, automaton);
    let one = |which: usize| {
        let mut row = at(pair, if IS_ROOTED { ROOTED } else { STARTS } + which);
        let mut limit_of_row = limit(row);
        // No pattern of this kind, most often.
        if limit_of_row != 0 {
            let mut rest = Place(place.0 + IS_ROOTED as u32);
            // Here, since the root's folder most often is in no pattern that begins there.
            if IS_ROOTED && place.length() > 1 {
                steps!(tables, pair, bytes, rest.start(), row, limit_of_row, 0);
                rest = Place(rest.0 + 1);
            }
            if limit_of_row != 0 {
                return walked(tables, bytes.cast(), automaton, rest.0, row);
            }
        }
        cell(tables, row, at(pair, END))
    };
    (one(0), one(1))
}

/// A word of the entry of a kind.
#[inline(always)]
fn of_kind(tables: &Tables, op: u32, word: usize) -> u32 {
    at(tables.kinds.as_ptr().wrapping_add(op as usize & (KINDS - 1)).cast(), word)
}

/// What `tables` say about an action whose value is at a place of `bytes`, by [`walk`].
#[inline(always)]
fn asked<const IS_ROOTED: bool>(tables: &Tables, op: u32, bytes: *const u8, place: Place) -> u32 {
    match of_kind(tables, op, SHAPE) {
        shape::CONSTANT => of_kind(tables, op, FIRST),
        shape::VALUE => {
            let (first, second) = walk::<IS_ROOTED>(tables, of_kind(tables, op, AUTOMATON), bytes, place);
            joined(tables, of_kind(tables, op, FIRST), of_kind(tables, op, WIDTH), first, second)
        }
        _ => UNDECIDED,
    }
}

/// Whether what is at a place of `bytes` begins with a slash.
#[inline(always)]
fn is_rooted(bytes: *const u8, place: Place) -> bool {
    place.length() > 0 && at(bytes, place.start() as usize & (PATH_BYTES - 1)) == b'/'
}

/// What the policy says about an action whose value is at a place of `bytes`.
#[inline(always)]
pub fn decide(op: u32, bytes: *const u8, place: Place) -> u32 {
    let Some(tables) = TABLES.get(0) else { return UNDECIDED };
    if is_rooted(bytes, place) {
        asked::<true>(tables, op, bytes, place)
    } else {
        asked::<false>(tables, op, bytes, place)
    }
}

/// What the policy says about the path at a place of `scratch`, or [`FLOOR_PATH`] where the floor, asked as `floor`, does not
/// allow it. What does not begin with a slash is no path, and denied.
#[inline(always)]
pub fn decide_in(scratch: &Scratch, floor: u32, op: u32, place: Place) -> u32 {
    let Some(tables) = TABLES.get(0) else { return UNDECIDED };
    let bytes = (&raw const scratch.path).cast();
    if !is_rooted(bytes, place) {
        return UNDECIDED;
    }
    if !tables::allows(asked::<true>(tables, floor, bytes, place)) {
        return FLOOR_PATH;
    }
    asked::<true>(tables, op, bytes, place)
}

/// [`decide_in`], a function of its own for the verifier, as [`walked`]. Denied without a `scratch`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn decide_path(scratch: *const Scratch, floor: u32, op: u32, place: u32) -> u32 {
    // SAFETY: the verifier takes nothing but null or the whole structure.
    let Some(scratch) = (unsafe { scratch.as_ref() }) else { return UNDECIDED };
    decide_in(scratch, floor, op, Place(place))
}

/// What the policy says about an address whose value and domain are at two places of `bytes`.
#[inline(always)]
pub fn decide_host(op: u32, bytes: *const u8, place: Place, domain: Place) -> u32 {
    let Some(tables) = TABLES.get(0) else { return UNDECIDED };
    match of_kind(tables, op, SHAPE) {
        shape::HOST => {
            let value = of_kind(tables, op, AUTOMATON);
            let first = if value == NO_AUTOMATON { 0 } else { walk::<false>(tables, value, bytes, place).0 };
            let (second, _) = walk::<false>(tables, of_kind(tables, op, DOMAIN), bytes, domain);
            joined(tables, of_kind(tables, op, FIRST), of_kind(tables, op, WIDTH), first, second)
        }
        _ => asked::<false>(tables, op, bytes, place),
    }
}

/// The entry of a join. A denial where an end is none, as its index is too large.
#[inline(always)]
fn joined(tables: &Tables, base: u32, width: u32, first: u32, second: u32) -> u32 {
    let index = u64::from(base) + u64::from(first) * u64::from(width) + u64::from(second);
    if index < JOINS as u64 { at(tables.joins.as_ptr(), index as usize) } else { UNDECIDED }
}
