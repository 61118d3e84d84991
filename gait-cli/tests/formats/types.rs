//! The types that write records and the schemas of these records agree: the same members, the same ones required.

use crate::schema::{Schemas, root};
use crate::strict::example_places;
use gait_core::approval::ApprovalToken;
use gait_core::evidence::manifest::PackManifest;
use gait_core::guarded::Receipt;
use gait_core::intent::IntentRequest;
use gait_core::journal::{
    Checkpoint, Close, DecisionLine, Define, Disagreement, Exec, Exit, Fork, Hold, Lost, Open, Seal,
};
use gait_core::policy::{Policy, Strictness};
use gait_core::regress::config::Config;
use gait_core::regress::fixture::Fixture;
use gait_core::runpack::record::{IntentRecord, Manifest, Refs, ResultRecord, Run};
use gait_core::scout::coverage::Coverage;
use gait_core::scout::drift::{Changed, Drift, Present};
use gait_core::scout::snapshot::Snapshot;
use gait_core::trace::TraceRecord;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Reads a document as a type and writes it again.
type Rewrite = fn(Value) -> Result<Value, serde_json::Error>;

fn rewrite<T: DeserializeOwned + Serialize>(document: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(document)?)
}

/// As [`rewrite`], for the body of a line, which does not hold what all lines have.
fn rewrite_line<T: DeserializeOwned + Serialize>(mut line: Value) -> Result<Value, serde_json::Error> {
    let members = line.as_object_mut().unwrap();
    let head: Vec<(&str, Value)> =
        ["seq", "t", "type"].iter().filter_map(|name| Some((*name, members.remove(*name)?))).collect();
    let mut body = rewrite::<T>(line)?;
    for (name, value) in head {
        body[name] = value;
    }
    Ok(body)
}

/// Every schema that has a type which reads and writes it.
fn rewrites() -> Vec<(&'static str, Rewrite)> {
    vec![
        ("exec/guard", rewrite::<Receipt>),
        ("gate/approval_token", rewrite::<ApprovalToken>),
        ("gate/trace_record", rewrite::<TraceRecord>),
        ("guard/pack_manifest", rewrite::<PackManifest>),
        ("regress/config", rewrite::<Config>),
        ("regress/fixture", rewrite::<Fixture>),
        ("runpack/intent", rewrite::<IntentRecord>),
        ("runpack/manifest", rewrite::<Manifest>),
        ("runpack/refs", rewrite::<Refs>),
        ("runpack/result", rewrite::<ResultRecord>),
        ("runpack/run", rewrite::<Run>),
        ("scout/inventory_snapshot", rewrite::<Snapshot>),
    ]
}

fn rewrite_of_line(kind: &str) -> Rewrite {
    match kind {
        "open" => rewrite_line::<Open>,
        "fork" => rewrite_line::<Fork>,
        "exec" => rewrite_line::<Exec>,
        "exit" => rewrite_line::<Exit>,
        "define" => rewrite_line::<Define>,
        "hold" => rewrite_line::<Hold>,
        "decision" => rewrite_line::<DecisionLine>,
        "disagreement" => rewrite_line::<Disagreement>,
        "lost" => rewrite_line::<Lost>,
        "checkpoint" => rewrite_line::<Checkpoint>,
        "close" => rewrite_line::<Close>,
        "seal" => rewrite_line::<Seal>,
        other => panic!("no type of line {other}"),
    }
}

/// What the types leave to somebody else.
const NOT_TYPED: [(&str, &str); 7] = [
    // This version renders no pages; it checks packs that have some.
    ("guard/pack_manifest", "/rendered_artifacts"),
    // Read by its grader alone, kept as it is by the rest.
    ("regress/config", "/fixtures/*/guarded/"),
    // Kept as it is: its digest is in the line.
    ("exec/journal", "/intent/"),
    // Partly empty on disk while the run goes on.
    ("exec/guard", "/run/"),
    // Free in form.
    ("runpack/intent", "/args/"),
    ("runpack/result", "/result/"),
    ("runpack/refs", "/receipts/*/retrieval_params/"),
];

fn is_typed(schema: &str, place: &str) -> bool {
    !NOT_TYPED.iter().any(|(name, at)| *name == schema && place.starts_with(at))
}

