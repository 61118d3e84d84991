//! Whole runs: decided, recorded, packed, read back.

use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

use gait_core::guarded::{Host, Plan, PolicyPlan};
use gait_core::intent::{Intent, TargetKind};
use gait_core::journal::{Attribution, EngineName};
use gait_core::policy::Verdict;
use gait_core::runpack::container::Container;
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;

use super::*;
use crate::bpf::watch::{Arguments, Image, Seen};
use crate::event::{InetCall, PathOp, Protocol, SystemObject, Why};
use crate::intent::Translator;

/// Blocks paths that end in `secret`, asks for those in `ask`; its compiled form is wrong about `liar`.
struct Toy;

fn verdict(path: &[u8]) -> Verdict {
    match () {
        () if path.ends_with(b"secret") => Verdict::Block,
        () if path.ends_with(b"ask") => Verdict::RequireApproval,
        () => Verdict::Allow,
    }
}

impl Rules for Toy {
    fn reference(&self, intent: &Intent) -> Said {
        let target = &intent.targets()[0];
        let said = if target.kind == TargetKind::Path { verdict(target.value.as_bytes()) } else { Verdict::Allow };
        Said {
            verdict: said,
            reason_codes: vec!["matched_rule_toy".into()],
            violations: if said == Verdict::Block { vec!["toy".into()] } else { vec![] },
            matched_rule: Some("toy".into()),
        }
    }

    fn compiled(&self, action: &Action<'_>) -> Verdict {
        match action {
            Action::Path { path, .. } if path.ends_with(b"liar") => Verdict::Block,
            Action::Path { path, .. } => verdict(path),
            _ => Verdict::Allow,
        }
    }
}

const POLICY: &str = "default_verdict: allow\n";
/// Control 5 gives this digest for that policy.
const POLICY_DIGEST: &str = "65819d9cf07c7619aa8aaf2bd4e8d6f8e3f86b139b49a68c535fd14d77a5009f";

fn config(home: &Path, run_id: &str) -> SessionConfig {
    let translator = Translator::new("agent", b"/work", "high").unwrap();
    let command = vec![b"agent".to_vec()];
    let run = serde_json::to_value(translator.run(&command).unwrap()).unwrap();
    let plan = Plan {
        engine: "notify".into(),
        capture_mode: "reference".into(),
        policy: PolicyPlan {
            digest: POLICY_DIGEST.into(),
            file_sha256: gait_core::digest::Sha256Hex::of(POLICY).to_string(),
            ..PolicyPlan::default()
        },
        command: serde_json::from_value(run["args"].clone()).unwrap(),
        context: serde_json::from_value(run["context"].clone()).unwrap(),
        ..Plan::default()
    };
    SessionConfig {
        run_id: run_id.into(),
        producer_version: "0.0.0-dev".into(),
        started_at: Timestamp::parse("2026-03-04T10:00:00.5Z").unwrap(),
        translator,
        rules: Box::new(Toy),
        policy_yaml: POLICY.into(),
        command,
        key: PrivateKey::from_seed([9; 32]),
        key_source: "local".into(),
        plan: plan.seal().unwrap(),
        host: Host { machine: "x86_64".into(), ..Host::default() },
        self_test: vec![],
        engine: EngineName::Notify,
        enforcement: Enforcement::Enforce,
        capture: CaptureMode::Reference,
        dirs: Dirs {
            state: home.join(".gait"),
            out: home.join("gait-out"),
            sealed: vec!["/etc/policy.yaml".into()],
            closed: Vec::new(),
        },
    }
}

fn read(path: &str) -> Action<'_> {
    Action::Path { op: PathOp::Read, path: Cow::Borrowed(path.as_bytes()), via: None }
}

fn me() -> Actor {
    Actor { tid: i32::try_from(std::process::id()).unwrap() }
}

fn member(bundle: &Path, name: &str) -> String {
    let mut container = Container::open(Cursor::new(std::fs::read(bundle).unwrap())).unwrap();
    String::from_utf8(container.read_all(name, 1 << 27).unwrap().unwrap()).unwrap()
}

