//! What a run came to, for people and for programs.

use crate::exit::{Category, Exit, Status};
use crate::failure::Failure;
use crate::render::error_fields;
use gait_core::digest::Sha256Hex;
use gait_core::runpack::footer::ticket_footer;
use gait_core::runpack::manifest::SignatureStatus;
use gait_core::text::printable;
use gait_guard::exec::{Engine, ExecError, PlanError, Ran};
use gait_guard::hybrid::LIMIT;
use gait_guard::launch::Status as AgentStatus;
use gait_guard::session::{Finished, Stop};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Distinct blocks that people are shown; programs get up to a thousand.
const BLOCKS_SHOWN: usize = 20;

/// What comes back from the supervisor's process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// The agent's status, or that of gait.
    code: u8,
    /// Members of the JSON answer.
    fields: Map<String, Value>,
    /// SHA-256 of the runpack as it was written, if there is one.
    bundle_digest: Option<Sha256Hex>,
    /// What failed, if the run did not go as it should.
    failure: Option<FailureRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FailureRecord {
    exit: u8,
    is_io: bool,
    message: String,
    hint: Option<String>,
}

impl FailureRecord {
    /// The failure that it tells of.
    fn to_failure(&self) -> Failure {
        Failure {
            category: self.is_io.then_some(Category::IoFailure),
            hint: self.hint.clone(),
            ..Failure::new(Exit::from_code(self.exit).unwrap_or(Exit::Internal), &self.message)
        }
    }
}

impl Report {
    /// What is to be said about a run.
    pub fn of(result: Result<Ran, ExecError>) -> Self {
        match result {
            Ok(ran) => Self::of_run(&ran),
            Err(error) => Self::of_error(error),
        }
    }

    fn of_run(ran: &Ran) -> Self {
        let mut fields = evidence(&ran.finished);
        let (exit_code, signal) = match ran.end.status {
            AgentStatus::Exited(code) => (code, 0),
            AgentStatus::Signaled(signal) => (0, signal),
        };
        let stopped = ran.finished.stop.map(stop_words);
        fields.insert("ok".into(), stopped.is_none().into());
        fields.insert("exit_code".into(), exit_code.into());
        fields.insert("signal".into(), signal.into());
        fields.insert("timed_out".into(), ran.timed_out().into());
        fields.insert("engine".into(), ran.engine.name().into());
        if ran.engine == Engine::Hybrid {
            fields.insert("engine_limit".into(), LIMIT.into());
        }
        fields.insert("layers".into(), ran.layers.clone().into());
        fields.insert("degraded".into(), ran.degraded.clone().into());
        fields.insert("environment_withheld".into(), ran.withheld.into());
        fields.insert("unsealed_runs".into(), ran.unsealed.clone().into());
        if let Some(failed) = ran.end.not_executed {
            fields.insert("not_executed".into(), failed.errno.to_string().into());
        }
        let failure = stopped.map(|message| FailureRecord {
            exit: Exit::Internal.code(),
            is_io: false,
            message: message.into(),
            hint: None,
        });
        let code = failure.as_ref().map_or(ran.end.status.code(), |failure| failure.exit);
        Self { code, fields, bundle_digest: Some(ran.finished.bundle_digest), failure }
    }

    fn of_error(error: ExecError) -> Self {
        let (exit, is_io) = match &error {
            ExecError::Plan(PlanError::Missing { .. } | PlanError::Engine { .. })
            | ExecError::Landlock(_)
            | ExecError::Engine { .. } => (Exit::DependencyMissing, false),
            ExecError::Plan(PlanError::Canonical(_)) | ExecError::Run { .. } => (Exit::Internal, false),
            ExecError::Plan(PlanError::Network { .. }) => (Exit::DependencyMissing, false),
            ExecError::Scratch(_) | ExecError::Programs(_) | ExecError::Start(_) | ExecError::Finish { .. } => {
                (Exit::Internal, true)
            }
            _ => (Exit::InvalidInput, false),
        };
        let hint = match &error {
            ExecError::Plan(PlanError::Engine { .. }) => Some(
                "`gait doctor` tells which engines can be used here; `--engine auto` takes the best of them".into(),
            ),
            ExecError::Plan(PlanError::Missing { layer, .. }) => {
                Some(format!("`gait doctor` says more; without it {}", layer.cost()))
            }
            ExecError::Plan(PlanError::Network { .. }) => Some(
                "use a policy that denies all network, or --allow-degraded network: then every address is refused"
                    .into(),
            ),
            ExecError::Engine { .. } | ExecError::Grants(_) => {
                Some("`gait doctor` tells which engines can be used here; --engine notify needs no BPF".into())
            }
            _ => None,
        };
        let message = error.to_string();
        let bundle_digest = match &error {
            ExecError::Run { sealed: Some(finished), .. } => Some(finished.bundle_digest),
            _ => None,
        };
        let fields = match error {
            ExecError::Run { sealed: Some(finished), .. } => evidence(&finished),
            ExecError::Finish { run_id, .. } => Map::from_iter([("run_id".to_owned(), run_id.into())]),
            _ => Map::new(),
        };
        let failure = FailureRecord { exit: exit.code(), is_io, message, hint };
        Self { code: exit.code(), fields, bundle_digest, failure: Some(failure) }
    }

