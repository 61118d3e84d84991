//! Rules that can never decide, because earlier ones match all that they match.
//!
//! What is told is true; not all that is true is told: a rule that only several lists together cover is not found.

use super::Finding;
use crate::policy::model::{Match, Policy, Rule};

/// How many pairs of rules are compared at most.
const PAIRS: usize = 1_000_000;

/// Reports the rules that can never decide.
pub fn uncovered(policy: &Policy, findings: &mut Vec<Finding>) {
    let mut pairs = 0_usize;
    for (place, rule) in policy.rules.iter().enumerate() {
        pairs = pairs.saturating_add(place);
        if pairs > PAIRS {
            let message = format!("from rule {} on, nobody looked whether earlier rules cover later ones", rule.name);
            findings.push(Finding::warning(rule.position, "too_many_rules", message));
            return;
        }
        let earlier = &policy.rules[..place];
        if let Some(name) = earlier.iter().find(|one| one.name == rule.name).map(|one| one.position) {
            let message =
                format!("rule {} has the name of the one at {name}: records do not tell them apart", rule.name);
            findings.push(Finding::warning(rule.position, "same_name", message));
        }
        if let Some(covering) = covering(&rule.matcher, earlier) {
            let names: Vec<&str> = covering.iter().map(|one| one.name.as_str()).collect();
            let message = format!("rule {} can never decide: {} matches first", rule.name, names.join(" or "));
            let finding = Finding::warning(rule.position, "never_decides", message);
            findings.push(finding.with_help("rules run by priority, lowest first, then by name"));
        }
    }
}

/// Rules of `earlier` that together match all that `matcher` matches, if some do.
fn covering<'r>(matcher: &Match, earlier: &'r [Rule]) -> Option<Vec<&'r Rule>> {
    if let Some(rule) = earlier.iter().find(|rule| covers(&rule.matcher, matcher)) {
        return Some(vec![rule]);
    }
    // A list is an `or`: each of its values may be covered by another rule.
    LISTS.iter().find_map(|(list, list_mut)| {
        let values = list(matcher);
        if values.len() < 2 || values.len() > 16 {
            return None;
        }
        let mut covering: Vec<&Rule> = Vec::new();
        for value in values {
            let mut narrowed = matcher.clone();
            *list_mut(&mut narrowed) = vec![value.clone()];
            let rule = earlier.iter().find(|rule| covers(&rule.matcher, &narrowed))?;
            if !covering.iter().any(|known| std::ptr::eq(*known, rule)) {
                covering.push(rule);
            }
        }
        Some(covering)
    })
}

/// One list of a `match`, to look at and to narrow.
type List = (fn(&Match) -> &Vec<String>, fn(&mut Match) -> &mut Vec<String>);

/// The lists that rules are mostly told apart by.
const LISTS: &[List] = &[
    (|matcher| &matcher.endpoint_classes, |matcher| &mut matcher.endpoint_classes),
    (|matcher| &matcher.tool_names, |matcher| &mut matcher.tool_names),
    (|matcher| &matcher.risk_classes, |matcher| &mut matcher.risk_classes),
    (|matcher| &matcher.target_kinds, |matcher| &mut matcher.target_kinds),
    (|matcher| &matcher.identities, |matcher| &mut matcher.identities),
];

/// Whether all that `narrow` matches is matched by `wide`: each list of it holds wherever one of `narrow` does.
fn covers(wide: &Match, narrow: &Match) -> bool {
    let within = |wide: &[String], narrow: &[&[String]]| {
        wide.is_empty() || narrow.iter().any(|list| !list.is_empty() && list.iter().all(|value| wide.contains(value)))
    };
    let kinds: &[&[String]] = &[&narrow.target_kinds, &narrow.destination_kinds];
    let values: &[&[String]] = &[&narrow.target_values, &narrow.destination_values];
    within(&wide.tool_names, &[&narrow.tool_names])
        && within(&wide.risk_classes, &[&narrow.risk_classes])
        && within(&wide.endpoint_classes, &[&narrow.endpoint_classes])
        && within(&wide.target_kinds, kinds)
        && within(&wide.destination_kinds, kinds)
        && within(&wide.target_values, values)
        && within(&wide.destination_values, values)
        && within(&wide.destination_operations, &[&narrow.destination_operations])
        && within(&wide.data_classes, &[&narrow.data_classes])
        && within(&wide.identities, &[&narrow.identities])
        && within(&wide.provenance_sources, &[&narrow.provenance_sources])
        && within(&wide.skill_publishers, &[&narrow.skill_publishers])
        && within(&wide.skill_sources, &[&narrow.skill_sources])
        && covers_workspaces(&wide.workspace_prefixes, &narrow.workspace_prefixes)
}

/// A prefix covers what lies below it, up to a separator.
fn covers_workspaces(wide: &[String], narrow: &[String]) -> bool {
    let is_below = |inner: &String| {
        wide.iter().any(|outer| {
            inner
                .strip_prefix(outer.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || outer.ends_with('/'))
        })
    };
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(is_below))
}
