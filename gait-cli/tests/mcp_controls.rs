//! Rules that demand more than a verdict, in a session of `gait mcp serve`; and sessions that were killed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use common::Place;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A server that answers each request with a result, and keeps what it is told in `seen`.
const SERVER: &str = r#"while IFS= read -r line; do printf '%s\n' "$line" >>seen
id=$(printf '%s' "$line" | sed -n 's/^{"jsonrpc":"2.0","id":\([^,}]*\).*/\1/p')
[ -z "$id" ] || printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}\n' "$id"; done"#;

struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn start(place: &Place, run_id: &str, policy: &str, flags: &[&str], server: &str) -> Self {
        place.write("policy.yaml", policy);
        let mut command = Command::new(env!("CARGO_BIN_EXE_gait"));
        command.args(["mcp", "serve", "--policy", "policy.yaml", "--run-id", run_id, "--identity", "al", "--json"]);
        command.args(flags).args(["--", "/bin/sh", "-c", server]).current_dir(place.path());
        command.env("HOME", place.at("home")).env("GAIT_BROKER_TOKEN_MINE", "s3cret-value");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Session { child, input, output }
    }

    fn call(&mut self, id: u32, tool: &str) -> Value {
        self.say(id, tool);
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn say(&mut self, id: u32, tool: &str) {
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#
        );
        self.input.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn end(mut self) -> Value {
        self.input = None;
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{stderr}");
        serde_json::from_str(stderr.lines().last().unwrap()).unwrap()
    }
}

/// What the answer to a refused call says of the decision.
fn decision(answer: &Value) -> &Value {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    &answer["result"]["_meta"]["gait/decision"]
}

fn has_reason(answer: &Value, reason: &str) -> bool {
    decision(answer)["reason_codes"].as_array().unwrap().contains(&json!(reason))
}

