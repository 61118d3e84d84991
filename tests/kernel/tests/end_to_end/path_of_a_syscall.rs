//! docs/path-of-a-syscall.md, station by station: one denied `open` and one `connect`, from the agent's call to the
//! verified runpack.

use std::fs;

use anyhow::{Context, ensure};
use kernel_suite::CANARY;
use kernel_suite::need::GUARD;
use kernel_suite::pack::Pack;
use kernel_suite::run;
use kernel_suite::scene::{CORPUS_POLICY, Scene};
use kernel_suite::suite::{Test, test};
use serde_json::{Value, json};

pub fn tests() -> Vec<Test> {
    vec![
        test("path of a syscall: every station holds what the page says", GUARD, stations),
        test("path of a syscall: the page names these stations in this order", [], page),
    ]
}

const STATIONS: [&str; 8] = ["syscall", "filter", "notification", "event", "intent", "verdict", "journal", "runpack"];

fn page() -> anyhow::Result<()> {
    let text = fs::read_to_string(run::repository().join("docs/path-of-a-syscall.md"))?;
    let headings: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter_map(|line| line.split_once(". ").map(|(_, name)| name.to_lowercase()))
        .collect();
    ensure!(headings == STATIONS, "{headings:?}");
    for place in text.split('`').filter(|word| word.starts_with("gait-") && word.ends_with(".rs")) {
        ensure!(run::repository().join(place).is_file(), "the page names `{place}`, which is not there");
    }
    Ok(())
}

fn stations() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let rule =
        "  - name: one-address\n    priority: 40\n    effect: allow\n    match: { target_values: [\"127.0.0.1:9\"] }\n";
    let policy = format!("{CORPUS_POLICY}{rule}");
    let connect = "connect $2 hex:020000097f0000010000000000000000 16";
    let calls = ["{A}", "calls", "openat -100 s:{S}/secret 0", "socket 2 2 0", connect, "write $2 s:x 1"];
    let control = scene.bare(&calls)?;
    ensure!(control.stdout.contains("openat = ") && control.stdout.contains("connect = 0"), "{control:?}");
    let guarded = scene.guarded(&policy, &calls)?;
    // The syscall: what the agent saw.
    let seen: Vec<&str> = guarded.ran.stdout.lines().take(3).collect();
    ensure!(seen == ["openat ! EACCES", "socket = 3", "connect = 0"], "{:?}", guarded.ran);
    let pack = &guarded.pack;
    filter(pack)?;
    let open = station(pack, "fs.read", &scene.expand("{S}/secret"))?;
    let sent = station(pack, "net.connect", "127.0.0.1:9")?;
    intents(&scene, &open, &sent)?;
    verdicts(&open, &sent)?;
    journal(pack, &open)?;
    runpack(pack, &open)?;
    ensure!(pack.members.values().all(|bytes| !String::from_utf8_lossy(bytes).contains(CANARY)), "content was kept");
    Ok(())
}

/// The filter's station: the receipt names the program and says how many calls reach the supervisor.
fn filter(pack: &Pack) -> anyhow::Result<()> {
    let plan = &pack.json("guard.json")?["plan"];
    ensure!(plan["seccomp"]["notified"].as_u64().is_some_and(|calls| calls >= 100), "{}", plan["seccomp"]);
    ensure!(plan["seccomp"]["filter_digest"].as_str().is_some_and(|digest| digest.len() == 64), "{}", plan["seccomp"]);
    let asked = run::engine().unwrap_or_else(|| "notify".to_owned());
    ensure!(plan["engine"] == asked.as_str() || asked == "auto", "{} instead of {asked}", plan["engine"]);
    Ok(())
}

/// The `define` line of an action.
fn station(pack: &Pack, tool: &str, value: &str) -> anyhow::Result<Value> {
    let found = pack
        .lines("define")
        .find(|line| line["intent"]["tool_name"] == tool && line["intent"]["targets"][0]["value"] == value);
    found.cloned().with_context(|| format!("no {tool} {value}: {:?}", pack.decided))
}

