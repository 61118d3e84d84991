//! `gait mcp`: calls in the forms of frameworks, and sessions with a server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod common;

use common::Place;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const POLICY: &str = "default_verdict: block\nrules:\n  - {name: reads, effect: allow, match: {tool_names: [read, write]}, endpoint: {path_allowlist: [/srv/**]}}\n";

/// A server that keeps what it is told in `seen` and answers each request with a result.
const SERVER: &str = r#"while IFS= read -r line; do printf '%s\n' "$line" >>seen
id=$(printf '%s' "$line" | sed -n 's/^{"jsonrpc":"2.0","id":\([^,}]*\).*/\1/p')
[ -z "$id" ] || printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}\n' "$id"; done"#;

/// A session in which we are the client.
struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn start(place: &Place, flags: &[&str], server: &str) -> Self {
        place.write("policy.yaml", POLICY);
        let mut command = Command::new(env!("CARGO_BIN_EXE_gait"));
        command.args(["mcp", "serve", "--policy", "policy.yaml", "--run-id", "run_s", "--json"]).args(flags);
        command.args(["--", "/bin/sh", "-c", server]).current_dir(place.path()).env("HOME", place.at("home"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Session { child, input, output }
    }

    fn say(&mut self, line: impl AsRef<[u8]>) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_ref()).unwrap();
        input.write_all(b"\n").unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn ask(&mut self, line: impl AsRef<[u8]>) -> Value {
        self.say(line);
        self.hear()
    }

    /// Closes our end and gives how it ended, the summary, and what was printed besides.
    fn end(mut self) -> (ExitStatus, Value, String) {
        self.input = None;
        self.wait()
    }

    fn wait(mut self) -> (ExitStatus, Value, String) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "said after the last answer");
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        let summary = stderr.lines().last().unwrap_or_default();
        (status, serde_json::from_str(summary).unwrap_or_else(|_| panic!("{stderr}")), stderr)
    }
}

fn call(id: u32, tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#)
}

