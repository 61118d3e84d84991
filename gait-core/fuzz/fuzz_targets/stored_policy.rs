//! No bytes break the reader of kept policies, and what it takes decides without a panic and is written back as it was.
//!
//! The digest is put right first: without that no input would come past it.
#![no_main]

use std::sync::Arc;

use gait_core::digest::Sha256Hex;
use gait_core::intent::{Context, EndpointClass, TargetKind};
use gait_core::policy::compile::{Kind, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (value, rest) = input;
    let key = Sha256Hex::of("key");
    let rest = [key.as_bytes(), [0; 32].as_slice(), rest.as_slice()].concat();
    let bytes = [b"gait-compiled-2\0", Sha256Hex::of(&rest).as_bytes().as_slice(), &rest].concat();
    let kinds = [
        Kind::new("fs.read", TargetKind::Path, "read", EndpointClass::FsRead),
        Kind::new("net.connect", TargetKind::Host, "connect", EndpointClass::NetHttp),
    ];
    let context = Arc::new(Context::default());
    let Ok((policy, _)) = decode(&bytes, &key, &context, kinds.clone()) else { return };
    for kind in &kinds {
        if let Some(id) = policy.kind(kind) {
            policy.decide(id, &value, None);
            policy.decide(id, b"a.example:443", Some(b"a.example"));
        }
    }
    let stored = policy.store(&key).expect("what we read, we write");
    let again = decode(&stored.bytes, &key, &context, kinds);
    assert_eq!(again, Ok((policy, stored.tables_sha256)));
});