#[test]
fn a_type_keeps_every_member_of_the_full_example() {
    for (name, rewrite) in rewrites() {
        for mut example in Schemas::get().examples(name) {
            if let Some(members) = example.as_object_mut() {
                members.remove("rendered_artifacts");
            }
            assert_eq!(rewrite(example.clone()).unwrap(), example, "{name}");
        }
    }
    for line in Schemas::get().examples("exec/journal") {
        let kind = line["type"].as_str().unwrap().to_owned();
        assert_eq!(rewrite_of_line(&kind)(line.clone()).unwrap(), line, "{kind}");
    }
}

/// A member that a type writes even when nothing was given must be required, and the others must not be.
#[test]
fn what_a_type_always_writes_is_required_and_nothing_else() {
    let schemas = Schemas::get();
    let all = rewrites().into_iter().map(|(name, rewrite)| (name, Some(rewrite))).chain([("exec/journal", None)]);
    let mut compared = 0;
    for (name, rewrite) in all {
        for (example, place, pointer, _) in example_places(name) {
            let Some((parent, member)) = pointer.rsplit_once('/') else { continue };
            let mut without = example.clone();
            let Some(members) = without.pointer_mut(parent).unwrap().as_object_mut() else { continue };
            members.remove(member);
            let rewrite = rewrite.unwrap_or_else(|| rewrite_of_line(example["type"].as_str().unwrap()));
            let is_head = name == "exec/journal" && ["seq", "t", "type"].contains(&pointer.trim_start_matches('/'));
            if !is_typed(name, &place) || is_head {
                continue;
            }
            // What can't be read without it can't be written without it.
            let written = rewrite(without.clone()).map_or(true, |again| again.pointer(&pointer).is_some());
            let required = !schemas.accepts(name, &without);
            assert_eq!(written, required, "{name} {place}: the type writes it always: {written}");
            compared += 1;
        }
    }
    assert!(compared > 250, "{compared}");
}

/// The words between quotes in front of `=>`, of the two places that list the keys of a policy and of its examples.
fn keys_of_the_policy_reader() -> BTreeSet<String> {
    let source = std::fs::read_to_string(root().join("gait-core/src/policy/document.rs")).unwrap();
    let tables: Vec<&str> =
        source.split("\ndocuments! {").skip(1).map(|rest| rest.split("\n}").next().unwrap()).collect();
    assert_eq!(tables.len(), 2);
    let lines = tables.iter().flat_map(|table| table.lines());
    lines.filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect()
}

fn property_names(schema: &Value, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        found.extend(properties.keys().cloned());
        properties.values().for_each(|property| property_names(property, found));
    }
    if schema["items"].is_object() {
        property_names(&schema["items"], found);
    }
    schema["anyOf"].as_array().into_iter().flatten().for_each(|one| property_names(one, found));
}

#[test]
fn the_policy_reader_knows_the_members_of_the_schema_and_no_others() {
    let mut names = BTreeSet::new();
    property_names(Schemas::get().schema("gate/policy"), &mut names);
    assert_eq!(names, keys_of_the_policy_reader());
    let example = Schemas::get().examples("gate/policy").remove(0);
    Policy::parse(&example.to_string(), Strictness::Strict).unwrap();
}

#[test]
fn an_unknown_member_of_a_policy_is_refused_by_the_reader_as_by_the_schema() {
    let schemas = Schemas::get();
    let mut tried = 0;
    for (example, place, pointer, value) in example_places("gate/policy") {
        if !value.is_object() {
            continue;
        }
        let mut more = example.clone();
        more.pointer_mut(&pointer).unwrap()["x_more"] = json!(1);
        assert!(Policy::parse(&more.to_string(), Strictness::Strict).is_err(), "{place}");
        assert!(!schemas.accepts("gate/policy", &more), "{place}");
        tried += 1;
    }
    // The file, fail_closed, rule, match, rate_limit, dataflow, endpoint; examples, a partial intent, its two targets,
    // provenance, skill and context, an action with a verdict.
    assert_eq!(tried, 7 + 8);
}

#[test]
fn the_full_intent_request_is_read_and_its_digest_depends_on_each_member() {
    let example = Schemas::get().examples("gate/intent_request").remove(0);
    let digest = |document: &Value| {
        let request = IntentRequest::read(document.to_string().as_bytes()).unwrap();
        request.normalize().unwrap().digest().unwrap().to_string()
    };
    let whole = digest(&example);
    let ignored = ["schema_id", "schema_version", "created_at", "producer_version", "args_digest", "intent_digest"];
    for (document, place, pointer, _) in example_places("gate/intent_request") {
        let Some((parent, member)) = pointer.rsplit_once('/') else { continue };
        let mut without = document;
        let Some(members) = without.pointer_mut(parent).unwrap().as_object_mut() else { continue };
        members.remove(member);
        // These two are inferred when absent, here to what they were.
        let inferred = ["/targets/*/destructive", "/targets/*/endpoint_class"].contains(&place.as_str());
        if inferred || !Schemas::get().accepts("gate/intent_request", &without) {
            continue;
        }
        let top = place.trim_start_matches('/').split('/').next().unwrap();
        assert_eq!(digest(&without) == whole, ignored.contains(&top), "{place}");
    }
}

