//! A journal with everything in it that a page must show, packed, verified and inspected.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::io::Cursor;
use std::path::{Path, PathBuf};

use gait_core::canonical::digest_of;
use gait_core::digest::Sha256Hex;
use gait_core::guarded::verify::check;
use gait_core::guarded::{PackSource, Presigned, Receipt, write_guarded_pack};
use gait_core::inspect::action::{ALLOWED_LIMIT, DENIED_LIMIT};
use gait_core::inspect::guarded::{Ending, Guarded};
use gait_core::inspect::remedy::Addition;
use gait_core::inspect::timeline::{BUCKET_LIMIT, What};
use gait_core::inspect::{Content, TEXT_LIMIT, inspect};
use gait_core::journal::{
    Body, Checker, Close, CloseReason, Decided, DecisionLine, Define, Enforced, EngineName, Exec, Exit, Fork, Hold,
    Lost, LostOutcome, Open, Segments, Source, Writer,
};
use gait_core::policy::{Policy, Strictness, Verdict};
use gait_core::runpack::container::Container;
use gait_core::runpack::verify::{Integrity, integrity};
use gait_core::runpack::write::{PackFacts, PackMember, write_pack};
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;
use serde_json::{Value, json};

const POLICY: &str = "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: block\nrules:\n  \
    - {name: reads, priority: 10, effect: allow, match: {tool_names: [fs.read]}, endpoint: {path_allowlist: [\"/w/**\"]}}\n";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guarded").join(name)
}

fn key() -> PrivateKey {
    PrivateKey::from_seed([7; 32])
}

#[derive(Default)]
struct Memory(Vec<u8>);

