//! The way to a strict verification, walked by what gait prints.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

mod common;

use common::{Answer, PRIVATE, PUBLIC, Place};
use std::fs;

/// Somebody who has read nothing but what gait prints.
#[test]
fn what_is_printed_leads_from_a_key_to_a_strict_verification_elsewhere() {
    let place = Place::new();
    place.write("in.json", r#"{"run":{"run_id":"run_x"}}"#);
    let shell = |line: &str| {
        let path = assert_cmd::cargo::cargo_bin("gait");
        let script = format!("gait() {{ \"{}\" \"$@\"; }}; {line}", path.display());
        let mut command = assert_cmd::Command::new("bash");
        Answer::of(command.args(["-c", &script]).current_dir(place.path()).env("HOME", place.at("home")))
    };
    let quoted =
        |text: &str, from: &str| text.split(from).nth(1).unwrap().split([';', '\n', '`']).next().unwrap().to_string();

    // Unsigned: strict says how to sign.
    assert_eq!(place.line("keys init").code, 0);
    assert_eq!(place.line("run record in.json").code, 0);
    let unsigned = place.line("verify run_x --profile strict");
    assert!(
        unsigned.code == 2 && unsigned.stderr.contains("gait run record --private-key <file>"),
        "{}",
        unsigned.whole()
    );

    // Signed with the key that `keys init` names: the answer says how to verify, and here no flag is needed.
    let key = quoted(&place.line("keys init").stdout, "sign with: --private-key ");
    let recorded = place.gait(&["run", "record", "in.json", "--private-key", &key]);
    let with = quoted(&recorded.stdout, "\nverify_with=");
    assert_eq!(shell(&with).code, 0, "{}", recorded.whole());
    assert_eq!(place.line("verify run_x --profile strict").code, 0);

    // Elsewhere, without any key: strict says what to pass, and where it comes from.
    fs::rename(place.at("home"), place.at("other home")).unwrap();
    let stranger = place.line("verify run_x --profile strict");
    assert_eq!(stranger.code, 6);
    assert_eq!(place.line("verify chain --run run_x --profile strict").stderr, stranger.stderr);
    let export = quoted(&stranger.stderr, "--public-key <file> as `");
    assert_eq!(export, "gait keys export-public", "{}", stranger.whole());
    let exported = shell(&format!("HOME='other home' {export} --out signer.pub"));
    assert_eq!(exported.code, 0, "{}", exported.whole());
    assert_eq!(place.line("verify run_x --profile strict --public-key signer.pub").code, 0);

    // The wrong key: strict says that another is needed.
    place.write("wrong.pub", PUBLIC);
    let wrong = place.line("verify run_x --profile strict --public-key wrong.pub");
    assert!(wrong.code == 2 && wrong.stderr.contains("--public-key"), "{}", wrong.whole());
    place.write("k e y", PRIVATE);
    for words in [
        &["demo", "--private-key", "k e y"][..],
        &["run", "record", "in.json", "--private-key", "k e y", "--out-dir", "it's here"],
    ] {
        let odd = place.gait(words);
        assert_eq!(shell(&quoted(&odd.stdout, "\nverify_with=")).code, 0, "{}", odd.whole());
    }
}
