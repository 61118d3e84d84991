//! `gait keys init`: makes the key of this machine, once.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{JSON, Order};
use crate::local_key::{self, Made};
use crate::render::Outcome;
use serde_json::json;

pub static VERB: Verb = Verb {
    path: &["keys", "init"],
    label: "keys init",
    explain: "Make the key that signs runs on this machine, unless there is one.",
    positionals: "",
    flags: &[JSON],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[
        "The key is $HOME/.gait/keys/signing.key, readable by its owner only. An existing key is never replaced: \
         what it signed must stay verifiable.",
    ],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    super::keys_show::no_positionals(call)?;
    let (key, made) = local_key::load_or_make()?;
    let path = local_key::path()?.display().to_string();
    let key_id = key.public().id().to_string();
    let word = match made {
        Made::Now => "made",
        Made::Before => "kept",
    };
    let members = json!({
        "ok": true,
        "made": made == Made::Now,
        "path": path,
        "key_id": key_id,
        "public_key": key.public().to_base64(),
    });
    let lines = [
        format!("keys init {word}: {path}"),
        format!("key id: {key_id}"),
        format!("sign with: --private-key {path}; what it signed passes `gait verify --profile strict` here"),
        "for others: gait keys export-public".to_string(),
    ];
    Ok(Outcome::new(Exit::Ok, &lines, &members))
}
