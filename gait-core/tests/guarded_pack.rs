//! Packs of guarded runs, compared with those that the contract's own builder made.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::io::Cursor;
use std::path::{Path, PathBuf};

use gait_core::guarded::{PackSource, Receipt, write_guarded_pack};
use gait_core::journal::Checker;
use gait_core::runpack::container::Container;
use gait_core::signature::PrivateKey;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guarded").join(name)
}

fn members(pack: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut container = Container::open(Cursor::new(pack)).unwrap();
    let names: Vec<String> = container.members().iter().map(|member| member.name.clone()).collect();
    names
        .into_iter()
        .map(|name| {
            let bytes = container.read_all(&name, 1 << 20).unwrap().unwrap();
            (name, bytes)
        })
        .collect()
}

fn member<'a>(members: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    &members.iter().find(|(n, _)| n == name).unwrap().1
}

/// Packs the journal of an existing pack again.
fn repack(pack: &[u8]) -> Vec<u8> {
    let old = members(pack);
    let folder = tempfile::tempdir().unwrap();
    let segment = folder.path().join("000001.jsonl");
    std::fs::write(&segment, member(&old, "decisions/000001.jsonl")).unwrap();
    let mut checker = Checker::new();
    checker.segment(&mut member(&old, "decisions/000001.jsonl")).unwrap();
    let (ledger, chain) = checker.finish().unwrap();
    let initial: Receipt = serde_json::from_slice(member(&old, "guard.json")).unwrap();
    let key = PrivateKey::from_base64(std::fs::read_to_string(data("test.key")).unwrap().trim()).unwrap();
    let mut out = Vec::new();
    let source = PackSource {
        ledger: &ledger,
        chain: &chain,
        segments: &[segment],
        initial: &initial,
        policy_yaml: member(&old, "policy.yaml"),
        key: &key,
    };
    write_guarded_pack(&mut out, &source).unwrap();
    out
}

#[test]
fn all_members_of_a_sealed_run_are_those_of_the_contract() {
    let pack = std::fs::read(data("sealed.zip")).unwrap();
    for ((name, actual), (expected_name, expected)) in members(&repack(&pack)).iter().zip(members(&pack)) {
        assert_eq!(*name, expected_name);
        assert_eq!(String::from_utf8_lossy(actual), String::from_utf8_lossy(&expected), "{name}");
    }
}

#[test]
fn all_members_of_a_complete_run_are_those_of_the_contract_but_for_its_end_by_the_clock() {
    for pack in ["complete.zip", "again.zip", "changed.zip"] {
        let pack = std::fs::read(data(pack)).unwrap();
        // The builder takes the end of the run from a clock; ours is start plus the journal's last time.
        for ((name, actual), (_, expected)) in members(&repack(&pack)).iter().zip(members(&pack)) {
            if !["run.json", "guard.json", "manifest.json"].contains(&name.as_str()) {
                assert_eq!(String::from_utf8_lossy(actual), String::from_utf8_lossy(&expected), "{name}");
            }
        }
    }
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let pack = std::fs::read(data("complete.zip")).unwrap();
    assert!(repack(&pack) == repack(&pack));
}
