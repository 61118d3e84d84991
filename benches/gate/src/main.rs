//! What a decision costs: the compiled policy beside Cedar and two forms of Rego, by 1,000 rules that say the same.
//!
//! Every decision is timed alone, so percentiles are those of single decisions, each with what reading the clock
//! twice costs on top; that is measured too, in the same rounds. Before anything is timed, all engines must agree
//! on all subjects.

mod cedar;
mod engine;
mod gait;
mod rego;
mod samples;
mod world;

use anyhow::{Result, ensure};
use engine::Engine;
use samples::Samples;
use std::hint::black_box;
use std::time::Instant;
use world::{Subject, World};

/// Goals for a decision of the compiled policy, in nanoseconds.
const GOAL_P50: f64 = 250.0;
const GOAL_P99: f64 = 1_000.0;

fn main() -> Result<()> {
    let rounds = match std::env::args().nth(1) {
        Some(rounds) => rounds.parse()?,
        None => 20,
    };
    let world = World::new();
    let mut engines: Vec<Box<dyn Engine>> = vec![
        Box::new(gait::Compiled::new(&world)?),
        Box::new(gait::Reference::new(&world)?),
        Box::new(cedar::Cedar::new(&world)?),
        Box::new(rego::Rego::with_rules(&world)?),
        Box::new(rego::Rego::with_data(&world)?),
    ];
    let allowed = agreement(&mut engines, &world.subjects)?;
    let mut lengths: Vec<usize> = world.subjects.iter().map(|subject| subject.path.len()).collect();
    lengths.sort_unstable();
    let length = |percent: usize| lengths[(lengths.len() - 1) * percent / 100];
    println!(
        "{} rules, {} subjects ({allowed} allowed), paths of {} to {} bytes (median {}, p99 {}); all engines agree",
        world.rule_count(),
        world.subjects.len(),
        length(0),
        length(100),
        length(50),
        length(99)
    );

    let mut clock = Samples::default();
    let mut samples: Vec<Passes> = vec![Passes::default(); engines.len()];
    for _ in 0..rounds {
        for _ in &world.subjects {
            let start = Instant::now();
            clock.add(black_box(start).elapsed());
        }
        for (engine, passes) in engines.iter_mut().zip(&mut samples) {
            // The first pass of a round finds what the other engines left in the caches.
            for samples in [&mut passes.first, &mut passes.second] {
                for index in 0..world.subjects.len() {
                    let start = Instant::now();
                    let allowed = black_box(engine.allows(black_box(index)));
                    samples.add(start.elapsed());
                    allowed?;
                }
            }
        }
    }
    report(&engines, &samples, &clock, rounds);
    Ok(())
}

/// Times of an engine: right after another engine ran, and right after itself.
#[derive(Clone, Default)]
struct Passes {
    first: Samples,
    second: Samples,
}

/// How many subjects are allowed, by all engines.
fn agreement(engines: &mut [Box<dyn Engine>], subjects: &[Subject]) -> Result<usize> {
    let mut allowed = 0;
    for (index, subject) in subjects.iter().enumerate() {
        let verdicts = engines.iter_mut().map(|engine| engine.allows(index)).collect::<Result<Vec<bool>>>()?;
        let agree = verdicts.iter().all(|verdict| *verdict == verdicts[0]);
        ensure!(agree, "engines disagree on {} {}: {verdicts:?}", subject.tool(), subject.path);
        allowed += usize::from(verdicts[0]);
    }
    ensure!(0 < allowed && allowed < subjects.len(), "subjects that are all allowed or all refused prove nothing");
    Ok(allowed)
}

fn report(engines: &[Box<dyn Engine>], samples: &[Passes], clock: &Samples, rounds: usize) {
    let percentiles = |samples: &Samples| [50.0, 99.0].map(|percent| samples.percentile(percent));
    let [clock_p50, clock_p99] = percentiles(clock);
    println!(
        "single decisions, ns, {rounds} rounds; the clock's own time, p50 {clock_p50:.0} and p99 {clock_p99:.0}, is in all of them\n"
    );
    println!("  {:<30}{:>22}{:>24}{:>22}", "", "after itself", "/ compiled policy", "after the others");
    println!("  {:<30}{:>11}{:>11}{:>12}{:>12}{:>11}{:>11}", "", "p50", "p99", "p50", "p99", "p50", "p99");
    let Some(own) = samples.first().map(|passes| percentiles(&passes.second)) else { return };
    for (engine, passes) in engines.iter().zip(samples) {
        let ([p50, p99], [cold_p50, cold_p99]) = (percentiles(&passes.second), percentiles(&passes.first));
        println!(
            "  {:<30}{p50:>11.0}{p99:>11.0}{:>12.2}{:>12.2}{cold_p50:>11.0}{cold_p99:>11.0}",
            engine.name(),
            p50 / own[0],
            p99 / own[1]
        );
    }
    let met = |found: f64, goal: f64| if found <= goal { "met" } else { "MISSED" };
    let ([p50, p99], [goal_p50, goal_p99]) = (own, [GOAL_P50, GOAL_P99]);
    println!(
        "\n  goals of the compiled policy: p50 {goal_p50:.0} {}, p99 {goal_p99:.0} {}",
        met(p50, goal_p50),
        met(p99, goal_p99)
    );
}