fn seen(place: &Place) -> Vec<String> {
    std::fs::read_to_string(place.at("seen")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The lines of a member of the runpack that the session left.
fn member(place: &Place, name: &str) -> Vec<Value> {
    let file = std::fs::File::open(place.at("gait-out/runpack_run_s.zip")).unwrap();
    let mut text = String::new();
    zip::ZipArchive::new(file).unwrap().by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn verifies(place: &Place) {
    let answer = place.line("verify run_s --profile strict --require-digests");
    assert_eq!(answer.code, 0, "{}", answer.whole());
    let left: Vec<String> = place.files().into_iter().filter(|file| file.contains(".mcp_")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn allowed_bytes_go_on_as_they_are_and_nothing_else_does() {
    let place = Place::new();
    let mut session = Session::start(&place, &["--targets", "write:path=path:write"], SERVER);
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25" ,"x":1.50}}"#;
    assert_eq!(session.ask(hello)["result"], json!({"content": []}));
    let odd = "{\"jsonrpc\":\"2.0\",\"id\":\"\\u0061\",  \"method\":\"\\u0074ools/call\",\"params\":{\"name\":\"read\",\"arguments\":{\"t\":\"caf\u{e9}\u{2028}\"}}}";
    assert_eq!(session.ask(format!("{odd}\r"))["id"], "a");
    let write = call(2, "write").replace("{}", r#"{"path":"/srv/a"}"#);
    assert_eq!(session.ask(&write)["id"], 2);
    let refused = session.ask(write.replace("/srv/a", "/srv/../etc/passwd").replace("\"id\":2", "\"id\":3"));
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("verdict is block") && text.contains("endpoint_path_not_allowlisted"), "{text}");
    assert_eq!(session.ask(call(4, "rm"))["result"]["isError"], true);
    assert_eq!(session.ask(format!("[{}]", call(5, "read")))["error"]["code"], -32600);
    assert_eq!(session.ask(format!("{}{}", call(5, "read"), call(6, "rm")))["error"]["code"], -32700);
    assert_eq!(session.ask(call(7, "rm").replace("tools/call", "TOOLS/CALL"))["error"]["code"], -32601);
    assert_eq!(session.ask(call(7, "rm").replace("\"id\":7,", ""))["error"]["code"], -32600);
    assert_eq!(
        session.ask(b"{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"ping\",\"params\":{\"x\":\"\xff\"}}")["error"]["code"],
        -32700
    );
    assert_eq!(session.ask("not json")["error"]["code"], -32700);
    let (status, summary, stderr) = session.end();
    assert_eq!((status.code(), &summary["ok"]), (Some(0), &json!(true)), "{stderr}");
    assert_eq!(seen(&place), [hello, odd, &write]);
    let counts =
        ["allowed", "refused", "malformed", "dropped", "unanswered"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!(counts, [2, 2, 6, 0, 0]);
    verifies(&place);
    let outcomes: Vec<Value> =
        member(&place, "results.jsonl").into_iter().map(|line| line["result"]["outcome"].clone()).collect();
    assert_eq!(outcomes, ["answered", "answered", "refused", "refused"]);
    assert_eq!(member(&place, "intents.jsonl").len(), 4);
    assert!(member(&place, "intents.jsonl").iter().all(|intent| intent.get("args").is_none()));
    place.write("trace.json", member(&place, "traces.jsonl")[0].to_string());
    assert_eq!(place.line("trace verify trace.json").code, 0);
}

#[test]
fn what_the_server_asks_and_tells_comes_through_and_what_it_makes_up_does_not() {
    let place = Place::new();
    let server = r#"read -r line; echo starting up
echo '{"jsonrpc":"2.0","id":99,"result":{"content":[]}}'
echo '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}'
echo '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}'
read -r answer; printf '%s\n' "$answer" >>seen
echo '{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'; cat >>seen"#;
    let mut session = Session::start(&place, &[], server);
    assert_eq!(session.ask(call(1, "read"))["method"], "notifications/progress");
    assert_eq!(session.hear()["id"], "q");
    let answer = r#"{"jsonrpc":"2.0","id":"q","result":{"action":"accept"}}"#;
    session.say(r#"{"jsonrpc":"2.0","id":"other","result":{}}"#);
    assert_eq!(session.ask(answer), json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}}));
    let (status, summary, stderr) = session.end();
    assert_eq!((status.code(), &summary["dropped"]), (Some(0), &json!(2)), "{stderr}");
    assert_eq!(seen(&place), [answer]);
    verifies(&place);
}

#[test]
fn a_server_that_dies_is_told_to_who_waits_and_leaves_a_whole_record() {
    for (server, how) in [("read -r x; exit 3", "exit code 3"), ("read -r x; kill -9 $$", "signal 9")] {
        let place = Place::new();
        let mut session = Session::start(&place, &[], server);
        let answer = session.ask(call(1, "read"));
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-32603)));
        assert!(answer["error"]["message"].as_str().unwrap().contains(how), "{answer}");
        let (status, summary, stderr) = session.wait();
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert_eq!((&summary["ended_by"], &summary["unanswered"]), (&json!("server"), &json!(1)));
        verifies(&place);
        assert_eq!(member(&place, "results.jsonl")[0]["result"]["outcome"], "unanswered");
    }
}

#[test]
fn a_client_that_goes_or_a_signal_ends_the_server_and_leaves_a_whole_record() {
    // One that ignores its input and every polite request.
    let server = "trap '' TERM; echo $$ >pid; while :; do sleep 0.05; done";
    for signal in [false, true] {
        let place = Place::new();
        let mut session = Session::start(&place, &[], server);
        let started = Instant::now();
        while !place.at("pid").exists() {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(session.ask(call(1, "rm"))["result"]["isError"], true);
        let (status, summary, stderr) = if signal {
            let pid = session.child.id().to_string();
            assert!(Command::new("/bin/kill").args(["-TERM", &pid]).status().is_ok_and(|status| status.success()));
            session.wait()
        } else {
            session.end()
        };
        assert_eq!(
            (status.code(), &summary["ended_by"]),
            (Some(0), &json!(if signal { "signal" } else { "client" })),
            "{stderr}"
        );
        let pid = place.read("pid");
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "the server is still there");
        verifies(&place);
    }
}

#[test]
fn a_client_that_stops_reading_ends_the_session() {
    let place = Place::new();
    let session = Session::start(&place, &[], SERVER);
    let Session { mut child, mut input, output } = session;
    drop(output);
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(20));
        let _ = input.as_mut().unwrap().write_all(format!("{}\n", call(1, "rm")).as_bytes());
        std::thread::sleep(Duration::from_millis(5));
    }
    verifies(&place);
}

