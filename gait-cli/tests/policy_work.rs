//! Policies as people work on them: validate, fmt, explain, simulate, and examples in `policy test`.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use common::Place;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const POLICY: &str = "default_verdict: block
rules:
  # What may be read.
  - name: reads
    effect: allow
    match: {endpoint_classes: [fs.read], target_kinds: [path]}
    endpoint: {path_denylist: ['**/.env']}
    examples:
      match: [fs.read /etc/passwd]
      no_match: ['fs.read ${home}/.env', fs.write /x]
";

const INTENT: &str = r#"{"tool_name":"fs.read","targets":[{"kind":"path","value":"/srv/.env","operation":"read"}],
 "context":{"identity":"me","workspace":"/w","risk_class":"low"}}"#;

/// The guarded runs of the contract.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("gait-core/tests/data/guarded")
}

fn json(answer: &common::Answer) -> serde_json::Value {
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {}", answer.stdout))
}

#[test]
fn all_that_is_wrong_is_told_at_once_as_editors_understand_it() {
    let place = Place::new();
    place.write("p.yaml", "default_verdict: maybe\nrules:\n  - name: a\n    efect: block\n");
    let answer = place.line("policy validate p.yaml");
    let expected = "policy validate failed: p.yaml (3 errors)
p.yaml:1:18: error: invalid default_verdict: maybe
>  1 | default_verdict: maybe
                        ^
p.yaml:3:5: error: rule effect is required for a
   2 | rules:
>  3 |   - name: a
           ^
p.yaml:4:5: error: unknown key `efect`, did you mean `effect`?
   3 |   - name: a
>  4 |     efect: block
           ^
";
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (6, expected, ""));
    let told = json(&place.line("policy validate p.yaml --json"));
    assert_eq!(told["errors"].as_array().unwrap().len(), 3, "{told}");
    assert_eq!((&told["errors"][2]["line"], &told["errors"][2]["source"]), (&4.into(), &"    efect: block".into()));
    assert!(told.get("policy_digest").is_none() && told.get("error").is_none(), "{told}");
}

#[test]
fn files_that_are_no_policy_are_told_with_their_place() {
    let place = Place::new();
    for (bytes, at) in [
        (&b"\xef\xbb\xbfrules: []\n"[..], "p.yaml:1:1: error: the file starts with a byte order mark"),
        (b"a: b\nc: \xff\n", "p.yaml:2:4: error: the file is not UTF-8 from here on"),
        (b"rules: [\n", "p.yaml:1:8: error: "),
        (b"- a\n", "p.yaml:1:1: error: sequence was used where mapping is expected"),
    ] {
        place.write("p.yaml", bytes);
        let answer = place.line("policy validate p.yaml");
        assert!(answer.code == 6 && answer.stdout.lines().nth(1).unwrap().starts_with(at), "{}", answer.stdout);
    }
    let answer = place.line("policy validate nowhere.yaml");
    assert_eq!(answer.stdout, "policy validate error: read policy: open nowhere.yaml: no such file or directory\n");
    assert_eq!(place.line("policy validate").code, 6);
}

#[test]
fn warnings_are_no_errors_unless_they_are_denied() {
    let place = Place::new();
    place.write("p.yaml", "rules: [{name: r, effect: block, endpoint: {path_denylist: [/x]}}]\n");
    let answer = place.line("policy validate p.yaml");
    assert!(
        answer.code == 0 && answer.stdout.starts_with("policy validate ok: p.yaml (1 rule, 0 examples, 1 warning)\n")
    );
    assert!(answer.stdout.contains("p.yaml:1:44: warning: rule r blocks all"), "{}", answer.stdout);
    let answer = place.line("policy validate p.yaml --deny-warnings");
    assert!(answer.code == 6 && answer.stdout.starts_with("policy validate failed: "), "{}", answer.stdout);
}

#[test]
fn an_example_that_does_not_hold_fails_validate_and_test_and_no_other_reader() {
    let place = Place::new();
    place.write("p.yaml", POLICY);
    place.write("i.json", INTENT);
    let answer = place.line("policy test p.yaml i.json --json");
    assert_eq!((answer.code, &json(&answer)["verdict"]), (3, &"block".into()));
    let digest = json(&answer)["policy_digest"].clone();
    let without: String = POLICY.lines().take(7).flat_map(|line| [line, "\n"]).collect();
    place.write("p.yaml", without);
    assert_eq!(json(&place.line("policy test p.yaml i.json --json"))["policy_digest"], digest);

    place.write("p.yaml", POLICY.replace("fs.read /etc/passwd", "fs.read /srv/.env"));
    let answer = place.line("policy validate p.yaml");
    assert!(
        answer.code == 6 && answer.stdout.contains("p.yaml:9:15: error: example `fs.read /srv/.env` must match reads")
    );
    let answer = place.line("policy test p.yaml i.json");
    assert!(answer.code == 6 && answer.stdout.starts_with("policy test error: example `fs.read /srv/.env` must match"));
    assert_eq!(answer.stderr, "hint: see p.yaml:9:15; gait policy validate shows all\n");
    assert_eq!(place.line("policy test --lenient p.yaml i.json").code, 3);
}

