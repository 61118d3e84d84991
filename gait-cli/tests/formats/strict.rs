//! What the schemas must refuse: a schema that takes anything proves nothing.

use crate::refused::{ABSENT, refused};
use crate::schema::Schemas;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// `document` with the value at `path` replaced, added or removed.
fn changed(document: &Value, path: &str, value: &Value) -> Value {
    let mut changed = document.clone();
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = if parent.is_empty() { String::new() } else { format!("/{parent}") };
    match changed.pointer_mut(&parent) {
        Some(Value::Object(members)) if *value == ABSENT => {
            members.remove(last).unwrap_or_else(|| panic!("the example has no {path}"));
        }
        Some(Value::Object(members)) => {
            members.insert(last.to_owned(), value.clone());
        }
        Some(Value::Array(items)) => items[last.parse::<usize>().unwrap()] = value.clone(),
        _ => panic!("the example has no {path}"),
    }
    changed
}

#[test]
fn what_the_contract_requires_is_required() {
    let schemas = Schemas::get();
    let cases = refused();
    for (name, path, value) in &cases {
        let example = schemas.examples(name).remove(0);
        let document = changed(&example, path, value);
        assert!(!schemas.accepts(name, &document), "{name} accepts {path} = {value}");
    }
    assert!(cases.len() > 250, "{}", cases.len());
}

#[test]
fn each_line_of_the_journal_needs_all_that_its_type_says() {
    let schemas = Schemas::get();
    let required: [(&str, &[&str]); 12] = [
        (
            "open",
            &[
                "schema_id",
                "schema_version",
                "producer_version",
                "run_id",
                "nonce",
                "started_at",
                "key_id",
                "public_key",
                "policy_digest",
                "plan_digest",
                "checkpoint_every",
                "intent",
            ],
        ),
        ("fork", &["proc", "parent", "pid", "start"]),
        ("exec", &["proc", "file", "argc", "argv_digest"]),
        ("exit", &["proc", "code", "signal"]),
        ("define", &["def", "intent", "intent_digest", "decision", "engine"]),
        ("hold", &["hold", "intent_digest", "proc"]),
        ("decision", &["def", "proc"]),
        ("disagreement", &["def", "kernel"]),
        ("lost", &["count", "enforced", "where"]),
        (
            "checkpoint",
            &[
                "block",
                "first",
                "last",
                "prev",
                "head",
                "run_id",
                "nonce",
                "decisions",
                "verdicts",
                "lost",
                "final",
                "signature",
            ],
        ),
        ("close", &["reason", "complete", "exit_code"]),
        ("seal", &["attested", "unattested", "torn_bytes", "sealed_at"]),
    ];
    for line in schemas.examples("exec/journal") {
        let kind = line["type"].as_str().unwrap();
        let (_, members) = required.iter().find(|(name, _)| *name == kind).unwrap_or_else(|| panic!("no {kind}"));
        for member in ["seq", "t", "type"].iter().chain(*members) {
            let document = changed(&line, member, &json!(ABSENT));
            assert!(!schemas.accepts("exec/journal", &document), "{kind} without {member}");
        }
        assert!(!schemas.accepts("exec/journal", &changed(&line, "more", &json!(1))), "{kind} with more");
        assert!(!schemas.accepts("exec/journal", &changed(&line, "type", &json!("note"))), "a line of an unknown type");
        assert!(!schemas.accepts("exec/journal", &changed(&line, "seq", &json!(0))), "{kind} before line 1");
    }
}

