//! `gait mcp serve`: a server of the Model Context Protocol, with the policy in front of it.

use super::exec::request;
use super::policy_test::LENIENT;
use super::{Call, Help, Verb};
use crate::exit::{Exit, Status};
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order, SIGNING_KEYS};
use crate::gate::approvals::{APPROVER_KEY, SINGLE_USE};
use crate::gate::flags;
use crate::key_mode::{self, KEY_MODE};
use crate::mcp::controls::SessionControls;
use crate::mcp::relay::{self, EndedBy};
use crate::mcp::spool::Spool;
use crate::render::{Form, Outcome};
use crate::{app, clock, keys, pack, policy_file};
use gait_core::intent::ContextRequest;
use gait_core::mcp::record::Capture;
use gait_core::mcp::session::{Session, Setup};
use gait_core::mcp::target::TargetRule;
use gait_core::policy::Strictness;
use gait_core::signature::PrivateKey;
use serde_json::{Map, json};
use std::ffi::OsString;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["mcp", "serve"],
    label: "mcp serve",
    explain: "Stand between an MCP client and an MCP server on standard input and output, decide each tools/call by \
              policy, and leave a signed runpack.",
    positionals: "-- <server> [args]",
    flags: &[
        Flag::value("policy", "<policy.yaml>", "what is allowed").required(),
        LENIENT,
        Flag::value("workspace", "<dir>", "context workspace").default("the working directory"),
        Flag::value("identity", "<name>", "context identity").default("the user name"),
        Flag::value("risk-class", "<class>", "context risk class").default("high"),
        Flag::value(
            "targets",
            "<csv>",
            "arguments that say what a call is aimed at, as <tool>:<argument>=<kind>[:<operation>]",
        ),
        Flag::value("allow-method", "<csv>", "methods that pass though the protocol does not have them"),
        Flag::value("max-message-bytes", "<n>", "longest message that is read, in either direction")
            .default("16777216"),
        Flag::value("run-id", "<id>", "name of the run").default("run_<time>_<random>"),
        Flag::value("out-dir", "<dir>", "where the runpack goes").default("gait-out"),
        Flag::value("capture-mode", "reference|raw", "raw records arguments and answers too").default("reference"),
        flags::APPROVAL_TOKEN,
        flags::APPROVAL_TOKEN_CHAIN,
        flags::APPROVAL_KEYS[0],
        flags::APPROVAL_KEYS[1],
        flags::APPROVAL_KEYS[2],
        flags::APPROVAL_KEYS[3],
        APPROVER_KEY,
        SINGLE_USE,
        flags::RATE_LIMIT_STATE,
        flags::BROKER[0],
        flags::BROKER[1],
        flags::BROKER[2],
        flags::BROKER[3],
        flags::BROKER[4],
        flags::BROKER[5],
        Flag::switch("fail-on-block", "exit 3 if any call was refused"),
        KEY_MODE,
        SIGNING_KEYS[0],
        SIGNING_KEYS[1],
        JSON,
    ],
    order: Order::Leading,
    help: Help::Page,
    notes: &[
        "Standard input and output belong to the client, so everything that gait says goes to standard error, with \
         --json the summary too. Only a failure before the session begins is answered on standard output with --json.",
        "Without --key-mode the key of --private-key signs, or else the key of this machine, as in gait exec.",
        "A call that the policy does not allow is answered with a tool error that names verdict, rule and reason codes; \
         the server never sees it. That goes for dry_run too. Nothing else is judged: resources and prompts pass.",
        "Rate limits, approvals and credentials are those of gait gate eval. Approvals are read anew for each call that \
         needs one, so they can be made while the session goes on; here each counts once, and only under a key that \
         is named for approvals.",
    ],
    run,
};

/// More than any message, and little enough for any machine.
const LIMITS_BYTES: std::ops::RangeInclusive<usize> = 1024..=(1 << 30);
const LIMIT_BYTES: usize = 16 << 20;

/// Everything that the command line asks for.
struct Request<'c> {
    command: &'c [OsString],
    setup: Setup,
    run_id: String,
    capture: Capture,
    warnings: Vec<&'static str>,
    hidden: Vec<OsString>,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    match (attempt(call), call.form) {
        (Ok(outcome), _) => Ok(outcome.off_stdout()),
        (Err(failure), Form::Json) => Err(failure),
        // Standard output is the client's.
        (Err(failure), Form::Text) => {
            let mut lines = vec![format!("mcp serve error: {}", failure.message)];
            let own = failure.exit.envelope().map(|words| words.hint.to_owned());
            lines.extend(failure.hint.or(failure.advice).or(own).map(|hint| format!("hint: {hint}")));
            let outcome = Outcome::new(failure.exit, &[], &Map::new());
            Ok(outcome.with_status(Status::Gait(failure.exit)).with_notes(&lines))
        }
    }
}

