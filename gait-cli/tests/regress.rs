//! `gait regress`: graders, candidates, allowed files, and sets that can't be loaded (contract, artifacts 5).
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

mod common;

use common::Place;
use serde_json::json;
use std::fs;

#[test]
fn graders_compare_with_the_candidate_and_allow_what_is_listed() {
    let place = Place::with_runs();
    assert_eq!(place.line("regress init --from run_demo --name f").code, 0);
    let mut fixture = place.json("fixtures/f/fixture.json");
    fixture["candidate_runpack"] = "../../gait-out/runpack_run_m.zip".into();
    fixture["diff_allow_changed_files"] = json!([" refs.json ", "", "intents.jsonl", "intents.jsonl"]);
    fixture["expected_replay_exit_code"] = 2.into();
    place.write("fixtures/f/fixture.json", fixture.to_string());
    let answer = place.line("regress run --config ./gait.yaml --junit o/j.xml --json");
    let json = answer.json();
    assert_eq!((answer.code, &json["failed"], &json["graders"]), (5, &json!(2), &json!(3)), "{}", answer.whole());
    assert_eq!(json["next_command"], "gait regress run --config ./gait.yaml --json");
    assert_eq!(json["artifact_paths"], json!(["regress_result.json", "o/j.xml"]));
    let graders = place.json("regress_result.json")["graders"].clone();
    let details = &graders[0]["details"];
    assert_eq!(graders[0]["reason_codes"], json!(["unexpected_diff"]));
    assert_eq!(details["allowed_files"], json!(["intents.jsonl", "refs.json"]));
    assert_eq!(details["changed_files"], json!(["intents.jsonl", "refs.json", "results.jsonl"]));
    assert_eq!(details["unexpected_files"], json!(["results.jsonl"]));
    assert_eq!(graders[1]["reason_codes"], json!(["unexpected_exit_code"]));
    assert!(place.read("o/j.xml").contains("<failure message=\"unexpected_exit_code\" type=\"regress_failure\">"));
    fixture["diff_allow_changed_files"] = json!(["refs.json", "intents.jsonl", "results.jsonl"]);
    fixture["expected_replay_exit_code"] = 0.into();
    place.write("fixtures/f/fixture.json", fixture.to_string());
    assert_eq!(place.line("regress run").code, 0);
    fixture["candidate_runpack"] = "none.zip".into();
    place.write("fixtures/f/fixture.json", fixture.to_string());
    assert_eq!(place.line("regress run --json").json()["top_failure_reason"], "candidate_path_invalid");
}

#[test]
fn a_set_that_can_not_be_loaded_says_which_entry_and_writes_nothing() {
    let place = Place::with_runs();
    assert_eq!(place.line("regress init --from run_demo --name f").code, 0);
    let entry =
        |name: &str, run: &str, pack: &str| json!({"fixtures": [{"name": name, "run_id": run, "runpack": pack}]});
    let pack = "fixtures/f/runpack.zip";
    for (config, words) in [
        (json!({"schema_id": "x"}), "unsupported config schema_id: x"),
        (json!({"schema_version": "x"}), "unsupported config schema_version: x"),
        (json!({}), "no fixtures configured"),
        (entry("", "", pack), "fixture name is required"),
        (entry("f", "", ""), "fixture runpack is required for f"),
        (entry("f", "", "x.zip"), "fixture runpack missing for f: stat x.zip: no such file or directory"),
        (entry("g", "", pack), "fixture metadata name mismatch for g"),
        (entry("f", "other", pack), "fixture run_id mismatch for f"),
        (entry("f", "", "m.json"), "read fixture runpack for f: open zip: zip: not a valid zip file"),
    ] {
        place.write("gait.yaml", config.to_string());
        assert_eq!(place.line("regress run").stdout, format!("regress run error: {words}\n"));
    }
    place.write("gait.yaml", "null");
    assert_eq!(place.line("regress run").stdout, "regress run error: no fixtures configured\n");
    assert!(!place.at("regress_result.json").exists());
    for broken in ["[]", "fixtures: 3", "{"] {
        place.write("gait.yaml", broken);
        assert!(place.line("regress run").stdout.starts_with("regress run error: parse config: "), "{broken}");
    }
}

#[test]
fn a_stray_folder_among_the_fixtures_is_named_before_anything_is_written() {
    let place = Place::with_runs();
    place.write("fixtures/broken/note.txt", "");
    place.write("fixtures/Not a Fixture/x", "");
    place.write("fixtures/file", "");
    let before = place.files();
    let answer = place.line("regress init --from run_demo");
    let words =
        "regress init error: read fixture metadata: open fixtures/broken/fixture.json: no such file or directory\n";
    assert_eq!((answer.code, answer.stdout.as_str()), (6, words));
    assert_eq!(place.files(), before);
    fs::remove_dir_all(place.at("fixtures/broken")).unwrap();
    place.write("gait.yaml", "fixtures: 3\n");
    let before = place.files();
    assert_eq!(place.line("regress init --from run_demo").code, 6);
    assert_eq!(place.files(), before);
}
