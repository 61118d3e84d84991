//! A policy file looked at as a whole: every error, every trap, every example (`gait policy validate`).

mod cover;
mod trap;

use std::collections::HashMap;

use super::document::{PolicyDocument, Strictness};
use super::error::{PolicyError, excerpt};
pub use super::example::Judged;
use super::example::{Example, examples};
use super::expand::Variables;
use super::fault::{Fault, Faults};
use super::model::{Policy, Position};
use super::{not_text, reading};

/// What was found in a policy file.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The policy, if there are no errors but examples that do not hold.
    pub policy: Option<Policy>,
    /// Errors and warnings, by place.
    pub findings: Vec<Finding>,
    /// The examples of its rules, judged if it is a policy.
    pub examples: Vec<Judged>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub at: Position,
    /// A word for what it is, the same in every version.
    pub code: &'static str,
    /// What it is.
    pub message: String,
    /// What to do about it, where that is not plain.
    pub help: Option<&'static str>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is no policy, or not the one that its examples say.
    Error,
    /// It is one, but probably not the one that was meant.
    Warning,
}

impl Finding {
    fn error(at: Position, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, at, code, message: message.into(), help: None }
    }

    fn warning(at: Position, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, code, message) }
    }

    fn with_help(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }

    fn of(fault: Fault, code: &'static str) -> Self {
        Self::error(fault.at, code, fault.message)
    }

    /// The line of `source` that this is about with the one before it and a mark below the column.
    pub fn excerpt(&self, source: &str) -> String {
        excerpt(source, self.at)
    }
}

impl Inspection {
    /// How many findings are that bad.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Whether there are no errors.
    pub fn is_valid(&self) -> bool {
        self.count(Severity::Error) == 0
    }
}

/// Looks at the policy file `bytes` as strict readers do.
pub fn inspect(bytes: &[u8]) -> Inspection {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let error = not_text(&String::from_utf8_lossy(&bytes[..error.valid_up_to()]));
            let findings = vec![Finding::error(error.at, "yaml", error.message)];
            return Inspection { policy: None, findings, examples: Vec::new() };
        }
    };
    let read = reading(text, Strictness::Strict);
    let is_policy = read.faults.is_empty();
    let mut findings: Vec<Finding> = read.faults.into_iter().map(|fault| Finding::of(fault, "invalid")).collect();
    trap::traps(&read.document, &read.policy, &mut findings);
    if is_policy {
        cover::uncovered(&read.policy, &mut findings);
    }
    let examples = judge(&read.document, &read.policy, is_policy, &mut findings);
    findings.sort_by_key(|finding| (finding.at, finding.severity));
    Inspection { policy: is_policy.then_some(read.policy), findings, examples }
}

/// The examples of the policy file `text` that do not hold or are none, by place.
///
/// # Errors
/// It is no policy.
pub fn broken_examples(text: &str) -> Result<Vec<Finding>, PolicyError> {
    let read = reading(text, Strictness::Strict);
    if let Some(fault) = read.faults.into_iter().next() {
        return Err(PolicyError::of(fault, text));
    }
    let mut findings = Vec::new();
    judge(&read.document, &read.policy, true, &mut findings);
    findings.retain(|finding| finding.severity == Severity::Error);
    findings.sort_by_key(|finding| finding.at);
    Ok(findings)
}

/// Reads all examples and judges them; what a text with faults says about them is not worth telling.
fn judge(document: &PolicyDocument, policy: &Policy, is_policy: bool, findings: &mut Vec<Finding>) -> Vec<Judged> {
    let variables = Variables::stand_ins();
    let expanded = match policy.expand(&variables) {
        Ok(expanded) => expanded,
        Err(error) => {
            let at = error.position().unwrap_or_default();
            let finding = Finding::warning(at, "unknown_variable", error.to_string())
                .with_help("`gait exec` fills in ${workspace}, ${home} and ${tmp}, and refuses others");
            findings.push(finding);
            policy.clone()
        }
    };
    let faults = Faults::default();
    let read = read_examples(document, &expanded, &variables, &faults);
    findings.extend(faults.into_vec().into_iter().map(|fault| Finding::of(fault, "example")));
    if !is_policy {
        return Vec::new();
    }
    let judged: Vec<Judged> = read.iter().map(|example| example.judge(&expanded)).collect();
    let broken = judged.iter().filter_map(|example| Some((example.at, example.failure.clone()?)));
    findings.extend(broken.map(|(at, message)| Finding::error(at, "example", message)));
    judged
}

fn read_examples(document: &PolicyDocument, policy: &Policy, variables: &Variables, faults: &Faults) -> Vec<Example> {
    let has_examples = |rule: &&super::document::At<super::document::RuleDocument>| {
        let examples = &rule.value.examples.value.0;
        !examples.matching.value.is_empty() || !examples.others.value.is_empty()
    };
    let mut rules: HashMap<Position, &super::Rule> = HashMap::new();
    for rule in &policy.rules {
        rules.entry(rule.position).or_insert(rule);
    }
    let with_examples = document.rules.value.iter().filter(has_examples);
    with_examples
        .filter_map(|document| Some((document, *rules.get(&document.at)?)))
        .flat_map(|(document, rule)| examples(document, rule, variables, faults))
        .collect()
}

#[cfg(test)]
mod tests;
