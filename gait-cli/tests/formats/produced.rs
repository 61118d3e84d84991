//! Everything that the real binary writes and prints is what the schemas say.

use crate::document::{check, members, policy_document};
use crate::place::Place;
use crate::schema::{Schemas, files, root, skipped};
use crate::types::assert_same_members;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    root().join("gait-core/tests/data/guarded").join(name)
}

/// Base64 of a private key for tests (contract, artifacts 3.5).
const PRIVATE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQGKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXA==";

/// A run with what can be: a result that is an error, an intent without result, receipts with all members.
const RUN: &str = r#"{"run":{"run_id":"run_full","env":{"host":"h"},"timeline":[{"event":"start","ts":"2026-02-05T00:00:00Z","ref":"a","note":1}]},
 "intents":[{"intent_id":"a","tool_name":"tool.delete","args_digest":"33d148a7de89102bce5e2be136ca2acc3398ff9970a1f922faa3838eae837e3c","args":{"from":"ref_1"}},
  {"intent_id":"b","tool_name":"odd","args_digest":"33d148a7de89102bce5e2be136ca2acc3398ff9970a1f922faa3838eae837e3c"},
  {"intent_id":"c","tool_name":"tool.http","args_digest":"33d148a7de89102bce5e2be136ca2acc3398ff9970a1f922faa3838eae837e3c"}],
 "results":[{"intent_id":"a","status":"error","result_digest":"0b2abfe8ba8a9dae03e92bcb4fe8fb733661a8b0560dda0ce8d7ac553e7a79a6","result":{"message":"<no>"}}],
 "refs":{"receipts":[{"ref_id":"ref_1","source_type":"db","source_locator":"t","query_digest":"8d26786e78884f230bfa85f4909203158ab8ee8d1594552d44683022f3648cde",
  "content_digest":"1ef0ae7bbe4ce6c99ab744fe8c27582178d69c660538ef6a4b201cf5a944e17a","retrieved_at":"2026-02-05T00:00:00+02:00","redaction_mode":"reference","sensitivity_label":"pii","retrieval_params":{"k":1}}]},
 "capture_mode":"raw"}"#;

#[test]
fn runpacks_and_the_answers_about_them() {
    let mut place = Place::new();
    let key = place.write("signing.key", PRIVATE);
    let run = place.write("in/run.json.txt", RUN);
    let zip = "gait-out/runpack_run_full.zip";
    place.ends(0, &["demo"]);
    place.ends(0, &["run", "record", "--input", &run, "--private-key", &key]);
    place.ends(0, &["run", "record", "--input", &run, "--run-id", "plain", "--out-dir", "plain"]);
    place.ends(0, &["run", "receipt", "run_full"]);
    place.ends(0, &["run", "inspect", "run_full", "--html", "page.html"]);
    place.ends(0, &["verify", "run_full"]);
    place.ends(0, &["verify", "run_full", "--private-key", &key, "--require-signature"]);
    place.ends(2, &["verify", "run_demo", "--private-key", &key, "--require-signature"]);
    place.ends(0, &["verify", "chain", "--run", "run_demo"]);
    place.ends(0, &["run", "replay", "run_demo"]);
    place.ends(2, &["run", "replay", zip]);
    place.ends(8, &["run", "replay", zip, "--real-tools"]);
    place.ends(2, &["run", "diff", "run_demo", "run_full", "--output", "diff.json"]);
    place.ends(0, &["run", "diff", "run_demo", "run_demo", "--privacy", "metadata"]);
    place.ends(0, &["run", "reduce", "--from", "run_full"]);
    place.ends(0, &["run", "reduce", "--from", "run_full", "--predicate", "non_ok_status"]);
    place.ends(0, &["migrate", "run_full"]);
    place.ends(0, &["keys", "init"]);
    place.ends(0, &["keys", "show"]);
    place.ends(0, &["keys", "export-public"]);
    place.ends(0, &["keys", "export-public", "--out", "key.pub"]);
    place.ends(0, &["demo", "--private-key", &key]);
    let digests = place.ends(2, &["verify", "run_full", "--require-digests"]);
    assert_eq!(digests["digest_mismatches"].as_array().map(Vec::len), Some(2), "{digests}");
    for (code, wrong) in [
        (6, &["verify", "nowhere"][..]),
        (6, &["verify", "run_demo", "--no-such-flag"]),
        (6, &["run", "diff", "run_demo"]),
        (6, &["verify", "chain", "--run", "nowhere"]),
        (6, &["migrate", "nowhere"]),
        (6, &["run", "seal", "nowhere"]),
    ] {
        let answer = place.ends(code, wrong);
        assert_eq!(answer["ok"], false, "{wrong:?}");
    }
    // Nothing says what this file is but its name.
    let diff: Value = serde_json::from_slice(&fs::read(place.work().join("diff.json")).unwrap()).unwrap();
    assert_eq!(Schemas::get().errors("runpack/diff", &diff), Vec::<String>::new());
    assert_same_members("runpack/reduce_report", &place.of("runpack/reduce_report"), &[]);
    place.check(&[
        "runpack/manifest",
        "runpack/run",
        "runpack/intent",
        "runpack/result",
        "runpack/refs",
        "runpack/reduce_report",
        "cli/demo",
        "cli/run_record",
        "cli/run_receipt",
        "cli/run_inspect",
        "cli/verify",
        "cli/verify_chain",
        "cli/run_replay",
        "cli/run_diff",
        "cli/run_reduce",
        "cli/migrate",
        "cli/keys_init",
        "cli/keys_show",
        "cli/keys_export_public",
        "cli/error",
        "scout/adoption_event",
        "scout/operational_event",
    ]);
    assert_same_members("scout/adoption_event", &place.of("scout/adoption_event"), &[]);
    assert_same_members("scout/operational_event", &place.of("scout/operational_event"), &[]);
}

