//! `gait guard encrypt`: an artifact under a key that is kept elsewhere.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::render::Outcome;
use crate::{artifact_key, clock, pack};
use gait_core::digest::Sha256Hex;
use gait_core::evidence::encrypted::{ALGORITHM, NONCE_BYTES, seal};
use gait_core::file;
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub static VERB: Verb = Verb {
    path: &["guard", "encrypt"],
    label: "guard encrypt",
    explain: "Build, verify, retain, and optionally encrypt evidence artifacts for audit and incident workflows.",
    positionals: "",
    flags: &[
        Flag::value("in", "<artifact>", "the artifact; may also be given without the flag").required(),
        Flag::value("out", "<artifact.gaitenc>", "where the encrypted artifact goes").default("<in>.gaitenc"),
        artifact_key::FLAGS[0],
        artifact_key::FLAGS[1],
        artifact_key::FLAGS[2],
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &[
        "note: AES-256-GCM with a random nonce; the record holds the digest of the plain bytes, and never the key.",
    ],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let input = input(call, "expected --in <artifact>")?;
    let (key, source) = artifact_key::named(&call.args)?;
    let plain =
        file::read(Path::new(input)).map_err(|error| Failure::invalid(format!("read input artifact: {error}")))?;
    let plain = Zeroizing::new(plain);
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| Failure::io(format!("no random numbers: {error}")))?;
    let sealed = seal(&plain, &key, nonce, source.clone(), clock::now()).map_err(Failure::invalid)?;
    let output = call.args.trimmed("out").map_or_else(|| PathBuf::from(format!("{input}.gaitenc")), PathBuf::from);
    pack::write_file(&output, &sealed)?;
    let shown = output.display().to_string();
    let key_ref = if source.reference.is_empty() { source.command } else { source.reference };
    let members = json!({
        "ok": true,
        "path": shown,
        "algorithm": ALGORITHM,
        "plain_sha256": Sha256Hex::of(&plain),
        "plain_size": plain.len(),
        "key_mode": source.mode,
        "key_ref": key_ref,
    });
    Ok(Outcome::new(Exit::Ok, &[format!("guard encrypt ok: {shown}")], &members))
}

/// The artifact that is named, with or without `--in`.
///
/// # Errors
/// None is, or several: exit 6.
pub fn input<'a>(call: &'a Call, expected: &str) -> Result<&'a str, Failure> {
    let words = call.words()?;
    match (call.args.trimmed("in"), words.as_slice()) {
        (Some(path), []) => Ok(path),
        (None, [path]) if !path.is_empty() => Ok(path),
        _ => Err(Failure::invalid(expected)),
    }
}
