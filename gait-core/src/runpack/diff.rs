//! What differs between two runs (contract, artifacts 4.7).
//!
//! Two packs of similar runs are read side by side: a record waits in memory only until its counterpart arrives on the
//! other side, so memory follows the difference and not the size: 32 bytes for each record that waits or differs. What
//! is left over, or differs as text, is looked at again record by record.

use super::glance::{Glance, LineRecord};
use super::id_key::IdKey;
use super::lines::{LineError, Lines};
use super::open::{OpenError, Runpack, Unchecked};
use super::record::{IntentRecord, Manifest, Receipt, ResultRecord, parse};
use crate::canonical::{CanonicalError, digest_of};
use crate::digest::{Hasher, Sha256Hex};
use crate::time::Timestamp;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
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

/// Compares the runs in two files, each record read once: while its digest is computed.
///
/// Nothing that was seen counts before the digests of both files are known to hold. Where anything is wrong, the files
/// are opened one after the other: which fault is told does not depend on how they are read.
///
/// # Errors
/// [`DiffError`]: the first finding on the left, or else the right.
pub fn diff_files<A: Read + Seek, B: Read + Seek>(
    mut left: A,
    mut right: B,
    privacy: Privacy,
) -> Result<DiffSummary, DiffError> {
    if let Ok((mut left, mut right, suspects)) = at_once(&mut left, &mut right, privacy) {
        return summary(&mut left, &mut right, &suspects, privacy);
    }
    let mut left = Runpack::open(left)?;
    diff(&mut left, &mut Runpack::open(right)?, privacy)
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
    let mut suspects = Suspects::default();
    let (intents, results) = (IntentRecord::MEMBER, ResultRecord::MEMBER);
    suspects.intents = side_by_side::<IntentRecord>(&mut left.lines(intents)?, &mut right.lines(intents)?, privacy)?;
    // What is wrong with an intent is told before what is wrong with a result.
    let intents = records::<IntentRecord, A, B>(left, right, &suspects.intents, privacy)?;
    suspects.results = side_by_side::<ResultRecord>(&mut left.lines(results)?, &mut right.lines(results)?, privacy)?;
    let results = records::<ResultRecord, A, B>(left, right, &suspects.results, privacy)?;
    rest(left, right, intents, results, privacy)
}

/// Ids of records that do not look the same on both sides.
#[derive(Default)]
struct Suspects {
    intents: HashSet<IdKey>,
    results: HashSet<IdKey>,
}

type Checked<'a, A, B> = (Runpack<&'a mut A>, Runpack<&'a mut B>, Suspects);

/// Both runpacks, which hold, and what does not look the same in them.
fn at_once<'a, A: Read + Seek, B: Read + Seek>(
    left: &'a mut A,
    right: &'a mut B,
    privacy: Privacy,
) -> Result<Checked<'a, A, B>, OpenError> {
    let (mut left, mut right) = (Unchecked::open(left)?, Unchecked::open(right)?);
    let suspects = Suspects {
        intents: met::<IntentRecord, _, _>(&mut left, &mut right, privacy)?,
        results: met::<ResultRecord, _, _>(&mut left, &mut right, privacy)?,
    };
    Ok((left.check()?, right.check()?, suspects))
}

fn met<T: Compared, A: Read + Seek, B: Read + Seek>(
    left: &mut Unchecked<A>,
    right: &mut Unchecked<B>,
    privacy: Privacy,
) -> Result<HashSet<IdKey>, OpenError> {
    let (mut left_lines, mut right_lines) = (left.lines(T::MEMBER)?, right.lines(T::MEMBER)?);
    let suspects = side_by_side::<T>(left_lines.lines(), right_lines.lines(), privacy)?;
    let digests = (left_lines.finish()?, right_lines.finish()?);
    left.know(T::MEMBER, digests.0);
    right.know(T::MEMBER, digests.1);
    Ok(suspects)
}