#[test]
fn a_run_is_decided_recorded_and_packed() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    session.spawned(me().tid);
    assert_eq!(session.judge(me(), &read("/work/a")), Ruling::Allow);
    assert_eq!(session.judge(me(), &read("/work/a")), Ruling::Allow);
    assert_eq!(session.judge(me(), &read("/work/secret")), Ruling::Deny(Errno::ACCESS));
    assert_eq!(session.judge(me(), &read("/work/ask")), Ruling::Deny(Errno::ACCESS));
    session.executed(me(), b"/bin/agent", &[b"agent".to_vec()]);
    let mut told = Vec::new();
    let finished = session.finish_telling(Outcome::Exited(3), &mut |bytes| told.push(bytes)).unwrap();
    assert_eq!((finished.stop, finished.summary.complete), (None, true));
    assert_eq!(finished.summary.counters.decisions, 4);
    let blocks: Vec<_> = finished.summary.blocks.iter().map(|b| (&*b.value, b.verdict, b.count)).collect();
    assert_eq!(blocks, [("/work/ask", "require_approval", 1), ("/work/secret", "block", 1)]);
    assert_eq!(finished.bundle, home.path().join("gait-out/runpack_run_x.zip"));
    assert!(!home.path().join(".gait/runs/run_x").exists());
    let results = member(&finished.bundle, "results.jsonl");
    assert!(results.contains(r#""result":{"complete":true,"exit_code":3,"signal":0}"#), "{results}");
    assert!(results.contains(r#""reason_codes":["approval_token_missing","matched_rule_toy"]"#), "{results}");
    let journal = member(&finished.bundle, "decisions/000001.jsonl");
    assert_eq!(journal.lines().filter(|line| line.contains(r#""type":"decision""#)).count(), 4);
    assert!(journal.contains(r#""parent":0"#) && journal.contains(r#""type":"exit""#));
    assert_eq!(told, [2 * journal.len() as u64], "packing reads the journal twice");
}

#[test]
fn the_decision_is_in_the_journal_before_the_answer() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    let journal = home.path().join(".gait/runs/run_x/decisions/000001.jsonl");
    for n in 1..=5 {
        session.judge(me(), &read("/work/a"));
        let text = std::fs::read_to_string(&journal).unwrap();
        assert_eq!(text.matches(r#""type":"decision""#).count(), n);
    }
}

#[test]
fn what_is_foreseen_is_what_would_be_decided_and_leaves_no_record() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    let journal = home.path().join(".gait/runs/run_x/decisions/000001.jsonl");
    let key = home.path().join(".gait/keys/key");
    let before = std::fs::read(&journal).unwrap();
    for path in ["/work/a", "/work/secret", "/work/ask", key.to_str().unwrap()] {
        let foreseen = session.foresee(&read(path));
        assert_eq!(std::fs::read(&journal).unwrap(), before);
        assert_eq!(foreseen == Ruling::Allow, path == "/work/a", "{path}");
    }
    for path in ["/work/a", "/work/secret", "/work/ask", key.to_str().unwrap()] {
        assert_eq!(session.foresee(&read(path)), session.judge(me(), &read(path)), "{path}");
    }
}

#[test]
fn a_line_is_attested_within_about_a_second() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    session.judge(me(), &read("/work/a"));
    let journal = home.path().join(".gait/runs/run_x/decisions/000001.jsonl");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !std::fs::read_to_string(&journal).unwrap().contains("checkpoint\",") {
        assert!(std::time::Instant::now() < deadline, "no checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(session);
}

#[test]
fn the_first_disagreement_ends_the_run() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    assert_eq!(session.judge(me(), &read("/work/a")), Ruling::Allow);
    // The reference allows it, the compiled policy does not.
    assert_eq!(session.judge(me(), &read("/work/liar")), Ruling::Deny(Errno::PERM));
    assert_eq!(session.stopped(), Some(Stop::Disagreement));
    assert_eq!(session.judge(me(), &read("/work/a")), Ruling::Deny(Errno::PERM));
    let finished = session.finish(Outcome::Signalled(9)).unwrap();
    assert_eq!((finished.stop, finished.summary.complete), (Some(Stop::Disagreement), false));
    let counters = finished.summary.counters;
    assert_eq!((counters.decisions, counters.disagreements, counters.denied_unrecorded), (1, 1, 2));
    // No result for the run itself: every reader sees that the record is not complete.
    assert!(!member(&finished.bundle, "results.jsonl").contains("exit_code"));
}

fn from(engine: EngineName) -> Origin {
    Origin { engine, actor: me(), denial: Denial::Error, attribution: None }
}

#[test]
fn a_denial_of_what_had_happened_is_a_kill_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    let origin =
        Origin { denial: Denial::Kill, attribution: Some(Attribution::SharedFdTable), ..from(EngineName::Hybrid) };
    session.witnessed(origin, &read("/work/secret"), false);
    let action = Action::Unresolved { op: PathOp::Read, why: Why::Unreachable };
    session.refused(origin, &action, Floor::Unresolved, Errno::ACCESS);
    assert_eq!(session.stopped(), None);
    // The same, held: an error.
    assert!(matches!(session.judge(me(), &read("/work/secret")), Ruling::Deny(_)));
    let finished = session.finish(Outcome::Signalled(9)).unwrap();
    assert!(finished.summary.complete);
    let journal = member(&finished.bundle, "decisions/000001.jsonl");
    let lines: Vec<serde_json::Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    let [killed, unresolved, held] = of("define")[..] else { panic!("{journal}") };
    for line in [killed, unresolved] {
        assert_eq!((&line["engine"], line.get("errno")), (&"hybrid".into(), None), "{line}");
        assert!(line["decision"]["reason_codes"].as_array().unwrap().contains(&"guard_engine_killed".into()), "{line}");
    }
    assert_eq!((&held["engine"], &held["errno"]), (&"notify".into(), &"EACCES".into()), "{held}");
    assert_eq!(held["intent_digest"], killed["intent_digest"]);
    let marked = of("decision").iter().filter(|line| line["attribution"] == "shared_fd_table").count();
    assert_eq!((of("decision").len(), marked), (3, 2));
}

#[test]
fn an_open_that_the_kernel_refused_is_the_policys_denial_or_the_boundarys() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    let origin = Origin { denial: Denial::Spelt, ..from(EngineName::Hybrid) };
    session.turned_away(origin, &read("/work/secret"), true);
    session.turned_away(origin, &read("/work/later"), true);
    session.turned_away(origin, &read("/work/unreadable"), false);
    session.unattributed(origin, &Action::Unresolved { op: PathOp::Read, why: Why::Unreachable });
    assert_eq!(session.stopped(), None);
    let finished = session.finish(Outcome::Exited(0)).unwrap();
    let journal = member(&finished.bundle, "decisions/000001.jsonl");
    let lines = journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let told: Vec<String> = lines
        .filter(|line| line["type"] == "define")
        .map(|line| {
            let (decision, value) = (&line["decision"], &line["intent"]["targets"][0]["value"]);
            format!("{value} {} {} {}", decision["source"], decision["enforced"], decision["reason_codes"])
        })
        .collect();
    assert_eq!(
        told,
        [
            r#""/work/secret" "policy" "deny" ["guard_engine_as_spelt","matched_rule_toy"]"#,
            r#""/work/later" "engine" "deny" ["guard_engine_as_spelt","guard_engine_refused"]"#,
            r#""/work/unreadable" "policy" "allow" ["matched_rule_toy"]"#,
            r#""unresolved:unreachable" "engine" "allow" ["guard_engine_unattributed"]"#,
        ]
    );
}

#[test]
fn what_the_kernel_let_through_after_the_end_is_not_counted_as_denied() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    session.witnessed(from(EngineName::Lsm), &read("/work/a"), true);
    session.stop(Stop::Disk);
    for passed in [true, true, false] {
        session.witnessed(from(EngineName::Lsm), &read("/work/a"), passed);
    }
    let finished = session.finish(Outcome::Signalled(9)).unwrap();
    assert!(!finished.summary.complete);
    let counters = finished.summary.counters;
    assert_eq!((counters.decisions, counters.lost, counters.denied_unrecorded), (1, 3, 1));
}

#[test]
fn what_the_kernel_had_no_room_for_is_counted_and_the_run_is_not_complete() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    session.witnessed(from(EngineName::Lsm), &read("/work/a"), true);
    session.lost_in_kernel(7);
    let finished = session.finish(Outcome::Exited(0)).unwrap();
    assert_eq!((finished.stop, finished.summary.complete), (Some(Stop::Lost), false));
    assert_eq!((finished.summary.counters.decisions, finished.summary.counters.lost), (1, 7));
    assert!(!member(&finished.bundle, "results.jsonl").contains("exit_code"));
}

#[test]
fn the_floor_stands_below_any_policy_and_any_simulation() {
    let home = tempfile::tempdir().unwrap();
    let config = SessionConfig { enforcement: Enforcement::Simulate, ..config(home.path(), "run_x") };
    let key = home.path().join(".gait/keys/local.key");
    let session = Session::start(config).unwrap();
    assert_eq!(session.judge(me(), &read(key.to_str().unwrap())), Ruling::Deny(Errno::ACCESS));
    assert_eq!(session.judge(me(), &read("/work/secret")), Ruling::Allow);
    let ptrace = Action::System { name: "ptrace", object: SystemObject { class: "process", detail: "guard" } };
    assert_eq!(session.deny(me(), &ptrace, Floor::GuardAccess), Errno::PERM);
    let long = Action::Unresolved { op: PathOp::Read, why: Why::NameTooLong };
    assert_eq!(session.deny(me(), &long, Floor::Unresolved), Errno::NAMETOOLONG);
    let finished = session.finish(Outcome::Exited(0)).unwrap();
    let results = member(&finished.bundle, "results.jsonl");
    let simulated = r#""policy_verdict":"block","reason_codes":["matched_rule_toy","simulate_mode_non_enforcing","simulated_block"],"source":"policy","verdict":"dry_run""#;
    assert!(results.contains(simulated), "{results}");
    assert!(results.contains(r#""reason_codes":["guard_floor_guard_access"],"source":"floor""#), "{results}");
}

#[test]
fn two_runs_of_the_same_actions_in_another_order_have_equal_intents_and_results() {
    let home = tempfile::tempdir().unwrap();
    let paths = ["/work/a", "/work/secret", "/work/b", "/work/ask"];
    let run = |run_id: &str, paths: Vec<&str>| {
        let session = Session::start(config(home.path(), run_id)).unwrap();
        let threads: Vec<_> = paths.iter().map(|path| read(path)).collect();
        std::thread::scope(|scope| {
            for action in &threads {
                scope.spawn(|| session.judge(Actor { tid: rustix::thread::gettid().as_raw_nonzero().get() }, action));
            }
        });
        let bundle = session.finish(Outcome::Exited(0)).unwrap().bundle;
        ["intents.jsonl", "results.jsonl"].map(|name| member(&bundle, name).replace(run_id, "run"))
    };
    let twice = [paths, paths].concat();
    assert_eq!(run("run_a", paths.to_vec()), run("run_b", twice.into_iter().rev().collect()));
}

#[test]
fn a_run_id_that_is_no_file_name_is_refused() {
    let home = tempfile::tempdir().unwrap();
    for id in ["", "../x", "a b", "a/b"] {
        assert!(matches!(Session::start(config(home.path(), id)), Err(StartError::RunId { .. })), "{id}");
    }
}

#[test]
fn an_unwritable_out_folder_keeps_the_journal_for_run_seal() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("gait-out"), "a file").unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    session.judge(me(), &read("/work/a"));
    assert!(session.finish(Outcome::Exited(0)).is_err());
    assert_eq!(unsealed_runs(&home.path().join(".gait")), ["run_x"]);
}

#[test]
fn a_real_policy_and_its_tables_agree_on_every_kind_of_action() {
    let home = tempfile::tempdir().unwrap();
    let text = r#"
default_verdict: block
rules:
  - name: reads
    priority: 1
    effect: allow
    match: { endpoint_classes: [fs.read] }
    endpoint: { path_denylist: ["**/secret"] }
  - name: net
    priority: 2
    effect: allow
    match: { endpoint_classes: [net.http] }
    endpoint: { domain_allowlist: ["127.0.0.1"] }
  - name: sys
    priority: 3
    effect: allow
    match: { tool_names: [sys.ptrace] }
"#;
    let policy = gait_core::policy::Policy::parse(text, gait_core::policy::Strictness::Strict).unwrap();
    let base = config(home.path(), "run_x");
    let rules = PolicyRules::new(policy, base.translator.context().clone()).unwrap();
    let session = Session::start(SessionConfig { rules: Box::new(rules), ..base }).unwrap();
    let inet = |address: &str| Action::Inet {
        call: crate::event::InetCall::Connect,
        protocol: crate::event::Protocol::Tcp,
        address: address.parse().unwrap(),
    };
    let ptrace = Action::System { name: "ptrace", object: SystemObject { class: "process", detail: "own" } };
    let denied = Ruling::Deny(Errno::ACCESS);
    for (action, expected) in [
        (read("/work/a"), Ruling::Allow),
        (read("/work/x/secret"), denied),
        (read("/"), Ruling::Allow),
        (inet("127.0.0.1:80"), Ruling::Allow),
        (inet("[::ffff:127.0.0.1]:80"), Ruling::Allow),
        (inet("10.0.0.1:80"), denied),
        (inet("127.0.0.1:53"), denied),
        (ptrace, Ruling::Allow),
        (Action::Path { op: PathOp::Write, path: Cow::Borrowed(b"/work/a"), via: None }, denied),
    ] {
        assert_eq!(session.judge(me(), &action), expected, "{action:?}");
    }
    assert_eq!(session.stopped(), None);
}

/// A folder as a killed guard leaves it.
fn killed(home: &Path) -> std::path::PathBuf {
    let session = Session::start(config(home, "run_x")).unwrap();
    for path in ["/work/a", "/work/secret", "/work/b"] {
        session.judge(me(), &read(path));
    }
    let left = home.join("left");
    std::fs::create_dir_all(left.join("decisions")).unwrap();
    for name in ["guard.json", "policy.yaml", "decisions/000001.jsonl"] {
        std::fs::copy(home.join(".gait/runs/run_x").join(name), left.join(name)).unwrap();
    }
    left
}

fn sealed_at() -> Timestamp {
    Timestamp::parse("2026-03-07T23:00:07Z").unwrap()
}

#[test]
fn a_killed_run_can_be_sealed_however_it_was_cut_off() {
    let home = tempfile::tempdir().unwrap();
    let left = killed(home.path());
    let journal = left.join("decisions/000001.jsonl");
    let whole = std::fs::read(&journal).unwrap();
    let first = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    let out = home.path().join("out");
    for length in (first..=whole.len()).step_by(37).chain([whole.len()]) {
        std::fs::write(&journal, &whole[..length]).unwrap();
        let sealed = seal(&left, PrivateKey::from_seed([9; 32]), sealed_at(), &out).unwrap();
        let torn = whole[..length].iter().rev().take_while(|b| **b != b'\n').count() as u64;
        assert_eq!((sealed.complete, sealed.attested, sealed.torn_bytes), (false, 0, torn));
        let bundle = std::fs::read(&sealed.bundle).unwrap();
        let mut container = Container::open(Cursor::new(bundle.clone())).unwrap();
        let integrity = gait_core::runpack::verify::integrity(&mut container).unwrap();
        let report = gait_core::guarded::verify::check(&mut container, &integrity);
        assert_eq!(report.errors, Vec::<String>::new(), "{length} bytes");
        seal(&left, PrivateKey::from_seed([9; 32]), sealed_at(), &out).unwrap();
        assert!(std::fs::read(&sealed.bundle).unwrap() == bundle, "sealing again gives the same pack");
        assert_eq!(std::fs::read(&journal).unwrap(), &whole[..length]);
    }
}

#[test]
fn a_run_is_not_sealed_while_it_goes_on_nor_with_another_key() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_y")).unwrap();
    let folder = home.path().join(".gait/runs/run_y");
    let out = home.path().join("out");
    let mine = || PrivateKey::from_seed([9; 32]);
    assert!(matches!(seal(&folder, mine(), sealed_at(), &out), Err(SealError::Folder(FolderError::Locked { .. }))));
    drop(session);
    let other = PrivateKey::from_seed([8; 32]);
    assert!(matches!(seal(&folder, other, sealed_at(), &out), Err(SealError::OtherKey { .. })));
    assert!(!out.exists());
    seal(&folder, mine(), sealed_at(), &out).unwrap();
}

/// The contract's own model of the format, where it is at hand.
#[test]
fn the_model_of_the_contract_accepts_our_packs() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/contract/tools/make_guarded_runpack.py");
    if !model.exists() {
        eprintln!("skipped: {} is not there", model.display());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    session.spawned(me().tid);
    for path in ["/work/a", "/work/secret", "/work/ask", "/work/caf\u{e9} ", "/work/a"] {
        session.judge(me(), &read(path));
    }
    session.executed(me(), b"/bin/agent", &[b"agent".to_vec()]);
    let bundle = session.finish(Outcome::Exited(0)).unwrap().bundle;
    let output = match std::process::Command::new("python3").arg(&model).arg("verify").arg(&bundle).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: no python3: {error}");
            return;
        }
    };
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["problems"], serde_json::json!([]), "{answer}");
    assert_eq!((&answer["complete"], &answer["decisions"]), (&true.into(), &5.into()));
}

