//! The records of a runpack (contract, artifacts 3.1).
//!
//! Reading follows artifacts 1.4: a missing member and `null` are the zero value, of repeated members the last one
//! counts, unknown members are ignored. Unknown members of `env` and of timeline events are kept, because the schema
//! of these two allows them.
//!
//! Members of the records that a run has many of are declared in canonical order: then they are written without being
//! sorted.

use crate::platform;
use crate::signature::Signature;
use crate::time::Timestamp;
use crate::weight::Reading;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::marker::PhantomData;

/// A free-form object. Its numbers are doubles.
pub type Object = Map<String, Value>;

/// The schema version of every record here.
pub const SCHEMA_VERSION: &str = "1.0.0";
/// Schema id of [`Manifest`].
pub const MANIFEST_SCHEMA: &str = "gait.runpack.manifest";
/// Schema id of [`Run`].
pub const RUN_SCHEMA: &str = "gait.runpack.run";
/// Schema id of [`IntentRecord`].
pub const INTENT_SCHEMA: &str = "gait.runpack.intent";
/// Schema id of [`ResultRecord`].
pub const RESULT_SCHEMA: &str = "gait.runpack.result";
/// Schema id of [`Refs`].
pub const REFS_SCHEMA: &str = "gait.runpack.refs";

/// `manifest.json`: what belongs to the pack, by digest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_id: String,
    /// [`SCHEMA_VERSION`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: String,
    /// That of the run.
    pub created_at: Timestamp,
    /// That of the run.
    #[serde(deserialize_with = "or_zero")]
    pub producer_version: String,
    /// That of the run.
    #[serde(deserialize_with = "or_zero")]
    pub run_id: String,
    /// `reference` or `raw`.
    #[serde(deserialize_with = "or_zero")]
    pub capture_mode: String,
    /// All other members, sorted by path.
    #[serde(deserialize_with = "list_or_zero")]
    pub files: Vec<ManifestFile>,
    /// See [`Manifest::computed_digest`].
    #[serde(deserialize_with = "or_zero")]
    pub manifest_digest: String,
    /// Signatures over the rest.
    #[serde(deserialize_with = "list_or_zero", skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
}

/// One member of the pack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ManifestFile {
    /// Its exact name in the container.
    #[serde(deserialize_with = "or_zero")]
    pub path: String,
    /// Hex of the SHA-256 of its content.
    #[serde(deserialize_with = "or_zero")]
    pub sha256: String,
}

/// `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// [`RUN_SCHEMA`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_id: String,
    /// [`SCHEMA_VERSION`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: String,
    /// Start of the run.
    pub created_at: Timestamp,
    /// The program that recorded it.
    #[serde(deserialize_with = "or_zero")]
    pub producer_version: String,
    /// The name of the run.
    #[serde(deserialize_with = "or_zero")]
    pub run_id: String,
    /// Where it ran.
    #[serde(deserialize_with = "object_or_zero")]
    pub env: Env,
    /// What happened when, in the order recorded.
    #[serde(deserialize_with = "list_or_zero")]
    pub timeline: Vec<TimelineEvent>,
}

/// Where a run ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Env {
    /// `linux`, `darwin`, `windows`, ...
    #[serde(deserialize_with = "or_zero")]
    pub os: String,
    /// `amd64`, `arm64`, ...
    #[serde(deserialize_with = "or_zero")]
    pub arch: String,
    /// `go`, `python`, `gait-exec`, ...
    #[serde(deserialize_with = "or_zero")]
    pub runtime: String,
    /// Members beyond these three.
    #[serde(flatten)]
    pub more: Object,
}

/// One event of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimelineEvent {
    /// Its name.
    #[serde(deserialize_with = "or_zero")]
    pub event: String,
    /// When.
    pub ts: Timestamp,
    /// What it refers to, e.g. an intent.
    #[serde(rename = "ref", deserialize_with = "or_zero", skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Members beyond these three.
    #[serde(flatten)]
    pub more: Object,
}

/// One line of `intents.jsonl`: what was to be done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IntentRecord {
    /// The arguments, in raw capture.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "Object::is_empty")]
    pub args: Object,
    /// By convention the canonical digest of `args`.
    #[serde(deserialize_with = "or_zero")]
    pub args_digest: String,
    /// That of the run unless recorded otherwise.
    pub created_at: Timestamp,
    /// What results, timelines, replay and diff know it by.
    #[serde(deserialize_with = "or_zero")]
    pub intent_id: String,
    /// That of the run unless recorded otherwise.
    #[serde(deserialize_with = "or_zero")]
    pub producer_version: String,
    /// That of the run unless recorded otherwise.
    #[serde(deserialize_with = "or_zero")]
    pub run_id: String,
    /// [`INTENT_SCHEMA`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_id: String,
    /// [`SCHEMA_VERSION`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: String,
    /// The tool.
    #[serde(deserialize_with = "or_zero")]
    pub tool_name: String,
}

