//! Packs that are not what they say (contract, artifacts 12 A): each is refused by every command that reads it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

mod common;

use common::{PRIVATE, PUBLIC, Pack, Place, listed};
use gait_core::signature::PrivateKey;
use serde_json::{Value, json};
use std::fs;

/// What `verify` says of the pack: exit code and answer.
fn verified(place: &Place, pack: &Pack) -> (i32, Value) {
    place.write("p.zip", pack.bytes());
    let answer = place.gait(&["verify", "p.zip", "--json"]);
    (answer.code, answer.json())
}

/// Every command that works with a runpack, and how it ends when it can't.
const READERS: [(&str, &[i32]); 11] = [
    ("verify p.zip", &[2, 6]),
    ("verify chain --run p.zip", &[2, 6]),
    ("run replay p.zip", &[6]),
    ("run diff p.zip p.zip", &[6]),
    ("run diff fine.zip p.zip --output diff.json", &[6]),
    ("run diff p.zip fine.zip --output diff.json", &[6]),
    ("run receipt p.zip", &[2, 6]),
    ("run reduce p.zip", &[6]),
    ("migrate p.zip", &[6]),
    ("regress init --from p.zip", &[6]),
    ("scout signal p.zip", &[6]),
];

/// Nobody works with the pack at `p.zip`, and nothing comes of it.
fn refused(pack: &Pack) {
    let place = Place::new();
    place.write("w/p.zip", pack.bytes());
    place.write("w/fine.zip", Pack::new().bytes());
    let inside = place.at("w");
    for (line, codes) in READERS {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = common::Answer::of(place.command(&words).current_dir(&inside));
        assert!(codes.contains(&answer.code), "{line}: {}", answer.whole());
        assert!(!line.contains("diff") || answer.whole().contains("diff error: "), "{line}: {}", answer.whole());
    }
    assert_eq!(place.files(), ["w/fine.zip", "w/p.zip"]);
}

#[test]
fn a_pack_made_by_hand_is_one() {
    let (code, answer) = verified(&Place::new(), &Pack::new());
    assert_eq!((code, &answer["ok"], &answer["files_checked"]), (0, &json!(true), &json!(4)), "{answer}");
}

#[test]
fn a_manifest_that_was_edited_does_not_match_its_digest() {
    let place = Place::new();
    for (member, value) in [
        ("capture_mode", "raw"),
        ("run_id", "run_y"),
        ("producer_version", "x"),
        ("created_at", "2026-02-06T00:00:00Z"),
    ] {
        let mut pack = Pack::new();
        let mut manifest = pack.manifest();
        let stored = manifest["manifest_digest"].clone();
        manifest[member] = value.into();
        let actual = common::sealed(manifest.clone())["manifest_digest"].clone();
        pack.set_manifest(manifest);
        let (code, answer) = verified(&place, &pack);
        let mismatch = json!([{"path": "manifest.json", "expected": stored, "actual": actual}]);
        assert_eq!((code, &answer["ok"], &answer["hash_mismatches"]), (2, &json!(false), &mismatch), "{member}");
        assert_eq!(place.gait(&["run", "replay", "p.zip"]).stdout, "replay error: runpack hash mismatch\n");
        assert_eq!(place.gait(&["run", "receipt", "p.zip"]).code, 2);
        refused(&pack);
    }
}

#[test]
fn a_digest_of_zeros_is_not_printed_as_a_receipt() {
    let mut pack = Pack::new();
    let mut manifest = pack.manifest();
    manifest["manifest_digest"] = "0".repeat(64).into();
    pack.set_manifest(manifest);
    refused(&pack);
}

#[test]
fn the_standard_members_must_be_listed() {
    let place = Place::new();
    let none = Pack::new().resealed(|manifest| manifest["files"] = json!([]));
    let (code, answer) = verified(&place, &none);
    assert_eq!(code, 2);
    assert_eq!(answer["missing_files"], json!(["intents.jsonl", "refs.json", "results.jsonl", "run.json"]));
    refused(&none);
    for name in ["intents.jsonl", "refs.json", "results.jsonl", "run.json"] {
        let partial = Pack::new().resealed(|manifest| {
            manifest["files"].as_array_mut().unwrap().retain(|file| file["path"] != name);
        });
        assert_eq!(verified(&place, &partial).1["missing_files"], json!([name]));
        refused(&partial);
    }
}

#[test]
fn what_is_listed_must_be_there_and_what_is_there_must_be_listed() {
    let place = Place::new();
    let mut missing = Pack::new();
    missing.members.retain(|(name, _)| name != "refs.json");
    assert_eq!(verified(&place, &missing).1["missing_files"], json!(["refs.json"]));
    refused(&missing);
    let more = Pack::new().with("notes.txt", b"hello");
    assert_eq!(verified(&place, &more).1["undeclared_files"], json!(["notes.txt"]));
    refused(&more);
    let promised = Pack::new().resealed(|manifest| {
        manifest["files"].as_array_mut().unwrap().push(listed("../../etc/x", b""));
    });
    assert_eq!(verified(&place, &promised).1["missing_files"], json!(["../../etc/x"]));
    refused(&promised);
}

