//! `gait gate eval`: one decision about one intent, with everything that belongs to it.

use super::policy_test::LENIENT;
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order, SIGNING_KEYS};
use crate::gate::approvals::{self, APPROVER_KEY, Case, SINGLE_USE};
use crate::gate::broker::{self, Broker};
use crate::gate::{MAX_INTENT_BYTES, flags, rate_limits, write_record, write_trace};
use crate::key_mode::{self, KEY_MODE, KeyMode};
use crate::render::Outcome;
use crate::{app, keys, policy_file};
use gait_core::approval::Assessment;
use gait_core::approval::audit::{ApprovalAudit, AuditFacts};
use gait_core::broker::{Credential, CredentialEvidence, CredentialRequest, EvidenceFacts};
use gait_core::digest::Sha256Hex;
use gait_core::file;
use gait_core::gate::{Profile, ProfileError, Ruling, Simulated};
use gait_core::intent::{Intent, IntentRequest};
use gait_core::policy::{Policy, Rule, Strictness, Verdict};
use gait_core::rate_limit::Step;
use gait_core::signature::PrivateKey;
use gait_core::text::lower_trimmed;
use gait_core::time::Timestamp;
use gait_core::trace::{TraceFacts, TraceRecord};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub static VERB: Verb = Verb {
    path: &["gate", "eval"],
    label: "gate eval",
    explain: "Evaluate structured tool intents against policy, enforce approval flows, and emit signed trace records.",
    positionals: "",
    flags: &[
        Flag::value("policy", "<policy.yaml>", "what is allowed").required(),
        Flag::value("intent", "<intent.json>", "what is asked for").required(),
        Flag::value("profile", "standard|oss-prod", "oss-prod: refuse what production must not have")
            .default("standard"),
        Flag::switch("simulate", "enforce nothing; tell what would have been blocked"),
        flags::APPROVAL_TOKEN,
        flags::APPROVAL_TOKEN_CHAIN,
        Flag::value("approval-token-ref", "token", "what the answer refers to where no token counts").on_page(),
        flags::APPROVAL_KEYS[0],
        flags::APPROVAL_KEYS[1],
        flags::APPROVAL_KEYS[2],
        flags::APPROVAL_KEYS[3],
        APPROVER_KEY,
        SINGLE_USE,
        Flag::value("approval-audit-out", "audit.json", "where the record of the approvals goes"),
        flags::RATE_LIMIT_STATE,
        flags::BROKER[0],
        flags::BROKER[1],
        flags::BROKER[2],
        flags::BROKER[3],
        flags::BROKER[4],
        flags::BROKER[5],
        Flag::value("credential-evidence-out", "path", "where the record of the credential goes").on_page(),
        Flag::value("trace-out", "trace.json", "where the signed record of the decision goes"),
        KEY_MODE,
        SIGNING_KEYS[0],
        SIGNING_KEYS[1],
        Flag::switch("exit-on-block", "end with exit code 3 where the verdict is block").hidden(),
        LENIENT,
        JSON,
    ],
    order: Order::Leading,
    help: Help::UsageOnly,
    notes: &["A block ends with exit code 0, as existing callers expect: read the verdict, or use --exit-on-block."],
    run,
};

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    profile: &'a str,
    verdict: Verdict,
    reason_codes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    approval_ref: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    required_approvals: u64,
    #[serde(skip_serializing_if = "is_zero")]
    valid_approvals: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_audit_path: Option<String>,
    trace_id: &'a str,
    trace_path: String,
    policy_digest: Sha256Hex,
    intent_digest: Sha256Hex,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched_rule: Option<&'a str>,
    #[serde(flatten)]
    rate_limit: RateLimitAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_ref: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_evidence_path: Option<String>,
    #[serde(flatten)]
    simulation: SimulationAnswer,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [&'static str],
}

#[derive(Default, Serialize)]
struct RateLimitAnswer {
    #[serde(skip_serializing_if = "String::is_empty")]
    rate_limit_scope: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    rate_limit_key: String,
    #[serde(skip_serializing_if = "is_zero_signed")]
    rate_limit_used: i64,
    #[serde(skip_serializing_if = "is_zero_signed")]
    rate_limit_remaining: i64,
}