/// One line of `results.jsonl`: what came of an intent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResultRecord {
    /// That of the run unless recorded otherwise.
    pub created_at: Timestamp,
    /// The intent.
    #[serde(deserialize_with = "or_zero")]
    pub intent_id: String,
    /// That of the run unless recorded otherwise.
    #[serde(deserialize_with = "or_zero")]
    pub producer_version: String,
    /// The result, in raw capture.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "Object::is_empty")]
    pub result: Object,
    /// By convention the canonical digest of `result`.
    #[serde(deserialize_with = "or_zero")]
    pub result_digest: String,
    /// That of the run unless recorded otherwise.
    #[serde(deserialize_with = "or_zero")]
    pub run_id: String,
    /// [`RESULT_SCHEMA`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_id: String,
    /// [`SCHEMA_VERSION`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: String,
    /// `ok` or `error`.
    #[serde(deserialize_with = "or_zero")]
    pub status: String,
}

/// `refs.json`: what the run looked up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refs {
    /// That of the run unless recorded otherwise.
    pub created_at: Timestamp,
    /// That of the run unless recorded otherwise.
    #[serde(deserialize_with = "or_zero")]
    pub producer_version: String,
    /// One per thing looked up.
    #[serde(deserialize_with = "list_or_zero")]
    pub receipts: Vec<Receipt>,
    /// That of the run unless recorded otherwise.
    #[serde(deserialize_with = "or_zero")]
    pub run_id: String,
    /// [`REFS_SCHEMA`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_id: String,
    /// [`SCHEMA_VERSION`].
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: String,
}

/// What was looked up where, by digest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// Digest of what was found.
    #[serde(deserialize_with = "or_zero")]
    pub content_digest: String,
    /// Digest of the query.
    #[serde(deserialize_with = "or_zero")]
    pub query_digest: String,
    /// What was left out.
    #[serde(deserialize_with = "or_zero")]
    pub redaction_mode: String,
    /// The name by which arguments and results refer to it.
    #[serde(deserialize_with = "or_zero")]
    pub ref_id: String,
    /// Parameters of the query.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "Object::is_empty")]
    pub retrieval_params: Object,
    /// When.
    pub retrieved_at: Timestamp,
    /// How sensitive the content is.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "String::is_empty")]
    pub sensitivity_label: String,
    /// Where in the source.
    #[serde(deserialize_with = "or_zero")]
    pub source_locator: String,
    /// The kind of source.
    #[serde(deserialize_with = "or_zero")]
    pub source_type: String,
}

/// `null` is the zero value.
pub(crate) fn or_zero<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(source: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

/// A record that is an object and nothing else: an array would be taken for its members in their order.
struct Named<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(NamedVisitor(PhantomData))
    }
}

struct NamedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
    type Value = Named<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Named<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Named)
    }
}

/// A record within another; `null` is the zero value.
pub fn object_or_zero<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(source: D) -> Result<T, D::Error> {
    Ok(Option::<Named<T>>::deserialize(source)?.map(|named| named.0).unwrap_or_default())
}

/// A list of records; `null` is the zero value, of the list and of each of its items.
pub fn list_or_zero<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(source: D) -> Result<Vec<T>, D::Error> {
    let items: Option<Vec<Option<Named<T>>>> = Option::deserialize(source)?;
    Ok(items.unwrap_or_default().into_iter().map(|item| item.map(|named| named.0).unwrap_or_default()).collect())
}

/// Reads one record and nothing after it, by the rules of artifacts 1.4.
///
/// # Errors
/// Not JSON, or a member of the wrong type.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    parse_as(bytes, Reading::Tree)
}

/// The same for a record that there is one of, with lists of many others.
pub(crate) fn parse_whole<T: WholeRecord>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    parse_as(bytes, T::READING)
}

/// A record that there is one of in a runpack.
pub(crate) trait WholeRecord: DeserializeOwned {
    /// What it takes to read one.
    const READING: Reading;
}

impl WholeRecord for Run {
    const READING: Reading = Reading::lists_of::<TimelineEvent>();
}

impl WholeRecord for Refs {
    const READING: Reading = Reading::lists_of::<Receipt>();
}

