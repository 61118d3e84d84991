//! `gait run inspect`: packs of the contract, a run without a journal, hostile names, packs that do not hold.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

use assert_cmd::Command;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn data(name: &str) -> String {
    folder().join(name).display().to_string()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gait-core/tests/data/guarded")
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(TempDir::new().unwrap())
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

    fn inspect(&self, pack: &str, more: &[&str]) -> (i32, String) {
        self.gait(&[&["run", "inspect", pack], more].concat())
    }

    fn json(&self, pack: &str) -> Value {
        let (code, text) = self.inspect(pack, &["--json"]);
        assert_eq!(code, 0, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    fn html(&self, pack: &str) -> String {
        let (code, text) = self.inspect(pack, &["--html", "out/page.html"]);
        assert!(code == 0 && text.ends_with("page: ./out/page.html\n"), "{text}");
        fs::read_to_string(self.path("out/page.html")).unwrap()
    }

    /// A plain pack of one call of a tool with this name and these arguments.
    fn plain(&self, tool: &str, args: &Value) {
        let at = "2026-02-05T00:00:00Z";
        let run = json!({"run": {"run_id": "run_h", "created_at": at, "env": {}, "timeline": [
                {"event": tool, "ts": at}, {"event": "end", "ts": "2026-02-05T00:00:03Z", "ref": tool}]},
            "intents": [{"intent_id": "a", "tool_name": tool, "args": args}, {"intent_id": "b", "tool_name": "tool.b"}],
            "results": [{"intent_id": "a", "status": tool, "result": args}],
            "refs": {"receipts": [{"ref_id": tool, "source_type": tool, "source_locator": tool}]},
            "capture_mode": "raw"});
        fs::write(self.path("run.json"), run.to_string()).unwrap();
        let (code, text) = self.gait(&["run", "record", "--input", "./run.json"]);
        assert_eq!(code, 0, "{text}");
    }
}

#[test]
fn a_guarded_run_is_told_with_what_was_blocked_by_which_rule_and_what_to_add() {
    // What the journal of the pack says, read by hand.
    let (code, page) = Place::new().inspect(&data("complete.zip"), &[]);
    assert_eq!(code, 0, "{page}");
    for line in [
        "run run_guarded_a: complete, exit 0, 3.6 ms",
        "  decisions  40 on 29 distinct actions: 29 allowed, 11 denied",
        "  [1] /usr/bin/python3 (4 arguments); pid 4103, exit 0 after 3.5 ms; 25 decisions, 6 denied",
        "      [3] /usr/bin/git (3 arguments); pid 4109, exit 0 after 1.4 ms; 7 decisions, 2 denied",
        "  fs.delete    fs.delete         2      1                 1      -",
        "  rule reads: block, 3 times on 2 actions",
        "    2x fs.read read /home/agent/.ssh/id_ed25519 by python3 [1], first at 696 \u{b5}s, got EACCES",
        "       matches ${home}/.ssh/** in path_denylist of rule reads",
        "       to allow add to path_allowlist of rule programs:",
        "         - \"${workspace}/tool\"",
        "    1x net.unix connect unix:@/tmp/.X11-unix/X0\\x00 by git [2], first at 3 ms, got EACCES",
        "       to allow nothing: the floor holds whatever the policy says",
        "     3.6 ms  the run ends: exit 0",
    ] {
        assert!(page.lines().any(|shown| shown == line), "`{line}` is not in\n{page}");
    }
}

#[test]
fn a_run_is_vouched_for_as_verify_says() {
    let place = Place::new();
    let trust = |more: &[&str]| place.inspect(&data("complete.zip"), more).1;
    assert!(trust(&[]).contains("self_attested: consistent with the key in it; nobody says whose that is"));
    assert!(trust(&["--public-key", &data("test.pub")]).contains("pinned: signed by the key that was given"));
}

#[test]
fn a_sealed_run_is_shown_as_incomplete() {
    let (code, page) = Place::new().inspect(&data("sealed.zip"), &[]);
    assert!(
        code == 0 && page.starts_with("run run_guarded_sealed: incomplete, sealed after the guard was killed"),
        "{page}"
    );
    assert!(page.contains("end not seen") && page.contains("end not recorded"), "{page}");
}

#[test]
fn json_holds_what_the_words_say() {
    let answer = Place::new().json(&data("complete.zip"));
    let run = &answer["guarded"];
    assert_eq!((&answer["ok"], &answer["run_id"]), (&json!(true), &json!("run_guarded_a")));
    assert_eq!((&run["decisions"], &run["distinct"], &run["denied"]), (&json!(40), &json!(29), &json!(11)));
    assert_eq!(answer["verify"]["trust"], "self_attested");
    // Every decision is in one class and in one row.
    let sum = |list: &Value, count: fn(&Value) -> u64| list.as_array().unwrap().iter().map(count).sum::<u64>();
    let of_class = |class: &Value| class["verdicts"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(sum(&run["classes"], of_class), 40);
    assert_eq!(sum(&run["actions"]["rows"], |row| row["count"].as_u64().unwrap()), 40);
    assert_eq!(sum(&run["processes"]["list"], |process| process["decisions"].as_u64().unwrap()), 40);
    assert_eq!(
        sum(&run["timeline"]["buckets"], |b| b["allowed"].as_u64().unwrap() + b["denied"].as_u64().unwrap()),
        40
    );
    assert_eq!(sum(&run["blocks"], |group| group["count"].as_u64().unwrap()), 11);
}

#[test]
fn a_run_without_a_journal_says_so_and_shows_what_is_there() {
    let place = Place::new();
    place.plain("tool.a", &json!({"q": 1}));
    let (code, page) = place.inspect("run_h", &[]);
    assert_eq!(code, 0, "{page}");
    for line in [
        "run run_h: not guarded, 3 s by its timeline",
        "  journal    none: this run was not guarded, so no processes, verdicts or blocks are known",
        "  tool.b: 1 (1 without result)",
        "  a tool.a {\"q\":1}: tool.a",
    ] {
        assert!(page.lines().any(|shown| shown == line), "`{line}` is not in\n{page}");
    }
    assert!(place.html("run_h").contains("not guarded: no journal"));
    assert_eq!(place.json("run_h")["plain"]["missing"], 1);
    let (code, text) = place.inspect("run_h", &["--html", "both.html", "--json"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &answer["html"], &answer["plain"]["intents"]), (0, &json!("./both.html"), &json!(2)));
    assert!(place.path("both.html").is_file());
}

#[test]
fn no_name_acts_on_a_terminal_or_a_browser() {
    let place = Place::new();
    let hostile = "\u{1b}]0;x\u{7}\u{202e}</script><script>alert(1)</script><img src=\"x\" onerror='y'>\u{9b}2J\n\"";
    place.plain(hostile, &json!({"k": hostile, hostile: 1}));
    let (code, page) = place.inspect("run_h", &[]);
    assert_eq!(code, 0, "{page}");
    assert!(page.contains("\\x1B]0;x\\x07\\u{202e}"), "{page}");
    assert!(page.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{page:?}");
    let html = place.html("run_h");
    assert_eq!(
        (html.matches("<script").count(), html.matches("</script").count(), html.matches("<img").count()),
        (1, 1, 0)
    );
    assert!(html.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'));
    assert!(html.contains("&lt;img src=&quot;x&quot; onerror=&#39;y&#39;&gt;"));
}

#[test]
fn a_page_names_nothing_outside_of_itself() {
    let place = Place::new();
    for pack in ["complete.zip", "sealed.zip"] {
        let html = place.html(&data(pack));
        for outside in
            ["http:", "https:", "src=", "url(", "@import", " style=", " onclick=", " onload=", "<link", "<base"]
        {
            assert!(!html.contains(outside), "{outside} in the page of {pack}");
        }
        assert_eq!(html.matches("<script>").count(), 1);
        let policy = html.lines().find(|line| line.contains("Content-Security-Policy")).unwrap();
        assert!(policy.contains("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    }
}

#[test]
fn a_pack_that_does_not_hold_is_not_shown() {
    let place = Place::new();
    let mut count = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("forged-") {
            continue;
        }
        count += 1;
        // A thief's own signature shows only against the key that is expected.
        let (code, text) =
            place.inspect(path.to_str().unwrap(), &["--public-key", &data("test.pub"), "--html", "page.html"]);
        assert!(code == 2 && text.starts_with("run inspect: the runpack does not verify"), "{name}: {code} {text}");
        assert!(!place.path("page.html").exists(), "{name}");
    }
    assert_eq!(count, 22);
    let (code, text) = place.inspect(&data("forged-count-changed.zip"), &["--json"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &answer["ok"], &answer["verify"]["ok"], answer.get("guarded")),
        (2, &json!(false), &json!(false), None)
    );
}

#[test]
fn wrong_usage_is_told_and_the_runpack_is_never_overwritten() {
    let place = Place::new();
    let pack = place.path("p.zip");
    fs::copy(data("complete.zip"), &pack).unwrap();
    let before = fs::read(&pack).unwrap();
    for (words, said) in [
        (vec!["./p.zip", "--html", "./p.zip"], "--html names the runpack itself"),
        (vec!["./p.zip", "--html="], "--html needs the name of a file"),
        (vec![], "expected run_id or path"),
        (vec!["./p.zip", "./p.zip"], "expected run_id or path"),
        (vec!["./absent.zip"], "runpack not found: ./absent.zip"),
        (vec!["./p.zip", "--htlm", "x"], "did you mean `--html`"),
    ] {
        let (code, text) = place.gait(&[&["run", "inspect"], &*words].concat());
        assert!(code == 6 && text.contains(said), "{words:?}: {text}");
    }
    assert_eq!(fs::read(&pack).unwrap(), before);
    fs::create_dir(place.path("folder")).unwrap();
    assert_eq!(place.inspect("./p.zip", &["--html", "folder"]).0, 1);
}
