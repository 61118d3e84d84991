//! Evidence that is kept: retention, encryption, pages, and the registry of signed packs.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use common::{Answer, PRIVATE, PUBLIC, Place, registry_digest, registry_manifest};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

/// Base64 of 32 bytes of zeros, as `head -c 32 /dev/zero | base64` prints it, and of 32 ones.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const OTHER_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn with_key(place: &Place, key: &str, line: &str) -> Answer {
    Answer::of(place.command(&line.split(' ').collect::<Vec<_>>()).env("K", key))
}

fn refused(answer: &Answer, words: &str) {
    assert_eq!((answer.code, answer.stdout.contains(words)), (6, true), "{words}: {}", answer.whole());
    assert!(!answer.stderr.contains("panicked"), "{}", answer.whole());
}

#[test]
fn what_is_encrypted_comes_back_and_the_key_stays_out_of_the_file() {
    let place = Place::new();
    place.write("note.txt", "secret note\n");
    let answer = with_key(&place, KEY, "guard encrypt note.txt --key-env K --json");
    assert_eq!(
        (answer.code, &answer.json()["path"], &answer.json()["key_ref"]),
        (0, &"note.txt.gaitenc".into(), &"K".into())
    );
    let text = place.read("note.txt.gaitenc");
    assert!(!text.contains(KEY) && !text.contains("secret"), "{text}");
    assert_eq!(fs::metadata(place.at("note.txt.gaitenc")).unwrap().permissions().mode() & 0o777, 0o600);
    fs::rename(place.at("note.txt"), place.at("before.txt")).unwrap();
    assert_eq!(
        with_key(&place, KEY, "guard decrypt note.txt.gaitenc --key-env K").stdout,
        "guard decrypt ok: note.txt\n"
    );
    assert_eq!(place.read("note.txt"), place.read("before.txt"));
    // Twice the same file is not twice the same bytes.
    with_key(&place, KEY, "guard encrypt note.txt --key-env K --out again.gaitenc");
    assert_ne!(place.json("again.gaitenc")["nonce"], place.json("note.txt.gaitenc")["nonce"]);
    refused(&with_key(&place, OTHER_KEY, "guard decrypt again.gaitenc --key-env K"), "message authentication failed");
    assert!(!place.at("again").exists(), "nothing is written by a failed decryption");
    place.write("echo-key", format!("#!/bin/sh\nprintf '%s\\n' {KEY}\n"));
    fs::set_permissions(place.at("echo-key"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.line("guard decrypt --in again.gaitenc --key-command ./echo-key --out again.txt").code, 0);
    assert_eq!(place.read("again.txt"), "secret note\n");
    refused(
        &place.line("guard decrypt again.gaitenc --key-command /bin/false"),
        "run encryption key command: /bin/false",
    );
    refused(
        &place.line("guard decrypt again.gaitenc --key-command ./nowhere"),
        "run encryption key command: ./nowhere",
    );
    // One that prints without end.
    place.write("endless", "#!/bin/sh\nexec yes\n");
    fs::set_permissions(place.at("endless"), fs::Permissions::from_mode(0o755)).unwrap();
    refused(
        &place.line("guard decrypt again.gaitenc --key-command ./endless"),
        "run encryption key command: ./endless: prints more than 4096 bytes",
    );
}

#[test]
fn records_that_are_not_what_they_should_be_are_refused_without_a_panic() {
    let place = Place::new();
    place.write("note.txt", "x");
    with_key(&place, KEY, "guard encrypt note.txt --key-env K");
    let record = place.json("note.txt.gaitenc");
    for (member, value, words) in [
        ("nonce", json!("AAAA"), "invalid nonce length: 3"),
        ("nonce", json!(""), "invalid nonce length: 0"),
        ("nonce", json!("AAAAAAAAAAAAAAAAAAAAAAAA"), "invalid nonce length: 18"),
        ("nonce", json!("!"), "decode encrypted artifact nonce"),
        ("ciphertext", json!(""), "message authentication failed"),
        ("ciphertext", json!(7), "parse encrypted artifact: "),
        ("algorithm", json!("rot13"), "unsupported encrypted artifact algorithm"),
        ("schema_id", json!("x"), "unsupported encrypted artifact schema_id"),
        ("plain_sha256", json!("00"), "decrypted payload digest mismatch"),
        ("plain_size", json!(-1), "parse encrypted artifact: "),
        ("surprise", json!(1), "parse encrypted artifact: unknown field `surprise`"),
    ] {
        let mut wrong = record.clone();
        wrong[member] = value;
        place.write("wrong.gaitenc", wrong.to_string());
        refused(&with_key(&place, KEY, "guard decrypt wrong.gaitenc --key-env K --json"), &words.replace('"', "\\\""));
        assert!(!place.at("wrong").exists());
    }
    // Its members in their order, without names.
    let order = ["schema_id", "schema_version", "created_at", "producer_version", "algorithm", "key_source", "nonce"];
    let order = order.into_iter().chain(["ciphertext", "plain_sha256", "plain_size"]);
    let array = Value::Array(order.map(|member| record[member].clone()).collect()).to_string();
    for bytes in ["", "{", "[]", "null", "\u{0}", &array] {
        place.write("wrong.gaitenc", bytes);
        assert_eq!(with_key(&place, KEY, "guard decrypt wrong.gaitenc --key-env K").code, 6, "{bytes:?}");
    }
}

#[test]
fn only_what_is_too_old_is_deleted_and_the_report_says_which() {
    let place = Place::new();
    let old = SystemTime::now() - Duration::from_secs(400 * 24 * 3600);
    for name in
        ["r/trace_old.json", "r/trace_new.json", "r/deep/evidence_pack_a.zip", "r/notes.txt", "outside/trace_x.json"]
    {
        place.write(name, "1");
        if !name.contains("new") {
            fs::File::options().write(true).open(place.at(name)).unwrap().set_modified(old).unwrap();
        }
    }
    symlink("../outside", place.at("r/link")).unwrap();
    let dry = place.line("guard retain --root r --dry-run --json").json();
    assert_eq!((&dry["scanned_files"], &dry["dry_run"]), (&3.into(), &true.into()), "{dry}");
    assert_eq!(dry["deleted_files"].as_array().unwrap().len(), 2, "{dry}");
    assert!(place.at("r/trace_old.json").exists(), "a dry run deletes nothing");
    assert_eq!(
        place.line("guard retain --root r --trace-ttl 0 --pack-ttl -1h").stdout,
        "guard retain ok: scanned=3 deleted=0\n"
    );
    let answer = place.line("guard retain --root r --report-out report.json");
    assert_eq!(answer.stdout, "guard retain ok: scanned=3 deleted=2\n");
    assert_eq!(
        place.files(),
        ["outside/trace_x.json", "r/link/trace_x.json", "r/notes.txt", "r/trace_new.json", "report.json"]
    );
    let report = place.json("report.json");
    let paths: Vec<&Value> = report["deleted_files"].as_array().unwrap().iter().map(|one| &one["path"]).collect();
    assert_eq!(paths, ["r/deep/evidence_pack_a.zip", "r/trace_old.json"]);
    refused(&place.line("guard retain r"), "unexpected positional arguments");
    refused(&place.line("guard retain --pack-ttl 7d"), "parse --pack-ttl: ");
    refused(&place.line("guard retain --root nowhere"), "scan retention root: lstat nowhere: no such file");
}

#[test]
fn evidence_that_is_none_is_named() {
    let place = Place::with_demo();
    for bytes in ["{", "[]", "7"] {
        place.write("bad.json", bytes);
        for (flag, what) in [
            ("trace", "trace"),
            ("inventory", "inventory snapshot"),
            ("regress", "regress result"),
            ("approval-audit", "approval audit"),
            ("credential-evidence", "credential evidence"),
        ] {
            let answer = place.line(&format!("guard pack --run run_demo --{flag} bad.json"));
            refused(&answer, &format!("guard pack error: parse {what} bad.json: "));
            let answer = place.line(&format!("guard pack --run run_demo --{flag} none.json"));
            refused(&answer, &format!("guard pack error: read {what} none.json: open none.json: no such file"));
        }
    }
}

#[test]
fn the_page_of_a_pack_is_part_of_what_is_signed() {
    let place = Place::with_demo();
    place.write("signer.key", PRIVATE);
    place.write("signer.pub", PUBLIC);
    let words = "guard pack --run run_demo --render-pdf --key-mode prod --private-key signer.key --out";
    let answer = place.line(&format!("{words} one.zip --json"));
    assert_eq!((answer.code, &answer.json()["rendered_artifacts"]), (0, &1.into()));
    place.line(&format!("{words} two.zip"));
    assert_eq!(fs::read(place.at("one.zip")).unwrap(), fs::read(place.at("two.zip")).unwrap());
    let verified = place.line("guard verify one.zip --profile strict --public-key signer.pub --json").json();
    assert_eq!((&verified["ok"], &verified["files_checked"]), (&true.into(), &5.into()), "{verified}");
    let incident = place.line("incident pack --from run_demo --render-pdf --out incident.zip");
    assert_eq!(incident.code, 0, "{}", incident.whole());
    assert_eq!(place.line("guard verify incident.zip").code, 0);
}

fn registry(place: &Place, words: &str) -> Answer {
    place.line(&format!("registry {words} --cache-dir cache"))
}

fn not_installed(answer: &Answer, words: &str) {
    assert_eq!((answer.code, answer.stdout.contains(words)), (2, true), "{words}: {}", answer.whole());
}

#[test]
fn a_pack_is_installed_listed_and_verified_and_a_changed_one_is_not() {
    let place = Place::new();
    place.write("signer.pub", PUBLIC);
    let pack = registry_manifest(|_| {});
    place.write("pack.json", pack.to_string());
    let url = format!("file://{}", place.at("pack.json").display());
    let answer = registry(&place, &format!("install {url} --public-key signer.pub --json"));
    assert_eq!(answer.code, 0, "{}", answer.whole());
    let (told, digest) = (answer.json(), registry_digest(&pack));
    assert_eq!(told["digest"], digest);
    assert_eq!(place.read("cache/pins/baseline.pin"), format!("sha256:{digest}\n"));
    let metadata = told["metadata_path"].as_str().unwrap().to_owned();
    let listed = registry(&place, "list --json").json();
    assert_eq!((&listed["packs"][0]["digest"], &listed["packs"][0]["pin_verified"]), (&json!(digest), &true.into()));
    let verify = format!("registry verify {metadata} --public-key signer.pub");
    assert_eq!(
        place.line(&verify).stdout,
        format!("registry verify ok: baseline@1 sha256:{digest}\npublisher: acme\n")
    );
    // Another pack of that name: the pin is not silently replaced.
    let next = registry_manifest(|next| next["use_case"] = json!("other"));
    place.write("next.json", next.to_string());
    let answer = registry(&place, "install next.json --public-key signer.pub");
    not_installed(&answer, &format!("pack baseline is pinned to sha256:{digest}"));
    assert_eq!(place.read("cache/pins/baseline.pin"), format!("sha256:{digest}\n"));
    let pinned = format!("install next.json --public-key signer.pub --pin sha256:{}", registry_digest(&next));
    assert_eq!(registry(&place, &pinned).code, 0);
    let answer = place.line(&verify);
    assert_eq!((answer.code, answer.stdout.as_str()), (2, "registry verify failed: pin mismatch for baseline\n"));
    // Bytes that were changed in the cache.
    let kept = place.read(&metadata).replace("acme", "evil");
    fs::write(place.at(&metadata), kept).unwrap();
    let answer = place.line(&verify);
    assert_eq!(
        (answer.code, answer.stdout.as_str()),
        (2, "registry verify failed: no valid signature for manifest digest\n")
    );
    assert_eq!(registry(&place, "list").stdout.lines().count(), 2, "a changed manifest is not listed");
    assert_eq!(place.line("registry list --cache-dir nowhere").stdout, "registry list ok: 0 packs\n");
}

#[test]
fn nothing_leaves_the_cache_whatever_a_pack_is_called() {
    let place = Place::new();
    place.write("signer.pub", PUBLIC);
    for (member, value) in
        [("pack_name", "../../esc"), ("pack_name", "pins"), ("pack_version", ".."), ("pack_name", "/abs")]
    {
        place.write("pack.json", registry_manifest(|pack| pack[member] = json!(value)).to_string());
        let answer = registry(&place, "install pack.json --public-key signer.pub");
        not_installed(&answer, "is not the name of a folder");
    }
    assert_eq!(place.files(), ["pack.json", "signer.pub"]);
    // A link that was put into the cache leads nowhere either.
    fs::create_dir_all(place.at("cache")).unwrap();
    fs::create_dir_all(place.at("elsewhere")).unwrap();
    symlink("../elsewhere", place.at("cache/baseline")).unwrap();
    place.write("pack.json", registry_manifest(|_| {}).to_string());
    not_installed(&registry(&place, "install pack.json --public-key signer.pub"), "leads out of the cache");
    assert_eq!(place.files(), ["pack.json", "signer.pub"]);
}