/// Key paths of a value; places in lists are `*`.
fn members(value: &Value, place: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(all) => all.iter().for_each(|(name, value)| {
            found.insert(format!("{place}/{name}"));
            members(value, &format!("{place}/{name}"), found);
        }),
        Value::Array(items) => items.iter().for_each(|item| members(item, &format!("{place}/*"), found)),
        _ => {}
    }
}

/// The members of the examples of a schema, with those of the values given.
pub fn assert_same_members(schema: &str, values: &[Value], but: &[&str]) {
    let of = |values: &[Value]| {
        let mut found = BTreeSet::new();
        values.iter().for_each(|value| members(value, "", &mut found));
        found.retain(|place| !but.iter().any(|at| place.starts_with(at)));
        found
    };
    assert_eq!(of(values), of(&Schemas::get().examples(schema)), "{schema}");
}

#[test]
fn types_that_are_only_written_have_the_members_of_their_schema() {
    let schemas = Schemas::get();
    let text = || "x".to_string();
    let word = "x";
    let present = Present { id: word, kind: word, name: word, locator: word, risk_level: word };
    let changed = Changed {
        id: word,
        kind: word,
        name: word,
        before_locator: word,
        after_locator: word,
        before_risk_level: word,
        after_risk_level: word,
    };
    let drift = Drift {
        left_snapshot_id: word,
        right_snapshot_id: word,
        added: vec![present.clone()],
        removed: vec![present],
        changed: vec![changed],
        added_count: 1,
        removed_count: 1,
        changed_count: 1,
    };
    let none = serde_json::to_value(Drift::default()).unwrap();
    assert!(schemas.accepts("scout/inventory_diff", &none), "{:?}", schemas.errors("scout/inventory_diff", &none));
    assert_same_members("scout/inventory_diff", &[serde_json::to_value(drift).unwrap()], &[]);
    let set = || BTreeSet::from([text()]);
    let coverage = Coverage {
        snapshot_id: text(),
        discovered_tools: 1,
        gated_tools: 1,
        high_risk_ungated_tools: 1,
        coverage_percent: 50.0,
        policy_digests: set(),
        discovered_tool_names: set(),
        gated_tool_names: set(),
        high_risk_ungated_tool_ids: set(),
    };
    assert_same_members("scout/inventory_coverage", &[serde_json::to_value(coverage).unwrap()], &[]);
}

proptest! {
    /// Whatever free members hold and however long lists are: what the types write is valid.
    #[test]
    fn records_with_any_content_are_valid(
        words in prop::collection::vec("\\PC{1,12}", 1..5),
        seconds in 0i64..4_000_000_000,
        number in any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()),
    ) {
        let time = gait_core::time::Timestamp::from_unix(seconds, 0).unwrap();
        let args = json!({"n": number, "list": words, "deep": {"x": [null, true]}});
        let Value::Object(free) = args else { unreachable!() };
        let mut run = Run { run_id: "run_x".into(), ..Run::default() };
        run.fill(time);
        let mut intent = IntentRecord {
            intent_id: words[0].clone(),
            tool_name: words.concat(),
            args_digest: gait_core::canonical::digest_of(&free).unwrap().to_string(),
            args: free.clone(),
            ..IntentRecord::default()
        };
        intent.fill(&run);
        let mut result = ResultRecord {
            intent_id: words[0].clone(),
            status: "ok".into(),
            result_digest: intent.args_digest.clone(),
            result: free,
            ..ResultRecord::default()
        };
        result.fill(&run);
        let mut refs = Refs::default();
        refs.fill(&run);
        for (name, value) in [
            ("runpack/run", serde_json::to_value(&run).unwrap()),
            ("runpack/intent", serde_json::to_value(&intent).unwrap()),
            ("runpack/result", serde_json::to_value(&result).unwrap()),
            ("runpack/refs", serde_json::to_value(&refs).unwrap()),
        ] {
            prop_assert_eq!(Schemas::get().errors(name, &value), Vec::<String>::new(), "{}", name);
        }
    }
}
