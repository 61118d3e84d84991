//! `gait keys show`: which key signs runs on this machine.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{JSON, Order};
use crate::local_key;
use crate::render::Outcome;
use gait_core::signature::PrivateKey;
use serde_json::json;

pub static VERB: Verb = Verb {
    path: &["keys", "show"],
    label: "keys show",
    explain: "Show the id and the public half of the key that signs runs on this machine.",
    positionals: "",
    flags: &[JSON],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    no_positionals(call)?;
    let public = existing()?.public();
    let path = local_key::path()?.display().to_string();
    let (key_id, public_key) = (public.id().to_string(), public.to_base64());
    let lines = [format!("key id: {key_id}"), format!("public key: {public_key}"), format!("file: {path}")];
    let members = json!({ "ok": true, "path": path, "key_id": key_id, "public_key": public_key });
    Ok(Outcome::new(Exit::Ok, &lines, &members))
}

/// The local key, which must be there.
pub fn existing() -> Result<PrivateKey, Failure> {
    local_key::load()?.ok_or_else(|| {
        Failure::invalid("there is no local key").with_hint("run `gait keys init`; `gait exec` makes one at first use")
    })
}

/// Refuses what `keys` has no use for.
pub fn no_positionals(call: &Call) -> Result<(), Failure> {
    match call.args.positionals.as_slice() {
        [] => Ok(()),
        _ => Err(Failure::invalid("unexpected positional arguments")),
    }
}
