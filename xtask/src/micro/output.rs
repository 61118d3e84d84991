//! What benches print: a line for each run, in the form of Go's, `<name> <iterations> <value> <unit> ...`.

use std::collections::BTreeMap;

use crate::statistics::percentile;

/// Samples by benchmark and unit.
#[derive(Debug, Default)]
pub struct Output {
    samples: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
}

impl Output {
    /// Takes what is a line of a benchmark and passes over everything else, as other things are printed between.
    pub fn parse(text: &str) -> Self {
        let mut output = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, iterations, values @ ..] = words.as_slice() else { continue };
            if !name.starts_with("Benchmark") || iterations.parse::<u64>().is_err() {
                continue;
            }
            for pair in values.chunks_exact(2) {
                let Ok(value) = pair[0].parse::<f64>() else { break };
                if value.is_finite() {
                    let units = output.samples.entry(plain(name).to_owned()).or_default();
                    units.entry(pair[1].to_owned()).or_default().push(value);
                }
            }
        }
        output
    }

    /// Nanoseconds per operation, one for each run; none if it was not measured.
    pub fn ns_op(&self, name: &str) -> Option<&[f64]> {
        self.of(name, "ns/op")
    }

    /// Allocations per operation, one for each run; none if they were not counted.
    pub fn allocs_op(&self, name: &str) -> Option<&[f64]> {
        self.of(name, "allocs/op")
    }

    fn of(&self, name: &str, unit: &str) -> Option<&[f64]> {
        self.samples.get(name)?.get(unit).map(Vec::as_slice)
    }

    /// One line for each benchmark with its medians.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.samples.iter().map(|(name, units)| {
            let medians = units.iter().rev().map(|(unit, samples)| format!("{:>12.0} {unit}", median(samples)));
            format!("{name:<40}{}", medians.collect::<String>())
        })
    }
}

/// The value in the middle.
pub fn median(samples: &[f64]) -> f64 {
    percentile(samples, 50.0)
}

/// A name without the number of processors that Go appends where there is more than one.
fn plain(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((plain, number)) if number.parse::<u32>().is_ok() => plain,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_benchmarks_are_taken_and_others_passed_over() {
        let text = "goos: linux\nBenchmarkA-8   \t 100\t  12.5 ns/op\t 64 B/op\t 3 allocs/op\nBenchmarkA 90 13 ns/op\n\
                    BenchmarkB fails\nBenchmarkC 5 NaN ns/op\nBenchmarkD 5 many ns/op\nok  \tpackage 1.2s\n";
        let output = Output::parse(text);
        assert_eq!(output.ns_op("BenchmarkA"), Some([12.5, 13.0].as_slice()));
        assert_eq!(output.allocs_op("BenchmarkA"), Some([3.0].as_slice()));
        for absent in ["BenchmarkB", "BenchmarkC", "BenchmarkD", "A"] {
            assert_eq!(output.ns_op(absent), None, "{absent}");
        }
        assert_eq!(output.lines().count(), 1);
    }
}
