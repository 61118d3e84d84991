//! `policy test`, `trace verify` and `keys` as a user meets them: words, JSON and exit codes.
#![expect(clippy::unwrap_used, reason = "a test that can not be set up has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;
use gait_core::digest::Sha256Hex;
use gait_core::policy::Verdict;
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;
use gait_core::trace::{TraceFacts, TraceRecord};
use tempfile::TempDir;

/// Control 4.6 and 5.4.
const INTENT: &str = r#"{"created_at":"2026-04-02T09:30:00+02:00","tool_name":"  Ledger.Append ",
 "args":{" amount ":1.50e2,"memo":" caf\u00e9 <1> ","tags":[],"big":12345678901234567890},
 "targets":[{"kind":"URL","value":" https://Books.Example:8443/v1 ","operation":"POST","sensitivity":"PII"},
            {"kind":"path","value":"/srv/ledger.db","operation":"append"}],
 "arg_provenance":[{"arg_path":"$.memo","source":"External"}],
 "context":{"identity":"svc-ledger","workspace":"C:\\work\\books","risk_class":"High","session_id":""}}"#;
const POLICY: &str = "default_verdict: Block\nfail_closed:\n  enabled: true\nrules:\n  - name: Ledger write\n    priority: 20\n    effect: require_approval\n    match:\n      tool_names: [\" Ledger.Append \", ledger.append]\n      risk_classes: [HIGH]\n    reason_codes: [ledger_gate]\n    broker_scopes: [Write]\n  - name: deny-tmp\n    priority: 5\n    effect: block\n    match:\n      target_values: [/tmp/scratch]\n";

struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

fn gait(home: &Path, words: &str) -> Answer {
    let output = Command::cargo_bin("gait")
        .unwrap()
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .args(words.split(' '))
        .output()
        .unwrap();
    Answer {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn home_with(files: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(home.path().join(name), content).unwrap();
    }
    home
}

#[test]
fn the_worked_example_gives_the_line_of_the_contract() {
    let home = home_with(&[("policy.yaml", POLICY), ("intent.json", INTENT)]);
    let answer = gait(home.path(), "policy test policy.yaml intent.json --json");
    let want = concat!(
        r#"{"correlation_id":"d3a24bd2fc267df969630452","created_at":"2026-04-02T07:30:00Z","#,
        r#""intent_digest":"bccbffd931e2b1516e474b6bbc9b4b6a94ac94d2914789f1ade6d24b63eacd11","ok":true,"#,
        r#""policy_digest":"c3e6fd1b5456c9fa99d36adaa9e7af947396269a1dedf4cc990147480dfcda34","#,
        r#""reason_codes":["ledger_gate"],"schema_id":"gait.policytest.result","schema_version":"1.0.0","#,
        r#""summary":"policy test verdict=require_approval reasons=ledger_gate violations=none","#,
        r#""verdict":"require_approval"}"#,
        "\n"
    );
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (4, want, ""));
}

#[test]
fn a_misspelt_key_is_shown_with_its_place_and_the_remedy() {
    let policy = "rules:\n  - name: a\n    efect: block\n";
    let home = home_with(&[("p.yaml", policy), ("intent.json", INTENT)]);
    let answer = gait(home.path(), "policy test p.yaml intent.json");
    assert_eq!(answer.code, 6);
    assert_eq!(
        answer.stdout,
        "policy test error: parse policy yaml: [3:5] unknown key `efect`, did you mean `effect`?\n   2 |   - name: a\n>  3 |     efect: block\n           ^\n\n"
    );
    let policy = "rules:\n  - name: a\n    effect: block\n    owner: me\n";
    fs::write(home.path().join("p.yaml"), policy).unwrap();
    let answer = gait(home.path(), "policy test p.yaml intent.json");
    assert_eq!(
        (answer.code, answer.stderr.as_str()),
        (6, "hint: correct the policy; --lenient reads it as other readers do\n")
    );
    assert_eq!(gait(home.path(), "policy test --lenient p.yaml intent.json").code, 3);
}