fn text(place: &Place, run_id: &str, name: &str) -> String {
    let file = std::fs::File::open(place.at(&format!("gait-out/runpack_{run_id}.zip"))).unwrap();
    let mut text = String::new();
    zip::ZipArchive::new(file).unwrap().by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

fn member(place: &Place, run_id: &str, name: &str) -> Vec<Value> {
    text(place, run_id, name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn verifies(place: &Place, run_id: &str) {
    let answer = place.line(&format!("verify {run_id} --profile strict --require-digests"));
    assert_eq!(answer.code, 0, "{}", answer.whole());
}

#[test]
fn calls_are_counted_in_the_state_of_gate_eval_and_one_too_many_does_not_go_on() {
    let place = Place::new();
    let policy = "default_verdict: block\nrules:\n- {name: r, effect: allow, match: {tool_names: [a]}, rate_limit: {requests: 3, window: hour}}\n";
    place.write("intent.json", r#"{"tool_name":"a","context":{"identity":"al","workspace":"/w","risk_class":"high"}}"#);
    let mut session = Session::start(&place, "run_a", policy, &[], SERVER);
    assert_eq!(session.call(1, "a")["result"]["content"], json!([]));
    // The same counter, from outside of the session.
    let eval = place.line("gate eval --policy policy.yaml --intent intent.json --json");
    let eval: Value = serde_json::from_str(&eval.stdout).unwrap();
    assert_eq!((&eval["verdict"], &eval["rate_limit_used"]), (&json!("allow"), &json!(2)));
    assert_eq!(session.call(2, "a")["result"]["content"], json!([]));
    let refused = session.call(3, "a");
    assert!(has_reason(&refused, "rate_limit_exceeded"), "{refused}");
    let summary = session.end();
    assert_eq!((&summary["allowed"], &summary["refused"]), (&json!(2), &json!(1)));
    assert_eq!(place.read("seen").lines().count(), 2);
    verifies(&place, "run_a");
    let results = member(&place, "run_a", "results.jsonl");
    let used: Vec<&Value> = results.iter().map(|result| &result["result"]["rate_limit_used"]).collect();
    assert_eq!(used, [&json!(1), &json!(3), &json!(3)]);
    assert_eq!(results[0]["result"]["rate_limit_key"], "a|al");
}

#[test]
fn a_state_that_can_t_be_used_lets_nothing_through() {
    let place = Place::new();
    let policy = "rules: [{name: r, effect: allow, rate_limit: {requests: 3}}]\n";
    place.write("state.json", "no state");
    let mut session = Session::start(&place, "run_a", policy, &["--rate-limit-state", "state.json"], SERVER);
    assert!(has_reason(&session.call(1, "a"), "rate_limit_not_counted"));
    session.end();
    assert!(!place.at("seen").exists());
}

#[test]
fn a_call_that_was_approved_goes_on_once() {
    let place = Place::new();
    place.write("approver.key", common::PRIVATE);
    place.write("approver.pub", common::PUBLIC);
    let policy = "default_verdict: block\nrules: [{name: r, effect: require_approval, match: {tool_names: [a]}}]\n";
    let flags = ["--approval-token", "token.json", "--approval-public-key", "approver.pub"];
    let mut session = Session::start(&place, "run_a", policy, &flags, SERVER);
    let refused = session.call(1, "a");
    assert_eq!(decision(&refused)["verdict"], "require_approval");
    assert!(has_reason(&refused, "approval_token_missing"), "{refused}");
    let digest = |name: &str| decision(&refused)[name].as_str().unwrap().to_owned();
    let approve = |intent: &str, policy: &str, out: &str| {
        place.line(&format!(
            "approve --intent-digest {intent} --policy-digest {policy} --ttl 1h --scope tool:a --approver kim \
             --reason-code ok --out {out} --key-mode prod --private-key approver.key"
        ))
    };
    let (intent_digest, policy_digest) = (digest("intent_digest"), digest("policy_digest"));
    // One for another call and one for another policy are worth nothing.
    for (intent, policy, reason) in [
        (&policy_digest, &policy_digest, "approval_token_intent_mismatch"),
        (&intent_digest, &intent_digest, "approval_token_policy_mismatch"),
    ] {
        assert_eq!(approve(intent, policy, "token.json").code, 0);
        assert!(has_reason(&session.call(2, "a"), reason));
    }
    assert_eq!(approve(&intent_digest, &policy_digest, "token.json").code, 0);
    assert_eq!(session.call(3, "a")["result"]["content"], json!([]));
    let again = session.call(4, "a");
    assert!(has_reason(&again, "approval_token_replayed"), "{again}");
    // Half a token is none, and nothing goes on beside it.
    place.write("token.json", "{");
    assert!(has_reason(&session.call(5, "a"), "approval_token_invalid"));
    let summary = session.end();
    assert_eq!((&summary["allowed"], &summary["refused"]), (&json!(1), &json!(5)));
    verifies(&place, "run_a");
    let results = member(&place, "run_a", "results.jsonl");
    let approval_ref = results[3]["result"]["approval_ref"].as_str().unwrap();
    let audits = member(&place, "run_a", "approval_audits.jsonl");
    assert_eq!((&audits[3]["approved"], &audits[3]["entries"][0]["token_id"]), (&json!(true), &json!(approval_ref)));
    let traces = member(&place, "run_a", "traces.jsonl");
    assert!(traces.iter().any(|trace| trace["approval_token_ref"] == approval_ref && trace["verdict"] == "allow"));
}

#[test]
fn used_tokens_are_remembered_beyond_a_session() {
    let place = Place::new();
    place.write("approver.key", common::PRIVATE);
    place.write("approver.pub", common::PUBLIC);
    let policy = "default_verdict: block\nrules: [{name: r, effect: require_approval, match: {tool_names: [a]}}]\n";
    let flags =
        ["--approval-token", "t.json", "--approver-key", "kim=approver.pub", "--approval-single-use", "uses.json"];
    let mut first = Session::start(&place, "run_a", policy, &flags, SERVER);
    let refused = first.call(1, "a");
    let digest = |name: &str| decision(&refused)[name].as_str().unwrap().to_owned();
    let approved = place.line(&format!(
        "approve --intent-digest {} --policy-digest {} --ttl 1h --scope tool:a --approver kim --reason-code ok \
         --out t.json --key-mode prod --private-key approver.key",
        digest("intent_digest"),
        digest("policy_digest")
    ));
    assert_eq!(approved.code, 0, "{}", approved.whole());
    assert_eq!(first.call(2, "a")["result"]["content"], json!([]));
    first.end();
    let mut second = Session::start(&place, "run_b", policy, &flags, SERVER);
    assert!(has_reason(&second.call(1, "a"), "approval_token_replayed"));
    second.end();
}

#[test]
fn tokens_without_a_key_of_their_own_are_refused_before_the_session() {
    let place = Place::new();
    place.write("policy.yaml", "default_verdict: block\n");
    let answer = place.line("mcp serve --policy policy.yaml --approval-token t.json --json -- true");
    let error: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(answer.code, 6);
    assert_eq!(error["error"], "--approval-token needs a key that approvals are verified with");
    let answer = place.line("mcp serve --policy policy.yaml --credential-broker vault --json -- true");
    assert!(answer.code == 6 && answer.stdout.contains("unsupported credential broker: vault"), "{}", answer.whole());
}

#[test]
fn a_credential_is_recorded_by_its_reference_alone() {
    let place = Place::new();
    let policy = "default_verdict: block\nrules:\n- {name: r, effect: allow, match: {tool_names: [a]}, require_broker_credential: true, broker_reference: mine, broker_scopes: [Read]}\n- {name: s, effect: allow, match: {tool_names: [b]}, require_broker_credential: true, broker_reference: other}\n";
    let mut session = Session::start(&place, "run_a", policy, &["--credential-broker", "env"], SERVER);
    assert_eq!(session.call(1, "a")["result"]["content"], json!([]));
    assert!(has_reason(&session.call(2, "b"), "broker_credential_missing"));
    session.end();
    verifies(&place, "run_a");
    let evidence = member(&place, "run_a", "credential_evidence.jsonl");
    assert_eq!(evidence.len(), 1);
    assert_eq!((&evidence[0]["broker"], &evidence[0]["scope"]), (&json!("env"), &json!(["read"])));
    let reference = evidence[0]["credential_ref"].as_str().unwrap();
    assert!(reference.starts_with("env:GAIT_BROKER_TOKEN_MINE:"), "{reference}");
    assert_eq!(member(&place, "run_a", "results.jsonl")[0]["result"]["credential_ref"], reference);
    for name in ["run.json", "intents.jsonl", "results.jsonl", "traces.jsonl", "credential_evidence.jsonl"] {
        assert!(!text(&place, "run_a", name).contains("s3cret-value"), "{name}");
    }
    // Without a broker the rule lets nothing through.
    let mut session = Session::start(&place, "run_b", policy, &[], SERVER);
    assert!(has_reason(&session.call(1, "a"), "broker_credential_required"));
    session.end();
}

#[test]
fn a_session_that_was_killed_becomes_a_runpack_that_says_so() {
    let place = Place::new();
    let policy = "default_verdict: block\nrules: [{name: r, effect: allow, match: {tool_names: [a, slow]}}]\n";
    let server = r#"read -r x; echo '{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'; echo $$ >pid; cat >/dev/null"#;
    let mut session = Session::start(&place, "run_a", policy, &[], server);
    assert_eq!(session.call(1, "a")["id"], 1);
    session.call(2, "rm");
    session.say(3, "slow");
    let intents = place.at("gait-out/.mcp_run_a/intents.jsonl");
    while std::fs::read_to_string(&intents).unwrap().lines().count() < 3 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // Not while it goes on.
    let early = place.line("run seal run_a --json");
    assert!(early.code == 6 && early.stdout.contains("the session goes on"), "{}", early.whole());
    session.child.kill().unwrap();
    session.child.wait().unwrap();
    std::fs::OpenOptions::new().append(true).open(&intents).unwrap().write_all(b"{\"args_di").unwrap();

    let answer = place.line("run seal run_a --json");
    let sealed: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{}", answer.whole()));
    let facts = ["complete", "calls", "unended", "torn_bytes"].map(|name| sealed[name].clone());
    assert_eq!(facts, [json!(false), json!(3), json!(1), json!(9)], "{sealed}");
    assert!(!place.at("gait-out/.mcp_run_a").exists());
    verifies(&place, "run_a");
    let run: Value = serde_json::from_str(&text(&place, "run_a", "run.json")).unwrap();
    let last = run["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["event"], &last["complete"], &last["ended_by"]),
        (&json!("session_seal"), &json!(false), &json!("killed"))
    );
    assert_eq!(member(&place, "run_a", "intents.jsonl").len(), 3);
    assert_eq!(place.line("run seal run_a").code, 6);
}

#[test]
fn records_that_were_changed_after_the_kill_are_not_sealed() {
    let place = Place::new();
    let policy = "default_verdict: block\n";
    let mut session = Session::start(&place, "run_a", policy, &[], "cat");
    session.call(1, "rm");
    session.child.kill().unwrap();
    session.child.wait().unwrap();
    let folder = place.at("gait-out/.mcp_run_a");
    let results = folder.join("results.jsonl");
    let text = std::fs::read_to_string(&results).unwrap();
    std::fs::write(&results, text.replace(r#""verdict":"block""#, r#""verdict":"allow""#)).unwrap();
    let answer = place.line("run seal run_a");
    assert!(answer.code == 2 && answer.stdout.contains("there is no trace of its verdict"), "{}", answer.whole());
    std::fs::write(&results, text).unwrap();
    place.write("other.key", common::PRIVATE);
    let answer = place.line("run seal run_a --private-key other.key");
    assert!(answer.code == 6 && answer.stdout.contains("are signed by key"), "{}", answer.whole());
    assert!(folder.exists() && !Path::new(&place.at("gait-out/runpack_run_a.zip")).exists());
    let answer = place.line("run seal gait-out/.mcp_run_a");
    assert_eq!(answer.code, 0, "{}", answer.whole());
    assert!(folder.exists(), "a folder that was named by its path stays");
}
