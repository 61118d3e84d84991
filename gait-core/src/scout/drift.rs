//! What changed between two snapshots (contract, artifacts 7.2).

use super::snapshot::{Item, Snapshot};
use serde::Serialize;
use std::collections::BTreeMap;

/// The differences, each list sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, artifacts 7.2")]
pub struct Drift {
    pub left_snapshot_id: String,
    pub right_snapshot_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Present>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Present>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Changed>,
    pub added_count: usize,
    pub removed_count: usize,
    pub changed_count: usize,
}

/// An item of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the item")]
pub struct Present {
    pub id: String,
    pub kind: String,
    pub name: String,
    pub locator: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub risk_level: String,
}

/// An item that is not the same on both sides; kind and name are those of the right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the item")]
pub struct Changed {
    pub id: String,
    pub kind: String,
    pub name: String,
    pub before_locator: String,
    pub after_locator: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub before_risk_level: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub after_risk_level: String,
}

impl Drift {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.added_count + self.removed_count + self.changed_count > 0
    }
}

/// Compares two snapshots by the ids of their items.
pub fn drift(left: &Snapshot, right: &Snapshot) -> Drift {
    let by_id = |snapshot: &'_ Snapshot| -> BTreeMap<String, Item> {
        snapshot.items.iter().map(|item| (item.id.clone(), item.clone())).collect()
    };
    let (before, after) = (by_id(left), by_id(right));
    let only = |a: &BTreeMap<String, Item>, b: &BTreeMap<String, Item>| -> Vec<Present> {
        a.values().filter(|item| !b.contains_key(&item.id)).map(present).collect()
    };
    let (added, removed) = (only(&after, &before), only(&before, &after));
    let changed: Vec<Changed> =
        after.values().filter_map(|item| before.get(&item.id).and_then(|old| changed(old, item))).collect();
    Drift {
        left_snapshot_id: left.snapshot_id.clone(),
        right_snapshot_id: right.snapshot_id.clone(),
        added_count: added.len(),
        removed_count: removed.len(),
        changed_count: changed.len(),
        added,
        removed,
        changed,
    }
}

fn present(item: &Item) -> Present {
    Present {
        id: item.id.clone(),
        kind: item.kind.clone(),
        name: item.name.clone(),
        locator: item.locator.clone(),
        risk_level: item.risk_level.clone(),
    }
}

fn changed(old: &Item, new: &Item) -> Option<Changed> {
    let look = |item: &Item| {
        (item.kind.clone(), item.name.clone(), item.locator.clone(), item.risk_level.clone(), item.tags.clone())
    };
    (look(old) != look(new)).then(|| Changed {
        id: new.id.clone(),
        kind: new.kind.clone(),
        name: new.name.clone(),
        before_locator: old.locator.clone(),
        after_locator: new.locator.clone(),
        before_risk_level: old.risk_level.clone(),
        after_risk_level: new.risk_level.clone(),
    })
}
