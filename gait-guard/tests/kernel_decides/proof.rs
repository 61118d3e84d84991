//! That kernel and engine agree, and that a difference would be seen.

use std::mem::offset_of;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use gait_core::policy::{Policy, Strictness, Variables};
use gait_ebpf::tables::{CELLS, Effect, Tables};
use gait_guard::bpf::trial::Trial;
use kernel_suite::suite::{Test, test};

use super::agreement::{Case, Tally};
use super::dice::Dice;
use super::{BPF, RING_BYTES, policies};

const POLICIES: usize = 200;
const PRESETS: [&str; 5] = ["default", "dev", "allow-all", "deny-network", "read-only"];

/// Subjects for each random policy and for each preset.
fn counts() -> (u64, u64) {
    if std::env::var_os("GAIT_AGREEMENT").is_some_and(|word| word == "full") {
        (100_000, 1_000_000)
    } else {
        (10_000, 100_000)
    }
}

pub fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = PRESETS
        .iter()
        .map(|name| {
            test(format!("the_kernel_decides_as_user_space_does_by_the_preset_{name}"), [BPF], move || preset(name))
        })
        .collect();
    tests.extend([
        test("the_kernel_decides_as_user_space_does_by_random_policies", [BPF], random_policies),
        test("a_changed_cell_of_the_tables_is_seen_as_a_difference", [BPF], changed_cells),
        test("a_policy_that_was_not_filled_in_is_seen_as_a_difference", [BPF], another_policy),
    ]);
    tests
}

fn preset(name: &str) -> anyhow::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../policies/{name}.yaml"));
    let policy = Policy::parse(&std::fs::read_to_string(file)?, Strictness::Strict)?;
    let variables = Variables {
        workspace: "/w/p".to_owned(),
        home: Some("/h/dev".to_owned()),
        tmp: Some("/tmp/gait-x".to_owned()),
    };
    let case = Case::of(policy.expand(&variables)?)?.context("a shipped policy is too large")?;
    let tally = case.compare(&mut Trial::new(RING_BYTES)?, counts().1, &mut Dice::new(1))?;
    tally.agreed(name, if name == "allow-all" { &[Effect::Allow] } else { &[Effect::Allow, Effect::Deny] })
}

fn random_policies() -> anyhow::Result<()> {
    let (mut trial, mut dice) = (Trial::new(RING_BYTES)?, Dice::new(2));
    let (mut sum, mut compared, mut too_large, start) = (Tally::default(), 0, 0, Instant::now());
    while compared < POLICIES {
        let Some(case) = Case::of(policies::policy(&mut dice))? else {
            too_large += 1;
            ensure!(too_large < POLICIES, "most random policies are too large to compile");
            continue;
        };
        sum.add(case.compare(&mut trial, counts().0, &mut dice)?);
        compared += 1;
    }
    println!(
        "  {compared} random policies ({too_large} more were too large) in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    sum.agreed("random policies", &[Effect::Allow, Effect::Deny, Effect::Ask])
}

const SMALL: &str = r#"{ "default_verdict": "block", "rules": [{ "name": "r", "effect": "allow",
    "endpoint": { "path_allowlist": ["/a/**", "/w/p/**"], "path_denylist": ["**/.env", "/a/*/b"] } }] }"#;

/// Changes every cell that the policy uses, one at a time: most changes must be noticed. Not all can: some cells are of
/// rows where nothing can be told apart any more.
fn changed_cells() -> anyhow::Result<()> {
    let case = Case::of(Policy::parse(SMALL, Strictness::Strict)?)?.context("a small policy is too large")?;
    let mut trial = Trial::new(RING_BYTES)?;
    trial.fill(&case.image);
    let first = offset_of!(Tables, cells) / 4;
    let used = trial.tables()[first..first + CELLS].iter().rposition(|cell| *cell != 0).context("no cells")? + 1;
    let (mut noticed, mut changed) = (0, 0);
    for cell in first..first + used {
        let tally = with_changed(&mut trial, cell, &case)?;
        changed += 1;
        noticed += usize::from(tally.different > 0);
    }
    println!("  {noticed} of {changed} changed cells were noticed");
    ensure!(noticed * 2 > changed, "only {noticed} of {changed} changed cells were noticed");
    let after = case.compare_with_tables_as_they_are(&mut trial, 4_000, &mut Dice::new(3))?;
    ensure!(after.different == 0, "the cells were put back, and still: {:?}", after.told);
    Ok(())
}

/// The comparison while one word of the tables is another.
fn with_changed(trial: &mut Trial, word: usize, case: &Case) -> anyhow::Result<Tally> {
    let before = trial.tables()[word];
    trial.tables()[word] = before ^ 1;
    let tally = case.compare_with_tables_as_they_are(trial, 4_000, &mut Dice::new(3));
    trial.tables()[word] = before;
    tally
}

fn another_policy() -> anyhow::Result<()> {
    let small = Case::of(Policy::parse(SMALL, Strictness::Strict)?)?.context("a small policy is too large")?;
    let other = SMALL.replace("/a/*/b", "/a/*/c");
    let other = Case::of(Policy::parse(&other, Strictness::Strict)?)?.context("a small policy is too large")?;
    let mut trial = Trial::new(RING_BYTES)?;
    trial.fill(&other.image);
    let tally = small.compare_with_tables_as_they_are(&mut trial, 20_000, &mut Dice::new(4))?;
    ensure!(tally.different > 0, "the tables of another policy were taken for the right ones");
    Ok(())
}