#[test]
fn tool_calls_and_sessions() {
    let mut place = Place::new();
    place.write(
        "policy.yaml",
        "default_verdict: allow\nrules: [{name: no, effect: block, violations: [v], match: {tool_names: [rm]}}]\n",
    );
    place.write("call.json", r#"{"name":"rm","target":"/a","created_at":"2026-03-01T08:00:00.5Z"}"#);
    place.write("in.jsonl.txt", &["read", "rm"].map(|tool| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{tool}\",\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\"}}}}\n")
    }).concat());
    let exports = ["--runpack-out", "run.zip", "--export-log-out", "events.jsonl", "--export-otel-out", "otel.jsonl"];
    place.ends(3, &[&["mcp", "proxy", "policy.yaml", "call.json"][..], &exports].concat());
    place.ends(3, &["mcp", "bridge", "policy.yaml", "call.json", "--key-mode", "dev"]);
    place.ends(6, &["mcp", "proxy", "policy.yaml"]);
    let summary = place.session(
        &["mcp", "serve", "--policy", "policy.yaml", "--capture-mode", "raw"],
        "in.jsonl.txt",
        r#"read -r x; echo '{"jsonrpc":"2.0","id":"read","result":{"content":[]}}'; cat >/dev/null"#,
    );
    assert_eq!((&summary["allowed"], &summary["refused"]), (&json!(1), &json!(1)), "{summary}");
    place.check(&[
        "cli/mcp_proxy",
        "cli/mcp_serve",
        "cli/error",
        "gate/trace_record",
        "mcp/decision",
        "mcp/otel_event",
        "mcp/result",
        "runpack/manifest",
        "runpack/run",
    ]);
}

#[test]
fn tampered_packs_and_what_verify_says_of_them() {
    let mut place = Place::new();
    for name in
        ["forged-member-added", "forged-decision-dropped", "forged-trace-of-another-verdict", "sealed", "complete"]
    {
        let pack = data(&format!("{name}.zip"));
        let (code, answer) = place.gait(&["verify", pack.to_str().unwrap()]);
        assert_eq!(code == 2, name.starts_with("forged"), "{answer}");
        let (inspected, answer) = place.gait(&["run", "inspect", pack.to_str().unwrap()]);
        assert_eq!((inspected, answer["guarded"].is_object()), (code, code == 0), "{answer}");
    }
    let sealed = data("sealed.zip").display().to_string();
    place.ends(0, &["run", "reduce", "--from", &sealed, "--out", "stripped.zip"]);
    let stripped = place.ends(0, &["verify", "./stripped.zip"]);
    assert_eq!(stripped["guarded"], json!({"stripped": true}), "{stripped}");
    let verdicts = place.of("cli/verify");
    assert!(verdicts.iter().any(|verdict| verdict["guarded"]["errors"].is_array()), "{verdicts:?}");
    place.check(&["cli/verify", "cli/run_inspect"]);
}

