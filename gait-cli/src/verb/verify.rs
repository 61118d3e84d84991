//! `gait verify <run_id|path>`: is a runpack what it says it is, and who says so?

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order, VERIFY_KEYS};
use crate::progress::Progress;
use crate::render::{Form, Outcome};
use crate::{guarded, keys, local_key, locate};
use gait_core::runpack::consistency::{DigestMismatch, contradictions, wrong_digests};
use gait_core::runpack::container::Container;
use gait_core::runpack::manifest::SignatureStatus;
use gait_core::runpack::open::open_file;
use gait_core::runpack::record::Manifest;
use gait_core::runpack::verify::{HashMismatch, SignatureNeed, VerifyError, integrity};
use gait_core::signature::{PublicKey, Signature};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["verify"],
    label: "verify",
    explain: "Verify runpack integrity offline: file hashes, manifest digest, and optional signatures.",
    positionals: "<run_id|path>",
    flags: &[
        JSON,
        PROFILE,
        REQUIRE_SIGNATURE,
        REQUIRE_COMPLETE,
        REQUIRE_DIGESTS,
        VERIFY_KEYS[0],
        VERIFY_KEYS[1],
        VERIFY_KEYS[2],
        VERIFY_KEYS[3],
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[
        "The strict profile needs somebody to vouch for the runpack: the key of this machine (gait keys init), or the key \
         of who signed it, with --public-key or --private-key. A runpack is signed when it is recorded, by \
         --private-key of gait run record, gait demo and gait migrate; gait exec always signs. \
         gait keys export-public gives a public key to pass on.",
    ],
    run,
};

pub const PROFILE: Flag = Flag::value(
    "profile",
    "standard|strict",
    "strict: a signature must hold, by a key that is given or this machine's own",
)
.default("standard");
pub const REQUIRE_SIGNATURE: Flag = Flag::switch("require-signature", "not ok without a signature that holds");

pub const REQUIRE_COMPLETE: Flag =
    Flag::switch("require-complete", "not ok unless the record of a guarded run is complete").hidden();

const REQUIRE_DIGESTS: Flag =
    Flag::switch("require-digests", "not ok unless args_digest and result_digest are those of what they go with")
        .hidden();

/// What is asked of a runpack.
#[derive(Debug)]
pub struct Demand {
    pub need: SignatureNeed,
    /// From a flag: then no other counts.
    pub key: Option<PublicKey>,
    /// This machine's own.
    pub local: Option<PublicKey>,
    pub completeness: Completeness,
    pub digests: Digests,
}

/// Whether `args_digest` and `result_digest` of records are taken as they are, or computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digests {
    Taken,
    Computed,
}

/// What is asked of a guarded run beyond being what its guard wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Nothing.
    Any,
    /// That its record is complete.
    Complete,
    /// That, its receipt, and somebody who vouches for it.
    Strict,
}

impl Demand {
    /// Nothing but integrity.
    pub fn integrity() -> Self {
        Demand {
            need: SignatureNeed::Optional,
            key: None,
            local: None,
            completeness: Completeness::Any,
            digests: Digests::Taken,
        }
    }

    /// What the flags of `verify` ask for.
    ///
    /// # Errors
    /// An unknown profile, a strict one without a key, a key that can't be read: exit 6.
    pub fn from_flags(args: &Args) -> Result<Self, Failure> {
        let profile = args.text("profile");
        let strict = match profile.trim().to_ascii_lowercase().as_str() {
            "" | "standard" => false,
            "strict" => true,
            _ => {
                return Err(Failure::invalid(format!(
                    "unsupported --profile value {profile:?} (expected standard or strict)"
                )));
            }
        };
        let key = keys::verify_key(args)?;
        let local = match &key {
            Some(_) => None,
            None => local_key::load()?.map(|key| key.public()),
        };
        if strict && !keys::names_a_key(args) && local.is_none() {
            return Err(no_key());
        }
        let need = match strict || args.is_on("require-signature") {
            true => SignatureNeed::Required,
            false => SignatureNeed::Optional,
        };
        let completeness = match (strict, args.is_on("require-complete")) {
            (true, _) => Completeness::Strict,
            (false, true) => Completeness::Complete,
            (false, false) => Completeness::Any,
        };
        let digests = if args.is_on("require-digests") { Digests::Computed } else { Digests::Taken };
        Ok(Demand { need, key, local, completeness, digests })
    }
}