fn attempt(call: &Call) -> Result<Outcome, Failure> {
    let Request { command, setup, run_id, capture, warnings, hidden } = read(call)?;
    let (limit, started_at) = (setup.limit_bytes, setup.started_at);
    let out = Some(call.args.text("out-dir")).filter(|dir| !dir.is_empty()).unwrap_or(crate::locate::OUT_DIR);
    let mut session = Session::new(setup).map_err(|error| Failure::new(Exit::Internal, error))?;
    let mut spool = Spool::start(Path::new(out), &run_id, started_at, app::VERSION, capture)?;
    let bundle = spool.bundle().to_path_buf();
    let ended = relay::run(&mut session, &mut spool, command, &hidden, limit);
    let ended_by = match &ended {
        Ok(ended_by) => *ended_by,
        Err(why) => {
            spool.discard();
            return Err(Failure::invalid(why).with_hint("after -- comes the command line that starts the server"));
        }
    };
    let manifest = spool.seal(session.tally(), ended_by.word(), clock::now(), session.key())?;

    let tally = *session.tally();
    let exit = if ended_by == EndedBy::Server || tally.unrecorded > 0 {
        Exit::Internal
    } else if call.args.is_on("fail-on-block") && tally.refused > 0 {
        Exit::PolicyBlocked
    } else {
        Exit::Ok
    };
    let (shown, named) = (pack::shown(&bundle), keys::shell_word(&pack::named(&bundle)));
    let verify = match keys::strict_flags(&call.args) {
        Some(flags) => format!("gait verify {named} {flags}"),
        None if warnings.is_empty() => format!("gait verify {named} --profile strict"),
        None => format!("gait verify {named}"),
    };
    let members = json!({
        "ok": exit == Exit::Ok,
        "run_id": run_id,
        "bundle": shown,
        "manifest_digest": manifest.manifest_digest,
        "policy_digest": session.policy_digest(),
        "key_id": session.key().public().id().to_string(),
        "verify_with": verify,
        "ended_by": ended_by.word(),
        "allowed": tally.allowed,
        "refused": tally.refused,
        "malformed": tally.malformed,
        "dropped": tally.dropped,
        "unanswered": tally.unanswered,
        "unrecorded": tally.unrecorded,
        "warnings": warnings,
    });
    let mut lines = vec![
        format!(
            "mcp serve: {run_id}: {} allowed, {} refused, {} malformed, {} dropped, {} unanswered; ended by {}",
            tally.allowed,
            tally.refused,
            tally.malformed,
            tally.dropped,
            tally.unanswered,
            ended_by.word()
        ),
        format!("bundle={shown}"),
        format!("verify_with={verify}"),
    ];
    lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    Ok(Outcome::new(exit, &[], &members).with_notes(&lines))
}

fn read(call: &Call) -> Result<Request<'_>, Failure> {
    let args = &call.args;
    let Some(policy) = args.raw("policy").filter(|path| !path.is_empty()) else {
        return Err(Failure::invalid("--policy is required")
            .with_hint("gait mcp serve --policy <policy.yaml> -- <server> [args]"));
    };
    if args.positionals.is_empty() {
        return Err(Failure::invalid("no server was given")
            .with_hint("gait mcp serve --policy <policy.yaml> -- <server> [args]"));
    }
    let strictness = if args.is_on("lenient") { Strictness::Lenient } else { Strictness::Strict };
    let policy = policy_file::read(policy, strictness, call.form)?;
    let targets = args.csv("targets").iter().map(|text| TargetRule::parse(text)).collect::<Result<_, _>>();
    let targets = targets.map_err(|error| Failure::invalid(format!("--targets: {error}")))?;
    let capture = match args.trimmed("capture-mode") {
        None | Some("reference") => Capture::Reference,
        Some("raw") => Capture::Raw,
        Some(_) => return Err(Failure::invalid("capture mode must be one of: reference, raw")),
    };
    let started_at = clock::now();
    let run_id = request::run_id(args, &started_at)?;
    let (key, warnings) = signing_key(args)?;
    let setup = Setup {
        policy,
        context: context(args)?,
        targets,
        allowed_methods: args.csv("allow-method"),
        controls: Box::new(SessionControls::of(args)?),
        started_at,
        producer_version: app::VERSION.to_owned(),
        key,
        limit_bytes: limit_bytes(args)?,
    };
    // Not for the server: it could sign in our name.
    let hidden = keys::private_variables(args);
    Ok(Request { command: &args.positionals, setup, run_id, capture, warnings, hidden })
}

fn context(args: &Args) -> Result<ContextRequest, Failure> {
    Ok(ContextRequest {
        identity: args.trimmed("identity").map_or_else(request::user, str::to_owned),
        workspace: request::workspace(args)?.to_string_lossy().into_owned(),
        risk_class: args.trimmed("risk-class").unwrap_or("high").to_owned(),
        ..ContextRequest::default()
    })
}

fn signing_key(args: &Args) -> Result<(PrivateKey, Vec<&'static str>), Failure> {
    match args.raw("key-mode") {
        Some(_) => key_mode::signing_key(args),
        None => Ok((keys::signing_key_or_local(args)?.0, Vec::new())),
    }
}

fn limit_bytes(args: &Args) -> Result<usize, Failure> {
    let Some(text) = args.trimmed("max-message-bytes") else { return Ok(LIMIT_BYTES) };
    text.parse().ok().filter(|bytes| LIMITS_BYTES.contains(bytes)).ok_or_else(|| {
        let (least, most) = (LIMITS_BYTES.start(), LIMITS_BYTES.end());
        Failure::invalid(format!("invalid --max-message-bytes value {text:?} (expected {least} to {most})"))
    })
}