#[test]
fn requests_that_are_piped_in_at_once_are_all_answered() {
    let place = Place::new();
    let mut session = Session::start(&place, &[], &format!("sleep 0.3; {SERVER}"));
    (0..50).for_each(|id| session.say(call(id, "read")));
    session.input = None;
    (0..50).for_each(|id| assert_eq!(session.hear()["id"], id));
    let (status, summary, stderr) = session.wait();
    assert_eq!((status.code(), &summary["allowed"]), (Some(0), &json!(50)), "{stderr}");
    verifies(&place);
    assert_eq!(member(&place, "traces.jsonl").len(), 1);
}

#[test]
fn messages_have_a_length_beyond_which_they_are_not_read() {
    let place = Place::new();
    let server = r#"read -r x; printf '{"jsonrpc":"2.0","id":1,"result":"'; head -c 5000 /dev/zero | tr '\0' x; echo '"}'; cat >seen"#;
    let mut session = Session::start(&place, &["--max-message-bytes", "4096"], server);
    let answer = session.ask(call(1, "read"));
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-32603)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("at most 4096"), "{answer}");
    let long = call(2, "read").replace("{}", &format!(r#"{{"x":"{}"}}"#, "y".repeat(1 << 20)));
    let answer = session.ask(&long);
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(2), &json!(-32600)));
    assert!(answer["error"]["message"].as_str().unwrap().contains(&format!("{} bytes", long.len())), "{answer}");
    let ping = r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#;
    session.say(ping);
    session.say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#);
    assert_eq!(session.end().0.code(), Some(0));
    assert_eq!(seen(&place)[0], ping);
    verifies(&place);
}

