//! The guarded grader on the contract's packs (contract guarded-run 6).
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use gait_core::regress::config::ConfigFixture;
use gait_core::regress::fixture::Fixture;
use gait_core::regress::grade::{GradeStatus, Graded, Subject, grade};
use gait_core::regress::guarded::graders_of;
use gait_core::regress::survey::Survey;
use gait_core::runpack::open::Runpack;
use serde_json::{Value, json};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guarded").join(name)
}

/// What the guarded grader says of `complete.zip` with these settings.
fn graded(settings: Value, candidate: &str) -> Graded {
    let mut entry = ConfigFixture { name: "net".into(), ..ConfigFixture::default() };
    entry.more.insert("guarded".into(), settings);
    let fixture = Fixture { name: "net".into(), candidate_runpack: candidate.into(), ..Fixture::default() };
    let runpack = data("complete.zip");
    let mut pack: Runpack<BufReader<File>> = Runpack::open_path(&runpack).unwrap();
    let folder = data("");
    let survey = Survey::of(&mut pack).unwrap();
    let mut subject = Subject {
        entry: &entry,
        fixture: &fixture,
        folder: &folder,
        runpack: &runpack,
        pack: &mut pack,
        survey: &survey,
    };
    let graders = graders_of(&entry).unwrap();
    grade(graders[3], &mut subject)
}

fn reasons(settings: Value, candidate: &str) -> BTreeSet<String> {
    graded(settings, candidate).reason_codes.into_iter().collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn two_runs_that_did_the_same_pass_the_strictest_settings() {
    let settings = json!({"actions": "exact", "compare": "reasons", "require_layers": ["landlock"]});
    assert_eq!(graded(settings, "again.zip").status, GradeStatus::Pass);
}

// `changed.zip`: one more program may run, one new read, exit code 3.

#[test]
fn a_flip_an_exit_code_and_a_new_action_are_told_apart() {
    assert_eq!(reasons(json!({}), "changed.zip"), set(&["exit_code_drift", "verdict_drift"]));
    let all = set(&["exit_code_drift", "new_action", "verdict_drift"]);
    assert_eq!(reasons(json!({"actions": "no_new"}), "changed.zip"), all);
    let quiet = json!({"actions": "exact", "exit_code": "any", "noise": [{"value": "/usr/lib/**"}],
        "allow_verdict_changes": [{"tool_name": "proc.exec", "value": "${workspace}/tool"}]});
    assert_eq!(reasons(quiet, "changed.zip"), set(&[]));
}

#[test]
fn a_run_that_was_killed_is_incomplete_and_lacks_actions() {
    let found = reasons(json!({"actions": "exact", "exit_code": "any"}), "sealed.zip");
    assert_eq!(found, set(&["incomplete_run", "missing_action"]));
}

#[test]
fn a_missing_layer_and_forged_evidence_fail() {
    assert_eq!(reasons(json!({"require_layers": ["lsm"]}), ""), set(&["layer_missing"]));
    let forged = "forged-result-softened-by-the-key-holder.zip";
    assert_eq!(reasons(json!({}), forged), set(&["evidence_invalid"]));
}

#[test]
fn bad_settings_are_refused_before_anything_is_graded() {
    for bad in
        [json!({"action": "exact"}), json!({"actions": "some"}), json!({"policy": "no-such-file.yaml"}), json!(1)]
    {
        let mut entry = ConfigFixture { name: "net".into(), ..ConfigFixture::default() };
        entry.more.insert("guarded".into(), bad.clone());
        assert!(graders_of(&entry).is_err(), "{bad}");
    }
}
