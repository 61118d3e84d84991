//! Every kernel name has a text, and no text belongs to two names.
#![no_main]

use gait_core::name::{name, unname};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = name(bytes);
    assert_eq!(text.trim(), text);
    assert_eq!(unname(&text).as_deref(), Ok(bytes));
    if let Ok(written) = std::str::from_utf8(bytes)
        && let Ok(back) = unname(written)
    {
        assert_eq!(name(&back), written);
    }
});
