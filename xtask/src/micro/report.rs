//! The reports of a check: `gait.perf.bench_report` and `gait.perf.resource_budget_report`, 1.0.0.

use std::collections::BTreeMap;

use serde::Serialize;

use super::NAMES;
use super::limits::{Baseline, Budget, Past, Resources};
use super::output::{Output, median};

/// What was measured beside what it was.
#[derive(Debug, Serialize)]
pub struct BaselineReport {
    schema_id: &'static str,
    schema_version: &'static str,
    benchmarks: BTreeMap<String, Compared>,
    pub failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Compared {
    samples_ns_op: Vec<f64>,
    median_ns_op: f64,
    baseline_ns_op: f64,
    max_regression_factor: f64,
    regression_factor: f64,
    status: &'static str,
}

/// What was measured beside what it may be.
#[derive(Debug, Serialize)]
pub struct ResourceReport {
    schema_id: &'static str,
    schema_version: &'static str,
    benchmarks: BTreeMap<String, Budgeted>,
    pub failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Budgeted {
    samples_ns_op: Vec<f64>,
    median_ns_op: f64,
    max_ns_op: f64,
    samples_allocs_op: Vec<f64>,
    median_allocs_op: f64,
    max_allocs_op: f64,
    status: &'static str,
}

impl BaselineReport {
    pub fn new(baseline: &Baseline, output: &Output) -> Self {
        let mut failures = unlisted(baseline.0.keys());
        let mut benchmarks = BTreeMap::new();
        for (name, past) in &baseline.0 {
            let Some(samples) = output.ns_op(name) else {
                failures.push(missing(name, "ns/op"));
                continue;
            };
            let Past { baseline_ns_op, max_regression_factor } = *past;
            let found = median(samples);
            let factor = found / baseline_ns_op;
            let is_over = factor > max_regression_factor;
            if is_over {
                failures.push(format!("{name}: {found:.0} ns/op is {factor:.2} times {baseline_ns_op:.0}, more than {max_regression_factor:.2}"));
            }
            let compared = Compared {
                samples_ns_op: samples.to_vec(),
                median_ns_op: found,
                baseline_ns_op,
                max_regression_factor,
                regression_factor: factor,
                status: if is_over { "regressed" } else { "ok" },
            };
            benchmarks.insert(name.clone(), compared);
        }
        Self { schema_id: "gait.perf.bench_report", schema_version: "1.0.0", benchmarks, failures }
    }
}

impl ResourceReport {
    pub fn new(resources: &Resources, output: &Output) -> Self {
        let mut failures = unlisted(resources.0.keys());
        let mut benchmarks = BTreeMap::new();
        for (name, budget) in &resources.0 {
            let (times, allocations) = (output.ns_op(name), output.allocs_op(name));
            failures.extend(times.is_none().then(|| missing(name, "ns/op")));
            failures.extend(allocations.is_none().then(|| missing(name, "allocs/op")));
            let (Some(times), Some(allocations)) = (times, allocations) else { continue };
            let (ns_op, allocs_op) = (median(times), median(allocations));
            let Budget { max_ns_op, max_allocs_op } = *budget;
            let limits = [("ns/op", ns_op, max_ns_op), ("allocs/op", allocs_op, max_allocs_op)];
            let over: Vec<String> = limits
                .iter()
                .filter(|(_, found, limit)| found > limit)
                .map(|(unit, found, limit)| format!("{name}: {found:.0} {unit} exceeds {limit:.0}"))
                .collect();
            let budgeted = Budgeted {
                samples_ns_op: times.to_vec(),
                median_ns_op: ns_op,
                max_ns_op,
                samples_allocs_op: allocations.to_vec(),
                median_allocs_op: allocs_op,
                max_allocs_op,
                status: if over.is_empty() { "ok" } else { "over_budget" },
            };
            failures.extend(over);
            benchmarks.insert(name.clone(), budgeted);
        }
        Self { schema_id: "gait.perf.resource_budget_report", schema_version: "1.0.0", benchmarks, failures }
    }
}

fn missing(name: &str, unit: &str) -> String {
    format!("{name}: no {unit} in the output")
}

/// Benchmarks of the contract that a file has nothing to say about: they would be checked by nobody.
fn unlisted<'a>(listed: impl Iterator<Item = &'a String>) -> Vec<String> {
    let listed: Vec<&String> = listed.collect();
    let absent = NAMES.iter().filter(|name| !listed.iter().any(|listed| listed == *name));
    absent.map(|name| format!("{name}: there is no limit")).collect()
}