/// Places of a document, each with its value. Places in lists are all called `*`.
fn places(value: &Value, place: &str, pointer: &str, found: &mut Vec<(String, String, Value)>) {
    found.push((place.to_owned(), pointer.to_owned(), value.clone()));
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                places(member, &format!("{place}/{escaped}"), &format!("{pointer}/{escaped}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{place}/*"), &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// The places of all examples of a schema.
pub fn example_places(name: &str) -> Vec<(Value, String, String, Value)> {
    let mut all = Vec::new();
    for example in Schemas::get().examples(name) {
        let mut found = Vec::new();
        places(&example, "", "", &mut found);
        all.extend(found.into_iter().map(|(place, pointer, value)| (example.clone(), place, pointer, value)));
    }
    all
}

/// A value of another type.
fn of_another_type(value: &Value) -> Value {
    match value {
        Value::Object(_) => json!(7),
        Value::Array(_) | Value::String(_) | Value::Bool(_) => json!({"x": 1}),
        Value::Number(_) | Value::Null => json!("seven"),
    }
}

fn with(document: &Value, pointer: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut changed = document.clone();
    change(changed.pointer_mut(pointer).unwrap());
    changed
}

/// Objects whose members the contract leaves free.
const FREE: [(&str, &str); 11] = [
    // By status, which is any word in a run that something else recorded.
    ("cli/run_inspect", "/plain/tools/*/statuses"),
    ("mcp/result", "/response"),
    ("gate/intent_request", "/args"),
    ("registry/registry_pack", "/provenance"),
    ("runpack/intent", "/args"),
    ("runpack/refs", "/receipts/*/retrieval_params"),
    ("runpack/result", "/result"),
    // Known members, and any others beside them.
    ("gate/intent_request", "/context"),
    ("runpack/run", "/env"),
    ("runpack/run", "/timeline/*"),
    ("regress/regress_result", "/graders/*/details"),
];

#[test]
fn nothing_of_another_type_and_nothing_unknown_passes() {
    let schemas = Schemas::get();
    let mut used = BTreeSet::new();
    for name in schemas.names() {
        for (example, place, pointer, value) in example_places(name) {
            let free = FREE.iter().position(|(schema, at)| *schema == name && place.starts_with(at));
            let wrong = with(&example, &pointer, |there| *there = of_another_type(&value));
            let wrong_passes = schemas.accepts(name, &wrong);
            // An error may have further members: what a verb found out all the same.
            let more_passes = value.is_object()
                && (name, place.as_str()) != ("cli/error", "")
                && schemas.accepts(name, &with(&example, &pointer, |there| there["x_more"] = json!(1)));
            match free {
                Some(entry) => {
                    if wrong_passes || more_passes {
                        used.insert(entry);
                    }
                    assert!(place != FREE[entry].1 || !wrong_passes, "{name}: {place} may be no object");
                }
                None => assert!(!wrong_passes && !more_passes, "{name}: {place} {wrong_passes} {more_passes}"),
            }
        }
    }
    let unused: Vec<_> = (0..FREE.len()).filter(|entry| !used.contains(entry)).map(|entry| FREE[entry]).collect();
    assert!(unused.is_empty(), "these are not free: {unused:?}");
}

/// What each schema lets pass, for people to check against the contract: a change of this list is a change of the format.
#[test]
fn what_may_be_missing_and_what_is_any_text() {
    let schemas = Schemas::get();
    let mut told = String::new();
    for name in schemas.names() {
        let (mut optional, mut text) = (BTreeSet::new(), BTreeSet::new());
        for (example, place, pointer, value) in example_places(name) {
            if FREE.iter().any(|(schema, at)| *schema == name && place.starts_with(&format!("{at}/"))) {
                continue;
            }
            if value.is_string()
                && schemas.accepts(name, &with(&example, &pointer, |there| *there = json!("no such word!")))
            {
                text.insert(place.clone());
            }
            let Some((parent, member)) = pointer.rsplit_once('/') else { continue };
            let without = with(&example, parent, |there| {
                there.as_object_mut().unwrap_or(&mut Map::new()).remove(member);
            });
            if without != example && schemas.accepts(name, &without) {
                optional.insert(place);
            }
        }
        let list = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" ");
        told.push_str(&format!("{name}\n  optional: {}\n  any text: {}\n", list(optional), list(text)));
    }
    insta::assert_snapshot!("loose", told);
}
