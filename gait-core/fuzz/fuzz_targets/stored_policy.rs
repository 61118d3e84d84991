//! No bytes break the reader of kept policies, and what it takes decides without a panic and is written back as it was.
//!
//! The digests are put right first: without that no input would come past them.
#![no_main]

use std::sync::Arc;

use gait_core::digest::Sha256Hex;
use gait_core::intent::{Context, EndpointClass, TargetKind};
use gait_core::policy::compile::{Kind, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (prefixes, tables) = input;
    let tables = [b"gait-tables-1\0", tables.as_slice()].concat();
    let key = Sha256Hex::of("key");
    let head = [key.as_bytes(), Sha256Hex::of(&tables).as_bytes().as_slice(), prefixes.as_slice()].concat();
    let length = (head.len() as u32).to_le_bytes();
    let sum = Sha256Hex::of(&head);
    let bytes = [b"gait-compiled-1\0", sum.as_bytes().as_slice(), &length, &head, &tables].concat();
    let kinds = [
        Kind::new("fs.read", TargetKind::Path, "read", EndpointClass::FsRead),
        Kind::new("net.connect", TargetKind::Host, "connect", EndpointClass::NetHttp),
    ];
    let context = Arc::new(Context::default());
    let Ok((policy, _)) = decode(&bytes, &key, &context, kinds.clone()) else { return };
    for kind in &kinds {
        if let Some(id) = policy.kind(kind) {
            policy.decide(id, &prefixes, None);
            policy.decide(id, b"a.example:443", Some(b"a.example"));
        }
    }
    let stored = policy.store(&key).expect("what we read, we write");
    let again = decode(&stored.bytes, &key, &context, kinds);
    assert_eq!(again, Ok((policy, stored.tables_sha256)));
});
