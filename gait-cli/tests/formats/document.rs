//! Documents in files: which schema each must hold.

use crate::schema::Schemas;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// One document and the schema it is of.
#[derive(Clone, Debug)]
pub struct Document {
    /// The name of the schema.
    pub schema: String,
    /// Where it was found, for people.
    pub place: String,
    pub value: Value,
}

/// Members of packs, and logs, that do not say what they are.
const BY_MEMBER: [(&str, &str); 9] = [
    ("events.jsonl", "mcp/decision"),
    ("otel.jsonl", "mcp/otel_event"),
    ("runpack_summary.json", "guard/runpack_summary"),
    ("referenced_runpacks.json", "guard/referenced_runpacks"),
    ("trace_summary.json", "guard/trace_summary"),
    ("regress_summary.json", "guard/regress_summary"),
    ("policy_digests.json", "guard/policy_digests"),
    ("control_index.json", "guard/control_index"),
    ("evidence_pointers.json", "guard/evidence_pointers"),
];

/// The documents of one file. A file of another kind has none.
///
/// A JSON document counts if it has a `schema_id` that we know, or if `schema` says what it is. The lines of a
/// `.jsonl` and the members of a zip count each.
pub fn in_file(path: &Path) -> Vec<Document> {
    let place = path.display().to_string();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending {
        "zip" => in_zip(path, &place),
        "json" | "jsonl" | "txt" | "yaml" | "gaitenc" => in_bytes(&place, &std::fs::read(path).unwrap()),
        _ => Vec::new(),
    }
}

/// The documents in `bytes`: one, or one per line.
pub fn in_bytes(place: &str, bytes: &[u8]) -> Vec<Document> {
    let member = place.rsplit(['/', '#']).next().unwrap_or(place);
    let named = BY_MEMBER.iter().find(|(name, _)| *name == member).map(|(_, schema)| *schema);
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        return one(place, value, named).into_iter().collect();
    }
    let journal = place.contains("decisions/") && place.ends_with(".jsonl");
    in_lines(place, bytes, journal.then_some("exec/journal").or(named))
}

fn in_lines(place: &str, bytes: &[u8], named: Option<&str>) -> Vec<Document> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let documents = lines.filter_map(|(number, line)| {
        let value = serde_json::from_slice::<Value>(line).ok()?;
        one(&format!("{place}:{}", number + 1), value, named)
    });
    documents.collect()
}

fn one(place: &str, value: Value, named: Option<&str>) -> Option<Document> {
    let id = value["schema_id"].as_str();
    let schema = named.or_else(|| Schemas::get().of_id(id?))?;
    Some(Document { schema: schema.to_owned(), place: place.to_owned(), value })
}

/// Every member of a zip; nothing for a file that is no zip.
pub fn members(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut members = BTreeMap::new();
    let Ok(mut archive) = zip::ZipArchive::new(File::open(path).unwrap()) else { return members };
    for index in 0..archive.len() {
        let Ok(mut member) = archive.by_index(index) else { continue };
        let Ok(name) = member.name().map(|name| name.into_owned()) else { continue };
        let mut bytes = Vec::new();
        if member.read_to_end(&mut bytes).is_ok() {
            members.insert(name, bytes);
        }
    }
    members
}

fn in_zip(path: &Path, place: &str) -> Vec<Document> {
    let members = members(path);
    let mut documents: Vec<Document> =
        members.iter().flat_map(|(name, bytes)| in_bytes(&format!("{place}#{name}"), bytes)).collect();
    if members.contains_key("guard.json") {
        documents.extend(of_guarded_run(&documents));
    }
    if members.get("run.json").is_some_and(|run| run.windows(8).any(|word| word == b"gait-mcp")) {
        documents.extend(of_session(&documents));
    }
    if let Some(policy) = members.get("policy.yaml") {
        documents.push(policy_document(&format!("{place}#policy.yaml"), policy));
    }
    documents
}

/// What intents and results of a guarded run hold in their free members.
fn of_guarded_run(documents: &[Document]) -> Vec<Document> {
    let inner = |document: &Document| {
        let record = &document.value;
        let (schema, value) = match document.schema.as_str() {
            "runpack/intent" => {
                let mut intent = record["args"].clone();
                intent["tool_name"] = record["tool_name"].clone();
                ("exec/intent", intent)
            }
            "runpack/result" => ("exec/result", record["result"].clone()),
            _ => return None,
        };
        Some(Document { schema: schema.into(), place: format!("{} inside", document.place), value })
    };
    documents.iter().filter_map(inner).collect()
}

/// What results of a session hold in their free member.
fn of_session(documents: &[Document]) -> Vec<Document> {
    let results = documents.iter().filter(|document| document.schema == "runpack/result");
    let inner = |document: &Document| Document {
        schema: "mcp/result".into(),
        place: format!("{} inside", document.place),
        value: document.value["result"].clone(),
    };
    results.map(inner).collect()
}

/// A policy, from YAML.
pub fn policy_document(place: &str, yaml: &[u8]) -> Document {
    let text = std::str::from_utf8(yaml).unwrap();
    let value = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"));
    Document { schema: "gate/policy".into(), place: place.into(), value }
}

/// The line that a call prints with `--json`, and the schema of it: that of errors, or that of the verb. None for a
/// verb that has no schema.
///
/// `words` are those after `gait`.
pub fn answer(place: &str, words: &[&str], line: &str) -> Option<Document> {
    let value: Value = serde_json::from_str(line).ok()?;
    let given = |flag: &str| words.iter().any(|word| *word == flag || word.starts_with(&format!("{flag}=")));
    let verb = words.iter().take_while(|word| !word.starts_with('-')).take(2).copied().collect::<Vec<_>>();
    let schema = match verb.as_slice() {
        _ if value.get("error").is_some() && value.get("bundle").is_none() => "cli/error".to_owned(),
        ["run", "replay"] if given("--policy") => "cli/run_replay_policy".to_owned(),
        ["policy", "test"] => "policytest/policy_test_result".to_owned(),
        ["mcp", "bridge"] => "cli/mcp_proxy".to_owned(),
        ["doctor", "adoption"] => "cli/doctor_adoption".to_owned(),
        ["doctor", ..] => "doctor/result".to_owned(),
        ["verify", "chain"] => "cli/verify_chain".to_owned(),
        [one @ ("approve" | "demo" | "verify" | "exec" | "migrate" | "completions" | "man"), ..] => {
            format!("cli/{one}")
        }
        [group, verb] => format!("cli/{group}_{}", verb.replace('-', "_")),
        _ => return None,
    };
    let known = Schemas::get().names().any(|name| name == schema);
    known.then(|| Document { schema, place: place.to_owned(), value })
}

/// What is wrong with these documents, and how many there were of each schema.
pub fn check(documents: &[Document]) -> (Vec<String>, BTreeMap<&str, usize>) {
    let mut seen = BTreeMap::new();
    let mut wrong = Vec::new();
    for document in documents {
        *seen.entry(document.schema.as_str()).or_default() += 1;
        for error in Schemas::get().errors(&document.schema, &document.value) {
            wrong.push(format!("{} ({}): {error}", document.place, document.schema));
        }
    }
    (wrong, seen)
}