#[test]
fn regressions() {
    let mut place = Place::new();
    place.ends(0, &["demo"]);
    let run = place.write("in/run.json.txt", RUN);
    place.ends(0, &["run", "record", "--input", &run]);
    place.ends(0, &["regress", "init", "--from", "run_demo"]);
    place.ends(0, &["regress", "run", "--junit", "junit.xml"]);
    let fixture = place.work().join("fixtures/run_demo/fixture.json");
    let mut settings: Value = serde_json::from_slice(&fs::read(&fixture).unwrap()).unwrap();
    settings["candidate_runpack"] = json!("../../gait-out/runpack_run_full.zip");
    settings["diff_allow_changed_files"] = json!(["results.jsonl", " "]);
    fs::write(&fixture, settings.to_string()).unwrap();
    let answer = place.ends(5, &["regress", "run"]);
    assert_eq!(answer["top_failure_reason"], "unexpected_diff", "{answer}");
    place.ends(5, &["regress", "bootstrap", "--from", "run_demo"]);
    place.ends(6, &["regress", "run", "--config", "nowhere.yaml"]);
    let details = ["/graders/*/details"];
    assert_same_members("regress/regress_result", &place.of("regress/regress_result"), &details);
    place.check(&[
        "regress/config",
        "regress/fixture",
        "regress/regress_result",
        "cli/regress_init",
        "cli/regress_run",
        "cli/regress_bootstrap",
        "cli/error",
    ]);
}

#[test]
fn regressions_of_guarded_runs() {
    let mut place = Place::new();
    let pack = data("complete.zip");
    place.ends(0, &["regress", "init", "--from", pack.to_str().unwrap(), "--name", "guarded"]);
    fs::write(place.work().join("policy.yaml"), &members(&pack)["policy.yaml"]).unwrap();
    let config = place.work().join("gait.yaml");
    let mut settings: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    let full = Schemas::get().examples("regress/config").remove(0)["fixtures"][0]["guarded"].clone();
    settings["fixtures"][0]["guarded"] = full;
    settings["fixtures"][0]["guarded"]["require_layers"] = json!([]);
    fs::write(&config, settings.to_string()).unwrap();
    let (code, answer) = place.gait(&["regress", "run"]);
    assert!(matches!(code, 0 | 5), "the full settings are not understood: {answer}");
    assert_eq!(answer["graders"], 4, "{answer}");
    place.check(&["regress/config", "regress/regress_result", "cli/regress_run", "exec/guard", "exec/journal"]);
}

const TOOLS: &str =
    "from langchain.tools import tool\n@tool\ndef delete_all():\n    pass\n@tool\ndef read_it():\n    pass\n";