#[test]
fn content_of_another_digest_is_refused_whichever_member_it_is_in() {
    for name in ["intents.jsonl", "refs.json", "results.jsonl", "run.json"] {
        // The records stay what they are. A large member is hashed in another way than a small one.
        for blanks in [1, 3 << 20] {
            let mut pack = Pack::new();
            pack.member(name).extend(vec![b' '; blanks]);
            refused(&pack);
        }
    }
}

#[test]
fn two_members_of_one_name_are_never_ok() {
    for name in ["run.json", "manifest.json", "results.jsonl"] {
        let mut pack = Pack::new();
        let content = pack.member(name).clone();
        refused(&pack.with(name, &content));
    }
}

#[test]
fn a_member_that_is_listed_twice_is_never_ok() {
    let pack = Pack::new().resealed(|manifest| {
        let files = manifest["files"].as_array_mut().unwrap();
        files.push(files[0].clone());
    });
    let (code, answer) = verified(&Place::new(), &pack);
    assert_eq!((code, &answer["error"]), (6, &json!("manifest.json lists intents.jsonl twice")));
    refused(&pack);
}

#[test]
fn names_that_lead_out_of_a_folder_are_never_ok() {
    for name in ["../x", "/x", "a/../../x", "..", "a\\b", "C:x", "./x", "a//b"] {
        refused(&Pack::new().with(name, b"out"));
    }
}

#[test]
fn a_manifest_of_another_run_or_schema_is_told_but_can_be_graded() {
    let place = Place::new();
    let other_run = Pack::new().resealed(|manifest| manifest["run_id"] = "run_y".into());
    let (code, answer) = verified(&place, &other_run);
    assert_eq!(code, 2);
    assert_eq!(answer["manifest_errors"], json!(["run_id is \"run_y\", that of run.json is \"run_x\""]));
    assert_eq!(place.gait(&["run", "receipt", "p.zip"]).code, 2);

    let other_schema = Pack::new().resealed(|manifest| manifest["schema_version"] = "9.0.0".into());
    let (code, answer) = verified(&place, &other_schema);
    assert_eq!((code, &answer["manifest_errors"]), (2, &json!(["unsupported schema_version \"9.0.0\""])));
    assert!(
        place.gait(&["verify", "p.zip"]).stdout.contains("\nmanifest errors: unsupported schema_version \"9.0.0\"\n")
    );
    let graded = place.gait(&["regress", "bootstrap", "--from", "p.zip", "--json"]);
    assert_eq!((graded.code, &graded.json()["top_failure_reason"]), (5, &json!("manifest_schema_invalid")));
}

#[test]
fn digests_of_records_are_computed_where_that_is_asked_for() {
    let place = Place::with_demo();
    assert_eq!(place.line("verify run_demo --require-digests").code, 0);
    let line = r#"{"intent_id":"i","tool_name":"t","args":{"a":1},"args_digest":"00"}"#;
    place.write("p.zip", Pack::new().replaced("intents.jsonl", line.as_bytes()).bytes());
    assert_eq!(place.line("verify p.zip").code, 0);
    let answer = place.line("verify p.zip --require-digests --json");
    // printf '{"a":1}' | sha256sum
    let actual = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862";
    let wrong = json!([{"path": "intents.jsonl", "intent_id": "i", "expected": "00", "actual": actual}]);
    assert_eq!((answer.code, &answer.json()["digest_mismatches"]), (2, &wrong), "{}", answer.whole());
}

#[test]
fn a_name_that_can_not_be_a_file_is_none_however_it_is_given() {
    let place = Place::new();
    for id in ["../x", "a/b", "x y", "..", ".", "é", "a\\b", "run.x"] {
        place.write("in.json", json!({"run": {"run_id": id}}).to_string());
        assert_eq!(place.gait(&["run", "record", "in.json"]).code, 6, "{id}");
        place.write("in.json", json!({"run": {"run_id": "fine"}}).to_string());
        assert_eq!(place.gait(&["run", "record", "in.json", "--run-id", id]).code, 6, "{id}");
    }
    assert_eq!(place.files(), ["in.json"]);
}

#[test]
fn a_pack_with_a_name_that_leads_elsewhere_makes_no_file_there() {
    let place = Place::new();
    let mut run: Value = serde_json::from_slice(Pack::new().member("run.json")).unwrap();
    run["run_id"] = "../../out".into();
    let pack = Pack::new()
        .replaced("run.json", run.to_string().as_bytes())
        .replaced("results.jsonl", b"")
        .resealed(|manifest| manifest["run_id"] = "../../out".into());
    place.write("a/b/p.zip", pack.bytes());
    let inside = place.at("a/b");
    for (line, code) in [
        ("migrate p.zip", 0),
        ("run reduce p.zip", 6),
        ("run receipt p.zip", 1),
        ("regress init --from p.zip", 0),
        ("scout signal p.zip", 0),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = common::Answer::of(place.command(&words).current_dir(&inside));
        assert_eq!(answer.code, code, "{line}: {}", answer.whole());
    }
    let files = place.files();
    assert!(files.len() > 3 && files.iter().all(|file| file.starts_with("a/b/")), "{files:?}");
    assert!(
        files.contains(&"a/b/p_migrated.zip".to_string())
            && files.contains(&"a/b/fixtures/out/runpack.zip".to_string())
    );
}