#[test]
fn many_decisions_on_the_same_files_do_not_make_the_guard_grow() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let judge = |count: u32| {
        for _ in 0..count {
            for path in ["/work/a", "/work/b", "/work/c", "/work/secret"] {
                session.judge(me(), &read(path));
            }
        }
    };
    judge(5_000);
    let mut decided = 20_000;
    // Other tests run in this process meanwhile, so it may take more than one look. A list of 200,000 decisions would take more each time.
    let stays_small = (0..5).any(|_| {
        let before = resident();
        judge(50_000);
        decided += 200_000;
        resident().saturating_sub(before) < 64 << 20
    });
    assert!(stays_small);
    let finished = session.finish(Outcome::Exited(0)).unwrap();
    assert_eq!((finished.summary.counters.decisions, finished.summary.complete), (decided, true));
}

/// What the probes report, as a test says it.
fn watched(session: &Session) -> std::sync::mpsc::Sender<Seen> {
    let (tell, told) = std::sync::mpsc::channel::<Seen>();
    session.watch(std::iter::from_fn(move || told.try_recv().ok()));
    tell
}

fn born(parent: i32, tgid: i32) -> Seen {
    Seen::Fork { parent, tid: tgid, tgid, start: 7_000_000_000 }
}

fn ran(tgid: i32, path: &str, argv: &[u8]) -> Seen {
    let arguments = Some(Arguments { bytes: argv.to_vec(), whole: argv.len() as u64 });
    Seen::Exec(Box::new(Image { tgid, path: Some(path.into()), inode: 5, arguments }))
}

