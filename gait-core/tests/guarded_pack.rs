//! Packs of guarded runs, compared with those that the contract's own builder made.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::io::Cursor;
use std::path::{Path, PathBuf};

use gait_core::guarded::trust::{Keys, Trust, trust};
use gait_core::guarded::verify::{Kind, check, embedded_key, kind};
use gait_core::guarded::{PackSource, Presigned, Receipt, write_guarded_pack};
use gait_core::journal::{Checker, Segments, Writer};
use gait_core::runpack::container::Container;
use gait_core::runpack::verify::integrity;
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
        presigned: &Presigned::default(),
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

/// Everything `verify` finds, with the pack's own key.
fn findings(pack: &[u8]) -> Vec<String> {
    let Ok(mut container) = Container::open(Cursor::new(pack)) else { return vec!["not a container".into()] };
    let integrity = match integrity(&mut container) {
        Ok(integrity) => integrity,
        Err(error) => return vec![error.to_string()],
    };
    if kind(&mut container, &integrity) != Kind::Guarded {
        return vec!["not a guarded pack".into()];
    }
    let report = check(&mut container, &integrity);
    let embedded = embedded_key(&mut container);
    let signable = integrity.signable_digest;
    let keys = Keys { pinned: None, local: None, embedded: embedded.as_ref() };
    let (trusted, _) = trust(&integrity.manifest.signatures, &signable, keys);
    let mut found = report.errors;
    if trusted != Trust::SelfAttested {
        found.push(format!("trust: {}", trusted.word()));
    }
    found
}

#[test]
fn the_packs_of_the_contract_are_accepted() {
    for name in ["complete.zip", "again.zip", "changed.zip", "sealed.zip"] {
        assert_eq!(findings(&std::fs::read(data(name)).unwrap()), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_packs_that_we_write_are_accepted() {
    let pack = std::fs::read(data("complete.zip")).unwrap();
    assert_eq!(findings(&repack(&pack)), Vec::<String>::new());
}

#[test]
fn no_forgery_of_the_contract_is_accepted() {
    let mut count = 0;
    for entry in std::fs::read_dir(data("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // A thief's own key shows only when another one is pinned.
        if !name.starts_with("forged-") || name == "forged-signed-anew-by-a-thief-pinned-key.zip" {
            continue;
        }
        count += 1;
        assert!(!findings(&std::fs::read(&path).unwrap()).is_empty(), "{name}");
    }
    assert_eq!(count, 21);
}

/// The first bytes of the compressed content of each member, as ranges.
fn compressed(pack: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while pack[at..].starts_with(b"PK\x03\x04") {
        let number = |at: usize| usize::from(u16::from_le_bytes([pack[at], pack[at + 1]]));
        let start = at + 30 + number(at + 26) + number(at + 28);
        let end = start + pack[start..].windows(4).position(|w| w == b"PK\x07\x08").unwrap();
        ranges.push(start..end);
        at = end + 16;
    }
    ranges
}

#[derive(Default)]
struct Memory(Vec<u8>);

impl Segments for Memory {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn key() -> PrivateKey {
    PrivateKey::from_base64(std::fs::read_to_string(data("test.key")).unwrap().trim()).unwrap()
}

/// The first four lines of the torn journal (open, fork, define, decision), sealed.
fn small_pack() -> Vec<u8> {
    let torn = std::fs::read(data("torn/decisions/000001.jsonl")).unwrap();
    let lines: Vec<&[u8]> = torn.split_inclusive(|b| *b == b'\n').take(4).collect();
    let mut checker = Checker::new();
    for line in &lines {
        checker.line(line).unwrap();
    }
    let (ledger, chain, _) = checker.unfinished().unwrap();
    let writer = Writer::resume(Memory(lines.concat()), key(), ledger.open(), chain, 0, ledger.last_t());
    let journal = writer.seal(0, "2026-03-07T23:00:07Z".into()).unwrap().segments.0;
    pack_of(&journal, "torn/guard.json", "torn/policy.yaml")
}

fn pack_of(journal: &[u8], guard: &str, policy: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let segment = folder.path().join("000001.jsonl");
    std::fs::write(&segment, journal).unwrap();
    let mut checker = Checker::new();
    checker.segment(&mut &*journal).unwrap();
    let (ledger, chain) = checker.finish().unwrap();
    let initial: Receipt = serde_json::from_slice(&std::fs::read(data(guard)).unwrap()).unwrap();
    let policy_yaml = std::fs::read(data(policy)).unwrap();
    let source = PackSource {
        ledger: &ledger,
        chain: &chain,
        segments: &[segment],
        initial: &initial,
        policy_yaml: &policy_yaml,
        key: &key(),
        presigned: &Presigned::default(),
    };
    let mut out = Vec::new();
    write_guarded_pack(&mut out, &source).unwrap();
    out
}

#[test]
fn a_change_of_any_byte_of_a_pack_is_found() {
    let pack = small_pack();
    assert_eq!(findings(&pack), Vec::<String>::new());
    let content = compressed(&pack);
    let whole = members(&pack);
    let mut same_content = 0;
    for at in 0..pack.len() {
        let mut changed = pack.clone();
        changed[at] ^= 1;
        if findings(&changed).is_empty() {
            // The contract's one exception: another deflate token for the very same content.
            assert!(content.iter().any(|range| range.contains(&at)), "byte {at}");
            assert!(members(&changed) == whole, "byte {at}");
            same_content += 1;
        }
    }
    assert!(same_content <= 1 + pack.len() / 1000, "{same_content} of {}", pack.len());
}
