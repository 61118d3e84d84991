//! Walking the compiled policy over bytes: the same cells that user space walks.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_map;
use gait_ebpf::tables::{AUTOMATA, CELLS, JOINS, KINDS, KindEntry, NO_AUTOMATON, PATH_BYTES, Tables, UNDECIDED, shape};

use crate::scope::Scratch;

/// `BPF_F_MMAPABLE`: user space fills the value through a mapping.
const MMAPABLE: usize = 1 << 10;

#[btf_map]
static TABLES: Array<Tables, 1, MMAPABLE> = Array::new();

/// Bytes of one turn of `bpf_loop`: a call a byte costs more than the step, one unrolled loop has too many paths.
const BLOCK: u32 = 16;

#[repr(C)]
struct Walk {
    tables: *const Tables,
    bytes: *const u8,
    anchored: u32,
    floating: u32,
    at: u32,
    end: u32,
    automaton: u32,
    reserved: u32,
    sinks: [u32; 2],
}

/// A load that the compiler neither moves nor narrows: its index was masked for the verifier.
#[inline(always)]
fn at<T: Copy>(first: *const T, index: usize) -> T {
    // SAFETY: each caller masks `index` to the size of the array.
    unsafe { ptr::read_volatile(first.add(index)) }
}

extern "C" fn block(turn: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `bpf_loop` passes on what it was given: a structure on the stack of the caller.
    let walk = unsafe { &mut *walk };
    // SAFETY: the map's value.
    let tables = unsafe { &*walk.tables };
    // `end` comes from memory: of a constant the compiler would draw conclusions, and drop the mask that the verifier needs.
    let (bytes, end) = (walk.bytes, walk.end);
    let classes = tables.automata.as_ptr().wrapping_add(walk.automaton as usize & (AUTOMATA - 1)).cast::<u8>();
    let (mut anchored, mut floating) = (walk.anchored, walk.floating);
    let base = walk.at + turn * BLOCK;
    for step in 0..BLOCK {
        let place = base + step;
        if place >= end {
            break;
        }
        let byte = at(bytes, place as usize & (PATH_BYTES - 1));
        // The classes follow four words: see `Automaton`.
        let column = u32::from(at(classes, 16 + byte as usize));
        anchored = at(tables.cells.as_ptr(), (anchored + column) as usize & (CELLS - 1));
        floating = at(tables.cells.as_ptr(), (floating + column) as usize & (CELLS - 1));
    }
    walk.anchored = anchored;
    walk.floating = floating;
    // Once a turn: at each byte it would cost more than it saves.
    (anchored == walk.sinks[0] && floating == walk.sinks[1]) as i64
}

/// The end classes of `bytes[start..end]` in both automata of a pair.
///
/// `bytes` must point to [`PATH_BYTES`] bytes that the verifier knows.
#[inline(always)]
fn walk(tables: &'static Tables, automaton: u32, bytes: *const u8, start: u32, end: u32) -> (u32, u32) {
    let pair = tables.automata.as_ptr().wrapping_add(automaton as usize & (AUTOMATA - 1)).cast::<u32>();
    // Four words and the classes come before: see `Automaton`.
    let sinks = [at(pair, 4 + 64), at(pair, 4 + 65)];
    let mut state = Walk {
        tables,
        bytes,
        anchored: at(pair, 0),
        floating: at(pair, 1),
        at: start,
        end,
        automaton,
        reserved: 0,
        sinks,
    };
    let last = at(pair, 2);
    let length = end.wrapping_sub(start) & (2 * PATH_BYTES as u32 - 1);
    // SAFETY: the callback takes what it is given; the kernel stops it after so many turns.
    unsafe { h::bpf_loop(length.div_ceil(BLOCK), block as *mut c_void, (&raw mut state).cast(), 0) };
    let cell = |row: u32| at(tables.cells.as_ptr(), (row + last) as usize & (CELLS - 1));
    (cell(state.anchored), cell(state.floating))
}

/// What the policy says about an action whose value is `bytes[start..end]`.
#[inline(always)]
pub fn decide(op: u32, bytes: *const u8, start: u32, end: u32) -> u32 {
    let Some(tables) = TABLES.get(0) else { return UNDECIDED };
    let kind: KindEntry = at(tables.kinds.as_ptr(), op as usize & (KINDS - 1));
    let (first, second) = match kind.shape {
        shape::CONSTANT => return kind.first,
        shape::VALUE => walk(tables, kind.automaton, bytes, start, end),
        _ => return UNDECIDED,
    };
    joined(tables, kind, first, second)
}

/// [`decide`] about the path of `scratch` from `start` on; denied without a `scratch`.
///
/// A function of its own for the verifier, which looks at it once and not again for each way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn decide_path(scratch: *const Scratch, op: u32, start: u32) -> u32 {
    // SAFETY: the verifier takes nothing but null or the whole structure.
    let Some(scratch) = (unsafe { scratch.as_ref() }) else { return UNDECIDED };
    decide(op, (&raw const scratch.path).cast(), start, PATH_BYTES as u32)
}

/// What the policy says about an address whose value is `bytes[start..end]` and whose domain is `bytes[from..to]`.
#[inline(always)]
pub fn decide_host(op: u32, bytes: *const u8, (start, end): (u32, u32), (from, to): (u32, u32)) -> u32 {
    let Some(tables) = TABLES.get(0) else { return UNDECIDED };
    let kind: KindEntry = at(tables.kinds.as_ptr(), op as usize & (KINDS - 1));
    match kind.shape {
        shape::CONSTANT => kind.first,
        shape::VALUE => {
            let (first, second) = walk(tables, kind.automaton, bytes, start, end);
            joined(tables, kind, first, second)
        }
        shape::HOST => {
            let first =
                if kind.automaton == NO_AUTOMATON { 0 } else { walk(tables, kind.automaton, bytes, start, end).0 };
            let (second, _) = walk(tables, kind.domain, bytes, from, to);
            joined(tables, kind, first, second)
        }
        _ => UNDECIDED,
    }
}

#[inline(always)]
fn joined(tables: &Tables, kind: KindEntry, first: u32, second: u32) -> u32 {
    let index = kind.first.wrapping_add(first.wrapping_mul(kind.width)).wrapping_add(second);
    at(tables.joins.as_ptr(), index as usize & (JOINS - 1))
}
