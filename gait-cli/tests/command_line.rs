//! What the command line answers: help, errors, hints, JSON.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

mod common;

use common::{PRIVATE, PUBLIC, Place};
use serde_json::Value;
use std::path::Path;

/// The words of every verb, from the usage block.
fn verbs(place: &Place) -> Vec<Vec<String>> {
    let usage = place.gait(&["--help"]);
    assert_eq!(usage.code, 0);
    let word = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
    let path = |line: &str| -> Vec<String> { line.split(' ').skip(1).take_while(word).map(str::to_string).collect() };
    let lines = usage.stdout.lines().skip(1).take_while(|line| line.starts_with("  gait "));
    lines.map(|line| path(line.trim())).filter(|path| path != &["version"] && path != &["help"]).collect()
}

#[test]
fn every_verb_has_help_an_explanation_and_json_errors() {
    let place = Place::new();
    let all = verbs(&place);
    assert!(all.len() > 15, "{all:?}");
    for path in &all {
        let words = |more: &[&'static str]| -> Vec<String> {
            path.iter().cloned().chain(more.iter().map(ToString::to_string)).collect()
        };
        let ask = |more: &[&'static str]| {
            let words = words(more);
            place.gait(&words.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let help = ask(&["--help"]);
        assert!(help.code == 0 && help.stdout.starts_with("Usage:\n  gait "), "{path:?}: {}", help.whole());
        let explained = ask(&["--explain"]);
        assert!(explained.code == 0 && explained.stdout.matches('\n').count() == 1, "{path:?}: {}", explained.whole());
        let error = ask(&["--no-such-flag-anywhere", "--json"]);
        assert_eq!(error.code, 6, "{path:?}: {}", error.whole());
        if error.stdout.starts_with('{') {
            assert_eq!(error.json()["error"], "flag provided but not defined: -no-such-flag-anywhere");
        } else {
            assert!(error.stdout.contains("flag provided but not defined"), "{path:?}: {}", error.whole());
        }
    }
}

#[test]
fn a_mistyped_flag_is_answered_with_the_nearest_one() {
    let place = Place::new();
    insta::assert_snapshot!(place.gait(&["verify", "x", "--profil", "strict"]).whole(), @r"
    exit 6
    --- stdout
    verify error: flag provided but not defined: -profil
    --- stderr
    hint: did you mean `--profile`?
    ");
    let answer = place.gait(&["verify", "x", "--profil", "strict", "--json"]).json();
    assert_eq!(answer["hint"], "did you mean `--profile`?");
    assert_eq!(answer["error_code"], "invalid_input");
}

#[test]
fn a_mistyped_command_is_answered_with_the_nearest_one() {
    let place = Place::new();
    for (words, hint) in [
        (&["verfy"][..], "hint: did you mean `gait verify`?\n"),
        (&["regres"], "hint: did you mean `gait regress`?\n"),
        (&["run", "dif"], "hint: did you mean `gait run diff`?\n"),
        (&["help", "scuot"], "hint: did you mean `gait help scout`?\n"),
        (&["help", "run", "dif"], "hint: did you mean `gait help run diff`?\n"),
    ] {
        let answer = place.gait(words);
        assert_eq!((answer.code, answer.stderr.as_str()), (6, hint), "{}", answer.whole());
        assert!(answer.stdout.starts_with("Usage:\n"));
    }
    let answer = place.gait(&["bogus"]);
    assert_eq!((answer.code, answer.stderr.as_str()), (6, ""));
}

#[test]
fn no_words_and_version_print_the_version() {
    let place = Place::new();
    for words in [&[][..], &["version"], &["--version"], &["-v", "--json"]] {
        let answer = place.gait(words);
        assert!(answer.code == 0 && answer.stdout.starts_with("gait "), "{}", answer.whole());
    }
    assert_eq!(place.gait(&["version", "--explain"]).stdout, "Print the CLI version.\n");
}

#[test]
fn flags_may_stand_anywhere_and_take_their_value_either_way() {
    let place = Place::new();
    place.gait(&["demo"]);
    let lines: [&[&str]; 4] = [
        &["run", "replay", "--allow-tools", "a", "run_demo", "--json"],
        &["run", "replay", "run_demo", "-allow-tools=a", "-json"],
        &["regress", "init", "--json", "--from", "run_demo"],
        &["regress", "init", "--name=x", "--from=run_demo", "--json=true"],
    ];
    for words in lines {
        let answer = place.gait(words);
        assert_eq!((answer.code, &answer.json()["ok"]), (0, &Value::Bool(true)), "{}", answer.whole());
    }
}

#[test]
fn after_two_dashes_everything_is_an_input() {
    let answer = Place::new().gait(&["verify", "--", "--json"]);
    assert_eq!(answer.stdout, "verify error: runpack not found for run_id: --json\n");
}

#[test]
fn a_missing_file_is_invalid_input_whatever_it_is_called() {
    let place = Place::new();
    for name in ["clock.zip", "block.zip", "timeout.zip"] {
        let answer = place.gait(&["verify", name]);
        assert_eq!((answer.code, answer.stdout), (6, format!("verify error: runpack not found: {name}\n")));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    place.gait(&["demo"]);
    let script = format!(
        "{} run replay run_demo --json | true; exit ${{PIPESTATUS[0]}}",
        assert_cmd::cargo::cargo_bin("gait").display()
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(place.path()).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_run_id_can_not_lead_out_of_the_output_folder() {
    let place = Place::new();
    for id in ["../../x", "a/b", "x y", "..", "a\u{0}b"] {
        let input = serde_json::json!({"run": {"run_id": id}}).to_string();
        std::fs::write(place.path().join("in.json"), input).unwrap();
        let answer = place.gait(&["run", "record", "in.json"]);
        assert_eq!(answer.code, 6, "{}", answer.whole());
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn what_we_sign_passes_the_strict_profile_and_a_foreign_key_does_not() {
    let place = Place::new();
    let signed = place.command(&["demo", "--private-key-env", "K"]).env("K", PRIVATE).output().unwrap();
    assert!(signed.status.success());
    let verify = |key: &str| {
        let words = ["verify", "run_demo", "--profile", "strict", "--public-key-env", "P", "--json"];
        let output = place.command(&words).env("P", key).output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer["signature_status"].as_str().map(str::to_string))
    };
    assert_eq!(verify(PUBLIC), (Some(0), Some("verified".into())));
    let foreign = "D0OcbNbG3AtaYb2d1skqHzYbv2BCHsTRwQC7d4dO/OU=";
    assert_ne!(verify(foreign).0, Some(0));
}

#[test]
fn dropping_signatures_is_not_silent() {
    let place = Place::new();
    place.command(&["demo", "--private-key-env", "K"]).env("K", PRIVATE).assert().success();
    let migrated = place.gait(&["migrate", "run_demo"]);
    assert!(migrated.code == 0 && migrated.stdout.contains("\nwarning: signatures"), "{}", migrated.whole());
    assert!(place.gait(&["migrate", "run_demo", "--json"]).json()["warnings"][0].is_string());
    let again = place.command(&["migrate", "run_demo", "--private-key-env", "K"]).env("K", PRIVATE).output().unwrap();
    assert!(!String::from_utf8_lossy(&again.stdout).contains("warning"));
}

#[test]
fn one_changed_byte_of_a_fixture_stops_the_regression() {
    let place = Place::new();
    place.gait(&["demo"]);
    assert_eq!(place.gait(&["regress", "bootstrap", "--from", "run_demo", "--junit", "o/j.xml"]).code, 0);
    let path = place.path().join("fixtures/run_demo/runpack.zip");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(place.gait(&["regress", "run"]).code, 6);
}

#[test]
fn what_was_set_by_hand_survives_another_init() {
    let place = Place::new();
    place.gait(&["demo"]);
    place.gait(&["regress", "init", "--from", "run_demo"]);
    let (config, fixture) = (place.path().join("gait.yaml"), place.path().join("fixtures/run_demo/fixture.json"));
    std::fs::write(&config, "fixture_set: nightly\nfixtures:\n- {name: run_demo, runpack: fixtures/run_demo/runpack.zip, guarded: {policy: p}}\n").unwrap();
    let text = std::fs::read_to_string(&fixture).unwrap();
    std::fs::write(&fixture, text.replace("\"expected_replay_exit_code\": 0", "\"expected_replay_exit_code\": 2"))
        .unwrap();
    assert_eq!(place.gait(&["regress", "init", "--from", "run_demo"]).code, 0);
    let read = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    assert_eq!(read(&config)["fixture_set"], "nightly");
    assert_eq!(read(&config)["fixtures"][0]["guarded"]["policy"], "p");
    assert_eq!(read(&fixture)["expected_replay_exit_code"], 2);
}

#[test]
fn bootstrap_counts_as_both_milestones() {
    let place = Place::new();
    place.gait(&["demo"]);
    place
        .command(&["regress", "bootstrap", "--from", "run_demo"])
        .env("GAIT_ADOPTION_LOG", "log/a.jsonl")
        .assert()
        .success();
    let line = std::fs::read_to_string(place.path().join("log/a.jsonl")).unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["milestones"], serde_json::json!(["A3", "A4"]));
}

#[test]
fn a_failed_write_is_an_io_failure_and_leaves_nothing() {
    let place = Place::new();
    std::fs::write(place.path().join("gait-out"), "a file where the folder should be").unwrap();
    let answer = place.gait(&["demo", "--json"]);
    assert_eq!((answer.code, answer.json()["error_category"].as_str()), (1, Some("io_failure")), "{}", answer.whole());
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn an_evidence_pack_with_a_changed_or_added_member_is_not_ok() {
    let place = Place::new();
    place.gait(&["demo"]);
    assert_eq!(place.gait(&["guard", "pack", "--run", "run_demo", "--out", "ev.zip"]).code, 0);
    assert_eq!(place.gait(&["guard", "verify", "ev.zip"]).code, 0);
    let original = std::fs::read(place.path().join("ev.zip")).unwrap();
    let mut accepted = 0;
    for at in (0..original.len()).step_by(7) {
        let mut changed = original.clone();
        changed[at] ^= 0x20;
        std::fs::write(place.path().join("ev.zip"), changed).unwrap();
        accepted += usize::from(place.gait(&["guard", "verify", "ev.zip"]).code == 0);
    }
    // Times and attributes of the container are nobody's content.
    assert!(accepted < original.len() / 7 / 3, "{accepted} of {} changes accepted", original.len() / 7);
}
