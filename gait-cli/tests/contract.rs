//! Rules of the contract (artifacts 1 to 10) that its golden cases do not show, tried on the binary.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

mod common;

use common::{Answer, PUBLIC, Pack, Place, listed};
use serde_json::{Value, json};
use std::fs;

/// The text of a member of a pack.
fn member(place: &Place, pack: &str, name: &str) -> String {
    let bytes = fs::read(place.at(pack)).unwrap();
    let mut container = gait_core::runpack::container::Container::open(std::io::Cursor::new(bytes)).unwrap();
    String::from_utf8(container.read_all(name, 1 << 20).unwrap().unwrap()).unwrap()
}

#[test]
fn every_command_ends_with_the_codes_of_its_row() {
    let place = Place::with_runs();
    place.write("k.pub", PUBLIC);
    place.write("bad.zip", Pack::new().with("more", b"").bytes());
    place.write(
        "two.zip",
        Pack::new().replaced("intents.jsonl", b"{\"intent_id\":\"i\"}\n{\"intent_id\":\"i\"}\n").bytes(),
    );
    place.write("s.json", "{\"items\":[{\"id\":\"a\"}]}");
    place.write("t.json", "{}");
    for (line, code) in [
        ("demo", 0),
        ("verify run_demo", 0),
        ("verify bad.zip", 2),
        ("verify run_demo --require-signature", 2),
        ("verify run_demo --public-key none", 6),
        ("verify t.json", 6),
        ("verify chain --run run_demo", 0),
        ("verify chain --run bad.zip", 2),
        ("verify chain --run none", 6),
        ("run record m.json", 0),
        ("run record none.json", 6),
        ("run record s.json", 6),
        ("run replay run_demo", 0),
        ("run replay run_m", 2),
        ("run replay two.zip", 6),
        ("run replay bad.zip", 6),
        ("run replay run_demo --real-tools", 8),
        ("run diff run_demo run_demo", 0),
        ("run diff run_demo run_m", 2),
        ("run diff run_demo bad.zip", 6),
        ("run receipt run_demo", 0),
        ("run receipt bad.zip", 2),
        ("run receipt none", 6),
        ("run reduce run_m", 0),
        ("run reduce run_demo", 6),
        ("run reduce bad.zip", 6),
        ("migrate run_demo", 0),
        ("migrate bad.zip", 6),
        ("regress run", 6),
        ("regress init --from none", 6),
        ("regress init --from run_demo", 0),
        ("regress run", 0),
        ("regress bootstrap --from run_m", 5),
        ("regress bootstrap --from bad.zip", 6),
        ("scout snapshot", 0),
        ("scout snapshot --roots none", 6),
        ("scout diff s.json s.json", 0),
        ("scout diff s.json t.json", 2),
        ("scout diff s.json none", 6),
        ("scout signal run_demo", 0),
        ("scout signal none", 6),
        ("doctor adoption --from none", 6),
    ] {
        let answer = place.line(line);
        assert_eq!(answer.code, code, "{line}: {}", answer.whole());
        let json = place.line(&format!("{line} --json"));
        assert_eq!(json.code, code, "{line} --json: {}", json.whole());
        assert_eq!(json.json()["ok"], code == 0, "{line} --json: {}", json.whole());
        assert_eq!(
            (json.stderr.as_str(), json.json()["correlation_id"].as_str().map(str::len)),
            ("", Some(24)),
            "{line}"
        );
    }
}

#[test]
fn an_error_has_an_envelope_and_a_negative_answer_has_none() {
    let place = Place::with_runs();
    const ENVELOPE: [&str; 5] = ["error", "error_code", "error_category", "retryable", "hint"];
    let present = |line: &str| {
        let json = place.line(line).json();
        ENVELOPE.iter().filter(|member| json.get(**member).is_some()).count()
    };
    for line in ["verify none --json", "run replay run_demo --real-tools --json", "run diff --json", "migrate --json"] {
        assert_eq!(present(line), 5, "{line}");
    }
    for line in
        ["verify run_demo --require-signature --json", "run diff run_m run_demo --json", "run replay run_m --json"]
    {
        assert_eq!(present(line), 0, "{line}");
    }
    let json = place.line("run replay run_demo --real-tools --json").json();
    assert_eq!(
        (&json["error_code"], &json["error_category"]),
        (&json!("unsafe_operation"), &json!("internal_failure"))
    );
    // Markup characters are escaped, so that an answer can stand in a page.
    assert!(place.line("scout signal --json").stdout.contains("\\u003ccsv\\u003e"));
}

