//! Walking the compiled policy over bytes: the same cells that user space walks.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_map;
use gait_ebpf::tables::{
    self, AUTOMATA, BLOCK, CELLS, FLOOR_PATH, JOINS, KINDS, LIMIT, NO_AUTOMATON, PATH_BYTES, Tables, UNDECIDED, shape,
};

use crate::path::Place;
use crate::scope::Scratch;

/// `BPF_F_MMAPABLE`: user space fills the value through a mapping.
const MMAPABLE: usize = 1 << 10;

/// Words of an `Automaton`, and where its classes begin in bytes.
const END: usize = 2;
/// See [`END`].
const CLASSES: usize = 16;

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

#[repr(C)]
struct Walk {
    tables: *const Tables,
    bytes: *const u8,
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

/// The cell of a row and a column. The row's limit is masked off.
#[inline(always)]
fn cell(tables: &Tables, row: u32, column: u32) -> u32 {
    at(tables.cells.as_ptr(), row.wrapping_add(column) as usize & (CELLS - 1))
}

/// The four words of a pair of automata; its classes follow them.
#[inline(always)]
fn pair(tables: &Tables, automaton: u32) -> *const u32 {
    tables.automata.as_ptr().wrapping_add(automaton as usize & (AUTOMATA - 1)).cast()
}

/// Walks some bytes from `place` on: as many as there are numbers. A byte that does not lead out of its row takes six
/// instructions, another one fourteen; written out, as a loop would take as many again to count.
///
/// The place of each is known to be in memory once that of the first is: [`BLOCK`].
macro_rules! steps {
    ($tables:ident, $pair:ident, $bytes:expr, $place:expr, $row:ident, $($step:literal)*) => {
        // What comes from memory is masked where it is used: of what it knows the compiler would draw conclusions.
        let bytes = $bytes.wrapping_add($place as usize & (PATH_BYTES - 1));
        let classes = $pair.cast::<u8>();
        $(
            let column = u32::from(at(classes, CLASSES + usize::from(at(bytes, $step))));
            if column < $row >> LIMIT {
                $row = cell($tables, $row, column);
            }
        )*
    };
}

extern "C" fn block(turn: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `bpf_loop` passes on what it was given: a structure on the stack of the caller.
    let walk = unsafe { &mut *walk };
    // SAFETY: the map's value.
    let tables = unsafe { &*walk.tables };
    let place = walk.at.wrapping_add(turn * BLOCK as u32);
    let (pair, mut row) = (pair(tables, walk.automaton), walk.row);
    steps!(tables, pair, walk.bytes, place, row,
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    walk.row = row;
    i64::from(row >> LIMIT == 0)
}

/// The end class of `bytes[start..end]` in one automaton: `automaton` is the number of a pair, and its highest bit says whether
/// it is the floating one. Arguments are five at most.
///
/// `bytes` must point to [`PATH_BYTES`] and [`BLOCK`] more that the verifier knows. Not inlined: one code for all automata.
#[inline(never)]
fn walked(tables: &'static Tables, bytes: *const u8, automaton: u32, start: u32, end: u32) -> u32 {
    let (which, pair) = (automaton as usize >> 31, pair(tables, automaton));
    let mut row = at(pair, which);
    let length = end.wrapping_sub(start) & (2 * PATH_BYTES as u32 - 1);
    // What makes no whole block, by halves. The place of each is computed by itself: of one that is moved on the verifier would look
    // at all that follows once for each way to get there.
    let place = |bytes: u32| start.wrapping_add(length & (bytes - 1));
    if length & 1 != 0 {
        steps!(tables, pair, bytes, start, row, 0);
    }
    if length & 2 != 0 {
        steps!(tables, pair, bytes, place(2), row, 0 1);
    }
    if length & 4 != 0 {
        steps!(tables, pair, bytes, place(4), row, 0 1 2 3);
    }
    // Most often the root's folder is in no pattern that begins there.
    if row >> LIMIT != 0 {
        if length & 8 != 0 {
            steps!(tables, pair, bytes, place(8), row, 0 1 2 3 4 5 6 7);
        }
        if length & 16 != 0 {
            steps!(tables, pair, bytes, place(16), row, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        }
        let turns = length / BLOCK as u32;
        if turns != 0 {
            let mut state = Walk { tables, bytes, at: place(BLOCK as u32), automaton, row, reserved: 0 };
            // SAFETY: the callback takes what it is given; the kernel stops it after so many turns.
            unsafe { h::bpf_loop(turns, block as *mut c_void, (&raw mut state).cast(), 0) };
            row = state.row;
        }
    }
    cell(tables, row, at(pair, END))
}

/// The end classes of `bytes[start..end]` in both automata of a pair.
#[inline(always)]
fn walk(tables: &'static Tables, automaton: u32, bytes: *const u8, start: u32, end: u32) -> (u32, u32) {
    let pair = pair(tables, automaton);
    let one = |which: u32| {
        let row = at(pair, which as usize);
        // No pattern of this kind, most often.
        if row >> LIMIT == 0 {
            cell(tables, row, at(pair, END))
        } else {
            walked(tables, bytes, automaton & (AUTOMATA as u32 - 1) | which << 31, start, end)
        }
    };
    (one(0), one(1))
}

/// A word of the entry of a kind.
#[inline(always)]
fn of_kind(tables: &Tables, op: u32, word: usize) -> u32 {
    at(tables.kinds.as_ptr().wrapping_add(op as usize & (KINDS - 1)).cast(), word)
}

/// What `tables` say about an action whose value is `bytes[start..end]`.
#[inline(always)]
fn asked(tables: &'static Tables, op: u32, bytes: *const u8, start: u32, end: u32) -> u32 {
    match of_kind(tables, op, SHAPE) {
        shape::CONSTANT => of_kind(tables, op, FIRST),
        shape::VALUE => {
            let (first, second) = walk(tables, of_kind(tables, op, AUTOMATON), bytes, start, end);
            joined(tables, of_kind(tables, op, FIRST), of_kind(tables, op, WIDTH), first, second)
        }
        _ => UNDECIDED,
    }
}

/// What the policy says about an action whose value is `bytes[start..end]`.
#[inline(always)]
pub fn decide(op: u32, bytes: *const u8, start: u32, end: u32) -> u32 {
    let Some(tables) = TABLES.get(0) else { return UNDECIDED };
    asked(tables, op, bytes, start, end)
}

/// What the policy says about the path at a [`Place`] of `scratch`, or [`FLOOR_PATH`] where the floor, asked as `floor`, does not
/// allow it. Denied without a `scratch`.
///
/// A function of its own for the verifier, which looks at it once and not again for each way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn decide_path(scratch: *const Scratch, floor: u32, op: u32, place: u32) -> u32 {
    // SAFETY: the verifier takes nothing but null or the whole structure.
    let (Some(scratch), Some(tables)) = (unsafe { scratch.as_ref() }, TABLES.get(0)) else { return UNDECIDED };
    let (place, bytes) = (Place(place), (&raw const scratch.path).cast());
    if !tables::allows(asked(tables, floor, bytes, place.start(), place.end())) {
        return FLOOR_PATH;
    }
    asked(tables, op, bytes, place.start(), place.end())
}

/// What the policy says about an address whose value is `bytes[start..end]` and whose domain is `bytes[from..to]`.
#[inline(always)]
pub fn decide_host(op: u32, bytes: *const u8, (start, end): (u32, u32), (from, to): (u32, u32)) -> u32 {
    let Some(tables) = TABLES.get(0) else { return UNDECIDED };
    match of_kind(tables, op, SHAPE) {
        shape::HOST => {
            let value = of_kind(tables, op, AUTOMATON);
            let first = if value == NO_AUTOMATON { 0 } else { walk(tables, value, bytes, start, end).0 };
            let (second, _) = walk(tables, of_kind(tables, op, DOMAIN), bytes, from, to);
            joined(tables, of_kind(tables, op, FIRST), of_kind(tables, op, WIDTH), first, second)
        }
        _ => asked(tables, op, bytes, start, end),
    }
}

#[inline(always)]
fn joined(tables: &Tables, base: u32, width: u32, first: u32, second: u32) -> u32 {
    let index = base.wrapping_add(first.wrapping_mul(width)).wrapping_add(second);
    at(tables.joins.as_ptr(), index as usize & (JOINS - 1))
}
