//! Laws of runpacks as a whole.

use super::container::Container;
use super::open::Runpack;
use super::record::{IntentRecord, Object, Receipt, ResultRecord, TimelineEvent};
use super::verify::integrity;
use super::write::{PackMember, RunRecords, write_pack};
use crate::signature::PrivateKey;
use crate::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::Cursor;

fn pack(records: &RunRecords, keys: &[&PrivateKey]) -> Vec<u8> {
    let mut out = Vec::new();
    write_pack(&mut out, &records.facts(), &records.members().unwrap(), keys).unwrap();
    out
}

fn small() -> RunRecords {
    let args = json!({"q": "text", "n": 1.5});
    let mut records = RunRecords {
        intents: vec![IntentRecord { intent_id: "i1".into(), args: object(args), ..IntentRecord::default() }],
        results: vec![ResultRecord { intent_id: "i1".into(), status: "ok".into(), ..ResultRecord::default() }],
        ..RunRecords::default()
    };
    records.run.run_id = "run_small".into();
    records.fill(Timestamp::parse("2026-02-05T00:00:00Z").unwrap());
    records
}

fn object(value: Value) -> Object {
    value.as_object().cloned().unwrap_or_default()
}

#[test]
fn members_beyond_the_standard_ones_are_listed_and_covered() {
    let records = small();
    let mut members = records.members().unwrap();
    members.push(PackMember::bytes("decisions/000001.jsonl", b"{}\n".to_vec()));
    let mut file = Vec::new();
    write_pack(&mut file, &records.facts(), &members, &[]).unwrap();
    let mut opened = Runpack::open(Cursor::new(file)).unwrap();
    assert_eq!(opened.manifest().files[0].path, "decisions/000001.jsonl");
    assert_eq!(opened.container().read_all("decisions/000001.jsonl", 10).unwrap().unwrap(), b"{}\n");
    assert!(opened.container().inexact().is_none());
}

#[test]
fn the_order_in_which_members_are_given_changes_nothing() {
    let records = small();
    let mut members = records.members().unwrap();
    let mut packs = Vec::new();
    for _ in 0..members.len() {
        members.rotate_left(1);
        let mut out = Vec::new();
        write_pack(&mut out, &records.facts(), &members, &[]).unwrap();
        packs.push(out);
    }
    packs.dedup();
    assert_eq!(packs.len(), 1);
}

/// Whether a reader accepts the file as the pack it was, without looking at the container's bytes.
fn accepted(file: &[u8]) -> bool {
    let Ok(mut container) = Container::open(Cursor::new(file)) else {
        return false;
    };
    integrity(&mut container).is_ok_and(|found| found.holds())
}

#[test]
fn one_flipped_bit_of_content_never_verifies() {
    let (records, key) = (small(), PrivateKey::from_seed([7; 32]));
    let file = pack(&records, &[&key]);
    let content = |file: &[u8]| -> Option<Vec<Vec<u8>>> {
        let mut container = Container::open(Cursor::new(file)).ok()?;
        let names: Vec<String> = container.members().iter().map(|member| member.name.clone()).collect();
        names.iter().map(|name| container.read_all(name, 1 << 20).ok().flatten()).collect()
    };
    let original = content(&file);
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[at] ^= 1 << bit;
            assert!(!accepted(&changed) || content(&changed) == original, "byte {at} bit {bit}");
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_0-9]{0,12}", "\\PC{0,12}"]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_text(), inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Object> {
    prop::collection::btree_map(any_text(), any_value(), 0..4).prop_map(|members| members.into_iter().collect())
}

prop_compose! {
    fn any_records()(
        run_id in "[A-Za-z0-9_-]{1,12}",
        intents in prop::collection::vec((any_text(), any_text(), any_object()), 0..8),
        results in prop::collection::vec((any_text(), any_text(), any_object()), 0..8),
        receipts in prop::collection::vec((any_text(), any_object()), 0..3),
        events in prop::collection::vec(any_text(), 0..3),
        second in 0i64..4_000_000_000,
    ) -> RunRecords {
        let mut records = RunRecords {
            intents: intents.into_iter().map(|(intent_id, tool_name, args)|
                IntentRecord { intent_id, tool_name, args, ..IntentRecord::default() }).collect(),
            results: results.into_iter().map(|(intent_id, status, result)|
                ResultRecord { intent_id, status, result, ..ResultRecord::default() }).collect(),
            ..RunRecords::default()
        };
        records.refs.receipts = receipts.into_iter().map(|(ref_id, retrieval_params)|
            Receipt { ref_id, retrieval_params, ..Receipt::default() }).collect();
        records.run.timeline = events.into_iter().map(|event|
            TimelineEvent { event, ..TimelineEvent::default() }).collect();
        records.run.run_id = run_id;
        records.fill(Timestamp::from_unix(second + 1, 0).unwrap());
        records
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_verifies_and_is_written_the_same_again(records in any_records()) {
        let file = pack(&records, &[]);
        let mut opened = Runpack::open(Cursor::new(&file)).unwrap();
        prop_assert!(opened.integrity.holds());
        let again = pack(&opened.load().unwrap(), &[]);
        prop_assert_eq!(again, file);
    }

    #[test]
    fn any_bytes_at_all_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Runpack::open(Cursor::new(bytes)).is_err());
    }
}
