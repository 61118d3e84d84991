//! `gait registry list`: the packs in the cache.

use super::registry_install::{CACHE_DIR, EXPLAIN};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{JSON, Order};
use crate::registry::cache;
use crate::render::Outcome;
use gait_core::registry::Listed;
use serde_json::{Value, json};

pub static VERB: Verb = Verb {
    path: &["registry", "list"],
    label: "registry list",
    explain: EXPLAIN,
    positionals: "",
    flags: &[CACHE_DIR, JSON],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &[],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    if !call.args.positionals.is_empty() {
        return Err(Failure::invalid("unexpected positional arguments"));
    }
    let packs = cache(&call.args)?.list().map_err(|error| Failure::invalid(format!("list registry cache: {error}")))?;
    let mut lines = vec![format!("registry list ok: {} packs", packs.len())];
    lines.extend(packs.iter().map(|pack| format!("- {}@{} sha256:{}", pack.pack_name, pack.pack_version, pack.digest)));
    let mut answer = json!({"ok": true});
    if !packs.is_empty() {
        answer["packs"] = packs.iter().map(members).collect();
    }
    Ok(Outcome::new(Exit::Ok, &lines, &answer))
}

fn members(pack: &Listed) -> Value {
    let mut members = json!({
        "pack_name": pack.pack_name,
        "pack_version": pack.pack_version,
        "digest": pack.digest,
        "metadata_path": pack.metadata_path.display().to_string(),
        "pin_verified": pack.pin_verified(),
    });
    if let Some((path, pin)) = &pack.pin {
        members["pin_path"] = path.display().to_string().into();
        members["pin_digest"] = pin.clone().into();
    }
    members
}
