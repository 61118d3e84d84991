//! `gait policy validate`: everything that is wrong with a policy file, at once.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::policy_file::{self, at_place};
use crate::render::Outcome;
use gait_core::policy::inspect::{Finding, Inspection, Severity, inspect};
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["policy", "validate"],
    label: "policy validate",
    explain: "Tell everything that is wrong with a policy file at once, with its place; check the examples of its rules; \
              warn of rules that do not do what they look like.",
    positionals: "<policy.yaml>",
    flags: &[Flag::switch("deny-warnings", "exit with 6 for warnings too"), JSON],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let [path] = call.args.positionals.as_slice() else {
        return Err(Failure::invalid("expected <policy.yaml>"));
    };
    let bytes = policy_file::bytes(path)?;
    let found = inspect(&bytes);
    let warnings = found.count(Severity::Warning);
    let ok = found.is_valid() && (warnings == 0 || !call.args.is_on("deny-warnings"));
    let source = String::from_utf8_lossy(&bytes);
    let exit = if ok { Exit::Ok } else { Exit::InvalidInput };
    Ok(Outcome::new(exit, &lines(path, &source, &found, ok), &members(path, &source, &found, ok)?))
}

fn lines(path: &OsStr, source: &str, found: &Inspection, ok: bool) -> Vec<String> {
    let mut counts = Vec::new();
    if let Some(policy) = &found.policy {
        counts.push(counted(policy.rules().len(), "rule"));
        counts.push(counted(found.examples.len(), "example"));
    }
    for (severity, word) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
        let count = found.count(severity);
        if count > 0 {
            counts.push(counted(count, word));
        }
    }
    let shown = Path::new(path).display();
    let mut lines =
        vec![format!("policy validate {}: {shown} ({})", if ok { "ok" } else { "failed" }, counts.join(", "))];
    lines.extend(found.findings.iter().map(|finding| told(path, source, finding)));
    lines
}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn told(path: &OsStr, source: &str, finding: &Finding) -> String {
    let mut text = format!("{}: {}: {}", at_place(path, finding.at), word(finding.severity), finding.message);
    text.push_str(finding.excerpt(source).trim_end_matches('\n'));
    if let Some(help) = finding.help {
        text.push_str("\n     = ");
        text.push_str(help);
    }
    text
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn members(path: &OsStr, source: &str, found: &Inspection, ok: bool) -> Result<Map<String, Value>, Failure> {
    let mut members = Map::new();
    let of = |severity| -> Value {
        let findings = found.findings.iter().filter(|finding| finding.severity == severity);
        findings.map(|finding| finding_members(source, finding)).collect()
    };
    members.insert("ok".into(), ok.into());
    members.insert("path".into(), Path::new(path).display().to_string().into());
    if let Some(policy) = &found.policy {
        let digest = policy.digest().map_err(|error| Failure::new(Exit::Internal, error))?;
        members.insert("policy_digest".into(), json!(digest));
        members.insert("rules".into(), policy.rules().len().into());
    }
    members.insert("examples".into(), found.examples.len().into());
    members.insert("errors".into(), of(Severity::Error));
    members.insert("warnings".into(), of(Severity::Warning));
    Ok(members)
}

fn finding_members(source: &str, finding: &Finding) -> Value {
    let line = source.lines().nth(finding.at.line.saturating_sub(1)).unwrap_or_default();
    let mut members = json!({
        "code": finding.code,
        "message": finding.message,
        "line": finding.at.line,
        "column": finding.at.column,
        "source": line,
    });
    if let Some(help) = finding.help {
        members["help"] = help.into();
    }
    members
}
