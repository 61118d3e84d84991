//! The grader of guarded runs: `guarded` of an entry in `gait.yaml` (contract guarded-run 6).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::config::ConfigFixture;
use super::grade::{Finding, GradeError, Grader, STANDARD, Subject, candidate_path};
use super::run::RunError;
use crate::canonical::canonical_bytes;
use crate::guarded::redecide::{Compare, divergences, expand};
use crate::guarded::verify::{Loaded, load};
use crate::guarded::{Derivation, Plan};
use crate::journal::{Ending, Enforced};
use crate::policy::pattern::PathPattern;
use crate::policy::{Policy, Strictness};

/// Most entries of a list in the details.
const LISTED: usize = 100;

/// `guarded` of an entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    policy: Option<String>,
    compare: CompareWord,
    actions: Actions,
    noise: Vec<Form>,
    allow_verdict_changes: Vec<Form>,
    exit_code: ExitCode,
    require_complete: bool,
    require_layers: Vec<String>,
    paths: Paths,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: None,
            compare: CompareWord::Verdict,
            actions: Actions::Ignore,
            noise: Vec::new(),
            allow_verdict_changes: Vec::new(),
            exit_code: ExitCode::Same,
            require_complete: true,
            require_layers: Vec::new(),
            paths: Paths::Workspace,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CompareWord {
    Verdict,
    Reasons,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Actions {
    Ignore,
    NoNew,
    Exact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExitCode {
    Same,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Paths {
    Workspace,
    Absolute,
}

/// Which actions are meant: all members that are given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Form {
    tool_name: Option<String>,
    value: Option<String>,
    operation: Option<String>,
}

impl Form {
    fn means(&self, action: &ActionRecord) -> bool {
        let values = [&action.value, &action.relative];
        self.tool_name.as_ref().is_none_or(|tool| *tool == action.tool_name)
            && self.operation.as_ref().is_none_or(|operation| *operation == action.operation)
            && self.value.as_ref().is_none_or(|text| {
                let pattern = PathPattern::parse(text);
                values.iter().any(|value| pattern.matches(value))
            })
    }
}

/// The graders of an entry: a fourth one if it has `guarded`.
///
/// # Errors
/// [`RunError::Settings`] for bad members.
pub fn graders_of(entry: &ConfigFixture) -> Result<Vec<Grader>, RunError> {
    let mut graders = STANDARD.to_vec();
    if entry.more.contains_key("guarded") {
        settings(entry).map_err(|message| RunError::Settings { message })?;
        graders.push(("guarded", grade_guarded));
    }
    Ok(graders)
}

fn settings(entry: &ConfigFixture) -> Result<Settings, String> {
    let value = entry.more.get("guarded").cloned().unwrap_or(Value::Null);
    let settings: Settings =
        serde_json::from_value(value).map_err(|e| format!("guarded settings of {}: {e}", entry.name))?;
    if let Some(path) = &settings.policy {
        read_policy(path).map_err(|e| format!("guarded settings of {}: {e}", entry.name))?;
    }
    Ok(settings)
}

fn read_policy(path: &str) -> Result<Policy, String> {
    let bytes = crate::file::read(Path::new(path)).map_err(|e| format!("read policy: {e}"))?;
    Policy::parse_bytes(&bytes, Strictness::Strict).map_err(|e| e.to_string())
}

/// One run as it is compared.
struct Side {
    plan: Plan,
    complete: bool,
    end: Option<(u64, u64)>,
    actions: BTreeMap<Vec<u8>, ActionRecord>,
}

/// One distinct action and all that was decided about it.
struct ActionRecord {
    intent_id: String,
    tool_name: String,
    operation: String,
    value: String,
    relative: String,
    /// By verdict, or by verdict, codes and rule.
    decisions: Vec<String>,
    denied: bool,
}

impl ActionRecord {
    fn entry(&self, was: &str, now: &str) -> Value {
        json!({"intent_id": self.intent_id, "tool_name": self.tool_name, "value": self.value, "was": was, "now": now})
    }
}

fn grade_guarded(subject: &mut Subject<'_>) -> Result<Finding, GradeError> {
    let settings = settings(subject.entry).map_err(GradeError::Other)?;
    let fixture = match load_file(subject.runpack) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(Finding::error("evidence_invalid", error)),
    };
    let own = side(&fixture, &settings).map_err(GradeError::Other)?;
    let mut grade = Grade::default();
    if let Some(path) = &settings.policy {
        grade.policy(&fixture, path, &settings).map_err(GradeError::Other)?;
    }
    grade.incomplete |= settings.require_complete && !own.complete;
    let has_candidate = !subject.fixture.candidate_runpack.trim().is_empty();
    if has_candidate {
        let candidate = match load_file(&candidate_path(subject)) {
            Ok(loaded) => side(&loaded, &settings).map_err(GradeError::Other)?,
            Err(error) => return Ok(Finding::error("evidence_invalid", error)),
        };
        grade.compare(&own, &candidate, &settings);
        grade.layers(&candidate.plan, &settings);
    } else {
        grade.layers(&own.plan, &settings);
    }
    Ok(grade.finding())
}

fn load_file(path: &Path) -> Result<Loaded, String> {
    let file = File::open(path).map_err(|e| format!("open {}: {e}", path.display()))?;
    load(BufReader::new(file))
}

#[derive(Default)]
struct Grade {
    lists: BTreeMap<&'static str, Vec<Value>>,
    incomplete: bool,
    exit_code: Option<Value>,
    missing_layers: Vec<String>,
}

impl Grade {
    fn add(&mut self, reason: &'static str, entry: Value) {
        let list = self.lists.entry(reason).or_default();
        if list.len() < LISTED {
            list.push(entry);
        }
    }

    /// Every recorded decision of the policy, made again.
    fn policy(&mut self, fixture: &Loaded, path: &str, settings: &Settings) -> Result<(), String> {
        let policy = expand(&read_policy(path)?, &fixture.receipt.plan)?;
        let compare = match settings.compare {
            CompareWord::Verdict => Compare::Verdict,
            CompareWord::Reasons => Compare::Reasons,
        };
        let derivation = Derivation::new(&fixture.ledger, &fixture.chain).map_err(|e| e.to_string())?;
        for divergence in divergences(&fixture.ledger, &derivation, &policy, compare)? {
            self.add("policy_drift", serde_json::to_value(divergence).map_err(|e| e.to_string())?);
        }
        Ok(())
    }

    fn compare(&mut self, fixture: &Side, candidate: &Side, settings: &Settings) {
        self.incomplete |= settings.require_complete && !candidate.complete;
        if settings.exit_code == ExitCode::Same && fixture.end != candidate.end {
            self.exit_code = Some(json!({"was": fixture.end, "now": candidate.end}));
        }
        let quiet = |action: &ActionRecord, forms: &[Form]| forms.iter().any(|form| form.means(action));
        for (key, action) in &candidate.actions {
            if quiet(action, &settings.noise) {
                continue;
            }
            match fixture.actions.get(key) {
                None if action.denied => self.add("new_denied_action", action.entry("", &action.decisions.join(", "))),
                None if settings.actions != Actions::Ignore => {
                    self.add("new_action", action.entry("", &action.decisions.join(", ")));
                }
                None => {}
                Some(before) => {
                    let flipped = before.decisions != action.decisions;
                    if flipped && !quiet(action, &settings.allow_verdict_changes) {
                        let (was, now) = (before.decisions.join(", "), action.decisions.join(", "));
                        self.add("verdict_drift", action.entry(&was, &now));
                    }
                }
            }
        }
        if settings.actions == Actions::Exact {
            for (key, action) in &fixture.actions {
                if !candidate.actions.contains_key(key) && !quiet(action, &settings.noise) {
                    self.add("missing_action", action.entry(&action.decisions.join(", "), ""));
                }
            }
        }
    }

    fn layers(&mut self, plan: &Plan, settings: &Settings) {
        self.missing_layers =
            settings.require_layers.iter().filter(|layer| !plan.layers.contains(layer)).cloned().collect();
    }

    fn finding(self) -> Finding {
        let mut details = json!({});
        for (reason, list) in &self.lists {
            details[*reason] = list.clone().into();
        }
        if let Some(codes) = &self.exit_code {
            details["exit_code"] = codes.clone();
        }
        if !self.missing_layers.is_empty() {
            details["missing_layers"] = self.missing_layers.clone().into();
        }
        let mut finding = Finding::of(details)
            .because("incomplete_run", self.incomplete)
            .because("exit_code_drift", self.exit_code.is_some())
            .because("layer_missing", !self.missing_layers.is_empty());
        for reason in self.lists.keys() {
            finding = finding.because(reason, true);
        }
        finding
    }
}

fn side(loaded: &Loaded, settings: &Settings) -> Result<Side, String> {
    let derivation = Derivation::new(&loaded.ledger, &loaded.chain).map_err(|e| e.to_string())?;
    let plan = loaded.receipt.plan.clone();
    let mut actions: BTreeMap<Vec<u8>, ActionRecord> = BTreeMap::new();
    for tally in derivation.tallies() {
        let entry = &loaded.ledger.intents()[tally.intent];
        let decision = &loaded.ledger.decisions()[tally.decision];
        let mut intent: Value = serde_json::from_slice(&entry.canonical).map_err(|e| e.to_string())?;
        let word = |intent: &Value, name: &str| intent["targets"][0][name].as_str().unwrap_or_default().to_owned();
        let (kind, value, operation) = (word(&intent, "kind"), word(&intent, "value"), word(&intent, "operation"));
        let relative = if kind == "path" { relative(&value, &plan) } else { value.clone() };
        if settings.paths == Paths::Workspace {
            intent["targets"][0]["value"] = relative.clone().into();
            // Who and where differ between machines; what is done does not.
            intent["context"] = Value::Null;
        }
        let key = canonical_bytes(&intent).map_err(|e| e.to_string())?;
        let action = actions.entry(key).or_insert_with(|| ActionRecord {
            intent_id: format!("intent_{}", entry.digest),
            tool_name: entry.tool_name.to_string(),
            operation,
            value,
            relative,
            decisions: Vec::new(),
            denied: false,
        });
        action.denied |= decision.enforced == Enforced::Deny;
        let told = match settings.compare {
            CompareWord::Verdict => decision.verdict.as_str().to_owned(),
            CompareWord::Reasons => format!(
                "{} {} ({})",
                decision.verdict.as_str(),
                decision.matched_rule.as_deref().unwrap_or("-"),
                decision.reason_codes.join(" ")
            ),
        };
        if !action.decisions.contains(&told) {
            action.decisions.push(told);
            action.decisions.sort();
        }
    }
    let end = match loaded.ledger.ending() {
        Some(Ending::Closed(close)) => Some((close.exit_code, close.signal.unwrap_or(0))),
        _ => None,
    };
    Ok(Side { plan, complete: derivation.complete(), end, actions })
}

/// A path with the longest of the run's own folders replaced by its variable.
fn relative(path: &str, plan: &Plan) -> String {
    let variables = &plan.variables;
    let mut folders =
        [("${workspace}", &variables.workspace), ("${home}", &variables.home), ("${tmp}", &variables.tmp)];
    folders.sort_by_key(|(_, folder)| std::cmp::Reverse(folder.len()));
    for (variable, folder) in folders {
        if !folder.is_empty()
            && let Some(rest) = path.strip_prefix(folder.as_str())
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return format!("{variable}{rest}");
        }
    }
    path.to_owned()
}
