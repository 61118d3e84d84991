//! What differs between two runs (contract, artifacts 4.7).
//!
//! Two packs of similar runs are read side by side: a record waits in memory only until its counterpart arrives on the
//! other side, so memory follows the difference and not the size. What is left over, or differs as text, is looked at
//! again record by record.

use super::lines::{LineError, Lines};
use super::open::{OpenError, Runpack};
use super::record::{IntentRecord, Manifest, Refs, ResultRecord, parse};
use crate::canonical::{CanonicalError, digest_of};
use crate::digest::{Hasher, Sha256Hex};
use crate::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::{BufRead, Read, Seek};

/// How much of the records is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Everything.
    Full,
    /// Digests instead of arguments and results.
    Metadata,
}

impl Privacy {
    /// Reads a name; none is [`Privacy::Full`].
    ///
    /// # Errors
    /// [`DiffError::Privacy`]
    pub fn parse(text: &str) -> Result<Self, DiffError> {
        match text {
            "" | "full" => Ok(Privacy::Full),
            "metadata" => Ok(Privacy::Metadata),
            other => Err(DiffError::Privacy { name: other.into() }),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Privacy::Full => "full",
            Privacy::Metadata => "metadata",
        }
    }
}

/// Why two runs can't be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// No such privacy mode.
    #[error("unsupported privacy mode: {name}")]
    Privacy {
        /// What was asked for.
        name: String,
    },
    /// Not an intact runpack.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record without a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// The differences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiffSummary {
    /// The run on the left.
    pub run_id_left: String,
    /// The run on the right.
    pub run_id_right: String,
    /// Whether capture mode, schema or the set of members differ.
    pub manifest_changed: bool,
    /// Members that only one side has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files_changed: Vec<String>,
    /// Whether any intent differs.
    pub intents_changed: bool,
    /// Whether any result differs.
    pub results_changed: bool,
    /// Whether the receipts differ.
    pub refs_changed: bool,
    /// Intents of the left side only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_only_intents: Vec<String>,
    /// Intents of the right side only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub right_only_intents: Vec<String>,
    /// Results of the left side only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_only_results: Vec<String>,
    /// Results of the right side only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub right_only_results: Vec<String>,
}

impl DiffSummary {
    /// Whether anything differs that counts.
    pub fn changed(&self) -> bool {
        self.manifest_changed || self.intents_changed || self.results_changed || self.refs_changed
    }
}

/// Compares two runs.
///
/// # Errors
/// [`DiffError`]
pub fn diff<A: Read + Seek, B: Read + Seek>(
    left: &mut Runpack<A>,
    right: &mut Runpack<B>,
    privacy: Privacy,
) -> Result<DiffSummary, DiffError> {
    let intents = records::<IntentRecord, A, B>(left, right, privacy)?;
    let results = records::<ResultRecord, A, B>(left, right, privacy)?;
    Ok(DiffSummary {
        run_id_left: left.run.run_id.clone(),
        run_id_right: right.run.run_id.clone(),
        manifest_changed: manifest_form(left.manifest())? != manifest_form(right.manifest())?,
        files_changed: files_changed(left.manifest(), right.manifest()),
        intents_changed: intents.changed,
        results_changed: results.changed,
        refs_changed: refs_form(left.refs()?, privacy)? != refs_form(right.refs()?, privacy)?,
        left_only_intents: intents.left_only,
        right_only_intents: intents.right_only,
        left_only_results: results.left_only,
        right_only_results: results.right_only,
    })
}

/// The segments of a guarded run's journal count as one member: their number follows from the amount of decisions.
fn comparable(path: &str) -> &str {
    if path.starts_with("decisions/") { "decisions" } else { path }
}

fn files_changed(left: &Manifest, right: &Manifest) -> Vec<String> {
    let paths = |manifest: &Manifest| -> BTreeMap<String, String> {
        manifest.files.iter().map(|file| (comparable(&file.path).to_string(), file.path.clone())).collect()
    };
    let (left, right) = (paths(left), paths(right));
    let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| -> Vec<String> {
        a.iter().filter(|(key, _)| !b.contains_key(*key)).map(|(_, path)| path.clone()).collect()
    };
    let mut changed = only(&left, &right);
    changed.extend(only(&right, &left));
    changed.sort();
    changed
}

