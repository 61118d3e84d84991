//! `perf/bench_baseline.json`, what each benchmark took when it was last looked at, and `perf/resource_budgets.json`, what
//! it may take.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

const SCHEMA_VERSION: &str = "1";

/// By benchmark.
#[derive(Debug, PartialEq)]
pub struct Baseline(pub BTreeMap<String, Past>);

/// Nanoseconds per operation, and how many times that is too slow.
#[derive(Debug, PartialEq)]
pub struct Past {
    pub baseline_ns_op: f64,
    pub max_regression_factor: f64,
}

/// By benchmark.
#[derive(Debug, PartialEq)]
pub struct Resources(pub BTreeMap<String, Budget>);

/// Nanoseconds and allocations per operation.
#[derive(Debug, PartialEq)]
pub struct Budget {
    pub max_ns_op: f64,
    pub max_allocs_op: f64,
}

impl Baseline {
    pub fn parse(text: &str) -> Result<Self> {
        let past = |name: &str, value: &Value| {
            Ok(Past {
                baseline_ns_op: positive(name, value, "baseline_ns_op")?,
                max_regression_factor: positive(name, value, "max_regression_factor")?,
            })
        };
        Ok(Self(by_benchmark(text, past)?))
    }
}

impl Resources {
    pub fn parse(text: &str) -> Result<Self> {
        let budget = |name: &str, value: &Value| {
            Ok(Budget {
                max_ns_op: positive(name, value, "max_ns_op")?,
                max_allocs_op: positive(name, value, "max_allocs_op")?,
            })
        };
        Ok(Self(by_benchmark(text, budget)?))
    }
}

fn by_benchmark<T>(text: &str, read: impl Fn(&str, &Value) -> Result<T>) -> Result<BTreeMap<String, T>> {
    let document: Map<String, Value> = serde_json::from_str(text)?;
    let version = document.get("schema_version").and_then(Value::as_str).unwrap_or_default();
    ensure!(version == SCHEMA_VERSION, "`schema_version` must be `{SCHEMA_VERSION}`, found `{version}`");
    let benchmarks = document.get("benchmarks").and_then(Value::as_object).context("`benchmarks` must be an object")?;
    ensure!(!benchmarks.is_empty(), "`benchmarks` is empty: nothing would be checked");
    benchmarks.iter().map(|(name, value)| Ok((name.clone(), read(name, value)?))).collect()
}

fn positive(name: &str, value: &Value, member: &str) -> Result<f64> {
    let number = value.get(member).and_then(Value::as_f64).filter(|number| *number > 0.0);
    number.with_context(|| format!("`{name}`: `{member}` must be a number above zero"))
}