fn summary<A: Read + Seek, B: Read + Seek>(
    left: &mut Runpack<A>,
    right: &mut Runpack<B>,
    suspects: &Suspects,
    privacy: Privacy,
) -> Result<DiffSummary, DiffError> {
    let intents = records::<IntentRecord, A, B>(left, right, &suspects.intents, privacy)?;
    let results = records::<ResultRecord, A, B>(left, right, &suspects.results, privacy)?;
    rest(left, right, intents, results, privacy)
}

fn rest<A: Read + Seek, B: Read + Seek>(
    left: &mut Runpack<A>,
    right: &mut Runpack<B>,
    intents: RecordDiff,
    results: RecordDiff,
    privacy: Privacy,
) -> Result<DiffSummary, DiffError> {
    Ok(DiffSummary {
        run_id_left: left.run.run_id.clone(),
        run_id_right: right.run.run_id.clone(),
        manifest_changed: manifest_form(left.manifest())? != manifest_form(right.manifest())?,
        files_changed: files_changed(left.manifest(), right.manifest()),
        intents_changed: intents.changed,
        results_changed: results.changed,
        refs_changed: refs_form(left, privacy)? != refs_form(right, privacy)?,
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

fn refs_form<R: Read + Seek>(pack: &mut Runpack<R>, privacy: Privacy) -> Result<[Sha256Hex; 2], DiffError> {
    // The digests of the receipts in order stand for them: equal if and only if these are.
    let (mut refs, receipts) = pack.fold_refs(|sum: &mut Receipts, receipt| sum.add(&receipt, privacy))?;
    refs.run_id.clear();
    refs.producer_version.clear();
    refs.created_at = Timestamp::ZERO;
    let receipts = receipts.finish()?;
    Ok(match privacy {
        Privacy::Full => [digest_of(&refs)?, receipts],
        Privacy::Metadata => [receipts; 2],
    })
}

/// The receipts of a run, summed up.
#[derive(Default)]
struct Receipts {
    count: u64,
    digests: Hasher,
    failed: Option<CanonicalError>,
}

impl Receipts {
    fn add(&mut self, receipt: &Receipt, privacy: Privacy) {
        self.count += 1;
        if privacy == Privacy::Full {
            match digest_of(receipt) {
                Ok(digest) => self.digests.update(digest.as_bytes()),
                Err(error) => self.failed = Some(error),
            }
        }
    }

    fn finish(self) -> Result<Sha256Hex, CanonicalError> {
        let Receipts { count, mut digests, failed } = self;
        digests.update(count.to_le_bytes());
        failed.map_or(Ok(digests.finish()), Err)
    }
}

#[derive(Debug, Default)]
struct RecordDiff {
    changed: bool,
    left_only: Vec<String>,
    right_only: Vec<String>,
}

/// A kind of record that is compared by id.
trait Compared: LineRecord {
    /// The record without what differs between any two runs.
    fn form(self, privacy: Privacy) -> Self;
}

impl Compared for IntentRecord {
    fn form(mut self, privacy: Privacy) -> Self {
        self.run_id.clear();
        self.producer_version.clear();
        self.created_at = Timestamp::ZERO;
        if privacy == Privacy::Metadata {
            self.args.clear();
        }
        self
    }
}

impl Compared for ResultRecord {
    fn form(mut self, privacy: Privacy) -> Self {
        self.run_id.clear();
        self.producer_version.clear();
        self.created_at = Timestamp::ZERO;
        if privacy == Privacy::Metadata {
            self.result.clear();
        }
        self
    }
}

fn records<T: Compared, A: Read + Seek, B: Read + Seek>(
    left: &mut Runpack<A>,
    right: &mut Runpack<B>,
    suspects: &HashSet<IdKey>,
    privacy: Privacy,
) -> Result<RecordDiff, DiffError> {
    if suspects.is_empty() {
        return Ok(RecordDiff::default());
    }
    let left_forms = forms_of::<T, A>(left, suspects, privacy)?;
    let right_forms = forms_of::<T, B>(right, suspects, privacy)?;
    Ok(RecordDiff {
        changed: left_forms != right_forms,
        left_only: only_ids::<T, A>(left, &left_forms, &right_forms)?,
        right_only: only_ids::<T, B>(right, &right_forms, &left_forms)?,
    })
}

/// Canonical forms of records, by id.
type Forms = HashMap<IdKey, IdKey>;

/// Ids whose records do not look the same on both sides, occurrence by occurrence.
fn side_by_side<T: Compared>(
    left: &mut Lines<impl BufRead>,
    right: &mut Lines<impl BufRead>,
    privacy: Privacy,
) -> Result<HashSet<IdKey>, OpenError> {
    let error = |source| OpenError::Line { what: T::WHAT, source };
    let mut meeting = Meeting::default();
    loop {
        let left_line = left.next_line().map_err(error)?;
        let right_line = right.next_line().map_err(error)?;
        if left_line.is_none() && right_line.is_none() {
            break;
        }
        let from_left = glance::<T>(left_line)?;
        if let (Some(seen), Some((_, left)), Some((_, right))) = (&from_left, left_line, right_line)
            && meeting.nobody_waits()
            && seen.is_same_but_for_origin(left, right)
        {
            continue;
        }
        let from_left = from_left.map(|seen| compared(seen, privacy));
        let from_right = glance::<T>(right_line)?.map(|seen| compared(seen, privacy));
        if let (Some(left), Some(right)) = (&from_left, &from_right)
            && left.intent_id == right.intent_id
            && meeting.nobody_waits_for(&left.intent_id)
        {
            if left != right {
                meeting.suspects.insert(IdKey::of(left.intent_id.as_bytes()));
            }
            continue;
        }
        if let Some(record) = from_left {
            meeting.arrives(Side::Left, &record);
        }
        if let Some(record) = from_right {
            meeting.arrives(Side::Right, &record);
        }
    }
    Ok(meeting.end())
}

fn glance<T: LineRecord>(line: Option<(u64, &[u8])>) -> Result<Option<Glance<'_>>, OpenError> {
    let Some((number, line)) = line else { return Ok(None) };
    let bad = |source| OpenError::Line { what: T::WHAT, source: LineError::Record { number, source } };
    Glance::at::<T>(line).map(Some).map_err(bad)
}

/// A record as it is compared: without what differs between any two runs.
fn compared(seen: Glance<'_>, privacy: Privacy) -> Glance<'_> {
    Glance {
        created_at: Timestamp::ZERO,
        created_text: "",
        producer_version: Cow::Borrowed(""),
        run_id: Cow::Borrowed(""),
        object: if privacy == Privacy::Metadata { Cow::Borrowed("") } else { seen.object },
        ..seen
    }
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// Records that wait for their counterpart: 32 bytes each.
#[derive(Default)]
struct Meeting {
    left: HashMap<IdKey, IdKey>,
    right: HashMap<IdKey, IdKey>,
    suspects: HashSet<IdKey>,
}

impl Meeting {
    fn nobody_waits(&self) -> bool {
        self.left.is_empty() && self.right.is_empty()
    }

    fn nobody_waits_for(&self, id: &str) -> bool {
        self.nobody_waits() || {
            let key = IdKey::of(id);
            !self.left.contains_key(&key) && !self.right.contains_key(&key)
        }
    }

    fn arrives(&mut self, side: Side, record: &Glance<'_>) {
        let (key, look) = (IdKey::of(record.intent_id.as_bytes()), look(record));
        let (own, other) = match side {
            Side::Left => (&mut self.left, &mut self.right),
            Side::Right => (&mut self.right, &mut self.left),
        };
        match other.remove(&key) {
            Some(counterpart) if counterpart == look => {}
            Some(_) => {
                self.suspects.insert(key);
            }
            None => {
                // A second one while the first still waits: which counts is found out later.
                if own.insert(key, look).is_some() {
                    self.suspects.insert(key);
                }
            }
        }
    }

    fn end(mut self) -> HashSet<IdKey> {
        self.suspects.extend(self.left.into_keys());
        self.suspects.extend(self.right.into_keys());
        self.suspects
    }
}

/// A digest of what is compared.
fn look(record: &Glance<'_>) -> IdKey {
    let mut hasher = Hasher::new();
    for text in
        [&record.schema_id, &record.schema_version, &record.intent_id, &record.word, &record.digest, &record.object]
    {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    IdKey::half(&hasher.finish())
}

/// Canonical digests of the records of these ids; of several records of one id the last counts.
fn forms_of<T: Compared, R: Read + Seek>(
    pack: &mut Runpack<R>,
    ids: &HashSet<IdKey>,
    privacy: Privacy,
) -> Result<Forms, DiffError> {
    let error = |source| OpenError::Line { what: T::WHAT, source };
    let mut forms = HashMap::new();
    let mut lines = pack.lines(T::MEMBER)?;
    while let Some((number, line)) = lines.next_line().map_err(error)? {
        let bad = |source| error(LineError::Record { number, source });
        let key = IdKey::of(Glance::at::<T>(line).map_err(bad)?.intent_id.as_bytes());
        if ids.contains(&key) {
            let form = parse::<T>(line).map_err(bad)?.form(privacy);
            forms.insert(key, IdKey::half(&digest_of(&form)?));
        }
    }
    Ok(forms)
}

/// The ids that `own` has and `other` has not, sorted.
fn only_ids<T: Compared, R: Read + Seek>(
    pack: &mut Runpack<R>,
    own: &Forms,
    other: &Forms,
) -> Result<Vec<String>, DiffError> {
    let mut wanted: HashSet<&IdKey> = own.keys().filter(|key| !other.contains_key(*key)).collect();
    let mut ids = Vec::with_capacity(wanted.len());
    if !wanted.is_empty() {
        pack.glance_at::<T>(|record| {
            if wanted.remove(&IdKey::of(record.intent_id.as_bytes())) {
                ids.push(record.intent_id.into_owned());
            }
        })?;
    }
    ids.sort();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::write::{RunRecords, write_pack};
    use serde_json::{Value, json};
    use std::io::Cursor;

    fn pack(intents: &[(&str, Value)]) -> Cursor<Vec<u8>> {
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
        Cursor::new(out)
    }

    /// The differences, found in both ways there are.
    fn summary(left: &[(&str, Value)], right: &[(&str, Value)], privacy: Privacy) -> DiffSummary {
        let (left, right) = (pack(left), pack(right));
        let opened = |file: &Cursor<Vec<u8>>| Runpack::open(file.clone()).unwrap();
        let found = diff(&mut opened(&left), &mut opened(&right), privacy).unwrap();
        let (mut left, mut right) = (left, right);
        let (mut left_pack, mut right_pack, suspects) = at_once(&mut left, &mut right, privacy).unwrap();
        assert_eq!(super::summary(&mut left_pack, &mut right_pack, &suspects, privacy).unwrap(), found);
        assert_eq!(diff_files(left, right, privacy).unwrap(), found);
        found
    }

    #[test]
    fn which_fault_is_told_does_not_depend_on_how_files_are_read() {
        let fine = pack(&[("a", json!({}))]);
        let damaged = |what: &[u8], by: &[u8]| {
            let mut bytes = fine.get_ref().clone();
            let at = bytes.windows(what.len()).rposition(|window| window == what).unwrap();
            bytes[at..at + by.len()].copy_from_slice(by);
            Cursor::new(bytes)
        };
        let files = [
            fine.clone(),
            // The directory has another name for the last member.
            damaged(b"run.json", b"run.jsom"),
            damaged(b"results.jsonl", b"results.jsom_"),
            Cursor::new(Vec::new()),
            pack(&[("a", json!({"n": 1}))]),
        ];
        for left in &files {
            for right in &files {
                let one_by_one = || -> Result<DiffSummary, DiffError> {
                    let mut left = Runpack::open(left.clone())?;
                    diff(&mut left, &mut Runpack::open(right.clone())?, Privacy::Full)
                };
                let told = |found: Result<DiffSummary, DiffError>| found.map_err(|error| error.to_string());
                assert_eq!(told(diff_files(left.clone(), right.clone(), Privacy::Full)), told(one_by_one()));
            }
        }
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