fn manifest_form(manifest: &Manifest) -> Result<Sha256Hex, CanonicalError> {
    let mut form = manifest.clone();
    form.run_id.clear();
    form.producer_version.clear();
    form.created_at = Timestamp::ZERO;
    form.manifest_digest.clear();
    form.signatures.clear();
    form.files.dedup_by(|later, earlier| {
        comparable(&later.path) != later.path && comparable(&later.path) == comparable(&earlier.path)
    });
    for file in &mut form.files {
        file.path = comparable(&file.path).to_string();
        file.sha256.clear();
    }
    digest_of(&form)
}

fn refs_form(mut refs: Refs, privacy: Privacy) -> Result<Sha256Hex, CanonicalError> {
    refs.run_id.clear();
    refs.producer_version.clear();
    refs.created_at = Timestamp::ZERO;
    match privacy {
        Privacy::Full => digest_of(&refs),
        Privacy::Metadata => digest_of(&refs.receipts.len()),
    }
}

#[derive(Debug, Default)]
struct RecordDiff {
    changed: bool,
    left_only: Vec<String>,
    right_only: Vec<String>,
}

/// A kind of record that is compared by id.
trait Compared: DeserializeOwned + Serialize {
    const MEMBER: &'static str;
    const WHAT: &'static str;
    /// The record without what differs between any two runs, and its id.
    fn form(self, privacy: Privacy) -> (String, Self);
}

impl Compared for IntentRecord {
    const MEMBER: &'static str = "intents.jsonl";
    const WHAT: &'static str = "intents";

    fn form(self, privacy: Privacy) -> (String, Self) {
        let id = self.intent_id.clone();
        let mut form = IntentRecord {
            run_id: String::new(),
            producer_version: String::new(),
            created_at: Timestamp::ZERO,
            ..self
        };
        if privacy == Privacy::Metadata {
            form.args.clear();
        }
        (id, form)
    }
}

impl Compared for ResultRecord {
    const MEMBER: &'static str = "results.jsonl";
    const WHAT: &'static str = "results";

    fn form(self, privacy: Privacy) -> (String, Self) {
        let id = self.intent_id.clone();
        let mut form = ResultRecord {
            run_id: String::new(),
            producer_version: String::new(),
            created_at: Timestamp::ZERO,
            ..self
        };
        if privacy == Privacy::Metadata {
            form.result.clear();
        }
        (id, form)
    }
}

fn records<T: Compared, A: Read + Seek, B: Read + Seek>(
    left: &mut Runpack<A>,
    right: &mut Runpack<B>,
    privacy: Privacy,
) -> Result<RecordDiff, DiffError> {
    let suspects = side_by_side::<T>(left.lines(T::MEMBER)?, right.lines(T::MEMBER)?, privacy)?;
    if suspects.is_empty() {
        return Ok(RecordDiff::default());
    }
    let left = forms_of::<T, A>(left, &suspects, privacy)?;
    let right = forms_of::<T, B>(right, &suspects, privacy)?;
    let only = |a: &HashMap<&str, Sha256Hex>, b: &HashMap<&str, Sha256Hex>| -> Vec<String> {
        suspects.iter().filter(|id| a.contains_key(id.as_str()) && !b.contains_key(id.as_str())).cloned().collect()
    };
    let (left_only, right_only) = (only(&left, &right), only(&right, &left));
    Ok(RecordDiff { changed: left != right, left_only, right_only })
}

/// Ids whose records are not the same text on both sides, occurrence by occurrence.
fn side_by_side<T: Compared>(
    mut left: Lines<impl BufRead>,
    mut right: Lines<impl BufRead>,
    privacy: Privacy,
) -> Result<BTreeSet<String>, OpenError> {
    let mut waiting = [Waiting::default(), Waiting::default()];
    let mut suspects = BTreeSet::new();
    loop {
        let from_left = sketch::<T>(&mut left, privacy)?;
        let from_right = sketch::<T>(&mut right, privacy)?;
        if from_left.is_none() && from_right.is_none() {
            break;
        }
        let [left_waiting, right_waiting] = &mut waiting;
        if let Some(record) = from_left {
            meet(record, left_waiting, right_waiting, &mut suspects);
        }
        if let Some(record) = from_right {
            meet(record, right_waiting, left_waiting, &mut suspects);
        }
    }
    suspects.extend(waiting.into_iter().flat_map(HashMap::into_keys));
    Ok(suspects)
}

