//! What the standard graders want to know of a fixture's records, found in one pass over each member.

use crate::runpack::glance::Glance;
use crate::runpack::id_key::IdKey;
use crate::runpack::open::{OpenError, Runpack};
use crate::runpack::record::{INTENT_SCHEMA, IntentRecord, REFS_SCHEMA, RESULT_SCHEMA, ResultRecord, SCHEMA_VERSION};
use crate::runpack::replay::{ReplayError, stub_type};
use std::collections::HashMap;
use std::io::{Read, Seek};

/// The records of one runpack, counted and judged. While it is made it needs memory for the ids: about 20 to 40 bytes
/// for each.
#[derive(Debug)]
pub struct Survey {
    pub(super) intents: u64,
    pub(super) results: u64,
    pub(super) receipts: usize,
    pub(super) odd_intents: bool,
    pub(super) odd_results: bool,
    pub(super) odd_refs: bool,
    /// What stub replay gives (contract, artifacts 4.6): the ids without a result, sorted.
    pub(super) replay: Result<Vec<String>, ReplayError>,
}

/// What is known of an id.
#[derive(Clone, Copy, Default)]
struct Known {
    intent: bool,
    result: bool,
    /// Its tool has a stub, so that it needs no result.
    stub: bool,
}

impl Survey {
    /// Looks at all records of `pack`: a runpack whose records can't be read is an input that can't be used, not a
    /// fixture that fails.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn of<R: Read + Seek>(pack: &mut Runpack<R>) -> Result<Self, OpenError> {
        let mut known: HashMap<IdKey, Known> = HashMap::new();
        let (mut intents, mut odd_intents, mut intent_twice) = (0, false, None);
        pack.glance_at::<IntentRecord>(|intent| {
            intents += 1;
            odd_intents |= is_odd(&intent, INTENT_SCHEMA);
            let known = known.entry(key(&intent)).or_default();
            if known.intent && intent_twice.is_none() {
                intent_twice = Some(intent.intent_id.clone().into_owned());
            }
            known.intent = true;
            known.stub |= stub_type(&intent.word).is_some();
        })?;
        let (mut results, mut odd_results, mut result_twice) = (0, false, None);
        pack.glance_at::<ResultRecord>(|result| {
            results += 1;
            odd_results |= is_odd(&result, RESULT_SCHEMA);
            let known = known.entry(key(&result)).or_default();
            if known.result && result_twice.is_none() {
                result_twice = Some(result.intent_id.clone().into_owned());
            }
            known.result = true;
        })?;
        let (refs, receipts) = pack.fold_refs(|count: &mut usize, _| *count += 1)?;
        let replay = match (intent_twice, result_twice) {
            (Some(id), _) => Err(ReplayError::DuplicateIntent { id }),
            (None, Some(id)) => Err(ReplayError::DuplicateResult { id }),
            (None, None) => Ok(missing(pack, &known)?),
        };
        Ok(Survey {
            intents,
            results,
            receipts,
            odd_intents,
            odd_results,
            odd_refs: refs.schema_id != REFS_SCHEMA || refs.schema_version != SCHEMA_VERSION,
            replay,
        })
    }
}

fn key(record: &Glance<'_>) -> IdKey {
    IdKey::of(record.intent_id.as_bytes())
}

fn is_odd(record: &Glance<'_>, schema: &str) -> bool {
    record.schema_id != schema || record.schema_version != SCHEMA_VERSION
}

/// The ids of intents that have neither result nor stub, sorted.
fn missing<R: Read + Seek>(pack: &mut Runpack<R>, known: &HashMap<IdKey, Known>) -> Result<Vec<String>, OpenError> {
    let is_missing = |known: &Known| known.intent && !known.result && !known.stub;
    let mut ids = Vec::new();
    if known.values().any(is_missing) {
        pack.glance_at::<IntentRecord>(|intent| {
            if known.get(&key(&intent)).is_some_and(is_missing) {
                ids.push(intent.intent_id.into_owned());
            }
        })?;
        ids.sort();
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::replay::Replay;
    use crate::runpack::write::{RunRecords, write_pack};
    use crate::time::Timestamp;
    use proptest::prelude::*;
    use std::io::Cursor;

    proptest! {
        #[test]
        fn the_survey_replays_as_replay_does(
            intents in prop::collection::vec(("[ab]{0,2}", "(tool|http.get|db)"), 0..5),
            results in prop::collection::vec("[ab]{0,2}", 0..5),
        ) {
            let mut records = RunRecords::default();
            records.run.run_id = "run_x".into();
            records.intents = intents
                .into_iter()
                .map(|(intent_id, tool_name)| IntentRecord { intent_id, tool_name, ..IntentRecord::default() })
                .collect();
            records.results = results
                .into_iter()
                .map(|intent_id| ResultRecord { intent_id, ..ResultRecord::default() })
                .collect();
            records.fill(Timestamp::FALLBACK);
            let mut out = Vec::new();
            write_pack(&mut out, &records.facts(), &records.members().unwrap(), &[]).unwrap();
            let mut pack = Runpack::open(Cursor::new(out)).unwrap();
            let survey = Survey::of(&mut pack).unwrap();
            let replayed = Replay::of(&mut pack).map(|replay| replay.missing_results);
            prop_assert_eq!(
                survey.replay.map_err(|error| error.to_string()),
                replayed.map_err(|error| error.to_string())
            );
        }
    }
}
