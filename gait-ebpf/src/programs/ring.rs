//! Records on their way to user space, and the counters of what had no room.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::btf_maps::{PerCpuArray, RingBuf};
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_map;
use gait_ebpf::record::{ARGUMENT_BYTES, Address, HEADER, Header, counter};
use gait_ebpf::tables::PATH_BYTES;

use crate::kernel;
use crate::scope::Scratch;

/// Records. Its size is set at load.
#[btf_map]
static RECORDS: RingBuf<u64, 16777216> = RingBuf::new();

/// By [`counter`].
#[btf_map]
static COUNTERS: PerCpuArray<u64, { counter::COUNT as usize }> = PerCpuArray::new();

/// The reader is woken if it has taken all that was there before.
const WAKES: u64 = 0;

/// Counts one.
#[inline(always)]
pub fn count(index: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the slot of this CPU. An increment that is lost to preemption only makes a figure smaller that nothing
        // is decided by; denials for lack of room are counted before they are made.
        unsafe { *counter += 1 };
    }
}

/// A header for the current task.
#[inline(always)]
pub fn header(kind: u32, op: u32, outcome: u32) -> Header {
    let task = kernel::current();
    Header {
        kind,
        size: 0,
        // SAFETY: no arguments.
        time: unsafe { h::bpf_ktime_get_boot_ns() },
        tgid: kernel::process_number(task),
        tid: kernel::number(task),
        outcome,
        op,
        detail: 0,
        extra: 0,
    }
}

/// [`header`] for the current task, whose memory is `scratch`: its numbers are asked for once.
#[inline(always)]
pub fn header_of(scratch: &mut Scratch, kind: u32, op: u32, outcome: u32) -> Header {
    if scratch.tid == 0 {
        let task = kernel::current();
        scratch.tgid = kernel::process_number(task);
        scratch.tid = kernel::number(task);
    }
    // SAFETY: no arguments.
    let time = unsafe { h::bpf_ktime_get_boot_ns() };
    Header { kind, size: 0, time, tgid: scratch.tgid, tid: scratch.tid, outcome, op, detail: 0, extra: 0 }
}

/// Writes a record without payload. False: there was no room.
#[inline(always)]
pub fn put(header: &Header) -> bool {
    output(ptr::from_ref(header).cast_mut().cast(), HEADER as u64)
}

/// Writes a record whose payload is the path of `scratch` from `start` on. False: there was no room.
///
/// The record is the last 256, 1,024 or 4,152 bytes that end with the path: constant sizes, since the verifier does not
/// follow a start and a length that vary together. Its payload is therefore at its end.
#[inline(always)]
pub fn put_path(scratch: &mut Scratch, header: Header, start: u32) -> bool {
    put_path_as(scratch, header, start, WAKES)
}

/// [`put_path`] without waking the reader each time, which looks by itself too: for what comes by the thousand. To wake it costs
/// as much as to write the record.
#[inline(always)]
pub fn put_path_quietly(scratch: &mut Scratch, header: Header, start: u32) -> bool {
    /// `BPF_RB_NO_WAKEUP`
    const QUIET: u64 = 1;
    /// So many records of one task can wait: the smallest ring has room for those of many tasks.
    const WAITING: u32 = 16;
    scratch.quiet = scratch.quiet.wrapping_add(1);
    let how = if scratch.quiet.is_multiple_of(WAITING) { WAKES } else { QUIET };
    put_path_as(scratch, header, start, how)
}

/// [`put_path`], and the reader is woken even if it has not caught up with what came quietly.
#[inline(always)]
pub fn put_path_urgently(scratch: &mut Scratch, header: Header, start: u32) -> bool {
    /// `BPF_RB_FORCE_WAKEUP`
    const URGENT: u64 = 2;
    put_path_as(scratch, header, start, URGENT)
}

#[inline(always)]
fn put_path_as(scratch: &mut Scratch, header: Header, start: u32, how: u64) -> bool {
    put_path_record(scratch, &header, start, how) != 0
}

/// A function of its own for the verifier, as [`crate::automaton::decide_path`]. 0: there was no room.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn put_path_record(scratch: *mut Scratch, header: *const Header, start: u32, how: u64) -> u32 {
    const SHORT: usize = 256;
    const MIDDLE: usize = 1024;
    // SAFETY: the verifier takes nothing but null or whole structures.
    let (Some(scratch), Some(header)) = (unsafe { (scratch.as_mut(), header.as_ref()) }) else { return 0 };
    let length = (PATH_BYTES as u32).saturating_sub(start);
    let header = Header { size: length, ..*header };
    let first = |size: usize| scratch_end(scratch).wrapping_sub(size);
    let is_written = if length <= (SHORT - HEADER) as u32 {
        let place = first(SHORT);
        // SAFETY: inside the value, before the path.
        unsafe { ptr::write(place.cast(), header) };
        output_as(place, SHORT as u64, how)
    } else if length <= (MIDDLE - HEADER) as u32 {
        let place = first(MIDDLE);
        // SAFETY: as above.
        unsafe { ptr::write(place.cast(), header) };
        output_as(place, MIDDLE as u64, how)
    } else {
        let place = first(PATH_BYTES + HEADER);
        // SAFETY: `room` precedes the path.
        unsafe { ptr::write(place.cast(), header) };
        output_as(place, (PATH_BYTES + HEADER) as u64, how)
    };
    is_written as u32
}

#[repr(C)]
struct AddressRecord {
    header: Header,
    address: Address,
}

/// Writes a record whose payload is an address. False: there was no room.
#[inline(always)]
pub fn put_address(mut header: Header, address: &Address) -> bool {
    header.size = size_of::<Address>() as u32;
    let record = AddressRecord { header, address: *address };
    output(ptr::from_ref(&record).cast_mut().cast(), size_of::<AddressRecord>() as u64)
}

/// Writes a record whose payload is the first `header.size` bytes of the path's place, directly after the header: see
/// [`gait_ebpf::record::kind::ARGUMENTS`]. False: there was no room.
#[inline(always)]
pub fn put_front(scratch: &mut Scratch, header: Header) -> bool {
    const SHORT: usize = 256;
    const MIDDLE: usize = 1024;
    let place = (&raw mut scratch.path).cast::<u8>().wrapping_sub(HEADER);
    let length = header.size as usize;
    // SAFETY: `room` precedes the path.
    unsafe { ptr::write(place.cast(), header) };
    if length <= SHORT - HEADER {
        output(place, SHORT as u64)
    } else if length <= MIDDLE - HEADER {
        output(place, MIDDLE as u64)
    } else {
        output(place, (ARGUMENT_BYTES + HEADER) as u64)
    }
}

#[inline(always)]
fn scratch_end(scratch: &Scratch) -> *mut u8 {
    (&raw const scratch.path).cast::<u8>().cast_mut().wrapping_add(PATH_BYTES)
}

#[inline(always)]
fn output(record: *mut u8, size: u64) -> bool {
    output_as(record, size, WAKES)
}

#[inline(always)]
fn output_as(record: *mut u8, size: u64, how: u64) -> bool {
    let ring = (&raw const RECORDS).cast_mut().cast::<c_void>();
    // SAFETY: `size` bytes of a value that the verifier knows.
    let failed = unsafe { h::bpf_ringbuf_output(ring, record.cast(), size, how) };
    if failed == 0 {
        count(counter::RECORDED);
    }
    failed == 0
}