#[test]
fn every_command_that_makes_a_runpack_can_sign_it() {
    let place = Place::with_demo();
    place.write("k.key", PRIVATE);
    place.write("k.pub", PUBLIC);
    place.write("in.json", r#"{"run":{"run_id":"run_r"},"intents":[{"intent_id":"i","tool_name":"t"}]}"#);
    for (line, pack) in [
        ("run record in.json --private-key k.key", "run_r"),
        ("migrate run_demo --private-key k.key --out m.zip", "m.zip"),
        ("run reduce run_r --private-key k.key --out r.zip", "r.zip"),
        ("demo --private-key k.key", "run_demo"),
    ] {
        let made = place.line(line);
        assert_eq!(made.code, 0, "{line}: {}", made.whole());
        let strict = place.gait(&["verify", pack, "--profile", "strict", "--public-key", "k.pub", "--json"]);
        assert_eq!((strict.code, &strict.json()["signature_status"]), (0, &json!("verified")), "{line}");
    }
}

#[test]
fn no_command_drops_signatures_without_a_word() {
    let place = Place::new();
    place.write("k.key", PRIVATE);
    place.write("in.json", r#"{"run":{"run_id":"run_r"},"intents":[{"intent_id":"i","tool_name":"t"}]}"#);
    assert_eq!(place.line("run record in.json --private-key k.key").code, 0);
    for line in ["migrate run_r", "run reduce run_r"] {
        let text = place.line(line);
        assert!(text.code == 0 && text.stdout.contains("\nwarning: signatures "), "{line}: {}", text.whole());
        let warnings = place.line(&format!("{line} --json")).json()["warnings"].clone();
        assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{line}: {warnings}");
        let signed = place.line(&format!("{line} --private-key k.key --json")).json();
        assert_eq!(signed.get("warnings"), None, "{line}");
    }
}

#[test]
fn a_private_key_with_a_foreign_public_half_is_refused() {
    let place = Place::with_demo();
    let foreign = PrivateKey::from_seed([2; 32]).to_base64();
    // The first 40 characters are within the seed, the last 40 within the public half.
    place.write("mixed.key", format!("{}{}", &PRIVATE[..48], &foreign[48..]));
    for line in ["demo --private-key mixed.key", "verify run_demo --private-key mixed.key"] {
        let answer = place.line(line);
        assert_eq!(answer.code, 6, "{line}: {}", answer.whole());
        assert!(answer.stdout.contains("its public half does not belong to its seed"), "{}", answer.whole());
    }
}

/// A pack with the signatures that `change` makes of one that holds.
fn signed(place: &Place, change: impl FnOnce(&mut Vec<Value>)) {
    place.write("k.key", PRIVATE);
    place.write("k.pub", PUBLIC);
    place.write("plain.zip", Pack::new().bytes());
    assert_eq!(place.line("migrate plain.zip --private-key k.key --out s.zip").code, 0);
    let bytes = fs::read(place.at("s.zip")).unwrap();
    let mut container = gait_core::runpack::container::Container::open(std::io::Cursor::new(bytes)).unwrap();
    let names: Vec<String> = container.members().iter().map(|member| member.name.clone()).collect();
    let members = names.into_iter().map(|name| (name.clone(), container.read_all(&name, 1 << 20).unwrap().unwrap()));
    let mut pack = Pack { members: members.collect() };
    let mut manifest = pack.manifest();
    change(manifest["signatures"].as_array_mut().unwrap());
    pack.set_manifest(manifest);
    place.write("s.zip", pack.bytes());
}

#[test]
fn one_good_signature_beside_a_bad_one_is_verified_with_the_error_of_the_bad_one() {
    let place = Place::new();
    signed(&place, |signatures| {
        let mut bad = signatures[0].clone();
        bad["alg"] = "rsa".into();
        signatures.push(bad);
    });
    let answer = place.line("verify s.zip --profile strict --public-key k.pub --json");
    let json = answer.json();
    assert_eq!((answer.code, &json["signature_status"], &json["signatures_valid"]), (0, &json!("verified"), &json!(1)));
    assert_eq!(json["signature_errors"], json!(["unsupported alg: rsa"]));
}

#[test]
fn a_signature_that_names_no_key_counts_only_if_it_holds() {
    let place = Place::new();
    signed(&place, |signatures| signatures[0]["key_id"] = "".into());
    assert_eq!(place.line("verify s.zip --profile strict --public-key k.pub").code, 0);
    place.write("other.pub", PrivateKey::from_seed([2; 32]).public().to_base64());
    let answer = place.line("verify s.zip --profile strict --public-key other.pub --json");
    assert_eq!((answer.code, &answer.json()["signature_errors"]), (2, &json!(["signature verification failed"])));
}
