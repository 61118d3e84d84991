//! No bytes break the intent reader, and normalising is done once.
#![no_main]

use gait_core::digest::Sha256Hex;
use gait_core::intent::IntentRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = IntentRequest::read(bytes) else { return };
    let Ok(intent) = request.normalize() else { return };
    assert!(intent.is_normal());
    let canonical = intent.canonical_bytes().expect("an intent has a canonical form");
    assert_eq!(intent.digest().ok(), Some(Sha256Hex::of(canonical)));
});
