//! How many of the tools found are named by a policy (contract, artifacts 7.1).

use super::snapshot::Snapshot;
use crate::text::lower_trimmed;
use serde::Serialize;
use std::collections::BTreeSet;

/// The figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the members are those of the contract, artifacts 7.1")]
pub struct Coverage {
    pub snapshot_id: String,
    pub discovered_tools: usize,
    pub gated_tools: usize,
    pub high_risk_ungated_tools: usize,
    #[serde(serialize_with = "plain_number")]
    pub coverage_percent: f64,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub policy_digests: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub discovered_tool_names: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub gated_tool_names: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub high_risk_ungated_tool_ids: BTreeSet<String>,
}

/// Whole numbers without a fraction, as in all JSON here.
fn plain_number<S: serde::Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 { serializer.serialize_u64(*number as u64) } else { serializer.serialize_f64(*number) }
}

/// Compares the tools of a snapshot with the names that policies speak of.
pub fn coverage(snapshot: &Snapshot, policy_digests: BTreeSet<String>, policy_names: &BTreeSet<String>) -> Coverage {
    let gated: BTreeSet<String> = policy_names.iter().map(|name| lower_trimmed(name).into_owned()).collect();
    let tools = || snapshot.items.iter().filter(|item| matches!(item.kind.as_str(), "tool" | "mcp_server"));
    let discovered: BTreeSet<String> =
        tools().map(|item| lower_trimmed(&item.name).into_owned()).filter(|name| !name.is_empty()).collect();
    let both: BTreeSet<String> = discovered.intersection(&gated).cloned().collect();
    let high_risk_ungated: BTreeSet<String> = tools()
        .filter(|item| matches!(item.risk_level.as_str(), "high" | "critical"))
        .filter(|item| !gated.contains(&*lower_trimmed(&item.name)))
        .map(|item| item.id.clone())
        .collect();
    Coverage {
        snapshot_id: snapshot.snapshot_id.clone(),
        discovered_tools: discovered.len(),
        gated_tools: both.len(),
        high_risk_ungated_tools: high_risk_ungated.len(),
        coverage_percent: percent(both.len(), discovered.len()),
        policy_digests,
        discovered_tool_names: discovered,
        gated_tool_names: both,
        high_risk_ungated_tool_ids: high_risk_ungated,
    }
}

/// `part` of `whole` in percent with two decimals, rounded half up; 100 of nothing.
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 100.0;
    }
    let hundredths = (part * 20_000 + whole) / (2 * whole);
    hundredths as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scout::snapshot::Item;

    #[test]
    fn percents_are_rounded_half_up() {
        assert_eq!(percent(2, 7), 28.57);
        assert_eq!(percent(1, 8), 12.5);
        assert_eq!(percent(1, 16), 6.25);
        assert_eq!(percent(0, 0), 100.0);
        assert_eq!(percent(1, 32), 3.13);
    }

    #[test]
    fn a_risky_tool_that_no_rule_names_is_listed() {
        let item = |name: &str, risk: &str| Item {
            id: format!("tool:{name}"),
            kind: "tool".into(),
            name: name.into(),
            risk_level: risk.into(),
            ..Item::default()
        };
        let snapshot =
            Snapshot { items: vec![item("A", "critical"), item("b", "high"), item("c", "low")], ..Snapshot::default() };
        let got = coverage(&snapshot, BTreeSet::new(), &[" a ".to_string(), "z".to_string()].into());
        assert_eq!((got.discovered_tools, got.gated_tools, got.coverage_percent), (3, 1, 33.33));
        assert_eq!(got.high_risk_ungated_tool_ids, ["tool:b".to_string()].into());
    }
}
