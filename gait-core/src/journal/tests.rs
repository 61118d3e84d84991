//! Journals made by the contract's own builder are accepted; any change to one is not.

use std::io;

use serde_json::json;

use super::*;
use crate::digest::Sha256Hex;
use crate::policy::Verdict;
use crate::signature::PrivateKey;

/// `decisions/000001.jsonl` of the contract's sample `complete`.
const COMPLETE: &[u8] = include_bytes!("../../tests/data/guarded/complete.jsonl");
/// The journal of the sample `seal-torn`: half a line at its end.
const TORN: &[u8] = include_bytes!("../../tests/data/guarded/torn/decisions/000001.jsonl");

fn check(bytes: &[u8]) -> Result<(Ledger, Chain), JournalError> {
    let mut checker = Checker::new();
    checker.segment(&mut &*bytes)?;
    checker.finish()
}

#[derive(Default)]
struct Memory {
    segments: Vec<Vec<u8>>,
    room: Option<usize>,
}

impl Segments for Memory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        }
        if self.segments.is_empty() {
            self.segments.push(Vec::new());
        }
        self.segments.last_mut().unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.segments.push(Vec::new());
        Ok(())
    }
}

fn key() -> PrivateKey {
    PrivateKey::from_seed([7; 32])
}

fn root() -> serde_json::Value {
    json!({"tool_name": "guard.run", "targets": [], "args": {"argc": 1, "argv_digest": Sha256Hex::of("x"), "program": "x"},
        "arg_provenance": [{"arg_path": "$", "source": "system"}],
        "context": {"identity": "agent", "workspace": "/w", "risk_class": "high"}})
}

fn open(every: u64) -> Open {
    Open {
        schema_id: JOURNAL_SCHEMA.into(),
        schema_version: "1.0.0".into(),
        producer_version: "0.0.0-dev".into(),
        run_id: "run_x".into(),
        nonce: "0123456789abcdef0123456789abcdef".into(),
        started_at: "2026-03-04T10:00:00.5Z".into(),
        key_id: key().public().id().to_string(),
        public_key: key().public().to_base64(),
        policy_digest: Sha256Hex::of("policy"),
        plan_digest: Sha256Hex::of("plan"),
        checkpoint_every: every,
        intent: root(),
    }
}

fn define(def: u64, path: &str) -> Body {
    let mut intent = root();
    intent["tool_name"] = "fs.read".into();
    intent["args"] = json!({});
    intent["targets"] = json!([{"kind": "path", "value": path, "operation": "read", "endpoint_class": "fs.read"}]);
    let intent_digest = crate::canonical::digest_of(&intent).unwrap();
    let decision = Decided {
        verdict: Verdict::Allow,
        enforced: Enforced::Allow,
        source: Source::Policy,
        reason_codes: vec!["matched_rule_reads".into()],
        violations: vec![],
        matched_rule: Some("reads".into()),
        policy_verdict: None,
        approval_ref: None,
    };
    Body::Define(Box::new(Define { def, intent, intent_digest, decision, engine: EngineName::Notify, errno: None }))
}

fn closed() -> Close {
    Close { reason: CloseReason::Exit, complete: true, exit_code: 0, signal: None }
}

/// A journal of `decisions` decisions on two definitions.
fn write(every: u64, decisions: u64, segment_limit: u64) -> Ended<Memory> {
    let mut writer = Writer::begin(Memory::default(), key(), open(every)).unwrap().with_segment_limit(segment_limit);
    writer.line(&Body::Fork(Fork { proc: 1, parent: 0, pid: 99, start: 5 }), 10).unwrap();
    writer.line(&define(1, "/a"), 20).unwrap();
    writer.line(&define(2, "/b"), 20).unwrap();
    for n in 0..decisions {
        let line = DecisionLine { def: 1 + n % 2, proc: 1, ..DecisionLine::default() };
        writer.decision(&line, Verdict::Allow, 30 + n).unwrap();
    }
    writer.close(closed(), 1000).unwrap()
}

#[test]
fn the_contract_sample_is_accepted_and_adds_up() {
    let (ledger, chain) = check(COMPLETE).unwrap();
    assert!(ledger.complete(&chain));
    // The figures of the contract's case `verify-json`.
    assert_eq!((chain.seq(), chain.decisions()), (88, 40));
    assert_eq!(chain.verdicts(), Totals { allow: 29, block: 10, dry_run: 0, require_approval: 1 });
    assert_eq!(chain.head().to_string(), "e0ebee5868aeeb9404c58d040e62092f937ef565cc3e3174ea146cd7a3e4656f");
    assert_eq!(ledger.tallies().map(|tally| tally.intent).collect::<std::collections::BTreeSet<_>>().len(), 29);
    assert_eq!(ledger.processes(), 3);
}

/// Goes on with a checker that has read `lines[..from]`.
fn go_on(mut checker: Checker, lines: &[&[u8]]) -> Result<(Ledger, Chain), JournalError> {
    for line in lines {
        checker.line(line)?;
    }
    checker.finish()
}