/// The answer about one runpack.
#[derive(Debug, Serialize)]
pub struct Verdict {
    pub ok: bool,
    pub path: String,
    pub run_id: String,
    pub manifest_digest: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub files_checked: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_files: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hash_mismatches: Vec<HashMismatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undeclared_files: Vec<String>,
    /// Where the manifest speaks of another run than the pack holds, or in another language (artifacts 12, A5).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifest_errors: Vec<String>,
    /// Records whose digest is not that of their content, where that was asked for (artifacts 12, A8).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub digest_mismatches: Vec<DigestMismatch>,
    pub signature_status: SignatureStatus,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signature_errors: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub signatures_total: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pub signatures_valid: usize,
    /// What is known beyond a plain runpack.
    #[serde(flatten)]
    pub more: Map<String, Value>,
    /// The same in words.
    #[serde(skip)]
    pub more_lines: Vec<String>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Verdict {
    /// 0 or 2.
    pub fn exit(&self) -> Exit {
        if self.ok { Exit::Ok } else { Exit::VerificationFailed }
    }

    /// Lines for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("verify {}: {}", if self.ok { "ok" } else { "failed" }, self.path)];
        if !self.ok {
            lines.extend(self.findings());
        }
        lines.extend(self.more_lines.iter().cloned());
        lines
    }

    /// What to do about a runpack that is only not vouched for, for those who asked for the strict profile.
    fn next_step(&self, call: &Call) -> Option<&'static str> {
        let strict = call.args.text("profile").trim().eq_ignore_ascii_case("strict");
        let intact = self.missing_files.is_empty()
            && self.hash_mismatches.is_empty()
            && self.undeclared_files.is_empty()
            && self.manifest_errors.is_empty();
        match self.signature_status {
            _ if self.ok || !strict || !intact => None,
            SignatureStatus::Missing => Some(
                "nobody signed this runpack; name a key when it is recorded: gait run record --private-key <file>, \
                 or sign what is there: gait migrate --private-key <file>",
            ),
            SignatureStatus::Failed | SignatureStatus::Skipped => Some(HOW_TO_NAME_A_KEY),
            SignatureStatus::Verified => None,
        }
    }

    fn findings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.missing_files.is_empty() {
            lines.push(format!("missing files: {}", self.missing_files.join(", ")));
        }
        if !self.hash_mismatches.is_empty() {
            lines.push(format!("hash mismatches: {}", self.hash_mismatches.len()));
        }
        if !self.undeclared_files.is_empty() {
            lines.push(format!("undeclared files: {}", self.undeclared_files.join(", ")));
        }
        if !self.manifest_errors.is_empty() {
            lines.push(format!("manifest errors: {}", self.manifest_errors.join("; ")));
        }
        if !self.digest_mismatches.is_empty() {
            let named = |one: &DigestMismatch| format!("{} {:?}", one.path, one.intent_id);
            lines.push(format!(
                "digest mismatches: {}",
                self.digest_mismatches.iter().map(named).collect::<Vec<_>>().join(", ")
            ));
        }
        lines.push(format!("signature status: {}", self.signature_status.word()));
        if !self.signature_errors.is_empty() {
            lines.push(format!("signature errors: {}", self.signature_errors.join("; ")));
        }
        lines
    }
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let [input] = words.as_slice() else {
        return Err(Failure::invalid("expected run_id or path"));
    };
    let demand = Demand::from_flags(&call.args)?;
    let path = locate::runpack(input)?;
    let progress = Progress::reading("verifying", [path.as_path()], 1);
    let verdict = verify(&path, &demand)?;
    drop(progress);
    let notes: Vec<String> = verdict.next_step(call).map(|step| format!("hint: {step}")).into_iter().collect();
    let outcome = Outcome::new(verdict.exit(), &verdict.lines(), &verdict);
    Ok(if call.form == Form::Text { outcome.with_notes(&notes) } else { outcome })
}