#[derive(Default, Serialize)]
struct SimulationAnswer {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    simulate_mode: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    would_have_blocked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    simulated_verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    simulated_reason_codes: Vec<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_zero_signed(number: &i64) -> bool {
    *number == 0
}

/// What a call asks for, read and found to fit together.
struct Question {
    profile: Profile,
    policy: Policy,
    intent: Intent,
    /// The parts of the request that a broker gets as they were spelt.
    spelt: IntentRequest,
    created_at: Timestamp,
    broker: Broker,
}

/// Everything that was found out on the way to the final verdict.
struct Found<'q> {
    ruling: Ruling<'q>,
    intent_digest: Sha256Hex,
    policy_digest: Sha256Hex,
    latency_ms: f64,
    step: Option<Step>,
    assessment: Option<Assessment>,
    /// With the rule that asked for it.
    credential: Option<(&'q Rule, Credential)>,
    simulated: Option<Simulated>,
    approval_ref: String,
    key: PrivateKey,
    warnings: Vec<&'static str>,
}

/// Where the records of a decision went.
struct Written {
    trace: TraceRecord,
    trace_path: PathBuf,
    audit_path: Option<PathBuf>,
    evidence_path: Option<PathBuf>,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let question = read_question(call)?;
    let found = decide(&question, &call.args)?;
    let written = write_records(&question, &found, &call.args)?;
    Ok(answer(&question, &found, &written, call.args.is_on("exit-on-block")))
}

fn read_question(call: &Call) -> Result<Question, Failure> {
    let args = &call.args;
    if !args.positionals.is_empty() {
        return Err(Failure::invalid("unexpected positional arguments"));
    }
    let given = |name| args.raw(name).filter(|value| !value.is_empty());
    let (Some(policy), Some(intent)) = (given("policy"), given("intent")) else {
        return Err(Failure::invalid("both --policy and --intent are required"));
    };
    let profile = Profile::parse(args.text("profile")).map_err(Failure::invalid)?;
    if profile == Profile::OssProd {
        check_flags(args)?;
    }
    let strictness = if args.is_on("lenient") { Strictness::Lenient } else { Strictness::Strict };
    let policy = policy_file::read(policy, strictness, call.form)?;
    let bytes = file::read_at_most(Path::new(intent), MAX_INTENT_BYTES)
        .map_err(|error| Failure::invalid(format!("read intent: {error}")))?;
    let request = IntentRequest::read(&bytes).map_err(Failure::invalid)?;
    let broker = Broker::of(args)?;
    profile.check_policy(&policy, broker.kind()).map_err(Failure::invalid)?;
    let spelt = IntentRequest {
        tool_name: request.tool_name.clone(),
        context: request.context.clone(),
        ..IntentRequest::default()
    };
    // What fail_closed covers is blocked by the policy, but there is no trace of what is no intent.
    let is_covered = policy.fail_closed().covers(&lower_trimmed(&request.context.risk_class));
    let doing = if is_covered { "normalize intent for trace" } else { "normalize intent" };
    let created_at = request.created_at.utc_or_fallback();
    let intent = request.normalize().map_err(|error| Failure::invalid(format!("{doing}: {error}")))?;
    Ok(Question { profile, policy, intent, spelt, created_at, broker })
}

/// What production must not have on its command line.
fn check_flags(args: &Args) -> Result<(), Failure> {
    let refuse = |error, advice: &str| Err(Failure::invalid(error).with_advice(advice));
    if args.is_on("simulate") {
        return refuse(ProfileError::Simulate, "simulate with --profile standard");
    }
    if KeyMode::of(args)? != KeyMode::Prod {
        return refuse(ProfileError::KeyMode, "add --key-mode prod --private-key <path>");
    }
    if !keys::names_a_private_key(args) {
        return refuse(ProfileError::NoPrivateKey, "add --private-key <path>; `gait keys init` makes a key");
    }
    Ok(())
}

/// Takes the decision through all its steps, in the order of the contract (control 8.1).
fn decide<'q>(question: &'q Question, args: &Args) -> Result<Found<'q>, Failure> {
    let internal = |error: &dyn std::fmt::Display| Failure::new(Exit::Internal, error);
    let started = Instant::now();
    let mut ruling = Ruling::of(&question.policy, &question.intent);
    let latency_ms = started.elapsed().as_secs_f64() * 1000.0;
    let step = match ruling.rule().and_then(|rule| rule.rate_limit.as_ref()) {
        Some(limit) => Some(rate_limits::count(args, limit, &question.intent)?),
        None => None,
    };
    step.iter().for_each(|step| ruling.limit(step));
    let (key, warnings) = key_mode::signing_key(args)?;
    let intent_digest = question.intent.digest().map_err(|error| internal(&error))?;
    let policy_digest = question.policy.digest().map_err(|error| internal(&error))?;

    let is_simulation = args.is_on("simulate");
    let mut assessment = None;
    if ruling.awaits_approval() {
        let tool_name = question.intent.tool_name();
        let trace_key = key.public();
        let case = Case { intent_digest, policy_digest, tool_name, profile: question.profile, trace_key };
        let found = approvals::assessment(args, &ruling, &case, !is_simulation)?;
        ruling.approve(&found);
        assessment = Some(found);
    }
    let approval_ref = match assessment.as_ref().filter(|found| found.granted) {
        Some(found) => found.token_ids.iter().cloned().collect::<Vec<_>>().join(","),
        None => args.text("approval-token-ref").trim().to_owned(),
    };
    let mut credential = None;
    if let Some(rule) = ruling.awaits_credential() {
        let request = CredentialRequest::new(&question.spelt, rule, &broker::wanted(args));
        let issued = question.broker.issue(&request);
        ruling.credential(issued.as_ref().map(|_| ()).map_err(|refusal| *refusal));
        credential = issued.ok().map(|credential| (rule, credential));
    }
    let simulated = is_simulation.then(|| ruling.simulate());
    Ok(Found {
        ruling,
        intent_digest,
        policy_digest,
        latency_ms,
        step,
        assessment,
        credential,
        simulated,
        approval_ref,
        key,
        warnings,
    })
}

