//! No bytes break the reader of encrypted artifacts, with any key.
#![no_main]

use gait_core::evidence::encrypted::{ArtifactKey, open, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = read(bytes) else { return };
    let key = ArtifactKey::from_base64("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").expect("32 bytes");
    let _ = open(&record, &key);
});