/// A checker before each line of the sample.
fn before_each_line<'a>(lines: &[&'a [u8]]) -> Vec<(Checker, &'a [u8])> {
    let mut checker = Checker::new();
    lines
        .iter()
        .map(|line| {
            let before = checker.clone();
            checker.line(line).unwrap();
            (before, *line)
        })
        .collect()
}

#[test]
fn every_changed_byte_of_a_journal_is_found() {
    let lines: Vec<&[u8]> = COMPLETE.split_inclusive(|b| *b == b'\n').collect();
    for (n, (checker, line)) in before_each_line(&lines).into_iter().enumerate() {
        for at in 0..line.len() {
            let mut changed = line.to_vec();
            changed[at] ^= 1;
            let mut checker = checker.clone();
            // A changed newline or a newline made of another byte is more than one line, or none.
            let first: Result<(), _> =
                changed.split_inclusive(|b| *b == b'\n').try_for_each(|l| checker.line(l).map(drop));
            assert!(first.is_err() || go_on(checker, &lines[n + 1..]).is_err(), "line {n}, byte {at}");
        }
    }
}

#[test]
fn every_dropped_doubled_or_swapped_line_is_found() {
    let lines: Vec<&[u8]> = COMPLETE.split_inclusive(|b| *b == b'\n').collect();
    for (at, (before, line)) in before_each_line(&lines).into_iter().enumerate() {
        assert!(go_on(before.clone(), &lines[at + 1..]).is_err(), "dropped line {at}");
        assert!(go_on(before.clone(), &[&[line], &lines[at..]].concat()).is_err(), "doubled line {at}");
        if let Some(next) = lines.get(at + 1) {
            assert!(go_on(before, &[&[*next, line], &lines[at + 2..]].concat()).is_err(), "swapped line {at}");
        }
    }
}

#[test]
fn a_journal_cut_off_at_any_line_has_no_end() {
    let lines: Vec<&[u8]> = COMPLETE.split_inclusive(|b| *b == b'\n').collect();
    for (before, _) in before_each_line(&lines) {
        assert!(before.finish().is_err());
    }
}

#[test]
fn what_the_writer_wrote_the_checker_accepts() {
    for (every, decisions) in [(2, 0), (2, 7), (16, 300), (1024, 3000)] {
        let ended = write(every, decisions, SEGMENT_LIMIT);
        let (ledger, chain) = check(&ended.segments.segments.concat()).unwrap();
        assert_eq!((chain.decisions(), chain.head()), (decisions, ended.chain.head()));
        assert!(ledger.complete(&chain));
        assert_eq!(chain.bytes(), ended.segments.segments.concat().len() as u64);
    }
}

#[test]
fn segments_are_cut_after_a_checkpoint_and_never_longer_than_the_limit() {
    let ended = write(64, 2000, 20_000);
    assert!(ended.segments.segments.len() > 5);
    let mut checker = Checker::new();
    for segment in &ended.segments.segments {
        assert!(segment.len() <= 20_000, "{}", segment.len());
        checker.segment(&mut &**segment).unwrap();
    }
    let (_, chain) = checker.finish().unwrap();
    assert_eq!(chain.decisions(), 2000);
}

#[test]
fn after_a_write_error_the_journal_is_as_before_and_can_be_closed() {
    let mut writer = Writer::begin(Memory::default(), key(), open(4)).unwrap();
    writer.line(&Body::Fork(Fork { proc: 1, parent: 0, pid: 99, start: 5 }), 10).unwrap();
    writer.line(&define(1, "/a"), 20).unwrap();
    writer.segments().room = Some(700);
    let line = DecisionLine { def: 1, proc: 1, ..DecisionLine::default() };
    let written = (0..100).take_while(|n| writer.decision(&line, Verdict::Allow, 30 + n).is_ok()).count() as u64;
    assert!(written < 100);
    writer.segments().room = None;
    let ended = writer.close(Close { reason: CloseReason::Disk, complete: false, ..closed() }, 500).unwrap();
    let (ledger, chain) = check(&ended.segments.segments.concat()).unwrap();
    assert_eq!((chain.decisions(), ledger.complete(&chain)), (written, false));
}

#[test]
fn a_torn_journal_goes_on_where_its_last_whole_line_ends() {
    let whole = TORN.iter().rposition(|b| *b == b'\n').unwrap() + 1;
    let mut checker = Checker::new();
    for line in TORN[..whole].split_inclusive(|b| *b == b'\n') {
        checker.line(line).unwrap();
    }
    let (ledger, chain, ended) = checker.unfinished().unwrap();
    // The figures of the contract's case `seal-torn`.
    assert_eq!((ended, TORN.len() - whole, chain.first() - 1, chain.pending()), (false, 41, 51, 10));
    assert!(!ledger.complete(&chain));
}