fn write_records(question: &Question, found: &Found, args: &Args) -> Result<Written, Failure> {
    let internal = |error: &dyn std::fmt::Display| Failure::new(Exit::Internal, error);
    let args_digest = question.intent.args_digest().map_err(|error| internal(&error))?;
    let trace = TraceRecord::new(TraceFacts {
        created_at: question.created_at,
        producer_version: app::VERSION,
        correlation_id: &app::own_correlation_id(),
        tool_name: question.intent.tool_name(),
        args_digest,
        intent_digest: found.intent_digest,
        policy_digest: found.policy_digest,
        verdict: found.ruling.verdict(),
        violations: found.ruling.violations(),
        approval_token_ref: &found.approval_ref,
        skill_provenance: question.intent.skill_provenance(),
    });
    let trace = TraceRecord { latency_ms: found.latency_ms, ..trace };
    let trace = match found.simulated {
        Some(_) => trace.signed_as_simulation(&found.key),
        None => trace.signed(&found.key),
    };
    let trace = trace.map_err(|error| internal(&error))?;
    let path = |flag, prefix: &str| match args.raw(flag).filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(format!("{prefix}_{}.json", trace.trace_id)),
    };
    let trace_path = path("trace-out", "trace");
    write_trace(&trace_path, &trace.to_file_text().map_err(|error| internal(&error))?)?;

    let required = found.ruling.required_approvals();
    let mut audit_path = None;
    if required > 0 || !approvals::token_paths(args).is_empty() {
        let facts = AuditFacts {
            created_at: question.created_at,
            producer_version: app::VERSION,
            trace_id: &trace.trace_id,
            tool_name: question.intent.tool_name(),
            intent_digest: found.intent_digest,
            policy_digest: found.policy_digest,
            required,
        };
        let text = ApprovalAudit::new(&facts, found.assessment.as_ref()).to_file_text();
        let path = path("approval-audit-out", "approval_audit");
        write_record(&path, &text.map_err(|error| internal(&error))?, "approval audit record")?;
        audit_path = Some(path);
    }
    let mut evidence_path = None;
    if let Some((rule, credential)) = &found.credential {
        let wanted = broker::wanted(args);
        let facts = EvidenceFacts {
            created_at: question.created_at,
            producer_version: app::VERSION,
            trace_id: &trace.trace_id,
            tool_name: question.intent.tool_name(),
            identity: &question.intent.context().identity,
            reference: wanted.reference(rule),
            scope: wanted.scope(rule),
        };
        let text = CredentialEvidence::new(facts, credential).to_file_text();
        let path = path("credential-evidence-out", "credential_evidence");
        write_record(&path, &text.map_err(|error| internal(&error))?, "broker credential record")?;
        evidence_path = Some(path);
    }
    Ok(Written { trace, trace_path, audit_path, evidence_path })
}

