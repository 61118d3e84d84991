//! `gait scout snapshot`: tools and servers of a workspace, and how far a policy covers them.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::render::Outcome;
use crate::{clock, pack};
use gait_core::policy::{Policy, Strictness};
use gait_core::scout::coverage::{Coverage, coverage};
use gait_core::scout::snapshot::{Scope, Snapshot, snapshot};
use gait_core::{file, json};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["scout", "snapshot"],
    label: "scout snapshot",
    explain: "List the tools and MCP servers of a workspace and compute how far policies cover them.",
    positionals: "",
    flags: &[
        Flag::value("roots", "<csv>", "folders to look through").default("."),
        Flag::value("include", "<csv>", "look only at paths that match one of these patterns"),
        Flag::value("exclude", "<csv>", "leave out paths that match one of these patterns"),
        Flag::value("policy", "<csv>", "policies whose rules cover tools"),
        Flag::value("out", "<path>", "where the snapshot goes")
            .default("./gait-out/inventory_snapshot_<snapshot_id>.json"),
        Flag::value("coverage-out", "<path>", "where the coverage goes, with --policy")
            .default("./gait-out/inventory_coverage_<snapshot_id>.json"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &["note: links are not followed; .git, node_modules, __pycache__ and .beads are left out."],
    run,
};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    ok: bool,
    snapshot_path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    coverage_path: &'a str,
    snapshot_id: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    items: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<&'a Coverage>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    if !call.args.positionals.is_empty() {
        return Err(Failure::invalid("unexpected positional arguments"));
    }
    let mut roots = call.args.csv("roots");
    if roots.is_empty() {
        roots.push(".".into());
    }
    let scope = Scope { roots, include: call.args.csv("include"), exclude: call.args.csv("exclude") };
    let found = snapshot(&scope, clock::now()).map_err(Failure::invalid)?;
    let or = |flag: &str, what: &str| match call.args.trimmed(flag) {
        Some(path) => path.to_string(),
        None => format!("./gait-out/inventory_{what}_{}.json", found.snapshot_id),
    };
    let snapshot_path = or("out", "snapshot");
    write(&snapshot_path, &found)?;

    let policies = call.args.csv("policy");
    let covered = if policies.is_empty() { None } else { Some(cover(&found, &policies)?) };
    let mut coverage_path = call.args.text("coverage-out").to_string();
    if let Some(covered) = &covered {
        coverage_path = or("coverage-out", "coverage");
        write(&coverage_path, covered)?;
    }
    let mut lines = vec![format!("scout snapshot ok: {snapshot_path}")];
    lines.extend(covered.as_ref().map(|covered| {
        format!(
            "coverage: discovered={} gated={} high_risk_ungated={} coverage_percent={:.2}",
            covered.discovered_tools, covered.gated_tools, covered.high_risk_ungated_tools, covered.coverage_percent
        )
    }));
    let answer = Answer {
        ok: true,
        snapshot_path: &snapshot_path,
        coverage_path: &coverage_path,
        snapshot_id: &found.snapshot_id,
        items: found.items.len(),
        coverage: covered.as_ref(),
    };
    Ok(Outcome::new(Exit::Ok, &lines, &answer))
}

fn write(path: &str, record: &impl Serialize) -> Result<(), Failure> {
    let text = json::to_compact_html_safe(record).map_err(Failure::invalid)?;
    pack::write_file(Path::new(path), text.as_bytes())
}

fn cover(found: &Snapshot, policies: &[String]) -> Result<Coverage, Failure> {
    let (mut digests, mut names) = (BTreeSet::new(), BTreeSet::new());
    for path in policies {
        let bytes = file::read(Path::new(path)).map_err(|error| Failure::invalid(format!("read policy: {error}")))?;
        let policy = Policy::parse_bytes(&bytes, Strictness::Lenient).map_err(Failure::invalid)?;
        digests.insert(policy.digest().map_err(Failure::invalid)?.to_string());
        names.extend(policy.rules().iter().flat_map(|rule| rule.matcher.tool_names.iter().cloned()));
    }
    Ok(coverage(found, digests, &names))
}
