//! Compiled policies that are kept: what is written is read, and nothing else is.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use gait_core::digest::Sha256Hex;
use gait_core::intent::{Context, EndpointClass, TargetKind};
use gait_core::policy::compile::{CompiledPolicy, DecodeError, Kind, Limits, decode};
use gait_core::policy::{Policy, Strictness, Variables};
use proptest::prelude::*;

const POLICY: &str = "
default_verdict: block
rules:
- {name: reads, priority: 1, effect: allow, match: {tool_names: [fs.read]}, endpoint: {path_allowlist: ['/usr/**', '**/*.t[xy]'], path_denylist: ['/usr/x']}}
- {name: hosts, priority: 2, effect: require_approval, match: {tool_names: [net.connect], target_values: ['a.example:443']}, endpoint: {domain_denylist: ['*.example']}}
- {name: rest, priority: 3, effect: allow, match: {tool_names: [net.connect]}, endpoint: {domain_allowlist: ['b.example']}}
";

fn kinds() -> Vec<Kind> {
    vec![
        Kind::new("fs.read", TargetKind::Path, "read", EndpointClass::FsRead),
        Kind::new("fs.write", TargetKind::Path, "write", EndpointClass::FsWrite),
        Kind::new("net.connect", TargetKind::Host, "connect", EndpointClass::NetHttp),
        // Each is compiled once.
        Kind::new("fs.read", TargetKind::Path, "read", EndpointClass::FsRead),
    ]
}

fn context() -> Arc<Context> {
    Arc::new(Context {
        identity: "dev".to_owned(),
        risk_class: "high".to_owned(),
        workspace: "/w/p".to_owned(),
        ..Context::default()
    })
}

fn compile(policy: &Policy) -> CompiledPolicy {
    CompiledPolicy::compile(policy, &context(), kinds(), &Limits::default()).unwrap()
}

fn small() -> CompiledPolicy {
    compile(&Policy::parse(POLICY, Strictness::Strict).unwrap())
}

fn key() -> Sha256Hex {
    Sha256Hex::of("key")
}

fn read(bytes: &[u8]) -> Result<CompiledPolicy, DecodeError> {
    decode(bytes, &key(), &context(), kinds()).map(|(policy, _)| policy)
}

/// What the bytes would be had somebody written them: a digest that is right, about whatever there is.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    const SUM: usize = 16;
    const REST: usize = SUM + 32;
    if bytes.len() >= REST {
        let sum = Sha256Hex::of(&bytes[REST..]);
        bytes[SUM..REST].copy_from_slice(sum.as_bytes());
    }
    bytes
}

/// Asks it everything there is to ask.
fn walk(policy: &CompiledPolicy) {
    for kind in kinds() {
        let id = policy.kind(&kind).unwrap();
        for value in ["/", "/usr/bin/x", "/a/b.ty", "//", "", "a.example:443", "b.example:1", "/usr/x\u{e9}\u{a0}"] {
            let domain = value.split_once(':').map(|(domain, _)| domain.as_bytes());
            policy.decide(id, value.as_bytes(), domain);
        }
        policy.decide(id, &[0xf4, 0x80, 0xff, b'/', 0], None);
        assert!(policy.ask(id).is_some());
    }
    assert!(policy.joins().flatten().all(|outcome| (*outcome as usize) < policy.verdicts().len()));
    policy.table_bytes().unwrap();
}

#[test]
fn the_default_policy_reads_back_and_says_the_digest_of_its_tables() {
    let variables = Variables {
        workspace: "/home/dev/project".to_owned(),
        home: Some("/home/dev".to_owned()),
        tmp: Some("/tmp/gait-x".to_owned()),
    };
    let policy = Policy::parse(include_str!("../../policies/default.yaml"), Strictness::Strict).unwrap();
    for compiled in [compile(&policy.expand(&variables).unwrap()), small()] {
        let stored = compiled.store(&key()).unwrap();
        assert_eq!(stored.tables_sha256, Sha256Hex::of(compiled.table_bytes().unwrap()));
        let (again, tables_sha256) = decode(&stored.bytes, &key(), &context(), kinds()).unwrap();
        assert_eq!((&again, tables_sha256), (&compiled, stored.tables_sha256));
        // The cells follow from what is kept.
        assert_eq!(again.table_bytes().unwrap(), compiled.table_bytes().unwrap());
        assert_eq!(again.store(&key()).unwrap(), stored);
        assert_eq!(sealed(stored.bytes.clone()), stored.bytes);
        walk(&again);
    }
}

#[test]
fn another_key_and_other_kinds_are_refused() {
    let stored = small().store(&key()).unwrap().bytes;
    assert_eq!(decode(&stored, &Sha256Hex::of("other"), &context(), kinds()), Err(DecodeError::OtherKey));
    let other = Kind::new("fs.read", TargetKind::Path, "list", EndpointClass::FsRead);
    let variants: [Vec<Kind>; 3] = [
        kinds()[..2].to_vec(),
        [kinds(), vec![other.clone()]].concat(),
        [vec![other], kinds()[1..3].to_vec()].concat(),
    ];
    for kinds in variants {
        assert!(matches!(decode(&stored, &key(), &context(), kinds), Err(DecodeError::Damaged(_))));
    }
    assert_eq!(read(b"gait-compiled-0\0"), Err(DecodeError::Foreign));
}

#[test]
fn any_one_byte_that_differs_is_found() {
    let stored = small().store(&key()).unwrap().bytes;
    for at in (0..stored.len()).step_by(1 + stored.len() / 2_000) {
        let mut bytes = stored.clone();
        bytes[at] ^= 0x10;
        assert!(read(&bytes).is_err(), "byte {at}");
        assert!(read(&stored[..at]).is_err(), "length {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Even where the digest is right, no bytes make a policy that panics or looks at what is not there.
    #[test]
    fn what_is_sealed_but_wrong_is_refused_or_walks(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        in_head in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = small().store(&key()).unwrap().bytes;
        for (at, byte) in changes {
            // Nodes and rows are most of it: else hardly a change would meet anything that says where they are.
            let at = if in_head { at.index(1_000.min(bytes.len())) } else { at.index(bytes.len()) };
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(policy) = read(&sealed(bytes)) {
            walk(&policy);
        }
    }
}