fn answer(question: &Question, found: &Found, written: &Written, exit_on_block: bool) -> Outcome {
    let shown = |path: &PathBuf| path.display().to_string();
    let credential = found.credential.as_ref().map(|(_, credential)| credential);
    let answer = Answer {
        ok: true,
        profile: question.profile.as_str(),
        verdict: found.ruling.verdict(),
        reason_codes: found.ruling.reasons(),
        violations: found.ruling.violations(),
        approval_ref: &found.approval_ref,
        required_approvals: found.ruling.required_approvals(),
        valid_approvals: found.assessment.as_ref().map_or(0, |assessment| assessment.valid),
        approval_audit_path: written.audit_path.as_ref().map(shown),
        trace_id: &written.trace.trace_id,
        trace_path: shown(&written.trace_path),
        policy_digest: found.policy_digest,
        intent_digest: found.intent_digest,
        matched_rule: found.ruling.rule().map(|rule| rule.name.as_str()),
        rate_limit: found.step.as_ref().map(RateLimitAnswer::of).unwrap_or_default(),
        credential_issuer: credential.map(|credential| credential.issuer.as_str()),
        credential_ref: credential.map(|credential| credential.reference.as_str()),
        credential_evidence_path: written.evidence_path.as_ref().map(shown),
        simulation: found.simulated.as_ref().map(SimulationAnswer::of).unwrap_or_default(),
        warnings: &found.warnings,
    };
    let exit = match answer.verdict {
        Verdict::RequireApproval => Exit::ApprovalRequired,
        Verdict::Block if exit_on_block => Exit::PolicyBlocked,
        Verdict::Block | Verdict::Allow | Verdict::DryRun => Exit::Ok,
    };
    Outcome::new(exit, &lines(&answer), &answer)
}

impl RateLimitAnswer {
    fn of(step: &Step) -> Self {
        Self {
            rate_limit_scope: step.scope.clone(),
            rate_limit_key: step.key.clone(),
            rate_limit_used: step.used,
            rate_limit_remaining: step.remaining,
        }
    }
}

impl SimulationAnswer {
    fn of(simulated: &Simulated) -> Self {
        Self {
            simulate_mode: true,
            would_have_blocked: simulated.would_have_blocked,
            simulated_verdict: Some(simulated.verdict),
            simulated_reason_codes: simulated.reasons.clone(),
        }
    }
}

/// The answer for people (control 8.3).
fn lines(answer: &Answer) -> Vec<String> {
    let mut lines = vec![format!("gate eval: verdict={}", answer.verdict), format!("trace: {}", answer.trace_path)];
    if let Some(verdict) = answer.simulation.simulated_verdict {
        let would_have_blocked = answer.simulation.would_have_blocked;
        lines.push(format!("simulate: would_have_blocked={would_have_blocked} simulated_verdict={verdict}"));
    }
    for (label, codes) in [("reasons", &answer.reason_codes), ("violations", &answer.violations)] {
        lines.extend((!codes.is_empty()).then(|| format!("{label}: {}", codes.join(","))));
    }
    if answer.required_approvals > 0 {
        lines.push(format!("approvals: {}/{}", answer.valid_approvals, answer.required_approvals));
    }
    lines.extend(answer.approval_audit_path.iter().map(|path| format!("approval audit: {path}")));
    if let (Some(reference), Some(issuer)) = (answer.credential_ref, answer.credential_issuer) {
        lines.push(format!("credential: {reference} ({issuer})"));
    }
    lines.extend(answer.credential_evidence_path.iter().map(|path| format!("credential evidence: {path}")));
    lines.extend(answer.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines
}
