//! Any bytes at all as a runpack, read in every way there is, as in the test of fixed mutations. A pack that is accepted
//! is written again, and what is written is accepted and exact.
#![no_main]

#[path = "../../tests/common/reading.rs"]
mod reading;

use gait_core::runpack::demo;
use gait_core::runpack::open::Runpack;
use gait_core::runpack::write::write_pack;
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use std::sync::LazyLock;

static OTHER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let records = demo::records().expect("the demo needs nothing");
    let mut pack = Vec::new();
    let members = records.members().expect("the demo can be written");
    write_pack(&mut pack, &records.facts(), &members, &[]).expect("memory takes everything");
    pack
});

fuzz_target!(|bytes: &[u8]| {
    let reached = reading::read_everything(bytes, &OTHER);
    if reached < reading::Reached::Records {
        return;
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