#[test]
fn a_run_is_found_in_the_output_folder_first_and_then_at_home() {
    let place = Place::new();
    place.write("home/.gait/runpacks/runpack_run_x.zip", Pack::new().bytes());
    let home = format!("verify ok: {}\n", place.at("home/.gait/runpacks/runpack_run_x.zip").display());
    assert_eq!(place.line("verify run_x").stdout, home);
    place.write("gait-out/runpack_run_x.zip", Pack::new().bytes());
    assert_eq!(place.line("verify run_x").stdout, "verify ok: gait-out/runpack_run_x.zip\n");
    // A name with a dot is a run id, one with a slash or `.zip` is a path, given back as it was typed.
    place.write("rec.json", "");
    assert_eq!(place.line("verify rec.json").stdout, "verify error: runpack not found for run_id: rec.json\n");
    assert_eq!(place.line("verify ./gait-out//runpack_run_x.zip").stdout, "verify ok: ./gait-out//runpack_run_x.zip\n");
    assert_eq!(place.line("verify ./gait-out").stdout, "verify error: runpack not found: ./gait-out\n");
    place.write("P.ZIP", Pack::new().bytes());
    assert_eq!(place.line("verify P.ZIP").code, 0);
    assert_eq!(place.gait(&["verify", ""]).stdout, "verify error: missing run_id or path\n");
    let without_home = Answer::of(place.command(&["verify", "run_y"]).env_remove("HOME"));
    assert_eq!(without_home.code, 6);
}

#[test]
fn explanations_answer_whatever_else_is_on_the_line() {
    let place = Place::new();
    for (line, words) in [
        (
            "verify a b --bogus --explain",
            "Verify runpack integrity offline: file hashes, manifest digest, and optional signatures.\n",
        ),
        (
            "verify --public-key --explain",
            "Verify runpack integrity offline: file hashes, manifest digest, and optional signatures.\n",
        ),
        (
            "run bogus --explain",
            "Work with runpacks: record an artifact from normalized run data, replay deterministically in stub mode, and diff runs with stable output.\n",
        ),
        (
            "migrate --explain",
            "Migrate artifact files to the current schema generation without requiring network access.\n",
        ),
    ] {
        let answer = place.line(line);
        assert_eq!((answer.code, answer.stdout.as_str()), (0, words), "{line}");
    }
    assert_eq!(place.gait(&["demo", " --explain "]).code, 0);
    for line in ["verify -explain", "verify --explain=true"] {
        assert!(place.line(line).stdout.contains("flag provided but not defined: -explain"), "{line}");
    }
}

