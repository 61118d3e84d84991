//! No text breaks the policy reader, its inspection and its layout; what it takes is written back as the same policy.
#![no_main]

use gait_core::policy::inspect::inspect;
use gait_core::policy::layout::format;
use gait_core::policy::{Policy, Strictness};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    inspect(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(laid_out) = format(text) {
            assert_eq!(format(&laid_out).as_ref(), Ok(&laid_out));
        }
    }
    let Ok(policy) = Policy::parse_bytes(bytes, Strictness::Lenient) else { return };
    let again = Policy::parse(&policy.to_yaml(), Strictness::Lenient).expect("what we write, we read");
    assert_eq!(again.digest().ok(), policy.digest().ok());
});