fn parse_as<T: DeserializeOwned>(bytes: &[u8], reading: Reading) -> Result<T, serde_json::Error> {
    // `null` is the zero value, of a whole record too.
    let bytes = if bytes.trim_ascii() == b"null" { b"{}" } else { bytes };
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        // The parser would take the elements of an array for the members in their order.
        return Err(serde::de::Error::custom("expected an object, found an array"));
    }
    // Records hardly ever repeat a member; only then the slow way, on which the last one counts, is taken.
    crate::json::read_as(bytes, reading)
        .or_else(|error| crate::json::read::<Value>(bytes).map_err(|_| error).and_then(serde_json::from_value))
}

fn fill(text: &mut String, default: &str) {
    if text.is_empty() {
        default.clone_into(text);
    }
}

fn fill_time(time: &mut Timestamp, default: Timestamp) {
    if time.is_zero() {
        *time = default;
    }
}

impl Run {
    /// Gives members without a value their default: `now` and this platform.
    pub fn fill(&mut self, now: Timestamp) {
        fill(&mut self.schema_id, RUN_SCHEMA);
        fill(&mut self.schema_version, SCHEMA_VERSION);
        fill(&mut self.producer_version, crate::PRODUCER_VERSION);
        fill_time(&mut self.created_at, now);
        fill(&mut self.env.os, platform::OS);
        fill(&mut self.env.arch, platform::ARCH);
        fill(&mut self.env.runtime, "go");
    }
}

macro_rules! fill_from_run {
    ($record:ty, $schema:expr) => {
        impl $record {
            /// Gives common members without a value that of the run, which was filled before.
            pub fn fill(&mut self, run: &Run) {
                fill(&mut self.schema_id, $schema);
                fill(&mut self.schema_version, SCHEMA_VERSION);
                fill_time(&mut self.created_at, run.created_at);
                fill(&mut self.producer_version, &run.producer_version);
                fill(&mut self.run_id, &run.run_id);
            }
        }
    };
}

fill_from_run!(IntentRecord, INTENT_SCHEMA);
fill_from_run!(ResultRecord, RESULT_SCHEMA);
fill_from_run!(Refs, REFS_SCHEMA);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_absent_members_are_zero_and_the_last_of_repeated_ones_counts() {
        let record: IntentRecord =
            parse(br#"{"run_id":null,"intent_id":"a","intent_id":"b","created_at":null}"#).unwrap();
        assert_eq!(record, IntentRecord { intent_id: "b".into(), ..IntentRecord::default() });
    }

    #[test]
    fn null_is_the_zero_record() {
        assert_eq!(parse::<IntentRecord>(b" null\n").unwrap(), IntentRecord::default());
        let refs: Refs = parse(br#"{"receipts":[null,{"ref_id":"r"}]}"#).unwrap();
        assert_eq!(refs.receipts, [Receipt::default(), Receipt { ref_id: "r".into(), ..Receipt::default() }]);
        let run: Run = parse(br#"{"timeline":[null]}"#).unwrap();
        assert_eq!(run.timeline, [TimelineEvent::default()]);
    }

    #[test]
    fn names_match_exactly_and_unknown_members_are_ignored() {
        let record: IntentRecord = parse(br#"{"Run_ID":"x","more":1}"#).unwrap();
        assert_eq!(record, IntentRecord::default());
    }

    #[test]
    fn a_wrong_type_or_bytes_after_the_value_are_errors() {
        for bad in [
            &br#"{"run_id":1}"#[..],
            b"{} {}",
            b"",
            br#"{"created_at":"yesterday"}"#,
            b"[]",
            br#"{"env":[]}"#,
            br#"{"timeline":[[]]}"#,
        ] {
            assert!(parse::<Run>(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn env_and_timeline_keep_what_their_schema_allows() {
        let text = br#"{"env":{"arch":"a","gpu":{"n":2},"os":"o","runtime":"r"},"timeline":[{"event":"e","pid":7,"ts":"2026-02-05T00:00:00Z"}]}"#;
        let run: Run = parse(text).unwrap();
        let value = serde_json::to_value(&run).unwrap();
        assert_eq!(value["env"]["gpu"]["n"], 2);
        assert_eq!(value["timeline"][0]["pid"], 7);
    }

    #[test]
    fn an_absent_timeline_is_written_as_an_empty_array() {
        assert_eq!(serde_json::to_value(Run::default()).unwrap()["timeline"], serde_json::json!([]));
    }

    #[test]
    fn only_empty_members_get_a_default() {
        let run = Run { run_id: "run_a".into(), producer_version: "p".into(), ..Run::default() };
        let mut record =
            IntentRecord { schema_id: "foreign".into(), run_id: "run_b".into(), ..IntentRecord::default() };
        record.fill(&run);
        assert_eq!((record.schema_id.as_str(), record.run_id.as_str()), ("foreign", "run_b"));
        assert_eq!((record.schema_version.as_str(), record.producer_version.as_str()), ("1.0.0", "p"));
    }
}
