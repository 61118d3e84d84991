//! A session between a client and a server of the Model Context Protocol, with the policy in between.
//!
//! The owner of the pipes gives each line to [`Session::client_line`] or [`Session::server_line`] and does what the
//! [`Step`] says. What goes on are the very bytes that were judged, so no second writer can change their meaning; that
//! no second reader can either is what [`super::message`] and [`super::strict`] see to.
//!
//! Three rules hold for everything that passes. A tool call goes on only if the policy allows it and its record is
//! written. An answer reaches the client only if a request of that id went on and still waits, so nobody can answer in
//! the place of the policy. And an id that waits can't be used again, so nobody can mix up two answers.

mod ledger;
mod wait;

#[cfg(test)]
mod mutation;
#[cfg(test)]
mod tests;

pub use ledger::{Call, Ended, Judged, Ledger, LedgerError, Outcome};

use serde_json::Value;

use super::answer;
use super::judge::{Controls, Question, judge};
use super::message::{Id, Malformed, Message, Outcome as Said, Sender};
use super::method::{Passage, passage};
use super::skim::Found;
use super::target::{TargetRule, targets};
use crate::canonical::{CanonicalError, digest_of};
use crate::digest::Sha256Hex;
use crate::intent::{Args, ContextRequest, IntentRequest};
use crate::policy::{Policy, Verdict};
use crate::signature::PrivateKey;
use crate::time::Timestamp;
use crate::trace::{TraceFacts, TraceRecord};
use wait::{Waiting, Waits};

/// What a session is judged by. All of it comes from whoever sets the session up, nothing from its messages.
#[derive(Debug)]
pub struct Setup {
    /// The policy.
    pub policy: Policy,
    /// For whom and where.
    pub context: ContextRequest,
    /// Which arguments are targets.
    pub targets: Vec<TargetRule>,
    /// Methods that pass though the protocol does not have them.
    pub allowed_methods: Vec<String>,
    /// `created_at` of traces.
    pub started_at: Timestamp,
    /// `producer_version` of traces.
    pub producer_version: String,
    /// What rules may demand besides a verdict.
    pub controls: Box<dyn Controls>,
    /// Signs traces.
    pub key: PrivateKey,
    /// Longest line that is read, in bytes.
    pub limit_bytes: usize,
}

/// What to do with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub effect: Effect,
    /// What the person who runs the session should know.
    pub note: Option<String>,
}

/// What to do with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Pass on this very line.
    Forward,
    /// Drop it, and say this to the client.
    Answer(Vec<u8>),
    /// Drop it.
    Drop,
}

/// How many there were of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tool calls that went on.
    pub allowed: u64,
    /// Tool calls that the policy refused.
    pub refused: u64,
    /// Other messages of the client that did not go on.
    pub malformed: u64,
    /// Messages of the server that did not go on.
    pub dropped: u64,
    /// Requests that the server left without an answer.
    pub unanswered: u64,
    /// Records that could not be written.
    pub unrecorded: u64,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    setup: Setup,
    policy_digest: Sha256Hex,
    waits: Waits,
    calls: u64,
    tally: Tally,
}

impl Step {
    const FORWARD: Self = Self { effect: Effect::Forward, note: None };
    const DROP: Self = Self { effect: Effect::Drop, note: None };

    fn answer(line: Vec<u8>) -> Self {
        Self { effect: Effect::Answer(line), note: None }
    }

