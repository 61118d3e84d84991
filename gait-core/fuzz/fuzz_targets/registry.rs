//! No bytes break the reader of registry manifests, and what it keeps reads back with the same digest.
#![no_main]

use gait_core::registry::RegistryManifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = RegistryManifest::read(bytes) else { return };
    let Ok(kept) = manifest.to_bytes() else { return };
    let again = RegistryManifest::read(&kept).expect("what we keep, we read");
    assert_eq!(again.digest().ok(), manifest.digest().ok());
});
