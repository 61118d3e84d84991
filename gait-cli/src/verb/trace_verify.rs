//! `gait trace verify`: did this key sign this trace as it is?

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, VERIFY_KEYS};
use crate::render::Outcome;
use crate::{keys, local_key};
use gait_core::file;
use gait_core::signature::{PublicKey, SignatureError};
use gait_core::trace::{TraceError, TraceRecord};
use serde::Serialize;
use std::ffi::OsStr;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["trace", "verify"],
    label: "trace verify",
    explain: "Verify signed gate trace records for offline auditability.",
    positionals: "<path>",
    flags: &[JSON, VERIFY_KEYS[0], VERIFY_KEYS[1], VERIFY_KEYS[2], VERIFY_KEYS[3], PATH],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &[],
    run,
};

const PATH: Flag = Flag::value("path", "<path>", "the trace; may also be given without the flag").hidden();

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    path: &'a str,
    trace_id: &'a str,
    verdict: &'a str,
    signature_status: &'static str,
    key_id: &'a str,
    /// Nothing was enforced: the verdict permits nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    simulated: bool,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let path = match (call.args.raw("path").filter(|path| !path.is_empty()), call.args.positionals.as_slice()) {
        (Some(path), []) => path,
        (None, [path]) => path.as_os_str(),
        _ => return Err(Failure::invalid("expected trace path")),
    };
    let bytes = file::read(Path::new(path)).map_err(|error| Failure::invalid(format!("read trace record: {error}")))?;
    let trace = TraceRecord::read(&bytes).map_err(Failure::invalid)?;
    let key = match keys::verify_key(&call.args)? {
        Some(key) => key,
        None => local_key_of(&trace)?.ok_or_else(|| Failure::invalid("public key not configured"))?,
    };
    answer(path, &trace, &key)
}

/// The key of this machine, if the trace names it.
fn local_key_of(trace: &TraceRecord) -> Result<Option<PublicKey>, Failure> {
    let Some(signature) = &trace.signature else { return Ok(None) };
    let local = local_key::load()?.map(|key| key.public());
    Ok(local.filter(|key| key.id().to_string() == signature.key_id))
}

fn answer(path: &OsStr, trace: &TraceRecord, key: &PublicKey) -> Result<Outcome, Failure> {
    let path = path.to_string_lossy();
    let key_id = key.id().to_string();
    let answer = |ok, signature_status| Answer {
        ok,
        path: &path,
        trace_id: &trace.trace_id,
        verdict: &trace.verdict,
        signature_status,
        key_id: &key_id,
        simulated: false,
    };
    let refused = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::VerificationFailed, error)
            .with_field("path", path.as_ref())
            .with_field("trace_id", trace.trace_id.as_str())
            .with_field("verdict", trace.verdict.as_str())
            .with_field("signature_status", "failed")
    };
    match trace.verify(key) {
        Ok(()) => Ok(Outcome::new(Exit::Ok, &[format!("trace verify ok: {path}")], &answer(true, "verified"))),
        Err(TraceError::Simulated) => {
            let note = "simulated: the verdict was not enforced and permits nothing".to_string();
            let members = Answer { simulated: true, ..answer(true, "verified") };
            Ok(Outcome::new(Exit::Ok, &[format!("trace verify ok: {path}"), note], &members))
        }
        Err(TraceError::Signature(SignatureError::Failed)) => {
            let lines = [format!("trace verify failed: {path}"), "signature status: failed".to_string()];
            Ok(Outcome::new(Exit::VerificationFailed, &lines, &answer(false, "failed")))
        }
        Err(error) => Err(refused(&error)),
    }
}