#[test]
fn a_value_that_means_nothing_is_shown_with_its_place() {
    let home = home_with(&[("p.yaml", "rules:\n  - name: a\n    effect: blocked\n"), ("intent.json", INTENT)]);
    let answer = gait(home.path(), "policy test p.yaml intent.json");
    assert_eq!(answer.code, 6);
    assert_eq!(answer.stdout, "policy test error: invalid rule effect \"blocked\" for a\n");
    assert_eq!(answer.stderr, "hint: see p.yaml:3:13\n");
}

fn signed_trace(key: &PrivateKey) -> TraceRecord {
    let digest = Sha256Hex::of("x");
    TraceRecord::new(TraceFacts {
        created_at: Timestamp::ZERO,
        producer_version: "test",
        correlation_id: "",
        tool_name: "fs.read",
        args_digest: digest,
        intent_digest: digest,
        policy_digest: digest,
        verdict: Verdict::Block,
        violations: Vec::new(),
        approval_token_ref: "",
        skill_provenance: None,
    })
    .signed(key)
    .unwrap()
}

#[test]
fn a_trace_signed_on_this_machine_verifies_without_flags_and_elsewhere_with_the_exported_key() {
    let home = home_with(&[]);
    assert_eq!(gait(home.path(), "keys show").code, 6);
    assert_eq!(gait(home.path(), "keys init").code, 0);
    let key = fs::read_to_string(home.path().join(".gait/keys/signing.key")).unwrap();
    let trace = signed_trace(&PrivateKey::from_base64(&key).unwrap());
    fs::write(home.path().join("t.json"), trace.to_file_text().unwrap()).unwrap();
    fs::write(home.path().join("t.jsonl"), trace.to_line().unwrap()).unwrap();
    for form in ["t.json", "t.jsonl"] {
        let answer = gait(home.path(), &format!("trace verify {form}"));
        assert_eq!((answer.code, answer.stdout), (0, format!("trace verify ok: {form}\n")));
    }

    let elsewhere = home_with(&[("t.json", &trace.to_file_text().unwrap())]);
    assert_eq!(gait(elsewhere.path(), "trace verify t.json").stdout, "trace verify error: public key not configured\n");
    let public = gait(home.path(), "keys export-public").stdout;
    fs::write(elsewhere.path().join("key.pub"), public).unwrap();
    assert_eq!(gait(elsewhere.path(), "trace verify t.json --public-key key.pub").code, 0);
    let forged = trace.to_file_text().unwrap().replace("\"block\"", "\"allow\"");
    fs::write(elsewhere.path().join("t.json"), forged).unwrap();
    let answer = gait(elsewhere.path(), "trace verify t.json --public-key key.pub");
    assert_eq!((answer.code, answer.stdout.as_str()), (2, "trace verify error: signed_digest mismatch\n"));
}

#[test]
fn the_key_of_another_machine_is_not_taken_for_the_local_one() {
    let home = home_with(&[]);
    gait(home.path(), "keys init");
    let trace = signed_trace(&PrivateKey::from_seed([7; 32]));
    fs::write(home.path().join("t.json"), trace.to_file_text().unwrap()).unwrap();
    let answer = gait(home.path(), "trace verify t.json");
    assert_eq!((answer.code, answer.stdout.as_str()), (6, "trace verify error: public key not configured\n"));
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let home = home_with(&[]);
    gait(home.path(), "keys init");
    let path = home.path().join(".gait/keys/signing.key");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let answer = gait(home.path(), "keys show");
    assert_eq!(answer.code, 6);
    assert!(answer.stdout.contains("(mode 0644, expected 0600)"), "{}", answer.stdout);
    assert!(answer.stderr.starts_with("hint: run `chmod 600 "), "{}", answer.stderr);
}

#[test]
fn an_existing_key_is_kept() {
    let home = home_with(&[]);
    gait(home.path(), "keys init");
    let first = gait(home.path(), "keys export-public").stdout;
    assert!(gait(home.path(), "keys init").stdout.starts_with("keys init kept: "));
    assert_eq!(gait(home.path(), "keys export-public").stdout, first);
}