    /// To be sent through a pipe.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A map of plain values can always be written; an empty text is refused by the reader.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What came through the pipe. A failure without evidence is one of the verb.
    ///
    /// # Errors
    /// That failure.
    pub fn read(bytes: &[u8]) -> Result<Self, Failure> {
        let broken = |error| Failure::new(Exit::Internal, format!("the supervisor's answer can't be read: {error}"));
        let report: Self = serde_json::from_slice(bytes).map_err(broken)?;
        match report.failure {
            Some(failure) if !report.fields.contains_key("bundle") => {
                Err(Failure { fields: report.fields, ..failure.to_failure() })
            }
            _ => Ok(report),
        }
    }

    /// Where the runpack is.
    pub fn bundle(&self) -> Option<String> {
        self.fields.get("bundle")?.as_str().map(str::to_owned)
    }

    /// SHA-256 of the runpack as it was written.
    pub fn bundle_digest(&self) -> Option<&Sha256Hex> {
        self.bundle_digest.as_ref()
    }

    /// What its manifest's digest is.
    pub fn manifest_digest(&self) -> &str {
        self.text("manifest_digest")
    }

    /// Adds what `verify` says of the runpack. One that does not hold is a failure of gait.
    pub fn verified(&mut self, verdict: &Result<SignatureStatus, String>) {
        let ok = verdict.is_ok();
        let words = match verdict {
            Ok(status) => status.word().to_owned(),
            Err(findings) => findings.clone(),
        };
        self.fields.insert("verify".into(), json!({ "ok": ok, "detail": words }));
        if !ok && self.failure.is_none() {
            self.code = Exit::VerificationFailed.code();
            self.fields.insert("ok".into(), false.into());
        }
    }

    /// Lets blocks decide about the exit code.
    pub fn fail_on_block(&mut self) {
        if self.failure.is_none() && self.number("distinct_blocks") > 0 {
            self.code = Exit::PolicyBlocked.code();
        }
    }

    /// What the process ends with.
    pub fn status(&self) -> Status {
        Status::Agent(self.code)
    }

    /// The JSON answer.
    pub fn fields(&self) -> Map<String, Value> {
        let mut fields = self.fields.clone();
        fields.insert("status".into(), self.code.into());
        if let Some(failure) = &self.failure {
            fields.extend(error_fields(failure.to_failure()));
        }
        fields
    }