    fn noting(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

impl Session {
    /// A session in which nothing was said yet.
    ///
    /// # Errors
    /// [`CanonicalError`] never for a policy that was read.
    pub fn new(setup: Setup) -> Result<Self, CanonicalError> {
        let policy_digest = setup.policy.digest()?;
        Ok(Self { setup, policy_digest, waits: Waits::default(), calls: 0, tally: Tally::default() })
    }

    /// Digest of the policy.
    pub const fn policy_digest(&self) -> &Sha256Hex {
        &self.policy_digest
    }

    /// The key that signs.
    pub const fn key(&self) -> &PrivateKey {
        &self.setup.key
    }

    /// How many there were of what, so far.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether the client waits for an answer that can be expected to come.
    pub fn awaits_answers(&self) -> bool {
        self.waits.any_answer_due()
    }

    /// What to do with a line of the client.
    pub fn client_line(&mut self, line: &[u8], ledger: &mut dyn Ledger) -> Step {
        match Message::read(line, Sender::Client) {
            Ok(None) => Step::DROP,
            Ok(Some(Message::Request { id, method, params })) => self.request(id, &method, params, line, ledger),
            Ok(Some(Message::Notification { method, params })) => self.notification(&method, params.as_ref()),
            Ok(Some(Message::Response { id, .. })) => self.client_response(id.as_ref()),
            Err(Malformed { fault, id }) => {
                // An answer to an id that waits would pass for the server's.
                let id = id.filter(|id| !self.waits.holds(id));
                self.refuse(id.as_ref(), fault.code(), &fault.to_string())
            }
        }
    }

    /// What to do after a line of the client that was too long to be read.
    pub fn client_too_long(&mut self, length: u64, found: &Found) -> Step {
        let id = found.id.as_deref().filter(|_| found.has_method).and_then(Id::read);
        let id = id.filter(|id| !self.waits.holds(id));
        let limit = self.setup.limit_bytes;
        let message = format!("a message of {length} bytes was not read: at most {limit} are");
        self.refuse(id.as_ref(), answer::INVALID_REQUEST, &message)
    }

    /// What to do with a line of the server.
    pub fn server_line(&mut self, line: &[u8], ledger: &mut dyn Ledger) -> Step {
        match Message::read(line, Sender::Server) {
            Ok(None) => Step::DROP,
            Ok(Some(Message::Request { id, .. })) if self.waits.server_asks(&id) => Step::FORWARD,
            Ok(Some(Message::Request { .. })) => self.drop_of_server("asks too many things at once"),
            Ok(Some(Message::Notification { .. })) => Step::FORWARD,
            Ok(Some(Message::Response { id: None, outcome: Said::Error(_) })) => Step::FORWARD,
            Ok(Some(Message::Response { id, outcome })) => match id.as_ref().and_then(|id| self.waits.answered(id)) {
                Some(waiting) => self.ended(waiting, Ended::of(&outcome), Step::FORWARD, ledger),
                None => self.drop_of_server("answers what nobody asked"),
            },
            Err(malformed) => self.drop_of_server(&format!("said a line that is no message ({malformed})")),
        }
    }

    /// What to do after a line of the server that was too long to be read.
    pub fn server_too_long(&mut self, length: u64, found: &Found, ledger: &mut dyn Ledger) -> Step {
        let limit = self.setup.limit_bytes;
        let message = format!("the server's answer of {length} bytes was not read: at most {limit} are");
        let id = found.id.as_deref().filter(|_| !found.has_method).and_then(Id::read);
        let waiting = id.as_ref().and_then(|id| self.waits.answered(id));
        let step = self.drop_of_server(&format!("said {length} bytes on one line: at most {limit} are read"));
        match waiting {
            Some(waiting) => {
                let line = answer::error(id.as_ref(), answer::NO_ANSWER, &message);
                self.ended(
                    waiting,
                    Ended::without(Outcome::Unanswered),
                    Step { effect: Effect::Answer(line), ..step },
                    ledger,
                )
            }
            None => step,
        }
    }

    /// The server says nothing more: the lines that tell everybody who waits.
    pub fn server_gone(&mut self, why: &str, ledger: &mut dyn Ledger) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for (id, waiting, is_wanted) in self.waits.drain() {
            if is_wanted {
                self.tally.unanswered += 1;
                let message = format!("the server did not answer: {why}");
                lines.push(answer::error(Some(&id), answer::NO_ANSWER, &message));
            }
            self.ended(waiting, Ended::without(Outcome::Unanswered), Step::DROP, ledger);
        }
        lines
    }

    fn request(&mut self, id: Id, method: &str, params: Option<Value>, line: &[u8], ledger: &mut dyn Ledger) -> Step {
        if self.waits.holds(&id) {
            return self.refuse(None, answer::INVALID_REQUEST, &format!("id {id} is in use by a request that waits"));
        }
        match passage(method, &self.setup.allowed_methods) {
            Passage::Refused => {
                let message =
                    format!("method {method:?} does not pass: it is neither of the protocol nor allowed by name");
                self.refuse(Some(&id), answer::NO_METHOD, &message)
            }
            _ if self.waits.is_full() => {
                let message = format!("{} requests wait already", wait::MOST);
                self.refuse(Some(&id), answer::NO_ANSWER, &message)
            }
            Passage::Free => {
                self.waits.add(id, Waiting::of_method(method));
                Step::FORWARD
            }
            Passage::Judged => self.call(id, params, line, ledger),
        }
    }

    fn call(&mut self, id: Id, params: Option<Value>, line: &[u8], ledger: &mut dyn Ledger) -> Step {
        let params = params.unwrap_or_default();
        let (tool, request) = match self.intent_request(&params) {
            Ok(request) => request,
            Err(why) => return self.refuse(Some(&id), answer::INVALID_PARAMS, &why),
        };
        let call = match self.judge(request, line) {
            Ok(call) => call,
            Err(why) => {
                return self.refuse(Some(&id), answer::INVALID_PARAMS, &format!("the call can't be judged: {why}"));
            }
        };
        self.calls = call.judged.number;
        if let Err(error) = ledger.decided(&call) {
            self.tally.unrecorded += 1;
            let message = format!("the call was not made, because it could not be recorded: {error}");
            return Step::answer(answer::error(Some(&id), answer::NO_ANSWER, &message)).noting(message);
        }
        let Call { judged, trace, .. } = call;
        if judged.decision.verdict == Verdict::Allow {
            self.tally.allowed += 1;
            self.waits.add(id, Waiting::Call(Box::new(judged)));
            return Step::FORWARD;
        }
        self.tally.refused += 1;
        let line = answer::refused(&id, &params, &tool, &judged.decision, &trace);
        let mut note = format!("{} {tool:?}: {}", judged.decision.verdict, judged.decision.reason_codes.join(", "));
        judged.applied.faults.iter().for_each(|fault| note += &format!("; {fault}"));
        if judged.decision.verdict == Verdict::RequireApproval {
            note += &format!("; {}", answer::how_to_approve(&trace));
        }
        self.ended(
            Waiting::Call(Box::new(judged)),
            Ended::without(Outcome::Refused),
            Step::answer(line).noting(note),
            ledger,
        )
    }

    /// The tool and the request for a verdict that `params` of a call make.
    fn intent_request(&self, params: &Value) -> Result<(String, IntentRequest), String> {
        let name = params.get("name").and_then(Value::as_str).ok_or("params.name must be the name of a tool")?;
        if !is_plain(name) {
            return Err(
                "params.name is longer than 1024 bytes, or has blanks at its ends or characters that can't be seen"
                    .into(),
            );
        }
        let args = match params.get("arguments") {
            None | Some(Value::Null) => Args::new(),
            Some(Value::Object(args)) => args.clone(),
            Some(_) => return Err("params.arguments must be an object".into()),
        };
        let targets = targets(&self.setup.targets, name, &args).map_err(|error| error.to_string())?;
        let context = self.setup.context.clone();
        let request = IntentRequest { tool_name: name.to_owned(), args, targets, context, ..IntentRequest::default() };
        Ok((name.to_owned(), request))
    }

    fn judge(&mut self, request: IntentRequest, line: &[u8]) -> Result<Call, String> {
        let spelt = IntentRequest {
            tool_name: request.tool_name.clone(),
            context: request.context.clone(),
            ..IntentRequest::default()
        };
        let intent = request.normalize().map_err(|error| error.to_string())?;
        let digests = intent.args_digest().and_then(|args| Ok((args, intent.digest()?)));
        let (args_digest, intent_digest) = digests.map_err(|error| error.to_string())?;
        let question = Question { intent: &intent, spelt: &spelt, intent_digest, policy_digest: self.policy_digest };
        let (decision, applied) = judge(&self.setup.policy, &question, &mut *self.setup.controls);
        let trace = TraceRecord::new(TraceFacts {
            created_at: self.setup.started_at,
            producer_version: &self.setup.producer_version,
            correlation_id: "",
            tool_name: intent.tool_name(),
            args_digest,
            intent_digest,
            policy_digest: self.policy_digest,
            verdict: decision.verdict,
            violations: decision.violations.clone(),
            approval_token_ref: &applied.approval_ref(),
            skill_provenance: None,
        });
        let trace = trace.signed(&self.setup.key).map_err(|error| error.to_string())?;
        let request_sha256 = Sha256Hex::of(super::message::without_line_end(line));
        let judged =
            Judged { number: self.calls + 1, decision, applied, trace_id: trace.trace_id.clone(), request_sha256 };
        Ok(Call { judged, intent, args_digest, intent_digest, policy_digest: self.policy_digest, trace })
    }

    fn notification(&mut self, method: &str, params: Option<&Value>) -> Step {
        match passage(method, &self.setup.allowed_methods) {
            Passage::Judged => self.refuse(None, answer::INVALID_REQUEST, "tools/call needs an id"),
            Passage::Refused => {
                self.tally.malformed += 1;
                Step::DROP.noting(format!("dropped a notification {method:?} of the client: it is not of the protocol"))
            }
            Passage::Free => {
                let cancelled = params.filter(|_| method == "notifications/cancelled");
                if let Some(id) = cancelled.and_then(|params| Id::of_client(params.get("requestId")?)) {
                    self.waits.cancelled(&id);
                }
                Step::FORWARD
            }
        }
    }

    fn client_response(&mut self, id: Option<&Id>) -> Step {
        if id.is_some_and(|id| self.waits.client_answers(id)) {
            return Step::FORWARD;
        }
        self.tally.malformed += 1;
        Step::DROP.noting("dropped a response of the client: the server asked nothing with that id")
    }

    fn refuse(&mut self, id: Option<&Id>, code: i32, message: &str) -> Step {
        self.tally.malformed += 1;
        Step::answer(answer::error(id, code, message)).noting(format!("refused a message of the client: {message}"))
    }

    fn drop_of_server(&mut self, what: &str) -> Step {
        self.tally.dropped += 1;
        Step::DROP.noting(format!("dropped: the server {what}"))
    }

    /// Records how a request ended. A record that fails is told, but the answer is not held back: what was done is done.
    fn ended(&mut self, waiting: Waiting, ended: Ended, step: Step, ledger: &mut dyn Ledger) -> Step {
        let Waiting::Call(judged) = waiting else { return step };
        match ledger.ended(&judged, &ended) {
            Ok(()) => step,
            Err(error) => {
                self.tally.unrecorded += 1;
                let note = format!("what came of call {} could not be recorded: {error}", judged.number);
                Step { note: Some(note), ..step }
            }
        }
    }
}

impl Ended {
    /// What an answer of the server tells.
    fn of(said: &Said) -> Self {
        let (outcome, response) = match said {
            Said::Result(result) if result.get("isError") == Some(&Value::Bool(true)) => (Outcome::ToolError, result),
            Said::Result(result) => (Outcome::Answered, result),
            Said::Error(error) => (Outcome::ProtocolError, error),
        };
        Self { outcome, response_digest: digest_of(response).ok(), response: Some(response.clone()) }
    }
}

/// Longest name of a tool, in bytes.
const LONGEST_NAME: usize = 1024;

/// Whether a name is what it looks like.
fn is_plain(name: &str) -> bool {
    let is_hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    (1..=LONGEST_NAME).contains(&name.len()) && name.trim() == name && !name.chars().any(is_hidden)
}
