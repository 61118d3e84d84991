//! No text breaks the policy reader, and what it takes is written back as the same policy.
#![no_main]

use gait_core::policy::{Policy, Strictness};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(policy) = Policy::parse_bytes(bytes, Strictness::Lenient) else { return };
    let again = Policy::parse(&policy.to_yaml(), Strictness::Lenient).expect("what we write, we read");
    assert_eq!(again.digest().ok(), policy.digest().ok());
});