#[test]
fn layout_keeps_comments_digest_permissions_and_links() {
    let place = Place::new();
    let crooked = "# head\n\n\n\ndefault_verdict:   block\nrules:\n# first\n- name: a\n  effect: allow   # why\n  match: { tool_names: [x,y] }\n";
    let straight = "# head\n\ndefault_verdict: block\nrules:\n  # first\n  - name: a\n    effect: allow   # why\n    match: {tool_names: [x, y]}\n";
    place.write("real.yaml", crooked);
    symlink("real.yaml", place.at("p.yaml")).unwrap();
    fs::set_permissions(place.at("real.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let digest = |place: &Place| json(&place.line("policy validate p.yaml --json"))["policy_digest"].clone();
    let before = digest(&place);
    let answer = place.line("policy fmt p.yaml --check");
    assert_eq!((answer.code, answer.stdout.as_str()), (2, "policy fmt failed: p.yaml:3\n"));
    assert_eq!(place.line("policy fmt p.yaml").stdout, straight);
    assert_eq!(place.read("real.yaml"), crooked, "nothing is written unasked");
    let answer = place.line("policy fmt p.yaml --write");
    assert_eq!((answer.code, answer.stdout.as_str()), (0, "policy fmt wrote: p.yaml\n"));
    assert_eq!((place.read("real.yaml").as_str(), digest(&place)), (straight, before));
    assert_eq!(fs::metadata(place.at("real.yaml")).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(place.at("p.yaml").is_symlink());
    for words in ["policy fmt p.yaml --check", "policy fmt p.yaml --write"] {
        let answer = place.line(words);
        assert_eq!((answer.code, answer.stdout.as_str()), (0, "policy fmt ok: p.yaml\n"));
    }
    assert_eq!(place.line("policy fmt p.yaml --check --write").code, 6);
    place.write("two.yaml", "a: 1\n---\nb: 2\n");
    let answer = place.line("policy fmt two.yaml --write");
    assert!(answer.code == 6 && answer.stdout.contains("more than one document"), "{}", answer.stdout);
    assert_eq!(answer.stderr, "hint: see two.yaml:2:1\n");
    assert_eq!(place.read("two.yaml"), "a: 1\n---\nb: 2\n");
}

#[test]
fn an_explanation_goes_through_every_rule_and_says_where_it_is() {
    let place = Place::new();
    let late = "  - {name: tools, effect: allow, match: {tool_names: [fs.read]}, priority: 9}\n  - {name: writes, effect: allow, priority: 1, match: {endpoint_classes: [fs.write], identities: [you]}}\n";
    place.write("p.yaml", format!("{POLICY}{late}"));
    place.write("i.json", INTENT);
    let answer = place.line("policy explain p.yaml --intent i.json");
    let expected = r#"policy explain: verdict=block reasons=endpoint_constraint_violation,endpoint_path_denied,matched_rule_reads violations=endpoint_constraint_violation,endpoint_path_denied
p.yaml:4: reads (priority 0, allow): decides
  ok  target_kinds: [path], the intent has "path"
  ok  endpoint_classes: [fs.read], the intent has "fs.read"
      endpoint: endpoint_path_denied by "**/.env" for "/srv/.env": at least block
p.yaml:12: writes (priority 1, allow): does not match
  no  identities: [you], the intent has "me"
  no  endpoint_classes: [fs.write], the intent has "fs.read"
p.yaml:11: tools (priority 9, allow): matches, but comes too late
  ok  tool_names: [fs.read], the intent has "fs.read"
"#;
    assert_eq!((answer.code, answer.stdout.as_str()), (0, expected));
    // The same verdict as `policy test`, whose exit code tells it.
    assert_eq!(place.line("policy test p.yaml i.json").code, 3);
    let told = place.gait(&["policy", "explain", "p.yaml", "--action", "fs.write ${workspace}/x", "--json"]);
    assert_eq!((told.code, &json(&told)["verdict"]), (0, &"block".into()));
    assert!(json(&told).get("matched_rule").is_none());
    let answer = place.gait(&["policy", "explain", "p.yaml", "--action", "fs.raed /x"]);
    assert!(answer.code == 6 && answer.stdout.contains("did you mean `fs.read`?"), "{}", answer.stdout);
    assert_eq!(place.line("policy explain p.yaml").code, 6);
}

#[test]
fn fail_closed_is_told_before_the_rules() {
    let place = Place::new();
    place.write("p.yaml", "fail_closed: {enabled: true, risk_classes: [low], required_fields: [arg_provenance]}\n");
    place.write("i.json", INTENT);
    let answer = place.line("policy explain p.yaml --intent i.json");
    assert!(answer.stdout.ends_with("\nfail_closed decides, before any rule\n"), "{}", answer.stdout);
}

/// Copies runs of the contract into `runs`.
fn with_runs(place: &Place, names: &[&str]) {
    fs::create_dir_all(place.at("runs")).unwrap();
    for name in names {
        fs::copy(data().join(name), place.at("runs").join(name)).unwrap();
    }
}

#[test]
fn a_simulation_agrees_with_replay_run_by_run_and_in_sum() {
    let place = Place::new();
    let runs = ["complete.zip", "sealed.zip"];
    let policies = [
        ("allow.yaml", "default_verdict: allow\n"),
        ("block.yaml", "default_verdict: block\n"),
        (
            "reads.yaml",
            "default_verdict: block\nrules: [{name: reads, effect: allow, match: {endpoint_classes: [fs.read]}}]\n",
        ),
        ("ask.yaml", "rules: [{name: net, effect: dry_run, match: {target_kinds: [host]}}]\n"),
    ];
    for (name, text) in policies {
        place.write(name, text);
        let replayed = |run: &str| {
            let words = ["run", "replay", &format!("runs/{run}"), "--policy", name, "--json"];
            json(&place.gait(&words))["divergences"].as_u64().unwrap()
        };
        let simulated = |runs: &[&str]| {
            let _ = fs::remove_dir_all(place.at("runs"));
            with_runs(&place, runs);
            let told = json(&place.gait(&["policy", "simulate", name, "--runs", "runs", "--json"]));
            assert_eq!(told["runs"], runs.len(), "{told}");
            let of = |member: &str| told[member].as_u64().unwrap();
            let by_rule: u64 =
                told["changes"].as_array().unwrap().iter().map(|one| one["actions"].as_u64().unwrap()).sum();
            let sum = of("newly_blocked") + of("newly_allowed") + of("otherwise");
            assert_eq!(sum, by_rule, "{told}");
            sum
        };
        let one_by_one: Vec<u64> = runs.iter().map(|run| simulated(&[run])).collect();
        assert_eq!(simulated(&runs), one_by_one.iter().sum::<u64>(), "{name}");
        let replays: Vec<u64> = runs.iter().map(|run| replayed(run)).collect();
        assert_eq!(one_by_one, replays, "{name}");
        assert!(replays.iter().sum::<u64>() > 0, "{name} changes nothing, so this shows nothing");
    }
}

#[test]
fn a_simulation_says_what_it_skips_and_fails_on_change_when_asked() {
    let place = Place::with_demo();
    with_runs(&place, &["complete.zip", "forged-count-changed.zip"]);
    fs::copy(place.at("gait-out/runpack_run_demo.zip"), place.at("runs/demo.zip")).unwrap();
    place.write("runs/notes.txt", "x");
    place.write("allow.yaml", "default_verdict: allow\n");
    let answer = place.line("policy simulate allow.yaml --runs runs");
    assert_eq!(answer.code, 0);
    assert!(answer.stdout.starts_with("policy simulate: 1 runs, "), "{}", answer.stdout);
    assert!(answer.stdout.contains("\nnewly allowed by no rule (block -> allow): "), "{}", answer.stdout);
    assert!(
        answer.stdout.contains("\nskipped: runs/demo.zip: not the runpack of a guarded run\n"),
        "{}",
        answer.stdout
    );
    assert!(
        answer.stdout.contains("\nskipped: runs/forged-count-changed.zip: counts.jsonl does not"),
        "{}",
        answer.stdout
    );
    let answer = place.line("policy simulate allow.yaml --runs runs --fail-on-change --json");
    assert_eq!((answer.code, &json(&answer)["ok"]), (2, &false.into()));
    // The policy of the run itself changes nothing.
    let policy = zip_member(&data().join("complete.zip"), "policy.yaml");
    place.write("own.yaml", policy);
    let answer = place.line("policy simulate own.yaml --runs runs --fail-on-change");
    assert!(
        answer.code == 0 && answer.stdout.contains(": 0 newly blocked, 0 newly allowed, 0 otherwise\n"),
        "{}",
        answer.stdout
    );
    fs::create_dir(place.at("empty")).unwrap();
    assert_eq!(place.line("policy simulate own.yaml --runs empty").code, 6);
    assert_eq!(place.line("policy simulate own.yaml --runs nowhere").code, 6);
    assert_eq!(place.line("policy simulate own.yaml").code, 6);
}

fn zip_member(path: &Path, name: &str) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut bytes = Vec::new();
    std::io::copy(&mut archive.by_name(name).unwrap(), &mut bytes).unwrap();
    bytes
}

#[test]
fn a_wrong_call_of_the_group_is_answered_as_the_reference_does_and_help_shows_all_verbs() {
    let place = Place::new();
    let usage = "Usage:\n  gait policy test <policy.yaml> <intent_fixture.json> [--json] [--explain]\n";
    for line in ["policy", "policy nope"] {
        let answer = place.line(line);
        assert_eq!((answer.code, answer.stdout.as_str()), (6, usage));
    }
    let answer = place.line("policy valdiate");
    assert_eq!(answer.stderr, "hint: did you mean `gait policy validate`?\n");
    let help = place.line("policy --help");
    for verb in ["validate", "fmt", "explain", "simulate", "test"] {
        assert!(help.code == 0 && help.stdout.contains(&format!("\n  policy {verb}")), "{}", help.stdout);
    }
}
