//! The checks, on made-up measurements: what was measured is no matter of a test.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;

/// A folder with limits of 100 ns (times 4 for a regression), and 10 allocations for each benchmark.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        place.limits("bench_baseline.json", &json!({"baseline_ns_op": 100, "max_regression_factor": 4.0}));
        place.limits("resource_budgets.json", &json!({"max_ns_op": 300, "max_allocs_op": 10}));
        place
    }

    fn limits(&self, file: &str, limit: &Value) {
        let benchmarks: Map<String, Value> = NAMES.iter().map(|name| ((*name).to_owned(), limit.clone())).collect();
        self.write(file, &json!({"schema_version": "1", "benchmarks": benchmarks}).to_string());
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.path().join(file), text).unwrap();
    }

    /// Five runs of 200 ns and 5 allocations for each benchmark, but for one as `line` makes it of its name.
    fn measured(&self, one: &str, line: impl Fn(&str) -> String) {
        let good = |name: &str| format!("{name} 10 200 ns/op 64 B/op 5 allocs/op\n").repeat(5);
        let text: String = NAMES.iter().map(|name| if *name == one { line(name) } else { good(name) }).collect();
        self.write("bench_output.txt", &text);
    }

    fn check(&self) -> ExitCode {
        let output = self.0.path().join("bench_output.txt");
        check(&[output.to_str().unwrap(), self.0.path().to_str().unwrap()])
    }

    fn report(&self, file: &str) -> Value {
        serde_json::from_slice(&fs::read(self.0.path().join(file)).unwrap()).unwrap()
    }

    fn failures(&self, file: &str) -> Vec<Value> {
        self.report(file)["failures"].as_array().unwrap().clone()
    }
}

const ONE: &str = "BenchmarkSnapshotTypical";

#[test]
fn what_is_within_all_limits_passes() {
    let place = Place::new();
    place.measured("", str::to_owned);
    assert_eq!(place.check(), ExitCode::SUCCESS);
    let report = place.report("bench_report.json");
    assert_eq!(report["benchmarks"].as_object().unwrap().len(), NAMES.len());
    assert_eq!(report["benchmarks"][ONE]["regression_factor"], json!(2.0));
    assert_eq!(place.report("resource_budget_report.json")["benchmarks"][ONE]["median_allocs_op"], json!(5.0));
}

#[test]
fn the_median_of_the_runs_counts() {
    let place = Place::new();
    let one_slow =
        |name: &str| [200, 9_000, 200, 9_000, 200].map(|ns| format!("{name} 1 {ns} ns/op 5 allocs/op\n")).concat();
    place.measured(ONE, one_slow);
    assert_eq!(place.check(), ExitCode::SUCCESS);
    place.measured(ONE, |name| one_slow(name) + &format!("{name} 1 9000 ns/op 5 allocs/op\n").repeat(2));
    assert_eq!(place.check(), ExitCode::FAILURE);
}

#[test]
fn too_slow_and_too_many_allocations_fail_each_by_its_own_limit() {
    let place = Place::new();
    place.measured(ONE, |name| format!("{name} 1 350 ns/op 5 allocs/op\n"));
    assert_eq!(place.check(), ExitCode::FAILURE);
    assert_eq!(place.failures("bench_report.json"), [""; 0]);
    assert_eq!(place.failures("resource_budget_report.json"), [format!("{ONE}: 350 ns/op exceeds 300")]);

    place.measured(ONE, |name| format!("{name} 1 401 ns/op 11 allocs/op\n"));
    assert_eq!(place.check(), ExitCode::FAILURE);
    assert_eq!(place.failures("bench_report.json"), [format!("{ONE}: 401 ns/op is 4.01 times 100, more than 4.00")]);
    let expected = [format!("{ONE}: 401 ns/op exceeds 300"), format!("{ONE}: 11 allocs/op exceeds 10")];
    assert_eq!(place.failures("resource_budget_report.json"), expected);
    assert_eq!(place.report("resource_budget_report.json")["benchmarks"][ONE]["status"], "over_budget");
}

#[test]
fn what_was_not_measured_fails() {
    let place = Place::new();
    place.measured(ONE, |_| String::new());
    assert_eq!(place.check(), ExitCode::FAILURE);
    assert_eq!(place.failures("bench_report.json"), [format!("{ONE}: no ns/op in the output")]);
    place.measured(ONE, |name| format!("{name} 1 200 ns/op\n"));
    assert_eq!(place.check(), ExitCode::FAILURE);
    assert_eq!(place.failures("resource_budget_report.json"), [format!("{ONE}: no allocs/op in the output")]);
    place.write("bench_output.txt", "");
    assert_eq!(place.check(), ExitCode::FAILURE);
    assert_eq!(place.failures("bench_report.json").len(), NAMES.len());
}

