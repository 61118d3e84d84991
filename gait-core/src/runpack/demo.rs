//! The run of `gait demo`: the same on every machine (contract, artifacts 4.1).

use super::record::{Env, IntentRecord, Object, Receipt, ResultRecord, TimelineEvent};
use super::write::RunRecords;
use crate::canonical::{CanonicalError, digest_of};
use crate::digest::Sha256Hex;
use crate::time::Timestamp;
use serde_json::json;

/// The name of the demo run.
pub const RUN_ID: &str = "run_demo";
/// 2026-02-05T00:00:00Z
const STARTED: i64 = 1_770_249_600;

/// The records of the demo run.
///
/// # Errors
/// [`CanonicalError`], which its fixed content does not cause.
pub fn records() -> Result<RunRecords, CanonicalError> {
    let at = |seconds: i64| Timestamp::from_unix(STARTED + seconds, 0).unwrap_or(Timestamp::FALLBACK);
    let event = |name: &str, ts| TimelineEvent { event: name.into(), ts, ..TimelineEvent::default() };
    let mut records = RunRecords { capture_mode: "reference".into(), ..RunRecords::default() };
    records.run.run_id = RUN_ID.into();
    records.run.env = Env { os: "demo".into(), arch: "demo".into(), runtime: "go".into(), more: Object::new() };
    records.run.timeline = vec![event("start", at(0)), event("finish", at(2))];
    let steps = [
        ("tool.search", json!({"query": "gait demo: offline verification"})),
        ("tool.fetch", json!({"url": "https://example.local/demo"})),
        ("tool.summarize", json!({"input_ref": "ref_1"})),
    ];
    for (number, (tool_name, args)) in (1..).zip(steps) {
        let result = json!({"ok": true, "message": format!("demo result {number}")});
        let intent_id = format!("intent_{number}");
        records.intents.push(IntentRecord {
            intent_id: intent_id.clone(),
            tool_name: tool_name.into(),
            args_digest: digest_of(&args)?.to_string(),
            args: args.as_object().cloned().unwrap_or_default(),
            ..IntentRecord::default()
        });
        records.results.push(ResultRecord {
            intent_id,
            status: "ok".into(),
            result_digest: digest_of(&result)?.to_string(),
            result: result.as_object().cloned().unwrap_or_default(),
            ..ResultRecord::default()
        });
        records.refs.receipts.push(Receipt {
            ref_id: format!("ref_{number}"),
            source_type: "demo".into(),
            source_locator: tool_name.into(),
            query_digest: Sha256Hex::of(format!("query-{number}")).to_string(),
            content_digest: Sha256Hex::of(format!("content-{number}")).to_string(),
            retrieved_at: at(0),
            redaction_mode: "reference".into(),
            ..Receipt::default()
        });
    }
    records.fill(at(0));
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::write::{Content, write_pack};

    #[test]
    fn the_members_have_the_sizes_and_digests_of_the_contract() {
        let facts: Vec<(String, usize, String)> = records()
            .unwrap()
            .members()
            .unwrap()
            .into_iter()
            .map(|member| match member.content {
                Content::Bytes(bytes) => (member.name, bytes.len(), Sha256Hex::of(bytes).to_string()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("run.json", 299, "3b4a95934a26c509618c07761cb6312473a376059d5000de008fca3ad8287925"),
            ("intents.jsonl", 960, "b63c61111b49e2d46a0e68cfa8555487be3c3d0fa1465796552d7f5d2d0d39c8"),
            ("results.jsonl", 945, "6370b53298b8a326d9b43cc8435e5fa9d5b4e382e3761ffe9ff79352f2106240"),
            ("refs.json", 1072, "c9a5a48f92871af09ba1d12cd549d6be77f5175f879fb6aabb60d4b9278c3ace"),
        ];
        assert_eq!(facts, expected.map(|(name, size, digest)| (name.to_string(), size, digest.to_string())));
    }

    #[test]
    fn the_manifest_digest_is_that_of_the_contract() {
        let records = records().unwrap();
        let manifest = write_pack(std::io::sink(), &records.facts(), &records.members().unwrap(), &[]).unwrap();
        assert_eq!(manifest.manifest_digest, "88913ed84855671786b9ecc3eab94f760332a6c19a3ff2195ab8afd914d57725");
    }
}