    /// The summary for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(failure) = &self.failure {
            lines.push(format!("exec error: {}", failure.message));
        }
        lines.push(self.headline());
        let list = |name: &str| self.texts(name).join(", ");
        if !self.texts("layers").is_empty() {
            let degraded = list("degraded");
            let missing = if degraded.is_empty() { String::new() } else { format!("; degraded: {degraded}") };
            lines.push(format!("layers: {}{missing}", list("layers")));
        }
        if self.fields.contains_key("engine_limit") {
            lines.push(format!("engine: {} ({})", self.text("engine"), self.text("engine_limit")));
        }
        lines.push(format!("decisions: {}", self.counts()));
        lines.extend(self.block_lines());
        if self.number("environment_withheld") > 0 {
            let withheld = self.number("environment_withheld");
            lines.push(format!("environment: {withheld} variables withheld (--keep-env passes some)"));
        }
        lines.push(format!("bundle: {}", self.text("bundle")));
        lines.push(self.text("ticket_footer").to_owned());
        let verify = &self.fields["verify"];
        let word = if verify["ok"] == true { "ok" } else { "failed" };
        lines.push(format!("verify: {word} ({})", verify["detail"].as_str().unwrap_or_default()));
        if !self.texts("unsealed_runs").is_empty() {
            lines.push(format!("unsealed runs: {} (`gait run seal <run_id>`)", list("unsealed_runs")));
        }
        lines
    }

    fn headline(&self) -> String {
        let mut line = format!("run_id: {}", self.text("run_id"));
        let signal = self.number("signal");
        let how = match (self.fields.get("not_executed"), signal) {
            (Some(why), _) => format!("the command could not be executed: {}", why.as_str().unwrap_or_default()),
            (None, 0) => format!("exit {}", self.number("exit_code")),
            (None, signal) => format!("ended by signal {signal}"),
        };
        let timeout = if self.fields.get("timed_out") == Some(&Value::Bool(true)) { ", --timeout" } else { "" };
        // Writing to a string can't fail.
        let _ = write!(line, " ({how}{timeout})");
        line
    }

    fn counts(&self) -> String {
        let verdicts = self.fields.get("verdicts").and_then(Value::as_object);
        let parts: Vec<String> =
            verdicts.into_iter().flatten().map(|(verdict, count)| format!("{verdict} {count}")).collect();
        format!("{} ({}), {} distinct", self.number("decisions"), parts.join(", "), self.number("distinct"))
    }

    fn block_lines(&self) -> Vec<String> {
        let blocks = self.fields.get("blocks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let text = |block: &Value, name: &str| block[name].as_str().unwrap_or_default().to_owned();
        let mut lines: Vec<String> = blocks
            .iter()
            .take(BLOCKS_SHOWN)
            .map(|block| {
                let rule = match block["rule"].as_str() {
                    Some(rule) => format!("rule {rule}"),
                    None => text(&block["reason_codes"], "0"),
                };
                let reasons: Vec<&str> =
                    block["reason_codes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let why = if block["rule"].is_string() { rule } else { reasons.join(", ") };
                let value = text(block, "value");
                let shown = printable(&value);
                format!(
                    "blocked: {} {} {shown} ({why}) x{}",
                    text(block, "tool_name"),
                    text(block, "operation"),
                    block["count"]
                )
            })
            .collect();
        let all = self.number("distinct_blocks");
        if all > lines.len() as u64 {
            lines.push(format!("blocked: {} more distinct, see the runpack", all - lines.len() as u64));
        }
        lines
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.fields.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let list = self.fields.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }
}

fn evidence(finished: &Finished) -> Map<String, Value> {
    let summary = &finished.summary;
    let counters = &summary.counters;
    let blocks: Vec<Value> = summary
        .blocks
        .iter()
        .map(|block| {
            let mut members = json!({
                "tool_name": block.tool_name, "operation": block.operation, "value": block.value,
                "verdict": block.verdict, "reason_codes": block.reason_codes, "count": block.count,
            });
            if let Some(rule) = &block.rule {
                members["rule"] = json!(rule);
            }
            members
        })
        .collect();
    let members = json!({
        "run_id": summary.run_id,
        "bundle": finished.bundle.display().to_string(),
        "manifest_digest": finished.manifest_digest,
        "ticket_footer": ticket_footer(&summary.run_id, &finished.manifest_digest).unwrap_or_default(),
        "complete": summary.complete,
        "decisions": counters.decisions,
        "verdicts": counters.verdicts,
        "distinct": counters.distinct,
        "lost": counters.lost,
        "processes": counters.processes,
        "distinct_blocks": summary.distinct_blocks,
        "blocks": blocks,
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn stop_words(stop: Stop) -> &'static str {
    match stop {
        Stop::Disagreement => "compiled policy and reference evaluator disagreed: the agent was ended",
        Stop::Disk => "the journal could not be written (no space left?): the agent was ended",
        Stop::GuardError => "the guard failed: the agent was ended",
        Stop::Lost => "there was no room to record all that the agent did: what had none was denied (see --ring-bytes)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_the_guard_ended_answers_with_the_whole_envelope() {
        let failure = FailureRecord { exit: 1, is_io: false, message: "the guard failed".into(), hint: None };
        let fields = Map::from_iter([("bundle".to_owned(), json!("x.zip"))]);
        let fields = Report { code: 1, fields, bundle_digest: None, failure: Some(failure) }.fields();
        let envelope = json!({
            "ok": false, "error": "the guard failed", "error_code": "internal_failure",
            "error_category": "internal_failure", "retryable": false,
            "hint": "retry after checking local environment and logs", "bundle": "x.zip", "status": 1,
        });
        assert_eq!(Value::Object(fields), envelope);
    }
}
