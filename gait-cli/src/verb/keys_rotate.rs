//! `gait keys rotate`: a new key takes the place of the one of this machine, which is kept for what it signed.

use super::keys_show::no_positionals;
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{JSON, Order};
use crate::local_key;
use crate::render::Outcome;
use serde_json::json;

pub static VERB: Verb = Verb {
    path: &["keys", "rotate"],
    label: "keys rotate",
    explain: "Replace the key that signs runs on this machine, and keep the old one for what it signed.",
    positionals: "",
    flags: &[JSON],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[
        "The old key is kept in $HOME/.gait/keys/archive, readable by its owner only, with its public half beside it: \
         what it signed verifies with --public-key and that .pub file, and a run that was begun with it is sealed with \
         --private-key and that .key file. It is no longer trusted by itself.",
        "Replacing a key takes nothing back: who has a copy of the old one can still sign with it.",
    ],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    no_positionals(call)?;
    let rotated = local_key::rotate()?;
    let path = local_key::path()?.display().to_string();
    let (key_id, public_key) = (rotated.new.public().id().to_string(), rotated.new.public().to_base64());
    let old_id = rotated.old.id().to_string();
    let (archived, archived_public) = (rotated.archived.display(), rotated.archived_public.display());
    let lines = [
        format!("keys rotate ok: {path}"),
        format!("key id: {key_id}"),
        format!("old key id: {old_id}"),
        format!("old key: {archived}"),
        format!("old public key: {archived_public}"),
    ];
    let members = json!({
        "ok": true,
        "path": path,
        "key_id": key_id,
        "public_key": public_key,
        "old_key_id": old_id,
        "archived_path": archived.to_string(),
        "archived_public_path": archived_public.to_string(),
    });
    Ok(Outcome::new(Exit::Ok, &lines, &members))
}
