//! What the command line says of guarded runs: verified, decided again, sealed. The packs are the contract's.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gait-core/tests/data/guarded").join(name).display().to_string()
}

/// Base64 of a private key that signed none of the packs (contract, artifacts 3.5).
const PRIVATE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQGKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXA==";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        // Closed to others, as a folder with private keys must be.
        let closed = fs::Permissions::from_mode(0o700);
        Place(tempfile::Builder::new().permissions(closed).tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn gait(&self, words: &[&str]) -> (i32, String) {
        let mut command = Command::cargo_bin("gait").unwrap();
        let home = self.path("home");
        let output = command.args(words).current_dir(self.0.path()).env_clear().env("HOME", home).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    }

    fn json(&self, words: &[&str]) -> (i32, Value) {
        let (code, text) = self.gait(&[words, &["--json"]].concat());
        (code, serde_json::from_str(&text).unwrap())
    }

    /// The member `name` of a zip, as a file beside it.
    fn extracted(&self, pack: &str, name: &str) -> String {
        let status = std::process::Command::new("python3")
            .args(["-m", "zipfile", "-e", pack])
            .arg(self.path("members"))
            .status()
            .unwrap();
        assert!(status.success());
        self.path("members").join(name).display().to_string()
    }
}

#[test]
fn a_run_decided_again_under_its_own_policy_does_not_diverge() {
    let place = Place::new();
    let pack = data("complete.zip");
    let policy = place.extracted(&pack, "policy.yaml");
    let (code, answer) = place.json(&["run", "replay", &pack, "--policy", &policy]);
    assert_eq!((code, &answer["ok"], &answer["divergences"]), (0, &true.into(), &0.into()), "{answer}");
    let (code, text) = place.gait(&["run", "replay", &pack, "--policy", &policy]);
    assert!(code == 0 && text.starts_with("replay ok: ") && text.lines().count() == 1, "{text}");
}

#[test]
fn another_policy_is_shown_with_the_first_action_that_it_decides_otherwise() {
    let place = Place::new();
    let pack = data("complete.zip");
    let policy = place.path("allow.yaml");
    fs::write(&policy, "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: allow\n").unwrap();
    let words = ["run", "replay", &pack, "--policy", policy.to_str().unwrap()];
    let (code, answer) = place.json(&words);
    assert_eq!((code, &answer["ok"]), (2, &false.into()), "{answer}");
    // The contract's run has blocked actions, which a policy that allows all would not.
    assert!(answer["divergences"].as_u64().unwrap() > 0);
    assert_eq!(answer["first_divergence"]["now"], "allow", "{answer}");
    let (code, text) = place.gait(&words);
    assert!(code == 2 && text.lines().nth(1).unwrap().starts_with("first divergence: "), "{text}");
}

#[test]
fn a_policy_that_can_not_be_read_decides_nothing() {
    let place = Place::new();
    let (code, text) = place.gait(&["run", "replay", &data("complete.zip"), "--policy", "nowhere.yaml"]);
    assert!(code == 6 && text.contains("nowhere.yaml"), "{text}");
}

#[test]
fn a_sealed_run_is_fine_until_completeness_is_asked_for() {
    let place = Place::new();
    for (pack, complete) in [("complete.zip", true), ("sealed.zip", false)] {
        let (code, plain) = place.json(&["verify", &data(pack)]);
        assert_eq!((code, &plain["guarded"]["complete"]), (0, &complete.into()), "{plain}");
        let (code, asked) = place.json(&["verify", &data(pack), "--require-complete"]);
        assert_eq!((code, &asked["ok"]), (if complete { 0 } else { 2 }, &complete.into()), "{asked}");
    }
}

#[test]
fn the_strict_profile_takes_the_local_key_for_its_own_signatures_only() {
    let place = Place::new();
    assert_eq!(place.gait(&["keys", "init"]).0, 0);
    let own = place.path("home/.gait/keys/signing.key").display().to_string();
    assert_eq!(place.gait(&["demo", "--private-key", &own]).0, 0);
    let strict = ["verify", "run_demo", "--profile", "strict"];
    let (code, answer) = place.json(&strict);
    assert_eq!((code, &answer["signature_status"]), (0, &"verified".into()), "{answer}");
    // Without the profile the answer is that of any machine.
    assert_eq!(place.json(&["verify", "run_demo"]).1["signature_status"], "skipped");
    let foreign = place.path("foreign.key");
    fs::write(&foreign, PRIVATE).unwrap();
    assert_eq!(place.gait(&["demo", "--private-key", foreign.to_str().unwrap()]).0, 0);
    let (code, text) = place.gait(&strict);
    assert!(code == 6 && text.contains("strict verify profile requires"), "{code} {text}");
    assert_eq!(place.gait(&["demo"]).0, 0);
    assert_eq!(place.gait(&strict).0, 2, "an unsigned pack passes the strict profile");
}

#[test]
fn a_policy_or_key_file_with_a_second_name_is_refused() {
    let place = Place::new();
    let policy = place.path("policy.yaml");
    fs::write(&policy, "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: allow\n").unwrap();
    fs::hard_link(&policy, place.path("other.yaml")).unwrap();
    let (code, text) = place.gait(&["exec", "--policy", "policy.yaml", "--", "/bin/true"]);
    assert!(code == 6 && text.contains("hard link"), "{text}");
    assert_eq!(place.gait(&["keys", "init"]).0, 0);
    let key = place.path("home/.gait/keys/signing.key");
    fs::hard_link(&key, place.path("key")).unwrap();
    let (code, text) = place.gait(&["exec", "--", "/bin/true"]);
    assert!(code == 6 && text.contains("hard link"), "{text}");
    let (code, text) = place.gait(&["exec", "--private-key", "key", "--", "/bin/true"]);
    assert!(code == 6 && text.contains("hard link"), "{text}");
}

#[test]
fn a_journal_named_by_its_path_is_sealed_and_stays() {
    let place = Place::new();
    let folder = place.path("torn");
    fs::create_dir_all(folder.join("decisions")).unwrap();
    for name in ["guard.json", "policy.yaml", "decisions/000001.jsonl"] {
        fs::copy(data(&format!("torn/{name}")), folder.join(name)).unwrap();
    }
    // A copy of its own: a checkout may be open to others, and then the key is refused.
    fs::copy(data("test.key"), place.path("test.key")).unwrap();
    let words = ["run", "seal", "./torn", "--private-key", "test.key"];
    let (code, answer) = place.json(&words);
    assert_eq!((code, &answer["ok"], &answer["complete"]), (0, &true.into(), &false.into()), "{answer}");
    let bundle = answer["bundle"].as_str().unwrap();
    assert!(folder.join("decisions/000001.jsonl").is_file());
    let (code, text) = place.gait(&["verify", bundle, "--public-key", &data("test.pub")]);
    assert!(code == 0 && text.contains("guarded: incomplete"), "{text}");
    assert_eq!(place.gait(&["verify", bundle, "--public-key", &data("test.pub"), "--profile", "strict"]).0, 2);
    // With another key it is not sealed.
    let foreign = place.path("foreign.key");
    fs::write(&foreign, PRIVATE).unwrap();
    let (code, text) = place.gait(&["run", "seal", "./torn", "--private-key", foreign.to_str().unwrap()]);
    assert!(code == 6 && text.contains("--private-key"), "{text}");
}