#[test]
fn a_benchmark_without_a_limit_fails() {
    let place = Place::new();
    place.measured("", str::to_owned);
    let limit = json!({"baseline_ns_op": 100, "max_regression_factor": 4.0});
    place.write("bench_baseline.json", &json!({"schema_version": "1", "benchmarks": {ONE: limit}}).to_string());
    assert_eq!(place.check(), ExitCode::FAILURE);
    assert_eq!(place.failures("bench_report.json").len(), NAMES.len() - 1);
}

#[test]
fn what_can_t_be_asked_for_is_another_exit_code_and_says_why() {
    let why = |args: &[&str]| Asked::read(args).err().map(|error| format!("{error:#}")).unwrap_or_default();
    for args in [&[][..], &["a", "b", "c"]] {
        assert!(why(args).starts_with("usage: "), "{args:?}");
        assert_eq!(check(args), ExitCode::from(BAD_INPUT), "{args:?}");
    }
    assert_eq!(bench(&[]), ExitCode::from(BAD_INPUT));
    let place = Place::new();
    let folder = place.0.path().to_str().unwrap();
    let output = format!("{folder}/bench_output.txt");
    assert!(why(&[&output, folder]).contains("bench_output.txt"));
    assert_eq!(place.check(), ExitCode::from(BAD_INPUT));

    place.measured("", str::to_owned);
    let limit = json!({"baseline_ns_op": 1, "max_regression_factor": 4.0});
    for (text, expected) in [
        ("{".to_owned(), "EOF"),
        ("[]".to_owned(), "map"),
        (json!({"benchmarks": {ONE: limit}}).to_string(), "`schema_version` must be `1`, found ``"),
        (json!({"schema_version": "2", "benchmarks": {ONE: limit}}).to_string(), "found `2`"),
        (json!({"schema_version": "1"}).to_string(), "`benchmarks` must be an object"),
        (json!({"schema_version": "1", "benchmarks": {}}).to_string(), "nothing would be checked"),
        (
            json!({"schema_version": "1", "benchmarks": {ONE: {"baseline_ns_op": 1}}}).to_string(),
            "`max_regression_factor`",
        ),
        (
            json!({"schema_version": "1", "benchmarks": {ONE: {"baseline_ns_op": 0, "max_regression_factor": 4}}})
                .to_string(),
            "`baseline_ns_op` must be a number above zero",
        ),
    ] {
        place.write("bench_baseline.json", &text);
        let why = why(&[&output, folder]);
        assert!(why.contains("bench_baseline.json") && why.contains(expected), "{text}: {why}");
        assert_eq!(place.check(), ExitCode::from(BAD_INPUT), "{text}");
    }
}

/// `(benchmark, ns/op, allocs/op)` of contract surface 12.2.
const CONTRACT: [(&str, f64, f64); 11] = [
    ("BenchmarkEvaluatePolicyTypical", 30_000.0, 320.0),
    ("BenchmarkVerifyZipTypical", 260_000.0, 700.0),
    ("BenchmarkDiffRunpacksTypical", 900_000.0, 3_500.0),
    ("BenchmarkSnapshotTypical", 220_000.0, 900.0),
    ("BenchmarkDiffSnapshotsTypical", 6_000.0, 20.0),
    ("BenchmarkVerifyPackTypical", 220_000.0, 350.0),
    ("BenchmarkBuildIncidentPackTypical", 1_600_000.0, 3_500.0),
    ("BenchmarkInstallLocalTypical", 25_000_000.0, 700.0),
    ("BenchmarkVerifyInstalledTypical", 220_000.0, 400.0),
    ("BenchmarkDecodeToolCallOpenAITypical", 4_000.0, 40.0),
    ("BenchmarkEvaluateToolCallTypical", 30_000.0, 500.0),
];

#[test]
fn the_committed_limits_are_those_of_the_contract_or_tighter() {
    let read = |file: &str| fs::read_to_string(crate::places::root().join("perf").join(file)).unwrap();
    let baseline = Baseline::parse(&read("bench_baseline.json")).unwrap();
    let resources = Resources::parse(&read("resource_budgets.json")).unwrap();
    let names: BTreeSet<&str> = NAMES.into_iter().collect();
    assert_eq!(baseline.0.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
    assert_eq!(resources.0.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
    for (name, max_ns_op, max_allocs_op) in CONTRACT {
        let budget = &resources.0[name];
        assert!(budget.max_ns_op <= max_ns_op && budget.max_allocs_op <= max_allocs_op, "{name}: {budget:?}");
        let past = &baseline.0[name];
        assert!(past.max_regression_factor <= 4.0 && past.baseline_ns_op <= budget.max_ns_op, "{name}: {past:?}");
    }
}