#[test]
fn records_are_read_as_the_contract_reads_json() {
    let place = Place::new();
    let record = |input: &[u8]| {
        place.write("in.json", input);
        place.line("run record in.json --run-id r")
    };
    for good in [
        &b"null"[..],
        b"{}",
        br#"{"run":null,"intents":null,"results":null,"refs":null,"capture_mode":null}"#,
        br#"{"intents":[null],"refs":{"receipts":[null]}}"#,
        br#"{"run":{"producer_version":"a","producer_version":"b"},"more":{"x":[]}}"#,
        b"{\"intents\":[{\"intent_id\":\"\xff\"},{\"intent_id\":\"\\ud800\"}]}",
    ] {
        assert_eq!(record(good).code, 0, "{}", String::from_utf8_lossy(good));
    }
    let intents = member(&place, "gait-out/runpack_r.zip", "intents.jsonl");
    assert_eq!(intents.matches("\"intent_id\":\"\u{fffd}\"").count(), 2, "{intents}");
    for bad in
        [&b""[..], b"[]", b"{} {}", br#"{"run":[]}"#, br#"{"intents":{}}"#, br#"{"run":{"created_at":"2026-02-05"}}"#]
    {
        let answer = record(bad);
        assert!(
            answer.code == 6 && answer.stdout.starts_with("record error: parse input json: "),
            "{}",
            answer.whole()
        );
    }
}

#[test]
fn what_was_not_said_gets_its_default_and_nothing_else_is_touched() {
    let place = Place::with_runs();
    let run = r#"{"created_at":"2026-03-01T10:00:00.5+02:00","env":{"arch":"amd64","gpu":1,"os":"x","runtime":"go"},"producer_version":"0.0.0-dev","run_id":"run_m","schema_id":"gait.runpack.run","schema_version":"1.0.0","timeline":[{"event":"e","ref":"i1","ts":"2026-03-01T10:00:00Z"},{"event":"f","ts":"0001-01-01T00:00:00Z"}]}"#;
    let got = member(&place, "gait-out/runpack_run_m.zip", "run.json");
    assert_eq!(got.replace(&format!("\"arch\":\"{}\"", gait_core::platform::ARCH), "\"arch\":\"amd64\""), run);
    let intents = member(&place, "gait-out/runpack_run_m.zip", "intents.jsonl");
    assert!(
        intents.starts_with(
            r#"{"args":{"input_ref":" r1 ","n":1000},"args_digest":"ABC","created_at":"2026-03-01T10:00:00.5+02:00""#
        ),
        "{intents}"
    );
    assert!(intents.ends_with("\"tool_name\":\"noop\"}\n") && intents.matches("\"args\":").count() == 1);
    assert_eq!(member(&place, "gait-out/runpack_run_demo.zip", "refs.json").matches('\n').count(), 0);
}

#[test]
fn the_run_id_of_the_flag_counts_everywhere() {
    let place = Place::with_runs();
    assert_eq!(place.line("run record m.json --run-id other --capture-mode raw").code, 0);
    for name in ["run.json", "intents.jsonl", "results.jsonl", "refs.json"] {
        let text = member(&place, "gait-out/runpack_other.zip", name);
        assert!(text.contains("\"run_id\":\"other\"") && !text.contains("run_m"), "{name}: {text}");
    }
    assert!(member(&place, "gait-out/runpack_other.zip", "manifest.json").contains("\"capture_mode\":\"raw\""));
}

#[test]
fn real_tools_need_every_confirmation_and_are_stubs_all_the_same() {
    let place = Place::with_runs();
    let ask = |line: &str, variable: Option<(&str, &str)>| {
        let words: Vec<&str> = ["run", "replay", "run_demo"].into_iter().chain(line.split(' ')).collect();
        let mut command = place.command(&words);
        let answer = Answer::of(match variable {
            Some((name, value)) => command.env(name, value),
            None => &mut command,
        });
        (answer.code, answer.stdout)
    };
    let refused = |words: &str| (8, format!("replay error: real tool execution requires {words}\n"));
    assert_eq!(ask("--real-tools", None), refused("--unsafe-real-tools"));
    let no_names = refused("--allow-tools with explicit tool names");
    assert_eq!(ask("--real-tools --unsafe-real-tools", None), no_names);
    assert_eq!(ask("--real-tools --unsafe-real-tools --allow-tools ,", None), no_names);
    let all = "--real-tools --unsafe-real-tools --allow-tools a,,b";
    assert_eq!(ask(all, None), refused("GAIT_ALLOW_REAL_REPLAY=1"));
    assert_eq!(ask(all, Some(("GAIT_ALLOW_REAL_REPLAY", "true"))), refused("GAIT_ALLOW_REAL_REPLAY=1"));
    let granted =
        "replay ok: run_demo (stub)\nwarnings: real tools not implemented; replaying stubs; allow_tools=a,b\n";
    assert_eq!(ask(all, Some(("GAIT_ALLOW_REAL_REPLAY", " 1 "))), (0, granted.into()));
    let own = format!("{all} --unsafe-real-tools-env MINE");
    assert_eq!(ask(&own, Some(("GAIT_ALLOW_REAL_REPLAY", "1"))), refused("MINE=1"));
    assert_eq!(ask(&own, Some(("MINE", "1"))), (0, granted.into()));
    assert_eq!(ask("--unsafe-real-tools", None).1, "replay ok: run_demo (stub)\n");
    assert_eq!(place.line("run replay none --unsafe-real-tools --json").json()["requested_unsafe"], true);
}

#[test]
fn a_diff_sees_the_list_of_members_but_not_what_differs_between_any_two_runs() {
    let place = Place::new();
    let diff = |left: &Pack, right: &Pack, privacy: &str| -> Value {
        place.write("l.zip", left.bytes());
        place.write("r.zip", right.bytes());
        place.line(&format!("run diff l.zip r.zip --privacy {privacy} --json")).json()
    };
    let other_head = Pack::new().resealed(|manifest| {
        manifest["producer_version"] = "other".into();
        manifest["created_at"] = "2027-01-01T00:00:00Z".into();
    });
    assert_eq!(diff(&Pack::new(), &other_head, "full")["ok"], true);
    let more = Pack::new().with("x.txt", b"1").resealed(|manifest| {
        manifest["files"].as_array_mut().unwrap().push(listed("x.txt", b"1"));
    });
    let summary = diff(&Pack::new(), &more, "full")["summary"].clone();
    assert_eq!((&summary["files_changed"], &summary["manifest_changed"]), (&json!(["x.txt"]), &json!(true)));
    let turned = Pack::new().resealed(|manifest| manifest["files"].as_array_mut().unwrap().reverse());
    let summary = diff(&Pack::new(), &turned, "full")["summary"].clone();
    assert_eq!((summary.get("files_changed"), &summary["manifest_changed"]), (None, &json!(true)));
    let line = br#"{"intent_id":"i","tool_name":"t","args_digest":"","args":{"a":1},"schema_id":"gait.runpack.intent","schema_version":"1.0.0"}"#;
    let args = Pack::new().replaced("intents.jsonl", line);
    assert_eq!(diff(&Pack::new(), &args, "full")["summary"]["intents_changed"], true);
    assert_eq!(diff(&Pack::new(), &args, "metadata")["ok"], true);
    let refs = br#"{"receipts":[{"ref_id":"a"}]}"#;
    let renamed = br#"{"receipts":[{"ref_id":"b"}]}"#;
    let (left, right) = (Pack::new().replaced("refs.json", refs), Pack::new().replaced("refs.json", renamed));
    assert_eq!(diff(&left, &right, "full")["summary"]["refs_changed"], true);
    assert_eq!(diff(&left, &right, "metadata")["summary"]["refs_changed"], false);
    assert_eq!(diff(&Pack::new(), &right, "metadata")["summary"]["refs_changed"], true);
}

#[test]
fn a_reduced_run_keeps_one_intent_and_what_it_refers_to() {
    let place = Place::with_runs();
    let report = place.line("run reduce run_m --predicate missing_result --json").json()["report"].clone();
    assert_eq!(
        (&report["selected_intent_id"], &report["created_at"]),
        (&json!("i0"), &json!("2026-03-01T08:00:00.5Z"))
    );
    let name = "gait-out/runpack_run_m_reduced_missing_result.zip";
    assert_eq!(place.json(&format!("{name}.reduce_report.json")), report);
    assert_eq!(member(&place, name, "results.jsonl"), "");
    assert!(member(&place, name, "run.json").contains(r#""timeline":[{"event":"f","ts":"0001-01-01T00:00:00Z"}]"#));
    let failed = place.gait(&["run", "reduce", "--from=run_m", "--predicate= NON_ok_status ", "--json"]).json();
    assert_eq!(failed["reduced_run_id"], "run_m_reduced_nonokstatus");
    assert_eq!(
        place.line("run reduce run_m --predicate other").stdout,
        "run reduce error: unsupported predicate \"other\"\n"
    );
}

#[test]
fn both_logs_tell_of_a_call_what_its_answer_said() {
    let place = Place::with_demo();
    let answer = Answer::of(
        place
            .command(&["run", "replay", "run_demo", "--real-tools", "--json"])
            .env("GAIT_ADOPTION_LOG", " log/a.jsonl ")
            .env("GAIT_OPERATIONAL_LOG", "log/o.jsonl"),
    );
    let lines = |name: &str| -> Vec<Value> {
        place.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let adoption = &lines("log/a.jsonl")[0];
    assert_eq!(
        (&adoption["command"], &adoption["exit_code"], &adoption["success"]),
        (&json!("run replay"), &json!(8), &json!(false))
    );
    let [start, end] = lines("log/o.jsonl").try_into().unwrap();
    assert_eq!(
        (&start["phase"], &start["error_category"], &start["exit_code"]),
        (&json!("start"), &json!("none"), &json!(0))
    );
    assert_eq!(
        (&end["phase"], &end["error_category"], &end["exit_code"]),
        (&json!("end"), &json!("internal_failure"), &json!(8))
    );
    let id = answer.json()["correlation_id"].clone();
    assert!(start["correlation_id"] == id && end["correlation_id"] == id);
    let report = place.line("doctor adoption --from log/a.jsonl --json").json()["report"].clone();
    assert_eq!(report["commands"], json!([{"command": "run replay", "total": 1, "success": 0, "failure": 1}]));
    place.write("bad.jsonl", "\n{\"command\":\"demo\"}\n");
    let answer = place.line("doctor adoption bad.jsonl");
    let words = "doctor adoption error: validate adoption log line 2: created_at is required\n";
    assert_eq!((answer.code, answer.stdout.as_str()), (6, words));
}

#[test]
fn json_is_answered_wherever_the_flag_stands() {
    let place = Place::new();
    for line in [
        "verify --bogus --json x",
        "verify --json --bogus x",
        "verify x --json --profile",
        "run replay --json ---x",
        "regress init --from none extra --json",
    ] {
        assert_eq!((place.line(line).code, &place.line(line).json()["ok"]), (6, &json!(false)), "{line}");
    }
    assert!(place.line("verify --bogus -- --json").stdout.starts_with("verify error: "));
    let page = place.line("verify --help --json").stdout;
    assert!(page.starts_with("Usage:\n  gait verify "), "{page}");
}

#[test]
fn the_demo_answers_in_json_too() {
    let place = Place::new();
    let text = place.line("demo").stdout;
    assert_eq!(text.lines().count(), 4);
    let json = place.line("demo --json").json();
    let digest = "88913ed84855671786b9ecc3eab94f760332a6c19a3ff2195ab8afd914d57725";
    let footer = format!("GAIT run_id=run_demo manifest=sha256:{digest} verify=\"gait verify run_demo\"");
    assert_eq!((&json["run_id"], &json["verify"]), (&json!("run_demo"), &json!("ok")));
    assert_eq!((&json["manifest_digest"], &json["ticket_footer"]), (&json!(digest), &json!(footer)));
    assert!(text.contains(&format!("\nbundle={}\nticket_footer={footer}\n", json["bundle"].as_str().unwrap())));
}

#[test]
fn every_command_is_in_the_usage_block_and_explains_itself() {
    let place = Place::new();
    let usage = place.line("help").stdout;
    let mut seen = std::collections::BTreeSet::new();
    for words in [
        "run record",
        "run replay",
        "run diff",
        "run receipt",
        "run reduce",
        "regress init",
        "regress run",
        "regress bootstrap",
        "scout snapshot",
        "scout diff",
        "scout signal",
        "migrate",
        "verify",
        "verify chain",
        "demo",
    ] {
        assert!(usage.contains(&format!("\n  gait {words} ")), "{words}");
        assert!(seen.insert(place.line(&format!("{words} --explain")).stdout), "{words} has the line of another");
    }
}

#[test]
fn a_run_called_chain_is_verified_by_its_path() {
    let place = Place::new();
    place.write("in.json", r#"{"run":{"run_id":"chain"}}"#);
    assert_eq!(place.line("run record in.json").code, 0);
    assert_eq!(place.line("verify gait-out/runpack_chain.zip").code, 0);
    assert_eq!(place.line("verify chain").code, 6);
}

#[test]
fn a_migration_compares_content_and_not_compressed_bytes() {
    let place = Place::new();
    place.write("same.zip", Pack::new().sorted_and_deflated());
    place.write("stored.zip", Pack::new().bytes());
    let foreign = Pack::new().resealed(|manifest| manifest["schema_version"] = "".into());
    place.write("foreign.zip", foreign.sorted_and_deflated());
    for (pack, status) in [("same.zip", "no_change"), ("stored.zip", "migrated"), ("foreign.zip", "migrated")] {
        let answer = place.line(&format!("migrate {pack} --out o/{pack} --json"));
        assert_eq!((answer.code, &answer.json()["status"]), (0, &json!(status)), "{pack}: {}", answer.whole());
    }
    assert_ne!(fs::read(place.at("same.zip")).unwrap(), fs::read(place.at("o/same.zip")).unwrap());
}

#[test]
fn two_calls_write_the_same_bytes() {
    let (one, other) = (Place::with_runs(), Place::with_runs());
    for line in
        ["migrate run_m", "run reduce run_m", "regress bootstrap --from run_demo", "scout signal run_m run_demo"]
    {
        assert_eq!(one.line(line).stdout, other.line(line).stdout, "{line}");
    }
    assert_eq!(one.files(), other.files());
    for file in one.files() {
        assert_eq!(fs::read(one.at(&file)).unwrap(), fs::read(other.at(&file)).unwrap(), "{file}");
    }
}
