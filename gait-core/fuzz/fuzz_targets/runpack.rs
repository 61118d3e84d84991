//! Any bytes at all as a runpack: container, manifest, records, exactness. A pack that is accepted is written again,
//! and what is written is accepted and exact.
#![no_main]

use gait_core::runpack::container::Container;
use gait_core::runpack::open::Runpack;
use gait_core::runpack::write::write_pack;
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut container) = Container::open(Cursor::new(bytes)) {
        let _ = container.inexact();
    }
    let Ok(records) = Runpack::open(Cursor::new(bytes)).and_then(|mut pack| pack.load()) else {
        return;
    };
    if records.run.run_id.is_empty() {
        return;
    }
    let members = records.members().expect("records that were read can be written");
    let mut again = Vec::new();
    write_pack(&mut again, &records.facts(), &members, &[]).expect("memory takes everything");
    let mut pack = Runpack::open(Cursor::new(&again)).expect("what was written verifies");
    assert!(pack.container().inexact().is_none());
});
