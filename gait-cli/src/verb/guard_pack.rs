//! `gait guard pack`: the evidence of a run for an audit, as one signed file.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order, SIGNING_KEYS};
use crate::key_mode::KEY_MODE;
use crate::render::Outcome;
use crate::{key_mode, pack};
use gait_core::evidence::Template;
use gait_core::evidence::build::{EvidencePack, Pages, Wanted, build};
use gait_core::evidence::incident::named;
use gait_core::file::{self, AtomicFile};
use gait_core::signature::PrivateKey;
use serde_json::json;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

pub static VERB: Verb = Verb {
    path: &["guard", "pack"],
    label: "guard pack",
    explain: "Build, verify, retain, and optionally encrypt evidence artifacts for audit and incident workflows.",
    positionals: "",
    flags: &[
        Flag::value("run", "<run_id|path>", "the runpack; may also be given without the flag").required(),
        Flag::value("inventory", "<csv>", "inventory snapshots"),
        Flag::value("trace", "<csv>", "traces"),
        Flag::value("regress", "<csv>", "regress results"),
        Flag::value("approval-audit", "<csv>", "approval audits").default("those beside the runpack"),
        Flag::value("credential-evidence", "<csv>", "credential records").default("those beside the runpack"),
        Flag::value("template", "soc2|pci|incident_response", "the standard to index the evidence by").default("soc2"),
        RENDER_PDF,
        Flag::value("out", "<evidence_pack.zip>", "where the pack goes").default(BESIDE),
        CASE_ID,
        KEY_MODE,
        SIGNING_KEYS[0],
        SIGNING_KEYS[1],
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &[
        "Collects a runpack, its traces, regress results, audits and credential records into one signed file, indexed by a \
         standard, that others can check offline.",
    ],
    run,
};

pub const RENDER_PDF: Flag = Flag::switch("render-pdf", "add summary.pdf, one page that lists the evidence");
/// Where a pack goes that has no place of its own.
pub const BESIDE: &str = "evidence_pack_<pack_id>.zip beside the runpack";
pub const CASE_ID: Flag = Flag::value("case-id", "<id>", "the name of the case");

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let input = match (call.args.trimmed("run"), words.as_slice()) {
        (Some(input), []) => input,
        (None, [input]) => input,
        _ => return Err(Failure::invalid("expected --run <run_id|path>")),
    };
    let (key, warnings) = key_mode::signing_key(&call.args)?;
    let (mut source, path) = pack::open(input)?;
    let folder = pack::parent(&path);
    let beside = |flag: &str, prefix: &str| match paths(&call.args, flag) {
        given if !given.is_empty() => given,
        _ => named(folder, prefix),
    };
    let wanted = Wanted {
        template: Template::parse(call.args.text("template"), Template::Soc2),
        case_id: call.args.text("case-id").trim().into(),
        traces: paths(&call.args, "trace"),
        results: paths(&call.args, "regress"),
        inventory: paths(&call.args, "inventory"),
        audits: beside("approval-audit", "approval_audit_"),
        credentials: beside("credential-evidence", "credential_evidence_"),
        window: None,
        pdf: pages(&call.args),
    };
    let mut evidence = build(&mut source, &wanted).map_err(Failure::invalid)?;
    let output = write(&mut evidence, &call.args, folder, &[&key])?;
    let mut members = json!({
        "ok": true,
        "pack_path": output,
        "pack_id": evidence.manifest.pack_id,
        "run_id": evidence.manifest.run_id,
        "template_id": evidence.manifest.template_id,
        "controls": evidence.manifest.control_index.len(),
        "manifest_path": format!("{output}#pack_manifest.json"),
    });
    if !evidence.manifest.rendered_artifacts.is_empty() {
        members["rendered_artifacts"] = evidence.manifest.rendered_artifacts.len().into();
    }
    if !warnings.is_empty() {
        members["warnings"] = json!(warnings);
    }
    Ok(Outcome::new(Exit::Ok, &[format!("guard pack ok: {output}")], &members))
}

/// The pages that are asked for.
pub fn pages(args: &Args) -> Pages {
    if args.is_on("render-pdf") { Pages::Summary } else { Pages::None }
}

fn paths(args: &Args, flag: &str) -> Vec<PathBuf> {
    args.csv(flag).into_iter().map(PathBuf::from).collect()
}

/// Writes the pack to `--out` or beside the runpack, and gives its path as shown.
///
/// # Errors
/// It could not be written: exit 1.
pub fn write(evidence: &mut EvidencePack, args: &Args, folder: &Path, keys: &[&PrivateKey]) -> Result<String, Failure> {
    let path = match args.trimmed("out") {
        Some(out) => PathBuf::from(out),
        None => folder.join(format!("evidence_pack_{}.zip", evidence.manifest.pack_id)),
    };
    file::create_folders(pack::parent(&path)).map_err(Failure::io)?;
    let mut out = BufWriter::new(AtomicFile::create(&path).map_err(Failure::io)?);
    evidence.write(&mut out, keys).map_err(Failure::io)?;
    let target = out.into_inner().map_err(|error| Failure::io(file::os_text(error.error())))?;
    target.commit().map_err(Failure::io)?;
    Ok(path.display().to_string())
}
