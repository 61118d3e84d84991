//! Allocations per operation: five runs of each. A buffer that grows counts each time, as it does in Go, where growing is
//! allocating anew. One line per run, in the form of Go's benchmarks.

use anyhow::{Context, Result};
use gait_bench_micro::operations;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RUNS: usize = 5;
/// In one run; what happens once only, such as a table made on first use, is in the warm-up before.
const ITERATIONS: usize = 20;

fn main() -> Result<()> {
    let folder = TempDir::with_prefix("gait-micro-")?;
    for operation in &mut operations(folder.path())? {
        (operation.run)().with_context(|| operation.name)?;
        for _ in 0..RUNS {
            let region = Region::new(ALLOCATOR);
            for _ in 0..ITERATIONS {
                (operation.run)().with_context(|| operation.name)?;
            }
            let change = region.change();
            let allocations = (change.allocations + change.reallocations).div_ceil(ITERATIONS);
            println!("{} {ITERATIONS} {allocations} allocs/op", operation.name);
        }
    }
    Ok(())
}