const HOW_TO_NAME_A_KEY: &str = "name the key of who signed it: --public-key <file> as `gait keys export-public` writes it, \
                                 or the --private-key that signed it; what the key of `gait keys init` signed needs no flag";

/// The key for the manifest of a plain pack. The strict profile takes the local one for its own signatures; where no
/// key is at hand it can't be answered.
fn plain_key<'a>(signatures: &[Signature], demand: &'a Demand) -> Result<Option<&'a PublicKey>, Failure> {
    if demand.key.is_some() || demand.completeness != Completeness::Strict {
        return Ok(demand.key.as_ref());
    }
    let own = demand.local.as_ref().filter(|key| {
        let id = key.id().to_string();
        signatures.iter().any(|signature| signature.key_id == id)
    });
    if own.is_none() && !signatures.is_empty() { Err(no_key()) } else { Ok(own) }
}

fn no_key() -> Failure {
    Failure::invalid("strict verify profile requires --public-key/--public-key-env or private key source")
        .with_advice(HOW_TO_NAME_A_KEY)
}

/// Checks the runpack at `path`.
///
/// # Errors
/// It can't be checked at all: exit 6.
pub fn verify(path: &Path, demand: &Demand) -> Result<Verdict, Failure> {
    Ok(verify_and_open(path, demand)?.0)
}

/// Checks the runpack at `path`, and gives the very file that was checked, with its manifest.
///
/// # Errors
/// It can't be checked at all: exit 6.
pub fn verify_and_open(
    path: &Path,
    demand: &Demand,
) -> Result<(Verdict, Container<BufReader<File>>, Manifest), Failure> {
    let source = open_file(path).map_err(|error| Failure::invalid(format!("open zip: {error}")))?;
    let mut container = Container::open(source).map_err(|error| Failure::invalid(VerifyError::from(error)))?;
    let found = integrity(&mut container).map_err(Failure::invalid)?;
    let guarded = guarded::judge(&mut container, &found, demand);
    let key = match guarded.signatures {
        Some(_) => demand.key.as_ref(),
        None => plain_key(&found.manifest.signatures, demand)?,
    };
    let mut signatures = found.signatures(key);
    if demand.need == SignatureNeed::Required && signatures.status == SignatureStatus::Missing {
        signatures.errors = vec!["manifest has no signatures".into()];
    }
    if let Some(report) = guarded.signatures {
        signatures = report;
    }
    let manifest_errors = contradictions(&mut container, &found.manifest);
    let digest_mismatches = match demand.digests {
        Digests::Taken => Vec::new(),
        Digests::Computed => wrong_digests(&mut container).map_err(Failure::invalid)?,
    };
    let holds = found.holds();
    let manifest = found.manifest;
    let verdict = Verdict {
        ok: holds
            && manifest_errors.is_empty()
            && digest_mismatches.is_empty()
            && guarded.ok
            && demand.need.is_met_by(signatures.status),
        path: path.display().to_string(),
        files_checked: manifest.files.len(),
        run_id: manifest.run_id.clone(),
        manifest_digest: manifest.manifest_digest.clone(),
        missing_files: found.missing_files,
        hash_mismatches: found.hash_mismatches,
        undeclared_files: found.undeclared_files,
        manifest_errors,
        digest_mismatches,
        signature_status: signatures.status,
        signature_errors: signatures.errors,
        signatures_total: signatures.total,
        signatures_valid: signatures.valid,
        more: guarded.members,
        more_lines: guarded.lines,
    };
    Ok((verdict, container, manifest))
}
