//! `gait approve`: somebody's signed permission for one intent under one policy.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, SIGNING_KEYS};
use crate::gate::write_record;
use crate::key_mode::{self, KEY_MODE};
use crate::render::Outcome;
use crate::{app, clock};
use gait_core::approval::{ApprovalToken, MintError, MintRequest};
use gait_core::duration;
use gait_core::time::Timestamp;
use serde_json::json;
use std::path::PathBuf;

pub static VERB: Verb = Verb {
    path: &["approve"],
    label: "approve",
    explain: "Mint a signed approval token with scope and TTL for gate decisions that require explicit approval.",
    positionals: "",
    flags: &[
        Flag::value("intent-digest", "<sha256>", "the intent, as gate eval tells its digest").required(),
        Flag::value("policy-digest", "<sha256>", "the policy, as gate eval tells its digest").required(),
        Flag::value("ttl", "<duration>", "how long it is good for, e.g. 30m, 1h30m").required(),
        Flag::value("scope", "<csv>", "what for: tool:<tool name>, or * for any tool").required(),
        Flag::value("approver", "<identity>", "who approves").required(),
        Flag::value("reason-code", "<code>", "why").required(),
        Flag::value("out", "token.json", "where the token goes").on_page(),
        KEY_MODE.on_page(),
        SIGNING_KEYS[0].on_page(),
        SIGNING_KEYS[1].on_page(),
        JSON,
    ],
    order: Order::Leading,
    help: Help::UsageOnly,
    notes: &["The scope is `tool:` and the name of the tool: tool:tool.write lets the tool `tool.write` through."],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let args = &call.args;
    if !args.positionals.is_empty() {
        return Err(Failure::invalid("unexpected positional arguments"));
    }
    let ttl_nanos = duration::parse(args.text("ttl").trim())
        .filter(|nanos| *nanos > 0)
        .ok_or_else(|| Failure::invalid(MintError::Ttl))?;
    let scope = args.csv("scope");
    if scope.is_empty() {
        return Err(Failure::invalid(MintError::Scope));
    }
    let (key, warnings) = key_mode::signing_key(args)?;
    let request = MintRequest {
        created_at: clock::now(),
        ttl_nanos,
        producer_version: app::VERSION,
        intent_digest: args.text("intent-digest"),
        policy_digest: args.text("policy-digest"),
        approver: args.text("approver"),
        reason_code: args.text("reason-code"),
        scope: &scope,
    };
    let token = ApprovalToken::mint(&request, &key).map_err(Failure::invalid)?;
    let path = match args.raw("out").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(format!("approval_{}.json", token.token_id)),
    };
    write_record(&path, &token.to_file_text().map_err(Failure::io)?, "approval token")?;
    let whole_second = Timestamp::from_unix(token.expires_at.unix_seconds(), 0).unwrap_or(token.expires_at);
    let path = path.display().to_string();
    let mut members = json!({
        "ok": true,
        "token_id": token.token_id,
        "token_path": path,
        "expires_at": whole_second,
        "reason_code": token.reason_code,
        "scope": token.scope,
        "key_id": key.public().id(),
        "description": "signed approval token created",
    });
    if !warnings.is_empty() {
        members["warnings"] = json!(warnings);
    }
    Ok(Outcome::new(Exit::Ok, &[format!("approval token created: {path}")], &members))
}
