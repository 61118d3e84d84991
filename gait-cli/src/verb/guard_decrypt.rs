//! `gait guard decrypt`: an encrypted artifact as it was before.

use super::guard_encrypt::input;
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::render::Outcome;
use crate::{artifact_key, pack};
use gait_core::digest::Sha256Hex;
use gait_core::evidence::encrypted::{open, read};
use gait_core::file;
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub static VERB: Verb = Verb {
    path: &["guard", "decrypt"],
    label: "guard decrypt",
    explain: "Build, verify, retain, and optionally encrypt evidence artifacts for audit and incident workflows.",
    positionals: "",
    flags: &[
        Flag::value("in", "<artifact.gaitenc>", "the encrypted artifact; may also be given without the flag")
            .required(),
        Flag::value("out", "<artifact>", "where the artifact goes").default("<in> without .gaitenc"),
        artifact_key::FLAGS[0],
        artifact_key::FLAGS[1],
        artifact_key::FLAGS[2],
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &[],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let input = input(call, "expected --in <artifact.gaitenc>")?;
    let (key, _) = artifact_key::named(&call.args)?;
    let bytes =
        file::read(Path::new(input)).map_err(|error| Failure::invalid(format!("read encrypted artifact: {error}")))?;
    let record = read(&bytes).map_err(Failure::invalid)?;
    let plain = Zeroizing::new(open(&record, &key).map_err(Failure::invalid)?);
    let output = call.args.trimmed("out").map_or_else(|| beside(input), PathBuf::from);
    pack::write_file(&output, &plain)?;
    let shown = output.display().to_string();
    let members = json!({"ok": true, "path": shown, "plain_sha256": Sha256Hex::of(&plain), "plain_size": plain.len()});
    Ok(Outcome::new(Exit::Ok, &[format!("guard decrypt ok: {shown}")], &members))
}

/// Where the artifact goes if nothing is said.
fn beside(input: &str) -> PathBuf {
    match input.strip_suffix(".gaitenc").filter(|stem| !stem.is_empty() && !stem.ends_with('/')) {
        Some(stem) => PathBuf::from(stem),
        None => PathBuf::from(format!("{input}.plain")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_before_encryption() {
        for (input, output) in [("a.zip.gaitenc", "a.zip"), ("a", "a.plain"), ("d/.gaitenc", "d/.gaitenc.plain")] {
            assert_eq!(beside(input), PathBuf::from(output));
        }
    }
}