/// Whole intents, by hand from the contract: nothing in them differs between two runs.
fn intents(scene: &Scene, open: &Value, sent: &Value) -> anyhow::Result<()> {
    let context = json!({ "identity": "suite", "risk_class": "high", "workspace": scene.expand("{W}") });
    let provenance = json!([{ "arg_path": "$", "source": "system" }]);
    let read = json!({
        "arg_provenance": provenance, "args": {}, "context": context, "tool_name": "fs.read",
        "targets": [{ "endpoint_class": "fs.read", "kind": "path", "operation": "read", "value": scene.expand("{S}/secret") }],
    });
    ensure!(open["intent"] == read, "{}\nis not\n{read}", open["intent"]);
    let connect = json!({
        "arg_provenance": provenance, "args": { "protocol": "udp" }, "context": context, "tool_name": "net.connect",
        "targets": [{
            "endpoint_class": "net.http", "endpoint_domain": "127.0.0.1", "kind": "host", "operation": "connect",
            "value": "127.0.0.1:9",
        }],
    });
    ensure!(sent["intent"] == connect, "{}\nis not\n{connect}", sent["intent"]);
    Ok(())
}

fn verdicts(open: &Value, sent: &Value) -> anyhow::Result<()> {
    let mut reasons = vec!["endpoint_constraint_violation", "endpoint_path_denied", "matched_rule_reads"];
    if run::engine().as_deref() == Some("hybrid") {
        // Landlock refused it before there was an object.
        reasons.insert(2, "guard_engine_as_spelt");
    }
    let blocked = json!({
        "enforced": "deny", "matched_rule": "reads", "source": "policy", "verdict": "block",
        "reason_codes": reasons,
        "violations": ["endpoint_constraint_violation", "endpoint_path_denied"],
    });
    ensure!(open["decision"] == blocked, "{}\nis not\n{blocked}", open["decision"]);
    ensure!(open["errno"] == "EACCES", "{open}");
    let allowed = json!({
        "enforced": "allow", "matched_rule": "one-address", "source": "policy", "verdict": "allow",
        "reason_codes": ["matched_rule_one_address"], "violations": [],
    });
    ensure!(sent["decision"] == allowed, "{}\nis not\n{allowed}", sent["decision"]);
    Ok(())
}

/// One decision line, made by the process that the journal knows as the agent.
fn journal(pack: &Pack, open: &Value) -> anyhow::Result<()> {
    let decisions: Vec<_> = pack.lines("decision").filter(|line| line["def"] == open["def"]).collect();
    ensure!(decisions.len() == 1, "{decisions:?}");
    let fork = pack.lines("fork").find(|line| line["proc"] == decisions[0]["proc"]).context("no such process")?;
    ensure!(fork["parent"] == 0, "{fork}");
    let exec = pack.lines("exec").find(|line| line["proc"] == decisions[0]["proc"]).context("no exec")?;
    ensure!(exec["file"].as_str().is_some_and(|file| file.ends_with("/attack")), "{exec}");
    Ok(())
}

/// Intent, result, count and trace of the same digest.
fn runpack(pack: &Pack, open: &Value) -> anyhow::Result<()> {
    let digest = open["intent_digest"].as_str().context("no digest")?;
    let id = format!("intent_{digest}");
    for member in ["intents.jsonl", "results.jsonl", "counts.jsonl"] {
        let lines = lines(pack, member)?;
        ensure!(lines.iter().filter(|line| line["intent_id"] == id.as_str()).count() == 1, "{member} lacks {id}");
    }
    let result = lines(pack, "results.jsonl")?.into_iter().find(|line| line["intent_id"] == id.as_str());
    ensure!(result.is_some_and(|result| result["status"] == "error"), "a denial is an error");
    let trace =
        lines(pack, "traces.jsonl")?.into_iter().find(|line| line["intent_digest"] == digest).context("no trace")?;
    ensure!(trace["verdict"] == "block" && trace["signature"]["alg"] == "ed25519", "{trace}");
    Ok(())
}

fn lines(pack: &Pack, member: &str) -> anyhow::Result<Vec<Value>> {
    let bytes = pack.members.get(member).with_context(|| format!("no {member}"))?;
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}
