//! No bytes break the trace reader, and its line form reads back as the same trace.
#![no_main]

use gait_core::trace::TraceRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(trace) = TraceRecord::read(bytes) else { return };
    let line = trace.to_line().expect("a trace has a canonical form");
    assert_eq!(TraceRecord::read(&line).expect("what we write, we read"), trace);
});
