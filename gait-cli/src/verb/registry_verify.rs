//! `gait registry verify`: is a pack in the cache still what was installed, and by whom?

use super::registry_install::{CACHE_DIR, EXPLAIN, PUBLISHERS};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, VERIFY_KEYS};
use crate::registry::cache;
use crate::render::Outcome;
use crate::{keys, pack};
use gait_core::json;
use gait_core::registry::{Cache, Verification};
use serde_json::{Map, Value};
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["registry", "verify"],
    label: "registry verify",
    explain: EXPLAIN,
    positionals: "",
    flags: &[
        Flag::value("path", "<registry_pack.json>", "the manifest; may also be given without the flag").required(),
        CACHE_DIR,
        PUBLISHERS,
        Flag::value("report-out", "<path>", "where the report goes"),
        VERIFY_KEYS[0].or_next(),
        VERIFY_KEYS[1],
        VERIFY_KEYS[2].hidden(),
        VERIFY_KEYS[3].hidden(),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &["note: without --cache-dir the cache is the one that the manifest lies in."],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let path = match (call.args.trimmed("path"), words.as_slice()) {
        (Some(path), []) => Path::new(path),
        (None, [path]) if !path.is_empty() => Path::new(*path),
        _ => return Err(Failure::invalid("expected --path <registry_pack.json>")),
    };
    let key = keys::verify_key(&call.args)?.ok_or_else(|| Failure::invalid("public key not configured"))?;
    let around = Cache::around(path).filter(|_| call.args.trimmed("cache-dir").is_none());
    let cache = around.map_or_else(|| cache(&call.args), Ok)?;
    let publishers = call.args.csv("publisher-allowlist");
    let found = Verification::of(path, &cache, &key, &publishers).map_err(Failure::invalid)?;
    let report = call.args.trimmed("report-out");
    if let Some(report) = report {
        let text = json::to_indented_html_safe(&found.report()).map_err(|error| Failure::new(Exit::Internal, error))?;
        pack::write_file(Path::new(report), text.as_bytes())?;
    }
    let exit = if found.holds() { Exit::Ok } else { Exit::VerificationFailed };
    Ok(Outcome::new(exit, &lines(&found, report), &members(&found, report)))
}

fn lines(found: &Verification, report: Option<&str>) -> Vec<String> {
    let manifest = &found.manifest;
    if !found.signature_error.is_empty() {
        return vec![format!("registry verify failed: {}", found.signature_error)];
    }
    if !found.holds() {
        return vec![format!("registry verify failed: pin mismatch for {}", manifest.pack_name)];
    }
    let (name, version, digest) = (&manifest.pack_name, &manifest.pack_version, &found.digest);
    let mut lines = vec![format!("registry verify ok: {name}@{version} sha256:{digest}")];
    if !manifest.publisher.is_empty() {
        lines.push(format!("publisher: {}", manifest.publisher));
    }
    lines.extend(report.map(|report| format!("report: {report}")));
    lines
}

/// Members that are empty or false are left out, as readers of the contract expect; `ok` never is.
fn members(found: &Verification, report: Option<&str>) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("ok".into(), found.holds().into());
    let manifest = &found.manifest;
    for (name, text) in [
        ("pack_name", manifest.pack_name.clone()),
        ("pack_version", manifest.pack_version.clone()),
        ("digest", found.digest.to_string()),
        ("metadata_path", found.metadata_path.display().to_string()),
        ("pin_path", found.pin_path.display().to_string()),
        ("pin_digest", found.pin.clone().unwrap_or_default()),
        ("signature_error", found.signature_error.clone()),
        ("publisher", manifest.publisher.clone()),
        ("pack_source", manifest.source.clone()),
        ("report_path", report.unwrap_or_default().to_string()),
    ] {
        if !text.is_empty() {
            members.insert(name.into(), text.into());
        }
    }
    for (name, holds) in [
        ("pin_present", found.pin.is_some()),
        ("pin_verified", found.pin_verified()),
        ("signature_verified", found.signature_verified),
        ("publisher_allowed", found.publisher_allowed),
    ] {
        if holds {
            members.insert(name.into(), true.into());
        }
    }
    members
}
