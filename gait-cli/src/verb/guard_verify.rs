//! `gait guard verify`: is an evidence pack what it says it is, and who says so?

use super::verify::{Demand, PROFILE, REQUIRE_SIGNATURE};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, VERIFY_KEYS};
use crate::progress::Progress;
use crate::render::Outcome;
use gait_core::evidence::verify::{PackVerifyError, verify as verify_pack};
use gait_core::runpack::manifest::SignatureStatus;
use gait_core::runpack::open::open_file;
use gait_core::runpack::verify::{HashMismatch, SignatureNeed};
use serde::Serialize;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["guard", "verify"],
    label: "guard verify",
    explain: "Build, verify, retain, and optionally encrypt evidence artifacts for audit and incident workflows.",
    positionals: "<evidence_pack.zip>",
    flags: &[
        PROFILE,
        REQUIRE_SIGNATURE,
        VERIFY_KEYS[0].or_next(),
        VERIFY_KEYS[1],
        VERIFY_KEYS[2].hidden(),
        VERIFY_KEYS[3].hidden(),
        Flag::value("path", "<evidence_pack.zip>", "the pack; may also be given without the flag").hidden(),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &["Checks that the evidence pack holds what its manifest lists, and who signed it."],
    run,
};

/// The answer about one pack.
#[derive(Debug, Serialize)]
pub struct PackVerdict {
    pub ok: bool,
    pub path: String,
    pack_id: String,
    run_id: String,
    files_checked: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_files: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hash_mismatches: Vec<HashMismatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    undeclared_files: Vec<String>,
    pub signature_status: SignatureStatus,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signature_errors: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    signatures_total: usize,
    #[serde(skip_serializing_if = "is_zero")]
    signatures_valid: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let path = match (call.args.trimmed("path"), words.as_slice()) {
        (Some(path), []) => path,
        (None, [path]) => path,
        _ => return Err(Failure::invalid("expected <evidence_pack.zip>")),
    };
    let _progress = Progress::of("verifying");
    let verdict = verify(path, &Demand::from_flags(&call.args)?)?;
    let line = format!("guard verify {}: {path}", if verdict.ok { "ok" } else { "failed" });
    let exit = if verdict.ok { Exit::Ok } else { Exit::VerificationFailed };
    Ok(Outcome::new(exit, &[line], &verdict))
}

/// Checks the pack at `path`.
///
/// # Errors
/// It can't be checked at all: exit 6.
pub fn verify(path: &str, demand: &Demand) -> Result<PackVerdict, Failure> {
    let source = open_file(Path::new(path)).map_err(|error| Failure::invalid(PackVerifyError::from(error)))?;
    let found = verify_pack(source, demand.key.as_ref()).map_err(Failure::invalid)?;
    let holds = found.holds();
    let mut signatures = found.signatures;
    if demand.need == SignatureNeed::Required && signatures.status == SignatureStatus::Missing {
        signatures.errors = vec!["pack manifest has no signatures".into()];
    }
    Ok(PackVerdict {
        ok: holds && demand.need.is_met_by(signatures.status),
        path: path.into(),
        pack_id: found.manifest.pack_id,
        run_id: found.manifest.run_id,
        files_checked: found.manifest.contents.len(),
        missing_files: found.missing_files,
        hash_mismatches: found.hash_mismatches,
        undeclared_files: found.undeclared_files,
        signature_status: signatures.status,
        signature_errors: signatures.errors,
        signatures_total: signatures.total,
        signatures_valid: signatures.valid,
    })
}
