//! Files are written whole or not at all, whatever happens meanwhile (contract, artifacts 1.5 and 12, C12).
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

mod common;

use common::{Answer, Place};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A run with so many intents that writing it takes a while.
fn large_run(intents: usize) -> String {
    let intent = |number: usize| json!({"intent_id": format!("i{number}"), "tool_name": "t", "args": {"n": number}});
    json!({"run": {"run_id": "run_l"}, "intents": (0..intents).map(intent).collect::<Vec<Value>>()}).to_string()
}

fn gait() -> std::path::PathBuf {
    assert_cmd::cargo::cargo_bin("gait")
}

#[test]
fn a_recorder_that_is_killed_leaves_the_old_runpack_or_the_new_one() {
    let place = Place::new();
    place.write("in.json", large_run(5_000));
    let record = || {
        let mut command = Command::new(gait());
        command.args(["run", "record", "in.json"]).current_dir(place.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let started = Instant::now();
    assert!(record().status().unwrap().success());
    let whole = started.elapsed();
    let mut killed = 0;
    for part in 1..=12 {
        let mut child = record().spawn().unwrap();
        std::thread::sleep(whole * part / 14);
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().signal() == Some(9));
        let answer = place.line("verify gait-out/runpack_run_l.zip");
        assert_eq!(answer.code, 0, "{}", answer.whole());
        let named = |file: &String| !file.starts_with("gait-out/.runpack_run_l.zip.tmp-");
        let files: Vec<String> = place.files().into_iter().filter(named).collect();
        assert_eq!(files, ["gait-out/runpack_run_l.zip", "in.json"]);
    }
    assert!(killed >= 3, "only {killed} of 12 were killed before they were done");
}

/// `gait <line>` in a process that can't write a single byte to a file, as on a full disk.
fn on_a_full_disk(place: &Place, line: &str) -> Answer {
    let script = format!("trap '' XFSZ; ulimit -f 0; exec \"$0\" {line} --json");
    let mut command = assert_cmd::Command::new("bash");
    command.args(["-c", &script]).arg(gait()).current_dir(place.path()).env("HOME", place.at("home"));
    Answer::of(&mut command)
}

#[test]
fn a_full_disk_leaves_everything_as_it_was() {
    let place = Place::with_demo();
    place.write("in.json", large_run(3));
    assert_eq!(place.line("run record in.json").code, 0);
    assert_eq!(place.line("regress init --from run_demo --name old").code, 0);
    assert_eq!(place.line("keys init").code, 0);
    place.write("src/a.py", "@tool\ndef a(): pass\n");
    assert_eq!(place.line("scout snapshot --roots src --out s1.json").code, 0);
    for name in ["o/t.zip", "o/t.json", "o/t.xml", "o/r.json"] {
        place.write(name, "old");
    }
    let content = |place: &Place| -> Vec<(String, Vec<u8>)> {
        place.files().into_iter().map(|file| (file.clone(), fs::read(place.at(&file)).unwrap())).collect()
    };
    let before = content(&place);
    for line in [
        "demo",
        "run record in.json",
        "run record in.json --run-id run_new",
        "migrate run_demo --out o/t.zip",
        "migrate run_demo --out new/t.zip",
        "run reduce run_l --out o/t.zip --report-out o/r.json",
        "run diff run_l run_demo --output o/t.json",
        "regress init --from run_demo",
        "regress init --from run_demo --name old",
        "regress bootstrap --from run_demo --name fresh",
        "regress run --output o/r.json --junit o/t.xml",
        "scout snapshot --roots src --out o/t.json",
        "scout signal run_demo --out o/t.json",
        "scout diff s1.json s1.json --out o/t.json",
        "guard pack --run run_demo --out o/t.zip",
        "incident pack --from run_demo --out o/t.zip",
        "keys export-public --out o/t.json",
        "man --out-dir o",
    ] {
        let answer = on_a_full_disk(&place, line);
        assert_eq!(answer.code, 1, "{line}: {}", answer.whole());
        assert_eq!(answer.json()["error_category"], "io_failure", "{line}: {}", answer.whole());
        assert_eq!(content(&place), before, "{line}");
    }
    // What a failed attempt made is in the way of nobody.
    assert_eq!(place.line("regress init --from run_demo").code, 0);
}

#[test]
fn files_are_for_their_owner_and_folders_for_the_group() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let script = "umask 022; \"$0\" demo && \"$0\" regress bootstrap --from run_demo --output a/r.json --junit b/j.xml && \
                  \"$0\" run diff run_demo run_demo --output c/d.json && \"$0\" scout signal run_demo --out e/s.json";
    let made = Command::new("bash").args(["-c", script]).arg(gait()).current_dir(place.path()).output().unwrap();
    assert!(made.status.success());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = place.files();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let path = place.at(&file);
        assert_eq!((mode(&path), file.as_str()), (0o600, file.as_str()));
        let folder = path.parent().unwrap();
        assert!(folder == place.path() || mode(folder) == 0o750, "{}", folder.display());
    }
}

#[test]
fn an_answer_may_go_into_a_pipe_which_is_not_replaced() {
    let place = Place::with_demo();
    let script = "mkfifo pipe && { cat pipe > seen & } && \"$0\" run diff run_demo run_demo --output pipe && wait && test -p pipe";
    let done = Command::new("bash").args(["-c", script]).arg(gait()).current_dir(place.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(place.json("seen")["privacy"], "full");
    let answer = place.line("migrate run_demo --out pipe --json");
    assert_eq!((answer.code, &answer.json()["error"]), (1, &json!("open pipe: not a regular file")));
}

#[test]
fn a_log_that_can_not_be_written_changes_nothing() {
    let place = Place::new();
    let started = Instant::now();
    let answer = Answer::of(
        place
            .command(&["demo"])
            .env("GAIT_ADOPTION_LOG", "/proc/self/nothing/here")
            .env("GAIT_OPERATIONAL_LOG", place.path()),
    );
    assert_eq!((answer.code, answer.stderr.as_str(), answer.stdout.lines().count()), (0, "", 4), "{}", answer.whole());
    assert!(started.elapsed() < Duration::from_secs(30));
}
