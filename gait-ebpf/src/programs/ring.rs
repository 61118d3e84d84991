//! Records on their way to user space, and the counters of what had no room.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::btf_maps::{PerCpuArray, RingBuf};
use aya_ebpf::helpers::generated as h;
use aya_ebpf::macros::btf_map;
use gait_ebpf::record::{AT_FRONT, Address, HEADER, Header, counter};
use gait_ebpf::tables::PATH_BYTES;

use crate::kernel;
use crate::path::{self, Place};
use crate::scope::Scratch;

/// Records. Its size is set at load.
#[btf_map]
static RECORDS: RingBuf<u64, 16777216> = RingBuf::new();

/// By [`counter`]: all in one value, as two are counted at a time.
#[btf_map]
static COUNTERS: PerCpuArray<[u64; counter::COUNT as usize], 1> = PerCpuArray::new();

/// The reader is woken if it has taken all that was there before.
const WAKES: u64 = 0;
/// `BPF_RB_NO_WAKEUP`
const QUIET: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`: also if it has not caught up with what came quietly. For each denial, and each change.
const URGENT: u64 = 2;

/// Counts one.
#[inline(always)]
pub fn count(index: u32) {
    count_each([index]);
}

/// Counts one of each.
#[inline(always)]
pub fn count_each<const N: usize>(indices: [u32; N]) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        for index in indices {
            // SAFETY: the slot of this CPU. An increment that is lost to preemption only makes a figure smaller that nothing
            // is decided by; denials for lack of room are counted before they are made.
            unsafe { (*counters)[index as usize & (counter::COUNT as usize - 1)] += 1 };
        }
    }
}

/// A header for the current task.
#[inline(always)]
pub fn header(kind: u32, op: u32, outcome: u32) -> Header {
    header_of(kernel::number(kernel::current()), kind, op, outcome)
}

/// A header for the current task, whose number is known.
#[inline(always)]
pub fn header_of(tid: u32, kind: u32, op: u32, outcome: u32) -> Header {
    Header {
        kind,
        size: 0,
        // SAFETY: no arguments.
        time: unsafe { h::bpf_ktime_get_boot_ns() },
        tgid: kernel::process_number(kernel::current()),
        tid,
        outcome,
        op,
        detail: kernel::zero(),
        extra: kernel::zero(),
    }
}

/// Makes the header of `scratch` one for the current task, whose memory that is: its numbers are asked for once.
#[inline(always)]
pub fn head(scratch: &mut Scratch, kind: u32, op: u32, outcome: u32, detail: u64, extra: u64) {
    if scratch.tid == 0 {
        identify(scratch);
    }
    // SAFETY: no arguments.
    let time = unsafe { h::bpf_ktime_get_boot_ns() };
    scratch.header = Header { kind, size: 0, time, tgid: scratch.tgid, tid: scratch.tid, outcome, op, detail, extra };
}

/// Asks for the numbers of the current task, whose memory `scratch` is.
#[inline(always)]
pub fn identify(scratch: &mut Scratch) {
    let task = kernel::current();
    scratch.tgid = kernel::process_number(task);
    scratch.tid = kernel::number(task);
}

/// [`head`] where the numbers were asked for.
#[inline(always)]
pub fn head_of_known(scratch: &mut Scratch, kind: u32, extra: u64) {
    // SAFETY: no arguments.
    let time = unsafe { h::bpf_ktime_get_boot_ns() };
    let (tgid, tid, detail) = (scratch.tgid, scratch.tid, kernel::zero());
    scratch.header = Header { kind, size: 0, time, tgid, tid, outcome: 0, op: 0, detail, extra };
}

/// Writes a record without payload, or counts it as lost.
#[inline(always)]
pub fn put_or_lose(header: &Header) {
    count(or_lost(written(ptr::from_ref(header).cast_mut().cast(), HEADER as u64, WAKES)));
}

/// Writes a record without payload. False: there was no room.
#[inline(always)]
pub fn put(header: &Header) -> bool {
    output(ptr::from_ref(header).cast_mut().cast(), HEADER as u64)
}

/// [`put`], and the reader is woken even if it has not caught up with what came quietly.
#[inline(always)]
pub fn put_urgently(header: &Header) -> bool {
    output_as(ptr::from_ref(header).cast_mut().cast(), HEADER as u64, URGENT)
}

/// Writes a record whose header is that of `scratch`, and whose payload the path at a place of it. False: there was no room.
///
/// Constant sizes, since the verifier does not follow a start and a length that vary together: the record of a path that was
/// walked is the last 128, 256, 1,024 or 4,144 bytes that end with it, so its payload is at its end. What the kernel wrote is
/// at the front.
///
/// The reader is not woken each time, and looks by itself too: this is for what comes by the thousand. To wake it costs more than to
/// write the record. But it is woken in time to have what many tasks wrote before there is no room for more.
#[inline(always)]
pub fn put_path_quietly(scratch: &mut Scratch, place: Place) -> bool {
    let how = quietly(scratch);
    counted(put_path_record(scratch, place.0, how) != 0)
}

/// [`put_path_quietly`], and the reader is woken even if it has not caught up with what came so.
#[inline(always)]
pub fn put_path_urgently(scratch: &mut Scratch, place: Place) -> bool {
    counted(put_path_record(scratch, place.0, URGENT) != 0)
}

/// [`put_path_quietly`] or [`put_path_urgently`], and not counted yet: for what comes most often, most often with a short path at
/// the front, which is written right here.
#[inline(always)]
pub fn put_decided(scratch: &mut Scratch, place: Place, is_quiet: bool) -> bool {
    let how = if is_quiet { quietly(scratch) } else { URGENT };
    // From 0 to so many bytes.
    if place.0 <= ((SIZES[0] - HEADER) as u32) << 16 {
        scratch.header.size = place.end() | AT_FRONT;
        return output_uncounted((&raw mut scratch.header).cast(), SIZES[0] as u64, how);
    }
    put_path_record(scratch, place.0, how) != 0
}

/// How the next record that need not wake the reader is written.
#[inline(always)]
fn quietly(scratch: &mut Scratch) -> u64 {
    /// So many records of one task can wait.
    const WAITING: u32 = 128;
    scratch.quiet = scratch.quiet.wrapping_add(1);
    // Urgently: it never has caught up with what came quietly.
    if scratch.quiet.is_multiple_of(WAITING) { URGENT } else { QUIET }
}

/// Bytes of records of paths.
const SIZES: [usize; 5] = [128, 256, path::SHORT + HEADER, 1024, PATH_BYTES + HEADER];

/// A function of its own for the verifier, as [`crate::automaton::decide_path`]. 0: there was no room.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn put_path_record(scratch: *mut Scratch, place: u32, how: u64) -> u32 {
    // SAFETY: the verifier takes nothing but null or the whole structure.
    let Some(scratch) = (unsafe { scratch.as_mut() }) else { return 0 };
    let place = Place(place);
    let length = place.end().saturating_sub(place.start());
    let fits = |size: usize| length <= (size - HEADER) as u32;
    let (front, end) = ((&raw mut scratch.header).cast::<u8>(), scratch_end(scratch));
    let (record, size, size_of) = if place.end() < PATH_BYTES as u32 {
        let of = length | AT_FRONT;
        if fits(SIZES[0]) {
            (front, SIZES[0], of)
        } else if fits(SIZES[1]) {
            (front, SIZES[1], of)
        } else {
            (front, SIZES[2], of)
        }
    } else if fits(SIZES[0]) {
        (end.wrapping_sub(SIZES[0]), SIZES[0], length)
    } else if fits(SIZES[1]) {
        (end.wrapping_sub(SIZES[1]), SIZES[1], length)
    } else if fits(SIZES[3]) {
        (end.wrapping_sub(SIZES[3]), SIZES[3], length)
    } else {
        (end.wrapping_sub(SIZES[4]), SIZES[4], length)
    };
    // SAFETY: inside the value, before the path; the header precedes what is at the front, or as long as can be.
    unsafe { ptr::write(record.cast(), Header { size: size_of, ..scratch.header }) };
    u32::from(output_uncounted(record, size as u64, how))
}

#[repr(C)]
struct AddressRecord {
    header: Header,
    address: Address,
}

/// Writes a record whose payload is an address, which is always one of a denial, and counts both.
#[inline(always)]
pub fn put_denied_address(mut header: Header, address: &Address) {
    const { assert!(counter::RECORDED == 0) };
    header.size = size_of::<Address>() as u32;
    let record = AddressRecord { header, address: *address };
    let result = written(ptr::from_ref(&record).cast_mut().cast(), size_of::<AddressRecord>() as u64, URGENT);
    count_each([counter::DENIED, kernel::failed(result) as u32 * counter::NO_ROOM]);
}

/// Writes a record whose header is that of `scratch`, and whose payload so many bytes of the path's place, directly after the header:
/// see [`gait_ebpf::record::kind::ARGUMENTS`], or [`AT_FRONT`] as a flag beside the size. The verifier must know that `bytes` are no
/// more than a path has. What the kernel says; not counted yet.
#[inline(always)]
pub fn put_front(scratch: &mut Scratch, bytes: u64, flags: u32) -> i64 {
    scratch.header.size = bytes as u32 | flags;
    written((&raw mut scratch.header).cast(), bytes + HEADER as u64, WAKES)
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
    counted(output_uncounted(record, size, how))
}

#[inline(always)]
fn output_uncounted(record: *mut u8, size: u64, how: u64) -> bool {
    written(record, size, how) == 0
}

/// What the kernel says to a record: 0 if it is written.
#[inline(always)]
fn written(record: *mut u8, size: u64, how: u64) -> i64 {
    let ring = (&raw const RECORDS).cast_mut().cast::<c_void>();
    // SAFETY: `size` bytes of a value that the verifier knows.
    unsafe { h::bpf_ringbuf_output(ring, record.cast(), size, how) }
}

/// What a record is counted as: written, or lost.
#[inline(always)]
pub fn or_lost(result: i64) -> u32 {
    const { assert!(counter::RECORDED == 0) };
    kernel::failed(result) as u32 * counter::LOST
}

#[inline(always)]
fn counted(is_recorded: bool) -> bool {
    if is_recorded {
        count(counter::RECORDED);
    }
    is_recorded
}
