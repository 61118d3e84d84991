//! `perf/runtime_slo_budgets.json`: what each command may take.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

const SCHEMA_ID: &str = "gait.perf.runtime_slo_budgets";
const SCHEMA_VERSION: &str = "1.0.0";

/// How often each command runs, and what it may take.
#[derive(Debug, PartialEq)]
pub struct Budgets {
    pub repeats: usize,
    pub commands: BTreeMap<String, Budget>,
}

/// What one command may take, in milliseconds of wall time from start to end, and how often it may fail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub max_error_rate: f64,
}

impl Budgets {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(text)?;
        let document = document.as_object().context("the file must be a JSON object")?;
        for (member, expected) in [("schema_id", SCHEMA_ID), ("schema_version", SCHEMA_VERSION)] {
            let found = document.get(member).and_then(Value::as_str).unwrap_or_default();
            ensure!(found == expected, "`{member}` must be `{expected}`, found `{found}`");
        }
        let repeats = document.get("repeats").and_then(Value::as_u64).context("`repeats` must be a whole number")?;
        ensure!(repeats >= 1, "`repeats` must be at least 1");
        let commands = document.get("commands").and_then(Value::as_object).context("`commands` must be an object")?;
        let budget = |(name, value): (&String, &Value)| Ok((name.clone(), Budget::of(name, value)?));
        Ok(Self { repeats: usize::try_from(repeats)?, commands: commands.iter().map(budget).collect::<Result<_>>()? })
    }
}

impl Budget {
    fn of(name: &str, value: &Value) -> Result<Self> {
        let number = |member: &str| {
            let number = value.get(member).and_then(Value::as_f64).filter(|number| *number >= 0.0);
            number.with_context(|| format!("`{name}`: `{member}` must be a number that is not negative"))
        };
        Ok(Self {
            p50_ms: number("p50_ms")?,
            p95_ms: number("p95_ms")?,
            p99_ms: number("p99_ms")?,
            max_error_rate: number("max_error_rate")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::method::KEYS;
    use super::*;

    fn committed() -> String {
        std::fs::read_to_string(crate::places::root().join("perf/runtime_slo_budgets.json")).unwrap()
    }

    #[test]
    fn the_committed_file_has_a_budget_for_each_command_and_for_no_other() {
        let budgets = Budgets::parse(&committed()).unwrap();
        let mut keys = KEYS.to_vec();
        keys.sort_unstable();
        assert_eq!(budgets.commands.keys().map(String::as_str).collect::<Vec<_>>(), keys);
        let expected = Budget { p50_ms: 900.0, p95_ms: 1600.0, p99_ms: 2200.0, max_error_rate: 0.0 };
        assert_eq!(budgets.commands["gate_eval_net_dns"], expected);
    }

    #[test]
    fn what_is_no_budget_file_says_why() {
        let good: Value = serde_json::from_str(&committed()).unwrap();
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut document = good.clone();
            change(&mut document);
            Budgets::parse(&document.to_string()).unwrap_err().to_string()
        };
        let without = |member: &'static str| move |d: &mut Value| drop(d.as_object_mut().unwrap().remove(member));
        let cases: [(String, &str); 7] = [
            (Budgets::parse("[]").unwrap_err().to_string(), "must be a JSON object"),
            (changed(&without("commands")), "`commands` must be an object"),
            (changed(&|d| d["repeats"] = 0.into()), "`repeats` must be at least 1"),
            (changed(&|d| d["repeats"] = "7".into()), "`repeats` must be a whole number"),
            (changed(&|d| d["schema_version"] = "2.0.0".into()), "`schema_version` must be `1.0.0`, found `2.0.0`"),
            (
                changed(&|d| drop(d["commands"]["verify"].as_object_mut().unwrap().remove("p95_ms"))),
                "`verify`: `p95_ms`",
            ),
            (changed(&|d| d["commands"]["verify"]["p50_ms"] = "fast".into()), "`verify`: `p50_ms`"),
        ];
        for (message, expected) in cases {
            assert!(message.contains(expected), "{message:?} does not say {expected:?}");
        }
        assert!(Budgets::parse("{").is_err());
    }
}
