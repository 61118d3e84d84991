//! Nanoseconds per operation: five runs of each, on one thread, in turn, so that what disturbs the machine for a moment does
//! not hit all runs of one operation. One line per run, in the form of Go's benchmarks.

use anyhow::{Context, Result};
use gait_bench_micro::{Operation, operations};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const RUNS: usize = 5;
/// How long a run takes at least, once its number of iterations is settled.
const RUN_TIME: Duration = Duration::from_millis(200);

fn main() -> Result<()> {
    let folder = TempDir::with_prefix("gait-micro-")?;
    let mut operations = operations(folder.path())?;
    let iterations = operations.iter_mut().map(settle).collect::<Result<Vec<_>>>()?;
    for _ in 0..RUNS {
        for (operation, iterations) in operations.iter_mut().zip(&iterations) {
            let ns = repeat(operation, *iterations)?.as_nanos() as f64 / f64::from(*iterations);
            println!("{} {iterations} {ns:.1} ns/op", operation.name);
        }
    }
    Ok(())
}

/// How many times fill a run; warms up on the way.
fn settle(operation: &mut Operation) -> Result<u32> {
    let mut iterations = 1;
    loop {
        let took = repeat(operation, iterations)?;
        if took >= RUN_TIME / 2 {
            let share = RUN_TIME.as_secs_f64() / took.as_secs_f64();
            return Ok((f64::from(iterations) * share).ceil() as u32);
        }
        iterations *= 2;
    }
}

fn repeat(operation: &mut Operation, times: u32) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..times {
        (operation.run)().with_context(|| operation.name)?;
    }
    Ok(start.elapsed())
}