impl Segments for Memory {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A receipt like that of the contract's sample, of a run under [`POLICY`].
fn receipt() -> Receipt {
    let mut receipt: Receipt = serde_json::from_slice(&std::fs::read(data("guard.json")).unwrap()).unwrap();
    let policy = Policy::parse(POLICY, Strictness::Strict).unwrap();
    receipt.plan.policy.digest = policy.digest().unwrap().to_string();
    receipt.plan.policy.file_sha256 = Sha256Hex::of(POLICY).to_string();
    receipt.plan.variables.workspace = "/w".into();
    receipt.plan = receipt.plan.seal().unwrap();
    receipt.signing.key_id = key().public().id().to_string();
    receipt.signing.public_key = key().public().to_base64();
    receipt
}

fn open(receipt: &Receipt) -> Open {
    let command = &receipt.plan.command;
    Open {
        schema_id: gait_core::journal::JOURNAL_SCHEMA.into(),
        schema_version: "1.0.0".into(),
        producer_version: receipt.producer_version.clone(),
        run_id: receipt.run_id.clone(),
        nonce: receipt.run.nonce.clone(),
        started_at: receipt.run.started_at.clone(),
        key_id: receipt.signing.key_id.clone(),
        public_key: receipt.signing.public_key.clone(),
        policy_digest: Sha256Hex::parse(&receipt.plan.policy.digest).unwrap(),
        plan_digest: Sha256Hex::parse(&receipt.plan.digest).unwrap(),
        checkpoint_every: 1024,
        intent: json!({"tool_name": "guard.run", "targets": [], "context": receipt.plan.context,
            "arg_provenance": [{"arg_path": "$", "source": "system"}],
            "args": {"argc": command.argc, "argv_digest": command.argv_digest, "program": command.program}}),
    }
}

/// A read of `path`, which [`POLICY`] allows below `/w`.
fn define(root: &Value, def: u64, path: &str) -> Body {
    let mut intent = root.clone();
    intent["tool_name"] = "fs.read".into();
    intent["args"] = json!({});
    intent["targets"] = json!([{"kind": "path", "value": path, "operation": "read", "endpoint_class": "fs.read"}]);
    let allowed = path.starts_with("/w/");
    let codes = if allowed {
        vec!["matched_rule_reads"]
    } else {
        vec!["endpoint_constraint_violation", "endpoint_path_not_allowlisted", "matched_rule_reads"]
    };
    let decision = Decided {
        verdict: if allowed { Verdict::Allow } else { Verdict::Block },
        enforced: if allowed { Enforced::Allow } else { Enforced::Deny },
        source: Source::Policy,
        reason_codes: codes.into_iter().map(str::to_owned).collect(),
        violations: vec![],
        matched_rule: Some("reads".into()),
        policy_verdict: None,
        approval_ref: None,
    };
    let intent_digest = digest_of(&intent).unwrap();
    let errno = (!allowed).then(|| "EACCES".to_owned());
    Body::Define(Box::new(Define { def, intent, intent_digest, decision, engine: EngineName::Notify, errno }))
}

/// The journal that `write` makes, of a run with one process.
fn journal(receipt: &Receipt, complete: bool, write: impl FnOnce(&mut Writer<Memory>, &Value)) -> Vec<u8> {
    let open = open(receipt);
    let root = open.intent.clone();
    let mut writer = Writer::begin(Memory::default(), key(), open).unwrap();
    writer.line(&Body::Fork(Fork { proc: 1, parent: 0, pid: 99, start: 5 }), 10).unwrap();
    write(&mut writer, &root);
    let close = Close { reason: CloseReason::Exit, complete, exit_code: 3, signal: None };
    writer.close(close, 9_000_000_000).unwrap().segments.0
}

/// The pack of a run with this journal.
fn pack(receipt: &Receipt, journal: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let segments = [folder.path().join("000001.jsonl")];
    std::fs::write(&segments[0], journal).unwrap();
    let mut checker = Checker::new();
    checker.segment(&mut &*journal).unwrap();
    let (ledger, chain) = checker.finish().unwrap();
    let policy_yaml = POLICY.as_bytes();
    let source = PackSource {
        ledger: &ledger,
        chain: &chain,
        segments: &segments,
        initial: receipt,
        policy_yaml,
        key: &key(),
        presigned: &Presigned::default(),
    };
    let mut pack = Vec::new();
    write_guarded_pack(&mut pack, &source).unwrap();
    pack
}

/// What [`inspect`] reads of a pack, without the traces, whose signatures take long to make.
fn bare_pack(receipt: &Receipt, journal: &[u8]) -> Vec<u8> {
    let members = [
        PackMember::bytes("run.json", b"{}".to_vec()),
        PackMember::bytes("guard.json", serde_json::to_vec(receipt).unwrap()),
        PackMember::bytes("policy.yaml", POLICY.into()),
        PackMember::bytes("decisions/000001.jsonl", journal.to_vec()),
    ];
    let facts = PackFacts {
        created_at: Timestamp::ZERO,
        producer_version: String::new(),
        run_id: "run_x".into(),
        capture_mode: "reference".into(),
    };
    let mut pack = Vec::new();
    write_pack(&mut pack, &facts, &members, &[]).unwrap();
    pack
}

/// The model of a pack.
fn inspected(container: &mut Container<Cursor<Vec<u8>>>, found: &Integrity) -> Guarded {
    let inspection = inspect(container, &found.manifest).unwrap();
    let Content::Guarded(run) = inspection.content else { panic!("not guarded") };
    *run
}

fn decide(writer: &mut Writer<Memory>, def: u64, proc: u64, verdict: Verdict, t: u64) {
    writer.decision(&DecisionLine { def, proc, ..DecisionLine::default() }, verdict, t).unwrap();
}

#[test]
fn everything_that_a_journal_tells_is_in_the_model() {
    let receipt = receipt();
    let journal = journal(&receipt, false, |writer, root| {
        let long = "x".repeat(TEXT_LIMIT + 1);
        let argv = vec!["sh".to_owned(), "-c".to_owned(), long];
        let file = "/bin/sh".to_owned();
        let argv_digest = digest_of(&argv).unwrap();
        writer
            .line(&Body::Exec(Exec { proc: 1, file, argc: 3, argv_digest, argv: Some(argv), argv_cut: None }), 20)
            .unwrap();
        writer.line(&Body::Fork(Fork { proc: 2, parent: 1, pid: 100, start: 6 }), 30).unwrap();
        writer.line(&define(root, 1, "/w/a"), 40).unwrap();
        writer.line(&define(root, 2, "/etc/b"), 50).unwrap();
        decide(writer, 1, 1, Verdict::Allow, 60);
        decide(writer, 2, 2, Verdict::Block, 70);
        decide(writer, 2, 1, Verdict::Block, 80);
        writer.line(&Body::Hold(Hold { hold: 1, intent_digest: digest_of(root).unwrap(), proc: 2 }), 90).unwrap();
        let lost = Lost { count: 4, enforced: LostOutcome::Allow, place: "ring".into() };
        writer.line(&Body::Lost(lost), 100).unwrap();
        writer.line(&Body::Exit(Exit { proc: 2, code: 0, signal: 9 }), 110).unwrap();
    });
    let mut container = Container::open(Cursor::new(pack(&receipt, &journal))).unwrap();
    let found = integrity(&mut container).unwrap();
    let report = check(&mut container, &found);
    assert_eq!(report.errors, Vec::<String>::new());
    let run = inspected(&mut container, &found);
    // What verify derives from the journal in its own way.
    let counters = &report.counters;
    assert_eq!((run.decisions, run.distinct, run.lost), (counters.decisions, counters.distinct, counters.lost));
    assert_eq!((run.complete, run.denied, run.lost, run.duration_ns), (false, 2, 4, 9_000_000_000));
    assert!(matches!(run.ending, Ending::Closed(Close { exit_code: 3, complete: false, .. })));
    let [first, second] = run.processes.list.as_slice() else { panic!("{:?}", run.processes) };
    assert_eq!((first.pid, first.depth, first.decisions, first.denied, first.exit), (99, 0, 2, 1, None));
    assert_eq!((second.pid, second.depth, second.exit.unwrap().signal), (100, 1, 9));
    let argv = first.execs[0].argv.as_ref().unwrap();
    assert_eq!((argv.len(), argv[1].as_str()), (3, "-c"));
    assert!(argv[2].ends_with("\u{2026} (1 more characters)"), "{argv:?}");
    let [_, denied] = run.actions.rows.as_slice() else { panic!("{:?}", run.actions) };
    assert_eq!((denied.value.as_str(), denied.count, denied.procs.as_slice()), ("/etc/b", 2, &[2, 1][..]));
    let Some(Addition::Entry(entry)) = denied.remedy.as_ref().map(|remedy| &remedy.add) else { panic!("{denied:?}") };
    assert_eq!((entry.rule.as_str(), entry.list, entry.value.as_str()), ("reads", "path_allowlist", "/etc/b"));
    assert_eq!((run.blocks.len(), run.blocks[0].count, run.blocks[0].actions.as_slice()), (1, 2, &[1][..]));
    let events: Vec<&What> = run.timeline.events.iter().map(|event| &event.what).collect();
    assert_eq!(
        events,
        [
            &What::Exec { file: "/bin/sh".into() },
            &What::Denied { action: 1 },
            &What::Hold,
            &What::Lost { count: 4, allowed: true, place: "ring".into() },
            &What::Exit { code: 0, signal: 9 },
            &What::Closed,
        ]
    );
}

#[test]
fn a_large_run_gives_a_small_model_that_counts_all_of_it() {
    const EACH: u64 = 3100;
    let receipt = receipt();
    let journal = journal(&receipt, true, |writer, root| {
        for n in 1..=EACH {
            let t = n * 1_000_000;
            writer.line(&Body::Fork(Fork { proc: n + 1, parent: n, pid: n, start: n }), t).unwrap();
            writer.line(&define(root, 2 * n - 1, &format!("/w/{n}")), t).unwrap();
            writer.line(&define(root, 2 * n, &format!("/etc/{n}")), t).unwrap();
            decide(writer, 2 * n - 1, n, Verdict::Allow, t);
            decide(writer, 2 * n, n, Verdict::Block, t);
            decide(writer, 2 * n, 1, Verdict::Block, t);
        }
    });
    let mut container = Container::open(Cursor::new(bare_pack(&receipt, &journal))).unwrap();
    let found = integrity(&mut container).unwrap();
    let run = inspected(&mut container, &found);
    assert_eq!((run.decisions, run.denied, run.distinct), (3 * EACH, 2 * EACH, 2 * EACH));
    assert_eq!(run.actions.rows.len(), ALLOWED_LIMIT + DENIED_LIMIT);
    assert_eq!(run.actions.cut, [EACH - ALLOWED_LIMIT as u64, EACH - DENIED_LIMIT as u64]);
    assert_eq!((run.classes.len(), run.classes[0].verdicts.block), (1, 2 * EACH));
    assert_eq!((run.processes.total, run.processes.list.len()), (EACH + 1, 2000));
    assert_eq!(run.processes.list[0].denied, EACH + 1);
    assert!(run.timeline.buckets.len() <= BUCKET_LIMIT && run.timeline.events_cut > 0);
    let in_buckets: u64 = run.timeline.buckets.iter().map(|bucket| bucket.allowed + bucket.denied).sum();
    assert_eq!(in_buckets, run.decisions);
}
