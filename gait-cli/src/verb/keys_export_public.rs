//! `gait keys export-public`: the public half of the local key, for those who verify elsewhere.

use super::keys_show::{existing, no_positionals};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::keys;
use crate::render::Outcome;
use gait_core::file;
use serde_json::json;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["keys", "export-public"],
    label: "keys export-public",
    explain: "Print the public half of the local key, or of one that is named, as --public-key of other commands reads it.",
    positionals: "",
    flags: &[
        Flag::value("out", "<path>", "write it to this file instead"),
        Flag::value("private-key", "<path>", "file with the private key to take it from, instead of the local one")
            .or_next(),
        Flag::value("private-key-env", "<VAR>", "environment variable with it"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    no_positionals(call)?;
    let public = match keys::signing_key(&call.args)? {
        Some(key) => key.public(),
        None => existing()?.public(),
    };
    let (key_id, public_key) = (public.id().to_string(), public.to_base64());
    let mut members = json!({ "ok": true, "key_id": key_id, "public_key": public_key });
    let Some(out) = call.args.raw("out").filter(|out| !out.is_empty()) else {
        return Ok(Outcome::new(Exit::Ok, &[public_key], &members));
    };
    file::write_atomic(Path::new(out), format!("{public_key}\n").as_bytes())
        .map_err(|error| Failure::io(format!("write public key: {error}")))?;
    let out = out.to_string_lossy();
    members["path"] = out.as_ref().into();
    Ok(Outcome::new(Exit::Ok, &[format!("keys export-public ok: {out}"), format!("key id: {key_id}")], &members))
}
