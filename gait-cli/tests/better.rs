//! What was wrong in the existing implementation and has no other suite (contract, control 16).
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod common;

use common::Place;
use serde_json::json;
use std::time::{Duration, SystemTime};

const INTENT: &str = r#"{"tool_name":"t","context":{"identity":"a","workspace":"/r","risk_class":"low"}}"#;

#[test]
fn an_incident_has_nothing_from_outside_of_its_window() {
    let place = Place::with_demo();
    let record = |created_at: &str| json!({"created_at": created_at, "trace_id": "x"}).to_string();
    for (name, created_at) in [
        ("approval_audit_a.json", "2026-02-06T00:00:00.000000001Z"),
        ("credential_evidence_a.json", "2026-02-03T23:59:59.999999999Z"),
    ] {
        place.write(&format!("gait-out/{name}"), record(created_at));
    }
    let pack = |words: &str| place.line(&format!("incident pack run_demo --json {words}")).json();
    let none = pack("--out none.zip");
    assert!(none.get("approval_audit_count").is_none() && none.get("credential_evidence_count").is_none(), "{none}");
    let verified = place.line("guard verify none.zip --json").json();
    assert_eq!(verified["files_checked"], 5, "{verified}");
    let all = pack("--out all.zip --window 25h");
    assert_eq!((&all["approval_audit_count"], &all["credential_evidence_count"]), (&json!(1), &json!(1)), "{all}");
    // Less than a second is a window too.
    place.write("gait-out/approval_audit_a.json", record("2026-02-05T00:00:01Z"));
    assert!(pack("--out short.zip --window 999ms").get("approval_audit_count").is_none());
    assert_eq!(pack("--out long.zip --window 1000ms")["approval_audit_count"], 1);
}

#[test]
fn doctor_needs_no_checkout_and_sees_the_lock_that_gate_eval_left() {
    let place = Place::new();
    place.write("p.yaml", "rules: [{name: r, effect: allow, rate_limit: {requests: 9}}]");
    place.write("i.json", INTENT);
    // The folder of the counters is not there before the first call.
    let answer = place.line("gate eval --policy p.yaml --intent i.json --json");
    assert_eq!((answer.code, &answer.json()["rate_limit_used"]), (0, &json!(1)), "{}", answer.whole());
    place.write(".gait-out/gate_rate_limits.json.lock", "");
    let lock = std::fs::File::options().write(true).open(place.at(".gait-out/gate_rate_limits.json.lock")).unwrap();
    lock.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    place.write("home/.gait/registry/pins/lost.pin", "sha256:00\n");
    let answer = place.line("doctor --json");
    let told = answer.json();
    let message = |name: &str| {
        let checks = told["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).map(|check| check["message"].clone()).unwrap()
    };
    assert_eq!(message("schema_files"), "required schema files are present");
    assert_eq!(message("gate_rate_limit_lock"), "stale gate rate-limit lock detected");
    assert_eq!(message("registry_cache"), "registry cache has 1 inconsistent pin entries");
    let fixes = told["fix_commands"].as_array().unwrap();
    assert!(fixes.contains(&json!("rm -f '.gait-out/gate_rate_limits.json.lock'")), "{told}");
}

#[test]
fn a_question_for_help_is_no_error_and_a_switch_takes_no_word() {
    let place = Place::new();
    for line in ["gate eval -h", "registry install -h", "guard pack --help", "doctor -h"] {
        let answer = place.line(line);
        assert!(answer.code == 0 && answer.stdout.starts_with("Usage:\n"), "{line}: {}", answer.whole());
    }
    // The word after the switch is the source.
    let answer = place.line("registry install --allow-insecure-http none.json --public-key none.pub");
    assert_eq!(
        (answer.code, answer.stdout.contains("read public key: open none.pub")),
        (6, true),
        "{}",
        answer.whole()
    );
}