/// Records without their counterpart yet: what they look like, in order.
type Waiting = HashMap<String, VecDeque<Sha256Hex>>;

fn meet((id, look): (String, Sha256Hex), own: &mut Waiting, other: &mut Waiting, suspects: &mut BTreeSet<String>) {
    let Some(queue) = other.get_mut(&id) else {
        own.entry(id).or_default().push_back(look);
        return;
    };
    let counterpart = queue.pop_front();
    if queue.is_empty() {
        other.remove(&id);
    }
    if counterpart != Some(look) {
        suspects.insert(id);
    }
}

/// A record as far as it must be understood to see that it is the same text as another.
#[derive(Deserialize)]
struct Sketch<'a> {
    #[serde(borrow, default)]
    schema_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    schema_version: Option<Cow<'a, str>>,
    #[serde(default, rename = "created_at")]
    _created_at: Timestamp,
    #[serde(borrow, default, rename = "producer_version")]
    _producer_version: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "run_id")]
    _run_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    intent_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tool_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    args_digest: Option<&'a RawValue>,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result_digest: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

/// Id and look of the next record. A record that is no plain text gets its canonical form as look at once.
fn sketch<T: Compared>(
    lines: &mut Lines<impl BufRead>,
    privacy: Privacy,
) -> Result<Option<(String, Sha256Hex)>, OpenError> {
    let error = |source| OpenError::Line { what: T::WHAT, source };
    let Some((number, line)) = lines.next_line().map_err(error)? else {
        return Ok(None);
    };
    let bad = |source| error(LineError::Record { number, source });
    let plain = !line.contains(&b'\\') && line.first() == Some(&b'{');
    if let (true, Ok(sketch)) = (plain, serde_json::from_slice::<Sketch<'_>>(line)) {
        let id = sketch.intent_id.clone().unwrap_or_default().into_owned();
        if let Some(look) = look(&sketch, privacy) {
            return Ok(Some((id, look)));
        }
    }
    let (id, form) = parse::<T>(line).map_err(bad)?.form(privacy);
    Ok(Some((id, digest_of(&form).unwrap_or_else(|_| Sha256Hex::of(line)))))
}

/// A digest of what is compared; `None` if a member is not of the type that it must be.
fn look(sketch: &Sketch<'_>, privacy: Privacy) -> Option<Sha256Hex> {
    let mut hasher = Hasher::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    for text in [&sketch.schema_id, &sketch.schema_version, &sketch.intent_id] {
        add(text.as_deref().unwrap_or_default());
    }
    for text in [sketch.tool_name, sketch.args_digest, sketch.status, sketch.result_digest] {
        let text = text.map_or("null", RawValue::get);
        if !text.starts_with(['"', 'n']) {
            return None;
        }
        add(text);
    }
    for object in [sketch.args, sketch.result] {
        let text = object.map_or("null", RawValue::get);
        if !text.starts_with(['{', 'n']) {
            return None;
        }
        add(if privacy == Privacy::Full { text } else { "" });
    }
    Some(hasher.finish())
}