fn ls() -> ExecEnd {
    let arguments = vec![b"ls".to_vec(), b"-l".to_vec()];
    ExecEnd::Looked(Some(DecidedExec { path: Some(b"/bin/ls".to_vec()), inode: 5, arguments }))
}

/// Neither number is one that a machine gives out.
const AGENT: i32 = i32::MAX - 7;
const CHILD: i32 = i32::MAX - 8;

#[test]
fn what_the_probes_see_is_the_process_tree_with_its_ends() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    let tell = watched(&session);
    tell.send(born(1, AGENT)).unwrap();
    session.spawned(AGENT);
    session.exec_begins(AGENT);
    tell.send(ran(AGENT, "/bin/ls", b"ls\0-l\0")).unwrap();
    session.exec_ends(AGENT, ls());
    tell.send(born(AGENT, CHILD)).unwrap();
    tell.send(Seen::Exit { tgid: CHILD, code: 3 << 8 }).unwrap();
    tell.send(Seen::Exit { tgid: AGENT, code: 9 }).unwrap();
    session.observed(0);
    let finished = session.finish(Outcome::Signalled(9)).unwrap();
    assert_eq!((finished.stop, finished.summary.complete), (None, true));
    let journal = member(&finished.bundle, "decisions/000001.jsonl");
    let of = |kind: &str| journal.lines().filter(|line| line.contains(&format!(r#""type":"{kind}""#))).count();
    assert_eq!((of("fork"), of("exit")), (2, 2), "{journal}");
    assert!(journal.contains(r#""parent":1"#) && journal.contains(r#""code":3"#), "{journal}");
}

#[test]
fn a_program_that_nobody_decided_ends_the_run_with_its_reason() {
    let strangers =
        [ran(CHILD, "/bin/ls", b"ls\0-l\0"), ran(AGENT, "/bin/ls", b"ls\0-x\0"), ran(AGENT, "/evil", b"ls\0-l\0")];
    for mut stranger in strangers {
        if let Seen::Exec(image) = &mut stranger
            && image.path.as_deref() == Some(b"/evil")
        {
            image.inode = 6;
        }
        let home = tempfile::tempdir().unwrap();
        let session = Session::start(config(home.path(), "run_x")).unwrap();
        let tell = watched(&session);
        tell.send(born(1, AGENT)).unwrap();
        tell.send(born(AGENT, CHILD)).unwrap();
        session.spawned(AGENT);
        session.exec_begins(AGENT);
        tell.send(stranger).unwrap();
        session.exec_ends(AGENT, ls());
        // The next action is not let through, whatever the policy says of it.
        assert_eq!(session.judge(Actor { tid: AGENT }, &read("/work/a")), Ruling::Deny(Errno::PERM));
        assert_eq!(session.stopped(), Some(Stop::Disagreement));
        let finished = session.finish(Outcome::Signalled(9)).unwrap();
        assert_eq!((finished.stop, finished.summary.complete), (Some(Stop::Disagreement), false));
        let block = &finished.summary.blocks[0];
        assert_eq!(
            (&*block.tool_name, &*block.reason_codes),
            ("proc.exec", &["guard_engine_unwitnessed".to_owned()][..])
        );
        let journal = member(&finished.bundle, "decisions/000001.jsonl");
        assert!(journal.contains(r#""type":"disagreement""#) && journal.contains(r#""reason":"disagreement""#));
    }
}

#[test]
fn a_socket_call_that_nobody_announced_ends_the_run() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    let tell = watched(&session);
    tell.send(born(1, AGENT)).unwrap();
    session.spawned(AGENT);
    let address = Some((InetCall::Connect, Protocol::Tcp, "10.0.0.1:80".parse().unwrap()));
    tell.send(Seen::Socket { tid: AGENT, address }).unwrap();
    session.observe();
    assert_eq!(session.stopped(), Some(Stop::Disagreement));
    let finished = session.finish(Outcome::Signalled(9)).unwrap();
    let block = &finished.summary.blocks[0];
    assert_eq!((&*block.value, &*block.reason_codes[0]), ("10.0.0.1:80", "guard_engine_unwitnessed"));
}

#[test]
fn records_that_had_no_room_make_a_run_incomplete() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::start(config(home.path(), "run_x")).unwrap();
    let tell = watched(&session);
    tell.send(born(1, AGENT)).unwrap();
    session.spawned(AGENT);
    session.observed(2);
    let finished = session.finish(Outcome::Exited(0)).unwrap();
    assert!(!finished.summary.complete);
}