#[test]
fn a_large_message_within_the_limit_passes() {
    let place = Place::new();
    let mut session = Session::start(&place, &["--capture-mode", "raw"], "cat >seen");
    let long = call(2, "read").replace("{}", &format!(r#"{{"x":"{}"}}"#, "y".repeat(12 << 20)));
    session.say(&long);
    session.say(call(3, "read").replace("{}", r#"{"x":"kept"}"#));
    for id in [2, 3] {
        session.say(format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#));
    }
    assert_eq!(session.end().0.code(), Some(0));
    assert_eq!(seen(&place)[0].len(), long.len());
    assert_eq!(member(&place, "intents.jsonl")[1]["args"]["x"], "kept");
    verifies(&place);
    // Readers of runpacks take no line of that length.
    let intent = &member(&place, "intents.jsonl")[0];
    assert!(intent.get("args").is_none() && intent["args_digest"].is_string());
}

#[test]
fn a_session_that_can_t_begin_says_why_and_leaves_nothing() {
    let place = Place::new();
    place.write("policy.yaml", POLICY);
    place.write("bad.yaml", "defaultverdict: allow\n");
    for (line, words) in [
        ("mcp serve --policy policy.yaml --json", "no server was given"),
        ("mcp serve --json -- true", "--policy is required"),
        ("mcp serve --policy bad.yaml --json -- true", "defaultverdict"),
        (
            "mcp serve --policy policy.yaml --json -- ./no-such-server",
            "start ./no-such-server: no such file or directory",
        ),
        ("mcp serve --policy policy.yaml --json --targets x -- true", "--targets: \"x\" is not of the form"),
        ("mcp serve --policy policy.yaml --json --max-message-bytes 7 -- true", "invalid --max-message-bytes value"),
        ("mcp serve --policy policy.yaml --json --run-id a/b -- true", "run id \"a/b\""),
        ("mcp serve --policy policy.yaml --json --capture-mode all -- true", "capture mode must be one of"),
        ("mcp serve --policy policy.yaml --json --key-mode prod -- true", "prod mode requires a private key source"),
        ("mcp serve --policy policy.yaml --json --workspace nowhere -- true", "workspace nowhere"),
    ] {
        let answer = place.line(line);
        assert_eq!(answer.code, 6, "{line}: {}", answer.whole());
        let error: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert!(error["error"].as_str().unwrap().contains(words), "{line}: {error}");
    }
    // In text form standard output is the client's.
    let answer = place.line("mcp serve --policy nowhere.yaml -- true");
    assert_eq!((answer.code, answer.stdout.as_str()), (6, ""));
    assert!(answer.stderr.starts_with("mcp serve error: read policy: open nowhere.yaml"), "{}", answer.stderr);
    assert!(place.files().iter().all(|file| !file.contains("gait-out/")), "{:?}", place.files());
}

#[test]
fn a_run_is_recorded_once() {
    let place = Place::new();
    assert_eq!(Session::start(&place, &["--key-mode", "dev"], "cat >seen").end().0.code(), Some(0));
    let answer = place.line("mcp serve --policy policy.yaml --run-id run_s -- true");
    assert_eq!(answer.code, 6);
    assert!(answer.stderr.contains("a run of this id is recorded already"), "{}", answer.stderr);
}

#[test]
fn blocks_can_be_told_by_the_exit_code_and_keys_are_not_for_the_server() {
    let place = Place::new();
    let server = format!("printenv KEY >env; {SERVER}");
    place.write("policy.yaml", POLICY);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gait"));
    let line = "mcp serve --policy policy.yaml --fail-on-block --run-id run_s --key-mode prod --private-key-env KEY -- /bin/sh -c";
    command.args(line.split(' ')).arg(server).current_dir(place.path()).env("HOME", place.at("home"));
    let mut child = command.env("KEY", common::PRIVATE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(call(1, "rm").as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(3));
    assert_eq!(place.read("env"), "");
    place.write("signer.pub", common::PUBLIC);
    assert_eq!(place.line("verify run_s --profile strict --public-key signer.pub").code, 0);
}

#[test]
fn a_rule_that_demands_what_a_proxy_can_t_give_blocks() {
    let place = Place::new();
    place.write("call.json", r#"{"name":"t"}"#);
    for (demand, reason) in [
        ("rate_limit: {requests: 5}", "rate_limit_not_counted"),
        ("require_broker_credential: true", "broker_credential_required"),
    ] {
        place.write("p.yaml", format!("rules: [{{name: r, effect: allow, {demand}}}]\n"));
        let answer = place.line("mcp proxy p.yaml call.json --json");
        let fields: Value = serde_json::from_str(&answer.stdout).unwrap();
        let reasons = fields["reason_codes"].as_array().unwrap();
        assert!(answer.code == 3 && reasons.contains(&json!(reason)), "{}", answer.whole());
        assert_eq!(fields["warnings"].as_array().map(Vec::len), Some(1));
        assert!(place.at(fields["trace_path"].as_str().unwrap()).exists());
    }
}

#[test]
fn exports_are_appended_to_and_what_can_t_be_written_is_said() {
    let place = Place::new();
    place.write("call.json", r#"{"name":"t"}"#);
    place.write("p.yaml", "default_verdict: allow\n");
    let line = "mcp proxy --policy p.yaml --call call.json --export-log-out l/log.jsonl --export-otel-out l/otel.jsonl";
    for count in 1..=2 {
        let answer = place.line(line);
        assert_eq!((answer.code, answer.stdout.lines().next()), (0, Some("mcp proxy: verdict=allow")));
        assert_eq!(
            (place.read("l/log.jsonl").lines().count(), place.read("l/otel.jsonl").lines().count()),
            (count, count)
        );
    }
    for (flag, words) in [
        ("--trace-out", "write trace record: "),
        ("--runpack-out", "write runpack: "),
        ("--export-log-out", "write log export: "),
        ("--export-otel-out", "write otel export: "),
    ] {
        let answer = place.line(&format!("mcp proxy --policy p.yaml --call call.json {flag} call.json/x"));
        assert!(
            answer.code == 1 && answer.stdout.starts_with(&format!("mcp proxy error: {words}")),
            "{}",
            answer.whole()
        );
    }
    for (line, words) in [
        ("mcp proxy p.yaml nowhere.json", "read call payload: open nowhere.json: no such file or directory"),
        ("mcp proxy nowhere.yaml call.json", "read policy: open nowhere.yaml: no such file or directory"),
        ("mcp proxy p.yaml p.yaml", "parse mcp tool call: "),
        ("mcp proxy p.yaml call.json x", "expected --policy <policy.yaml> and --call <tool_call.json|->"),
        ("mcp bridge p.yaml call.json --key-mode x", "unsupported key mode: \"x\""),
    ] {
        let answer = place.line(line);
        assert!(answer.code == 6 && answer.stdout.contains(words), "{line}: {}", answer.whole());
    }
}

#[test]
fn the_page_shows_the_examples_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    for example in ["examples/mcp/client.json", "examples/mcp/policy.yaml"] {
        assert!(read("docs/mcp.md").contains(&read(example)), "{example}");
    }
    let place = Place::new();
    place.write("policy.yaml", read("examples/mcp/policy.yaml"));
    for (tool, code) in [("get_current_time", 0), ("convert_time", 4), ("other", 3)] {
        place.write("call.json", json!({"name": tool}).to_string());
        assert_eq!(place.line("mcp proxy policy.yaml call.json").code, code, "{tool}");
    }
}