/// Canonical digests of the records of these ids; of several records of one id the last counts.
fn forms_of<'a, T: Compared, R: Read + Seek>(
    pack: &mut Runpack<R>,
    ids: &'a BTreeSet<String>,
    privacy: Privacy,
) -> Result<HashMap<&'a str, Sha256Hex>, DiffError> {
    let error = |source| OpenError::Line { what: T::WHAT, source };
    let mut forms = HashMap::new();
    let mut lines = pack.lines(T::MEMBER)?;
    while let Some((number, line)) = lines.next_line().map_err(error)? {
        let record: T = parse(line).map_err(|source| error(LineError::Record { number, source }))?;
        let (id, form) = record.form(privacy);
        if let Some(id) = ids.get(&id) {
            forms.insert(id.as_str(), digest_of(&form)?);
        }
    }
    Ok(forms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::write::{RunRecords, write_pack};
    use serde_json::{Value, json};
    use std::io::Cursor;

    fn pack(intents: &[(&str, Value)]) -> Runpack<Cursor<Vec<u8>>> {
        let mut records = RunRecords::default();
        records.run.run_id = "run_x".into();
        records.intents = intents
            .iter()
            .map(|(id, args)| IntentRecord {
                intent_id: (*id).into(),
                args: args.as_object().cloned().unwrap_or_default(),
                ..IntentRecord::default()
            })
            .collect();
        records.fill(Timestamp::FALLBACK);
        let mut out = Vec::new();
        write_pack(&mut out, &records.facts(), &records.members().unwrap(), &[]).unwrap();
        Runpack::open(Cursor::new(out)).unwrap()
    }

    fn summary(left: &[(&str, Value)], right: &[(&str, Value)], privacy: Privacy) -> DiffSummary {
        diff(&mut pack(left), &mut pack(right), privacy).unwrap()
    }

    #[test]
    fn another_order_is_no_difference() {
        let (a, b, c) = (("a", json!({"n": 1})), ("b", json!({"t": "q\"uoted"})), ("c", json!({})));
        let left = [a.clone(), b.clone(), c.clone()];
        assert!(!summary(&left, &[c, a, b], Privacy::Full).changed());
    }

    #[test]
    fn ids_of_one_side_are_named_and_sorted() {
        let record = |id: &'static str| (id, json!({}));
        let got = summary(&[record("b"), record("a"), record("x")], &[record("x"), record("z")], Privacy::Full);
        assert!(got.intents_changed);
        assert_eq!((got.left_only_intents, got.right_only_intents), (vec!["a".into(), "b".into()], vec!["z".into()]));
    }

    #[test]
    fn changed_arguments_are_seen_unless_only_metadata_is_compared() {
        let (left, right) = ([("a", json!({"n": 1}))], [("a", json!({"n": 2}))]);
        assert!(summary(&left, &right, Privacy::Full).intents_changed);
        assert!(!summary(&left, &right, Privacy::Metadata).changed());
    }

    #[test]
    fn of_repeated_ids_the_last_counts() {
        let n = |n: u32| ("a", json!({"n": n}));
        assert!(!summary(&[n(1), n(2)], &[n(3), n(2)], Privacy::Full).changed());
        assert!(!summary(&[n(1), n(2)], &[n(2)], Privacy::Full).changed());
        assert!(summary(&[n(1), n(2)], &[n(2), n(1)], Privacy::Full).changed());
    }

    /// The obvious evaluator: maps of canonical digests.
    fn obvious(left: &[(&str, Value)], right: &[(&str, Value)]) -> (bool, Vec<String>, Vec<String>) {
        let map = |side: &[(&str, Value)]| -> BTreeMap<String, String> {
            side.iter().map(|(id, args)| ((*id).to_string(), args.to_string())).collect()
        };
        let (left, right) = (map(left), map(right));
        let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
            a.keys().filter(|id| !b.contains_key(*id)).cloned().collect()
        };
        (left != right, only(&left, &right), only(&right, &left))
    }

    proptest::proptest! {
        #[test]
        fn reading_side_by_side_gives_what_maps_give(
            left in proptest::collection::vec((0usize..5, 0u32..2), 0..7),
            right in proptest::collection::vec((0usize..5, 0u32..2), 0..7),
        ) {
            const IDS: [&str; 5] = ["a", "b", "c", "d\n", ""];
            let side = |side: Vec<(usize, u32)>| -> Vec<(&str, Value)> {
                side.into_iter().map(|(id, n)| (IDS[id], json!({"n": n}))).collect()
            };
            let (left, right) = (side(left), side(right));
            let got = summary(&left, &right, Privacy::Full);
            proptest::prop_assert_eq!(
                (got.intents_changed, got.left_only_intents, got.right_only_intents),
                obvious(&left, &right)
            );
        }
    }
}
