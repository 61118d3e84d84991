//! `gait gate eval` and `gait approve` from outside: what a caller at a tool boundary sees.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use assert_cmd::Command;
use gait_core::signature::PrivateKey;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const INTENT: &str = r#"{"tool_name":"tool.write","created_at":"2026-05-04T03:02:01Z","args":{"path":"/srv/x"},
 "targets":[{"kind":"path","value":"/srv/x","operation":"write"}],
 "context":{"identity":"al","workspace":"/w","risk_class":"high"}}"#;

/// A folder with an intent and the keys of a signer, two approvers and a stranger.
struct Place(TempDir);

impl Place {
    fn new(policy: &str) -> Self {
        let place = Place(tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap());
        place.write("p.yaml", policy);
        place.write("i.json", INTENT);
        for (number, name) in (1..).zip(["signer", "kim", "lee", "stranger"]) {
            let key = PrivateKey::from_seed([number; 32]);
            place.write(&format!("{name}.key"), key.to_base64());
            place.write(&format!("{name}.pub"), key.public().to_base64());
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::cargo_bin("gait").unwrap();
        command.args(line.split_whitespace()).current_dir(self.0.path()).env_clear();
        command.env("HOME", self.path("home")).env("PATH", "/usr/bin:/bin");
        command
    }

    /// Exit code, standard output and standard error.
    fn gait(&self, line: &str) -> (i32, String, String) {
        ended(&mut self.command(line))
    }

    fn json(&self, line: &str) -> (i32, Value) {
        answer(&mut self.command(&format!("{line} --json")))
    }

    fn eval(&self, more: &str) -> (i32, Value) {
        self.json(&format!("{EVAL} {more}"))
    }

    fn record(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// Mints a token for what `gate eval` asks about; gives its file.
    fn approve(&self, approver: &str, key: &str) -> String {
        let (_, asked) = self.eval("--trace-out asked.json --approval-audit-out asked_audit.json");
        let digests = (asked["intent_digest"].as_str().unwrap(), asked["policy_digest"].as_str().unwrap());
        let file = format!("{approver}_{key}.json");
        let (code, answer) = self.json(&format!(
            "approve --intent-digest {} --policy-digest {} --ttl 1h --scope tool:tool.write --approver {approver} \
             --reason-code c --key-mode prod --private-key {key}.key --out {file}",
            digests.0, digests.1
        ));
        assert_eq!(code, 0, "{answer}");
        file
    }
}

const EVAL: &str =
    "gate eval --policy p.yaml --intent i.json --key-mode prod --private-key signer.key --trace-out t.json";
const ASK: &str = "rules: [{name: ask, effect: require_approval}]";
const ASK_TWO: &str = "rules: [{name: ask, effect: require_approval, min_approvals: 2}]";

fn ended(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("not ended by a signal"), text(output.stdout), text(output.stderr))
}

fn answer(command: &mut Command) -> (i32, Value) {
    let (code, stdout, stderr) = ended(command);
    assert_eq!(stderr, "");
    (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}")))
}

fn reasons(answer: &Value) -> Vec<&str> {
    answer["reason_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect()
}

#[test]
fn a_token_grants_what_it_was_minted_for_and_nothing_else() {
    let place = Place::new(ASK);
    let token = place.approve("kim", "kim");
    let with = |token: &str| {
        place.eval(&format!("--approval-public-key kim.pub --approval-audit-out a.json --approval-token {token}"))
    };
    let (code, answer) = with(&token);
    assert_eq!(
        (code, &answer["verdict"], reasons(&answer)),
        (0, &json!("allow"), vec!["approval_granted", "matched_rule_ask"])
    );
    assert_eq!(place.record("t.json")["approval_token_ref"], answer["approval_ref"]);
    assert_eq!(place.record("a.json")["approved"], true);
    place.write("i.json", INTENT.replace("/srv/x", "/srv/y"));
    let (code, answer) = with(&token);
    assert_eq!((code, &answer["verdict"]), (4, &json!("require_approval")));
    assert!(reasons(&answer).contains(&"approval_token_intent_mismatch"), "{answer}");
    place.write("i.json", INTENT);
    place.write("p.yaml", ASK.replace("ask", "other"));
    assert!(reasons(&with(&token).1).contains(&"approval_token_policy_mismatch"));
    place.write("p.yaml", ASK);
    assert!(reasons(&with(&place.approve("kim", "stranger")).1).contains(&"approval_token_signature_invalid"));
}

#[test]
fn forged_and_mistimed_tokens_are_told_apart() {
    let place = Place::new(ASK);
    let token = place.approve("kim", "kim");
    let with = |token: &str| {
        place.eval(&format!("--approval-public-key kim.pub --approval-audit-out a.json --approval-token {token}"))
    };
    let (_, asked) = place.eval("--approval-audit-out a.json");
    let original = place.record(&token);
    // Signed anew by the approver after each change, so that only the change is wrong.
    let signed = |change: &dyn Fn(&mut Value)| {
        let mut token = original.clone();
        change(&mut token);
        token.as_object_mut().unwrap().remove("signature");
        let digest = gait_core::canonical::digest_of(&token).unwrap();
        token["signature"] = serde_json::to_value(PrivateKey::from_seed([2; 32]).sign_digest(&digest)).unwrap();
        place.write("changed.json", token.to_string());
        let (code, answer) = with("changed.json");
        assert_eq!((code, answer["intent_digest"].clone()), (4, asked["intent_digest"].clone()));
        place.record("a.json")["entries"][0]["error_code"].as_str().unwrap().to_owned()
    };
    assert_eq!(signed(&|token| token["expires_at"] = json!("2026-01-01T00:00:00Z")), "approval_token_expired");
    assert_eq!(signed(&|token| token["created_at"] = json!("2126-01-01T00:00:00Z")), "approval_token_not_yet_valid");
    assert_eq!(signed(&|token| token["scope"] = json!(["tool.write"])), "approval_token_scope_mismatch");
    assert_eq!(signed(&|token| token["token_id"] = json!("x")), "approval_token_id_mismatch");
    assert_eq!(signed(&|token| token["reason_code"] = json!("")), "approval_token_invalid");
    let mut forged = original.clone();
    forged["approver_identity"] = json!("mallory");
    place.write("forged.json", forged.to_string());
    assert!(reasons(&with("forged.json").1).contains(&"approval_token_signature_invalid"));
}

#[test]
fn two_names_are_two_approvers_only_where_no_approver_has_a_key_of_their_own() {
    let place = Place::new(ASK_TWO);
    let tokens = format!("{},{}", place.approve("kim", "kim"), place.approve("lee", "kim"));
    let shared = format!("--approval-public-key kim.pub --approval-audit-out a.json --approval-token-chain {tokens}");
    assert_eq!(place.eval(&shared).0, 0);
    let ring = "--approver-key kim.pub --approver-key lee.pub --approval-audit-out a.json";
    let (code, answer) = place.eval(&format!("{ring} --approval-token-chain {tokens}"));
    assert_eq!((code, answer["valid_approvals"].as_u64()), (4, Some(2)));
    assert!(reasons(&answer).contains(&"approval_distinct_approvers_required"), "{answer}");
    assert_eq!(place.record("a.json")["approved"], false);
    let two_keys = format!("{},{}", place.approve("kim", "kim"), place.approve("lee", "lee"));
    assert_eq!(place.eval(&format!("{ring} --approval-token-chain {two_keys}")).0, 0);
    let bound = "--approver-key lee=kim.pub --approver-key kim=lee.pub --approval-audit-out a.json";
    let (code, answer) = place.eval(&format!("{bound} --approval-token-chain {two_keys}"));
    assert!(code == 4 && reasons(&answer).contains(&"approval_token_approver_mismatch"), "{answer}");
}

#[test]
fn a_token_that_counts_once_counts_once_among_many_calls_at_the_same_time() {
    let place = Place::new(ASK);
    let token = place.approve("kim", "kim");
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let line = |number| {
            format!(
                "{} --approval-public-key kim.pub --approval-token {token} --approval-single-use used/uses.json \
                 --approval-audit-out a{number}.json",
                EVAL.replace("t.json", &format!("t{number}.json"))
            )
        };
        let calls: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn({
                    let (place, line) = (&place, line(number));
                    move || place.gait(&line).0
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 4).count(), 7, "{codes:?}");
    place.write("used/uses.json", "{");
    let (code, answer) = place
        .eval(&format!("--approval-public-key kim.pub --approval-token {token} --approval-single-use used/uses.json"));
    assert!(code == 6 && answer["error"].as_str().unwrap().starts_with("parse approval uses: "), "{answer}");
}

#[test]
fn a_simulation_uses_no_token_up_and_its_trace_is_no_proof() {
    let place = Place::new(ASK);
    let token = place.approve("kim", "kim");
    let once = format!(
        "--approval-public-key kim.pub --approval-token {token} --approval-single-use u.json --approval-audit-out a.json"
    );
    let (code, answer) = place.eval(&format!("{once} --simulate"));
    assert_eq!((code, &answer["verdict"], &answer["simulated_verdict"]), (0, &json!("allow"), &json!("allow")));
    let (code, verified) = place.json("trace verify t.json --public-key signer.pub");
    assert_eq!((code, &verified["simulated"]), (0, &json!(true)));
    let simulated = place.record("t.json");
    assert_eq!(place.eval(&once).0, 0);
    let real = place.record("t.json");
    assert_eq!(real["trace_id"], simulated["trace_id"]);
    let (code, verified) = place.json("trace verify t.json --public-key signer.pub");
    assert_eq!((code, verified.get("simulated")), (0, None));
    // What existing readers check: the digest of the record as it stands.
    for (trace, matches) in [(&real, true), (&simulated, false)] {
        let mut unsigned = trace.clone();
        unsigned.as_object_mut().unwrap().remove("signature");
        let digest = gait_core::canonical::digest_of(&unsigned).unwrap().to_string();
        assert_eq!(trace["signature"]["signed_digest"] == json!(digest), matches);
    }
    let (_, text, _) = place.gait(&format!("{EVAL} --simulate --approval-audit-out a.json"));
    assert!(text.contains("\nsimulate: would_have_blocked=true simulated_verdict=require_approval\n"), "{text}");
}

#[test]
fn production_is_refused_what_it_must_not_have_and_told_what_to_do() {
    let place = Place::new("default_verdict: block\nrules: [{name: any, effect: allow}]");
    let prod = "--profile oss-prod --credential-broker stub";
    let (code, answer) = place.eval(prod);
    assert!(code == 6 && answer["error"].as_str().unwrap().contains("require_broker_credential: true"), "{answer}");
    place.write("p.yaml", "default_verdict: allow\n");
    let (code, answer) = place.eval(prod);
    assert!(code == 6 && answer["error"].as_str().unwrap().contains("default_verdict"), "{answer}");
    place.write("p.yaml", "rules: [{name: any, effect: require_approval, require_broker_credential: true}]");
    let (code, answer) = place.eval(&format!("{prod} --approval-public-key signer.pub"));
    assert!(code == 6 && answer["error"].as_str().unwrap().contains("other than the trace signing key"), "{answer}");
    let token = place.approve("kim", "kim");
    let (code, answer) = place.eval(&format!("{prod} --approver-key kim.pub --approval-token {token}"));
    assert_eq!((code, &answer["verdict"], &answer["credential_issuer"]), (0, &json!("allow"), &json!("stub")));
    let (code, text, hint) = place.gait("gate eval --policy p.yaml --intent i.json --profile oss-prod");
    assert_eq!((code, text.as_str()), (6, "gate eval error: oss-prod profile requires --key-mode prod\n"));
    assert_eq!(hint, "hint: add --key-mode prod --private-key <path>\n");
}

#[test]
fn approvals_that_an_allowing_rule_asks_for_are_needed() {
    let place = Place::new("rules: [{name: r, effect: allow, min_approvals: 1}]");
    let (code, answer) = place.eval("");
    assert_eq!((code, &answer["verdict"]), (4, &json!("require_approval")));
    assert_eq!(place.json("policy test p.yaml i.json").0, 4);
    let token = place.approve("kim", "kim");
    assert_eq!(place.eval(&format!("--approval-public-key kim.pub --approval-token {token}")).0, 0);
}

#[test]
fn a_block_ends_with_0_as_callers_expect_and_with_3_for_those_who_ask() {
    let place = Place::new("default_verdict: block");
    let (code, answer) = place.eval("");
    assert_eq!((code, &answer["ok"], &answer["verdict"]), (0, &json!(true), &json!("block")));
    assert_eq!(place.eval("--exit-on-block").0, 3);
}

const SLOW: &str = "rules: [{name: slow, effect: allow, rate_limit: {requests: 5, window: hour, scope: identity}}]";

#[test]
fn many_calls_at_once_are_let_through_as_often_as_the_rule_says() {
    let place = Place::new(SLOW);
    let calls = || -> Vec<String> {
        std::thread::scope(|scope| {
            let line = |number| format!("{} --json", EVAL.replace("t.json", &format!("t{number}.json")));
            let calls: Vec<_> = (0..12)
                .map(|number| {
                    scope.spawn({
                        let (place, line) = (&place, line(number));
                        move || answer(&mut place.command(&line)).1["verdict"].as_str().unwrap().to_owned()
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        })
    };
    let hour = || {
        gait_core::time::Timestamp::from_unix(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap(),
            0,
        )
        .unwrap()
        .truncated_to(3600)
    };
    // The state's folder is made at the first call. An hour may end in between: then look again in the next one.
    let verdicts = loop {
        let before = hour();
        let verdicts = calls();
        if hour() == before {
            break verdicts;
        }
        fs::remove_dir_all(place.path(".gait-out")).unwrap();
    };
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "allow").count(), 5, "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "block").count(), 7, "{verdicts:?}");
    let left: Vec<_> = fs::read_dir(place.path(".gait-out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["gate_rate_limits.json"]);
    let mode = fs::metadata(place.path(".gait-out/gate_rate_limits.json")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[test]
fn a_lock_that_is_held_is_contention_and_one_left_behind_is_not() {
    let place = Place::new(SLOW);
    let lock = |created_at: &str| {
        place.write(
            "s.json.lock",
            format!("{{\"schema_id\":\"gait.gate.rate_limit_lock\",\"pid\":1,\"created_at\":\"{created_at}\"}}\n"),
        );
    };
    lock("2126-01-01T00:00:00Z");
    let (code, answer) = place.eval("--rate-limit-state s.json");
    assert_eq!((code, &answer["error"]), (1, &json!("acquire rate limit lock: timeout")));
    assert_eq!((&answer["error_category"], &answer["retryable"]), (&json!("state_contention"), &json!(true)));
    lock("2026-01-01T00:00:00Z");
    let (code, answer) = place.eval("--rate-limit-state s.json");
    assert_eq!((code, &answer["rate_limit_used"]), (0, &json!(1)));
    assert!(!place.path("s.json.lock").exists());
    // Counted nowhere: never too many.
    for _ in 0..6 {
        assert_eq!(place.eval("--rate-limit-state=").1["rate_limit_used"], 1);
    }
    for bad in ["{", "[]", "{\"counters\":[{\"key\":\"k\",\"count\":-1}]}", "\u{0}"] {
        place.write("s.json", bad);
        let (code, answer) = place.eval("--rate-limit-state s.json");
        assert!(code == 6 && answer["error"].as_str().unwrap().starts_with("parse rate limit state: "), "{answer}");
        assert_eq!(fs::read_to_string(place.path("s.json")).unwrap(), bad);
    }
}

const BROKERED: &str = "rules: [{name: r, effect: allow, require_broker_credential: true, broker_reference: vault}]";

#[test]
fn a_broker_command_may_talk_to_people_but_not_through_us() {
    let place = Place::new(BROKERED);
    let script = |text: &str| {
        place.write("broker.sh", format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(place.path("broker.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        let line = format!("{EVAL} --credential-broker command --credential-command ./broker.sh");
        ended(place.command(&line).env("SIGNER", "own").arg("--json"))
    };
    let (code, text, _) = script("echo token=topsecret >&2; echo '{\"credential_ref\":\"lease\"}'");
    assert!(code == 0 && text.contains("\"credential_ref\":\"lease\"") && !text.contains("topsecret"), "{text}");
    for failing in [
        "echo token=topsecret; exit 3",
        "echo token=topsecret",
        "echo '{\"credential_ref\":\"topsecret\"} x'",
        "echo '{\"credential_ref\":7,\"x\":\"topsecret\"}'",
        "kill -9 $$",
    ] {
        let (code, text, stderr) = script(failing);
        assert!(code == 0 && text.contains("broker_credential_missing"), "{failing}: {text}");
        assert!(!text.contains("topsecret") && stderr.is_empty(), "{failing}: {text}{stderr}");
        assert!(!fs::read_to_string(place.path("t.json")).unwrap().contains("topsecret"));
    }
    // Our own key is not for the broker.
    place.write("broker.sh", "#!/bin/sh\nprintf '{\"credential_ref\":\"%s\"}' \"key:${SIGNER}:\"\n");
    let key = fs::read_to_string(place.path("signer.key")).unwrap();
    let line = EVAL.replace("--private-key signer.key", "--private-key-env SIGNER");
    let line = format!("{line} --credential-broker command --credential-command ./broker.sh");
    let (code, answer) = answer(place.command(&line).env("SIGNER", &key).arg("--json"));
    assert_eq!((code, &answer["credential_ref"]), (0, &json!("key::")));
}

#[test]
fn a_private_key_that_others_can_reach_signs_nothing() {
    let place = Place::new("default_verdict: allow");
    fs::set_permissions(place.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.path("signer.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, text, hint) = place.gait(EVAL);
    assert_eq!(code, 6);
    assert_eq!(
        text,
        "gate eval error: private key file can be reached by others: signer.key (mode 0644, expected 0600)\n"
    );
    assert!(hint.starts_with("hint: run `chmod 600 signer.key`"), "{hint}");
    fs::set_permissions(place.path("signer.key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(place.eval("").0, 0);
}

#[test]
fn a_replaced_key_still_verifies_what_it_signed() {
    let place = Place::new("default_verdict: allow");
    assert_eq!(place.gait("keys rotate").0, 6);
    assert_eq!(place.gait("keys init").0, 0);
    let key = "home/.gait/keys/signing.key";
    assert_eq!(place.gait(&format!("demo --private-key {key}")).0, 0);
    assert_eq!(place.gait("verify run_demo --profile strict").0, 0);
    let (code, rotated) = place.json("keys rotate");
    assert_eq!(code, 0, "{rotated}");
    let old_public = rotated["archived_public_path"].as_str().unwrap();
    assert_eq!(place.gait(&format!("verify run_demo --require-signature --public-key {old_public}")).0, 0);
    assert_eq!(
        place
            .gait(&format!(
                "verify run_demo --require-signature --private-key {}",
                rotated["archived_path"].as_str().unwrap()
            ))
            .0,
        0
    );
    assert_eq!(place.json("keys show").1["key_id"], rotated["key_id"]);
    // It is no longer trusted by itself.
    assert_ne!(place.gait("verify run_demo --profile strict").0, 0);
}

#[test]
fn bad_input_of_every_kind_is_an_error_with_words() {
    let place = Place::new(ASK);
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(20_000), close.repeat(20_000));
    let with_args = |args: &str| INTENT.replace("{\"path\":\"/srv/x\"}", args);
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("list", b"[]".to_vec()),
        ("number", b"7".to_vec()),
        ("wrong type", INTENT.replace("\"tool.write\"", "7").into()),
        ("wrong target", INTENT.replace("\"kind\":\"path\"", "\"kind\":[]").into()),
        ("NaN", with_args("{\"n\":NaN}").into()),
        ("huge number", with_args("{\"n\":1e400}").into()),
        ("deep list", with_args(&format!("{{\"n\":{}}}", deep("[", "]"))).into()),
        ("deep object", with_args(&deep("{\"n\":", "}")).into()),
        ("two documents", format!("{INTENT}{INTENT}").into()),
        ("byte order mark", format!("\u{feff}{INTENT}").into()),
        ("UTF-16", INTENT.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("no time", INTENT.replace("2026-05-04T03:02:01Z", "yesterday").into()),
        ("time without zone", INTENT.replace("03:02:01Z", "03:02:01").into()),
        ("cut short", INTENT.as_bytes()[..40].to_vec()),
        ("empty key", with_args("{\" \":1}").into()),
        ("unknown kind", INTENT.replace("\"kind\":\"path\"", "\"kind\":\"planet\"").into()),
    ];
    for (what, document) in bad {
        place.write("i.json", document);
        let (code, answer) = place.eval("");
        assert_eq!((code, &answer["error_category"]), (6, &json!("invalid_input")), "{what}: {answer}");
        assert!(!place.path("t.json").exists(), "{what}");
    }
    for (what, document) in [
        ("invalid UTF-8", [b"{\"x\":\"\xff\xfe\",".as_slice(), &INTENT.as_bytes()[1..]].concat()),
        ("10 MiB", with_args(&format!("{{\"n\":\"{}\"}}", "x".repeat(10 << 20))).into()),
        ("many numbers", with_args(&format!("{{\"n\":[{}1]}}", "1e308,".repeat(1 << 20))).into()),
        ("another time zone", INTENT.replace("03:02:01Z", "03:02:01-11:30").into()),
        ("lone surrogate", with_args("{\"n\":\"\\ud800\"}").into()),
    ] {
        place.write("i.json", document);
        let (code, answer) = place.eval("--approval-audit-out a.json");
        assert_eq!((code, &answer["verdict"]), (4, &json!("require_approval")), "{what}: {answer}");
    }
    place.write("i.json", INTENT);
    for token in ["", "[]", "{\"scope\":7}", "{\"created_at\":\"soon\"}", "\u{0}", &deep("[", "]")] {
        place.write("tok.json", token);
        let (code, answer) = place.eval("--approval-public-key kim.pub --approval-token tok.json");
        assert!(code == 6 && answer["error"].as_str().unwrap().starts_with("parse approval token: "), "{answer}");
    }
    for (flags, error) in [
        (
            "--approval-public-key kim.pub --approval-token /dev/zero",
            "read approval token: read /dev/zero: more than 1048576 bytes",
        ),
        ("--approval-public-key /dev/zero", "read public key: /dev/zero is too long for a key"),
        ("--credential-broker vault", "unsupported credential broker: vault"),
        ("--credential-broker command", "command broker requires --credential-command"),
        ("--approval-public-key kim.pub --approval-public-key-env X", "public key source: set either path or env"),
        ("--approver-key none.pub", "read public key: open none.pub: no such file or directory"),
    ] {
        let (code, answer) = place.eval(flags);
        assert_eq!((code, answer["error"].as_str().unwrap()), (6, error), "{flags}");
    }
    let (code, answer) = place.json("gate eval --policy p.yaml --intent /dev/zero");
    assert!(
        code == 6 && answer["error"].as_str().unwrap().starts_with("read intent: read /dev/zero: more than"),
        "{answer}"
    );
}

#[test]
fn records_that_can_t_be_written_end_with_1_and_leave_nothing_half_written() {
    let place = Place::new("default_verdict: allow");
    place.write("file", "");
    let (code, answer) = place.json(&EVAL.replace("t.json", "file/t.json"));
    assert_eq!((code, &answer["error_category"]), (1, &json!("io_failure")), "{answer}");
    assert!(answer["error"].as_str().unwrap().starts_with("write trace record: mkdir "), "{answer}");
    let (code, answer) = place.json(&EVAL.replace("t.json", "."));
    assert_eq!(code, 1, "{answer}");
    let hidden: Vec<_> = fs::read_dir(place.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert_eq!(hidden, Vec::<std::ffi::OsString>::new());
}

#[test]
fn a_path_that_is_not_clean_says_so() {
    let place = Place::new("rules: [{name: r, effect: allow, endpoint: {path_allowlist: [/srv/**]}}]");
    place.write("i.json", INTENT.replace("\"value\":\"/srv/x\"", "\"value\":\"/srv/../etc/passwd\""));
    let (_, answer) = place.eval("");
    assert_eq!(answer["verdict"], "block", "{answer}");
    assert!(reasons(&answer).contains(&"intent_path_not_clean"), "{answer}");
    assert!(Path::new(&place.path("t.json")).exists());
}