#[test]
fn inventories_and_signals() {
    let mut place = Place::new();
    place.write("tree/tools.py", TOOLS);
    let policy = place.write(
        "policy.yaml",
        "default_verdict: block\nrules:\n  - name: r\n    effect: allow\n    match: {tool_names: [read_it]}\n",
    );
    place.ends(
        0,
        &[
            "scout",
            "snapshot",
            "--roots",
            "tree",
            "--policy",
            &policy,
            "--out",
            "one.json",
            "--coverage-out",
            "coverage.json",
        ],
    );
    place.write("tree/mcp.json", r#"{"mcpServers":{"payments":{}}}"#);
    place.ends(0, &["scout", "snapshot", "--roots", "tree", "--out", "two.json"]);
    place.ends(0, &["scout", "diff", "one.json", "one.json"]);
    place.ends(2, &["scout", "diff", "one.json", "two.json", "--out", "drift.json"]);
    for (file, schema) in [("coverage.json", "scout/inventory_coverage"), ("drift.json", "scout/inventory_diff")] {
        let value: Value = serde_json::from_slice(&fs::read(place.work().join(file)).unwrap()).unwrap();
        assert_eq!(Schemas::get().errors(schema, &value), Vec::<String>::new(), "{file}");
    }
    let run = place.write("in/run.json.txt", RUN);
    place.ends(0, &["demo"]);
    place.ends(0, &["run", "record", "--input", &run]);
    place.ends(0, &["regress", "init", "--from", "run_demo"]);
    let mut trace = Schemas::get().examples("gate/trace_record").remove(0);
    trace["correlation_id"] = json!("run_full");
    let trace = place.write("trace.json", &trace.to_string());
    let regress =
        Schemas::get().examples("regress/regress_result").remove(0).to_string().replace("run_demo", "run_full");
    let regress = place.write("regress.json", &regress.replace("\"pass\"", "\"fail\""));
    place.ends(0, &["scout", "signal", "--runs", "run_demo,run_full", "--traces", &trace, "--regress", &regress]);
    assert_same_members("scout/signal_report", &place.of("scout/signal_report"), &[]);
    // No tool has been seen in a run yet: this version does not look.
    assert_same_members("scout/inventory_snapshot", &place.of("scout/inventory_snapshot"), &["/items/*/last_seen_run"]);
    place.check(&[
        "scout/inventory_snapshot",
        "scout/signal_report",
        "cli/scout_snapshot",
        "cli/scout_diff",
        "cli/scout_signal",
    ]);
}

#[test]
fn evidence_packs() {
    let mut place = Place::new();
    let key = place.write("signing.key", PRIVATE);
    place.ends(0, &["demo"]);
    place.ends(0, &["regress", "init", "--from", "run_demo"]);
    place.ends(0, &["regress", "run", "--output", "gait-out/regress_result.json"]);
    place.write("tree/tools.py", TOOLS);
    place.ends(0, &["scout", "snapshot", "--roots", "tree", "--out", "snapshot.json"]);
    for (file, schema) in [
        ("gait-out/trace_1.json", "gate/trace_record"),
        ("gait-out/approval_audit_1.json", "gate/approval_audit_record"),
        ("gait-out/credential_evidence_1.json", "gate/broker_credential_record"),
    ] {
        place.write(file, &Schemas::get().examples(schema).remove(0).to_string());
    }
    place.ends(
        0,
        &[
            "guard",
            "pack",
            "--run",
            "run_demo",
            "--out",
            "pack.zip",
            "--case-id",
            "C-1",
            "--inventory",
            "snapshot.json",
            "--trace",
            "gait-out/trace_1.json",
            "--regress",
            "gait-out/regress_result.json",
            "--key-mode",
            "prod",
            "--private-key",
            &key,
        ],
    );
    let pci =
        ["guard", "pack", "--run", "run_demo", "--out", "unsigned-for-long.zip", "--template", "pci", "--render-pdf"];
    place.ends(0, &pci);
    place.ends(0, &["guard", "verify", "pack.zip"]);
    place.ends(0, &["guard", "verify", "pack.zip", "--private-key", &key, "--require-signature"]);
    let incident = place.ends(0, &["incident", "pack", "--from", "run_demo", "--out", "incident.zip"]);
    assert_eq!(incident["trace_count"], 1, "{incident}");
    place.ends(0, &["verify", "chain", "--run", "run_demo", "--pack", "pack.zip"]);
    place.ends(6, &["guard", "verify", "nowhere.zip"]);
    place.check(&[
        "guard/pack_manifest",
        "guard/runpack_summary",
        "guard/referenced_runpacks",
        "guard/trace_summary",
        "guard/regress_summary",
        "guard/policy_digests",
        "guard/control_index",
        "guard/evidence_pointers",
        "gate/approval_audit_record",
        "gate/broker_credential_record",
        "cli/guard_pack",
        "cli/guard_verify",
        "cli/incident_pack",
        "cli/verify_chain",
    ]);
    // The window's anchor is the run's own time, which is in the manifest.
    let but = ["/incident_window/selection_anchor"];
    assert_same_members("guard/pack_manifest", &place.of("guard/pack_manifest"), &but);
}

const GATED: &str = "default_verdict: block
rules:
  - name: write
    effect: require_approval
    require_broker_credential: true
    broker_reference: Egress.Prod-1
    broker_scopes: [write]
    rate_limit: {requests: 9, window: hour}
    match: {tool_names: [tool.write]}
";

const CALL: &str = r#"{"schema_id":"gait.gate.intent_request","schema_version":"1.0.0","created_at":"2026-05-04T05:02:01+02:00","producer_version":"t",
 "tool_name":"tool.write","args":{},"targets":[{"kind":"path","value":"/srv/x","operation":"write"}],
 "skill_provenance":{"skill_name":"s","skill_version":"1","source":"registry","publisher":"acme","digest":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","signature_key_id":"k"},
 "context":{"identity":"al","workspace":"/w","risk_class":"high"}}"#;

#[test]
fn decisions_of_the_gate() {
    let mut place = Place::new();
    let key = place.write("signing.key", PRIVATE);
    let (policy, intent) = (place.write("policy.yaml", GATED), place.write("intent.json.txt", CALL));
    let eval = ["gate", "eval", "--policy", &policy, "--intent", &intent, "--key-mode", "prod", "--private-key", &key];
    let with = |more: &[&'static str]| [&eval[..], more].concat();
    let asked = place.ends(4, &with(&[]));
    let digest = |name: &str| asked[name].as_str().unwrap().to_owned();
    let (intent_digest, policy_digest) = (digest("intent_digest"), digest("policy_digest"));
    let about = ["approve", "--intent-digest", &intent_digest, "--policy-digest", &policy_digest, "--ttl", "1h"];
    let by = ["--scope", "tool:tool.write", "--approver", "kim", "--reason-code", "c", "--out", "token.json"];
    place.ends(0, &[&about[..], &by].concat());
    place.ends(4, &with(&["--approval-token", "token.json", "--approval-audit-out", "refused.json"]));
    place.ends(0, &[&about[..], &by, &["--key-mode", "prod", "--private-key", &key]].concat());
    let granted =
        ["--approval-token", "token.json", "--credential-broker", "stub", "--approval-single-use", "uses.json"];
    let answer = place.ends(0, &[&with(&granted)[..], &["--approval-audit-out", "granted.json"]].concat());
    assert_eq!(answer["verdict"], "allow", "{answer}");
    let replayed = place.ends(4, &with(&granted));
    assert!(replayed["reason_codes"].to_string().contains("approval_token_replayed"), "{replayed}");
    let simulated = place.ends(0, &with(&["--simulate", "--trace-out", "simulated.json"]));
    assert_eq!(simulated["would_have_blocked"], true, "{simulated}");
    place.ends(0, &["trace", "verify", "simulated.json", "--private-key", &key]);
    place.ends(0, &["gate", "eval", "--policy", &policy, "--intent", &intent, "--simulate"]);
    place.ends(6, &["gate", "eval", "--policy", &policy]);
    place.ends(6, &["approve", "--ttl", "1d"]);
    place.ends(0, &["keys", "init"]);
    place.ends(0, &["keys", "rotate"]);
    place.check(&[
        "gate/trace_record",
        "gate/approval_token",
        "gate/approval_audit_record",
        "gate/approval_uses",
        "gate/broker_credential_record",
        "gate/rate_limit_state",
        "cli/gate_eval",
        "cli/approve",
        "cli/keys_rotate",
        "cli/trace_verify",
        "cli/error",
    ]);
    assert_same_members("gate/approval_token", &place.of("gate/approval_token"), &[]);
    assert_same_members("gate/approval_audit_record", &place.of("gate/approval_audit_record"), &[]);
    assert_same_members("gate/approval_uses", &place.of("gate/approval_uses"), &[]);
    assert_same_members("gate/broker_credential_record", &place.of("gate/broker_credential_record"), &[]);
    assert_same_members("gate/rate_limit_state", &place.of("gate/rate_limit_state"), &[]);
    assert_same_members("cli/gate_eval", &place.of("cli/gate_eval"), &[]);
    assert_same_members("cli/approve", &place.of("cli/approve"), &[]);
}

#[test]
fn evidence_that_is_kept() {
    let mut place = Place::new();
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    place.write("note.txt", "secret\n");
    let print = ["--key-command", "echo", "--key-command-args", key];
    place.ends(0, &[&["guard", "encrypt", "note.txt"], &print[..]].concat());
    place.ends(0, &[&["guard", "decrypt", "note.txt.gaitenc", "--out", "back.txt"], &print[..]].concat());
    place.ends(6, &["guard", "encrypt", "note.txt"]);
    for (name, age) in [("kept/trace_1.json", 0), ("kept/trace_2.json", 1_000_000)] {
        place.write(name, "{}");
        let file = fs::File::options().write(true).open(place.work().join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
    }
    place.ends(0, &["guard", "retain", "--root", "kept", "--dry-run"]);
    place.ends(0, &["guard", "retain", "--root", "kept", "--report-out", "report.json"]);
    assert_same_members("guard/retention_report", &place.of("guard/retention_report"), &[]);
    assert_same_members("guard/encrypted_artifact", &place.of("guard/encrypted_artifact"), &["/key_source/ref"]);
    place.check(&[
        "guard/encrypted_artifact",
        "guard/retention_report",
        "cli/guard_encrypt",
        "cli/guard_decrypt",
        "cli/guard_retain",
        "cli/error",
    ]);
}

#[test]
fn packs_of_a_registry() {
    let mut place = Place::new();
    let key = place.write("signing.key", PRIVATE);
    let mut manifest = Schemas::get().examples("registry/registry_pack").remove(0);
    manifest.as_object_mut().unwrap().remove("signatures");
    let digest = gait_core::canonical::digest_of(&manifest).unwrap();
    let signer = gait_core::signature::PrivateKey::from_base64(PRIVATE).unwrap();
    manifest["signatures"] = json!([signer.sign_digest(&digest)]);
    let pack = place.write("in/pack.json", &manifest.to_string());
    place.ends(0, &["registry", "list", "--cache-dir", "cache"]);
    let told = place.ends(0, &["registry", "install", &pack, "--cache-dir", "cache", "--private-key", &key]);
    assert_eq!(told["digest"], json!(digest), "{told}");
    let metadata = told["metadata_path"].as_str().unwrap().to_owned();
    place.ends(0, &["registry", "list", "--cache-dir", "cache"]);
    let verify = ["registry", "verify", &metadata, "--private-key", &key];
    place.ends(0, &[&verify[..], &["--report-out", "pass.json"]].concat());
    place.ends(2, &[&verify[..], &["--report-out", "fail.json", "--publisher-allowlist", "nobody"]].concat());
    place.ends(2, &["registry", "install", "nowhere.json", "--cache-dir", "cache", "--private-key", &key]);
    // Findings are told by a file that holds: a signature that does not is in another test.
    assert_same_members(
        "registry/verification_report",
        &place.of("registry/verification_report"),
        &["/signature_error"],
    );
    place.check(&[
        "registry/registry_pack",
        "registry/verification_report",
        "cli/registry_install",
        "cli/registry_list",
        "cli/registry_verify",
        "cli/error",
    ]);
}

#[test]
fn policies_as_people_work_on_them() {
    let mut place = Place::new();
    let policy = place.write("policy.yaml", &Schemas::get().examples("gate/policy").remove(0).to_string());
    let intent = place.write("intent.json", &Schemas::get().examples("gate/intent_request").remove(0).to_string());
    let broken =
        "rules:\n  - {name: r, effect: allow, examples: {match: [fs.write /x]}, match: {tool_names: [fs.read]}}\n";
    let broken = place.write("broken.yaml", broken);
    let trap = place.write("trap.yaml", "rules: [{name: r, effect: block, endpoint: {path_denylist: [/x]}}]\n");
    let allow = place.write("allow.yaml", "default_verdict: allow\n");
    place.ends(0, &["policy", "validate", &policy]);
    place.ends(6, &["policy", "validate", &broken]);
    place.ends(6, &["policy", "validate", &trap, "--deny-warnings"]);
    place.ends(6, &["policy", "test", &broken, &intent]);
    place.ends(0, &["policy", "fmt", &allow]);
    place.ends(2, &["policy", "fmt", &policy, "--check"]);
    place.ends(0, &["policy", "fmt", &policy, "--write"]);
    place.ends(0, &["policy", "explain", &policy, "--intent", &intent]);
    place.ends(0, &["policy", "explain", &allow, "--action", "fs.read /etc/passwd"]);
    fs::create_dir(place.work().join("runs")).unwrap();
    fs::copy(data("complete.zip"), place.work().join("runs/complete.zip")).unwrap();
    fs::write(place.work().join("runs/none.zip"), "none").unwrap();
    place.ends(2, &["policy", "simulate", &allow, "--runs", "runs", "--fail-on-change"]);
    fs::remove_dir_all(place.work().join("runs")).unwrap();
    place.ends(6, &["policy", "simulate", &allow, "--runs", "runs"]);
    place.check(&["cli/policy_validate", "cli/policy_fmt", "cli/policy_explain", "cli/policy_simulate", "cli/error"]);
}

#[test]
fn policies_and_the_machine() {
    let mut place = Place::new();
    let intent = place.write("intent.json", &Schemas::get().examples("gate/intent_request").remove(0).to_string());
    let policy = place.write("policy.yaml", &Schemas::get().examples("gate/policy").remove(0).to_string());
    let (code, answer) = place.gait(&["policy", "test", &policy, &intent]);
    assert!(matches!(code, 0 | 3 | 4), "{answer}");
    place.ends(6, &["policy", "test", &policy, "nowhere.json"]);
    let (code, _) = place.gait(&["doctor"]);
    assert!(matches!(code, 0 | 7));
    place.ends(0, &["doctor", "adoption", "--from", "logs/adoption.jsonl"]);
    place.ends(0, &["completions", "zsh"]);
    place.ends(0, &["man", "verify"]);
    place.ends(0, &["man", "--markdown"]);
    place.ends(0, &["man", "--out-dir", "man1"]);
    place.check(&[
        "policytest/policy_test_result",
        "doctor/result",
        "cli/doctor_adoption",
        "cli/completions",
        "cli/man",
        "cli/error",
    ]);
}

#[test]
fn the_policies_that_are_shipped() {
    let mut documents = Vec::new();
    for entry in fs::read_dir(root().join("policies")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            documents.push(policy_document(&path.display().to_string(), &fs::read(&path).unwrap()));
        }
    }
    assert!(documents.len() >= 5, "{documents:?}");
    let (wrong, _) = check(&documents);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The killed run of the contract's cases, sealed.
#[test]
fn a_sealed_run() {
    let mut place = Place::new();
    let torn = data("torn");
    for file in files(&torn) {
        let target = place.work().join("torn").join(file.strip_prefix(&torn).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
    let key = place.write("test.key", &fs::read_to_string(data("test.key")).unwrap());
    place.ends(0, &["run", "seal", "./torn", "--private-key", &key]);
    // What is left on disk of a killed run ends with half a line and has no end: it is no artifact yet.
    fs::remove_dir_all(place.work().join("torn")).unwrap();
    place.check(&[
        "cli/run_seal",
        "exec/guard",
        "exec/journal",
        "exec/count",
        "exec/intent",
        "exec/result",
        "gate/policy",
    ]);
}

/// The lines of the journal that this run has; other kinds are in the contract's runs.
fn kinds(place: &Place) -> BTreeSet<String> {
    place.of("exec/journal").iter().map(|line| line["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_guarded_run() {
    let mut place = Place::new();
    let script = "cat /etc/shadow; ls /; echo hello > out.txt; mkdir d; mv out.txt d; rm -r d; exit 3";
    for mode in ["reference", "raw"] {
        let (code, answer) = place.gait(&["exec", "--capture-mode", mode, "--", "/bin/sh", "-c", script]);
        let promised = std::env::var("GAIT_KERNEL").is_ok_and(|words| words.contains("seccomp-notify"));
        if code == 7 && !promised {
            skipped("a_guarded_run", &format!("this machine lacks a layer: {}", answer["error"]));
            return;
        }
        assert_eq!((code, &answer["complete"]), (3, &json!(true)), "{answer}");
        let run = answer["run_id"].as_str().unwrap();
        place.ends(0, &["verify", run]);
        place.ends(0, &["run", "replay", run]);
        let policy = place.write("allow.yaml", "default_verdict: allow\n");
        let again = place.ends(2, &["run", "replay", run, "--policy", &policy]);
        assert!(again["first_divergence"].is_object(), "{again}");
        let pack = answer["bundle"].as_str().unwrap();
        let own = place.write("own.yaml", &String::from_utf8(members(Path::new(pack))["policy.yaml"].clone()).unwrap());
        let same = place.ends(0, &["run", "replay", run, "--policy", &own]);
        assert!(same.get("first_divergence").is_none(), "{same}");
        let traces = String::from_utf8(members(Path::new(pack))["traces.jsonl"].clone()).unwrap();
        let trace = place.write("trace.json", traces.lines().next().unwrap());
        place.ends(0, &["trace", "verify", &trace]);
        let key = place.local_key();
        place.ends(0, &["verify", "chain", "--run", run, "--trace", &trace, "--private-key", &key]);
        let told = place.ends(0, &["regress", "bootstrap", "--from", run]);
        assert_eq!(told["status"], "pass");
    }
    place.ends(6, &["exec", "--policy", "nowhere.yaml", "--", "/bin/true"]);
    place.check(&[
        "exec/guard",
        "exec/journal",
        "exec/count",
        "exec/intent",
        "exec/result",
        "gate/trace_record",
        "gate/policy",
        "cli/exec",
        "cli/run_replay_policy",
        "cli/trace_verify",
        "runpack/manifest",
    ]);
    let expected = ["checkpoint", "close", "decision", "define", "exec", "exit", "fork", "open"];
    assert_eq!(kinds(&place), expected.map(str::to_owned).into());
}
