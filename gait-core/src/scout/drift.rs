//! What changed between two snapshots (contract, artifacts 7.2).

use super::snapshot::{Item, Snapshot};
use serde::Serialize;
use std::collections::BTreeMap;

/// The differences, each list sorted by id, in the words of the snapshots.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, artifacts 7.2")]
pub struct Drift<'a> {
    pub left_snapshot_id: &'a str,
    pub right_snapshot_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Present<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Present<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Changed<'a>>,
    pub added_count: usize,
    pub removed_count: usize,
    pub changed_count: usize,
}

/// An item of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the item")]
pub struct Present<'a> {
    pub id: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub locator: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub risk_level: &'a str,
}

/// An item that is not the same on both sides; kind and name are those of the right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the item")]
pub struct Changed<'a> {
    pub id: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub before_locator: &'a str,
    pub after_locator: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub before_risk_level: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub after_risk_level: &'a str,
}

impl Drift<'_> {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.added_count + self.removed_count + self.changed_count > 0
    }
}

type ById<'a> = BTreeMap<&'a str, &'a Item>;

/// Compares two snapshots by the ids of their items.
pub fn drift<'a>(left: &'a Snapshot, right: &'a Snapshot) -> Drift<'a> {
    let by_id =
        |snapshot: &'a Snapshot| -> ById<'a> { snapshot.items.iter().map(|item| (item.id.as_str(), item)).collect() };
    let (before, after) = (by_id(left), by_id(right));
    let only = |a: &ById<'a>, b: &ById<'a>| -> Vec<Present<'a>> {
        a.iter().filter(|(id, _)| !b.contains_key(*id)).map(|(_, item)| present(item)).collect()
    };
    let (added, removed) = (only(&after, &before), only(&before, &after));
    let changed: Vec<Changed<'a>> =
        after.iter().filter_map(|(id, item)| before.get(id).and_then(|old| changed(old, item))).collect();
    Drift {
        left_snapshot_id: &left.snapshot_id,
        right_snapshot_id: &right.snapshot_id,
        added_count: added.len(),
        removed_count: removed.len(),
        changed_count: changed.len(),
        added,
        removed,
        changed,
    }
}

fn present(item: &Item) -> Present<'_> {
    Present { id: &item.id, kind: &item.kind, name: &item.name, locator: &item.locator, risk_level: &item.risk_level }
}

fn changed<'a>(old: &'a Item, new: &'a Item) -> Option<Changed<'a>> {
    let look = |item: &'a Item| (&item.kind, &item.name, &item.locator, &item.risk_level, &item.tags);
    (look(old) != look(new)).then(|| Changed {
        id: &new.id,
        kind: &new.kind,
        name: &new.name,
        before_locator: &old.locator,
        after_locator: &new.locator,
        before_risk_level: &old.risk_level,
        after_risk_level: &new.risk_level,
    })
}
