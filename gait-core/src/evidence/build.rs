//! Making a pack: evidence files, the two indexes over them, the manifest (contract, control 14.1).

use super::PACK_MANIFEST;
use super::manifest::{Content, Control, PACK_SCHEMA, PackManifest, Pointer, Rendered, Window};
use super::pdf::Summary;
use super::summary::{EvidenceError, EvidenceFile, Source, numbered, of_results, of_runpack, of_traces, read_traces};
use super::template::Template;
use crate::canonical::{CanonicalError, canonical_bytes};
use crate::digest::Sha256Hex;
use crate::runpack::container::{ContainerWriter, WriteError};
use crate::runpack::open::Runpack;
use crate::signature::PrivateKey;
use crate::time::Timestamp;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

/// What goes into a pack besides the runpack.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The standard.
    pub template: Template,
    /// The name of the case; empty for none.
    pub case_id: String,
    /// Traces.
    pub traces: Vec<PathBuf>,
    /// Regress results.
    pub results: Vec<PathBuf>,
    /// Inventory snapshots.
    pub inventory: Vec<PathBuf>,
    /// Approval audits.
    pub audits: Vec<PathBuf>,
    /// Credential records.
    pub credentials: Vec<PathBuf>,
    /// For an incident: the time around it.
    pub window: Option<Window>,
    /// Whether a page is made of it.
    pub pdf: Pages,
}

/// Which pages are made of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// None.
    None,
    /// `summary.pdf`.
    Summary,
}

/// A pack that is ready to be written.
#[derive(Clone, Debug)]
pub struct EvidencePack {
    /// The manifest, not signed yet.
    pub manifest: PackManifest,
    /// Digests of the policies that the traces name; for an incident only.
    pub policy_digests: BTreeSet<String>,
    files: Vec<EvidenceFile>,
}

/// Collects the evidence of the run in `pack`.
///
/// # Errors
/// [`EvidenceError`] for the first record that can't be used.
pub fn build<R: Read + Seek>(pack: &mut Runpack<R>, wanted: &Wanted) -> Result<EvidencePack, EvidenceError> {
    let run_id = pack.run.run_id.clone();
    let mut files = of_runpack(pack)?;
    let traces = read_traces(&wanted.traces)?;
    files.extend(numbered(Source::Inventory, &wanted.inventory)?);
    if !traces.is_empty() {
        files.push(of_traces(&traces)?);
    }
    if !wanted.results.is_empty() {
        files.push(of_results(&wanted.results)?);
    }
    files.extend(numbered(Source::ApprovalAudit, &wanted.audits)?);
    files.extend(numbered(Source::CredentialEvidence, &wanted.credentials)?);
    let digests = traces.iter().map(|trace| trace.policy_digest.trim());
    let policy_digests: BTreeSet<String> =
        digests.filter(|digest| !digest.is_empty() && wanted.window.is_some()).map(str::to_string).collect();
    if let Some(window) = &wanted.window {
        let policies = json!({
            "run_id": run_id,
            "window_from": window.from,
            "window_to": window.to,
            "policy_digests": policy_digests,
        });
        files.push(EvidenceFile::of("policy_digests.json", "report", &policies)?);
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    if wanted.pdf == Pages::Summary {
        let page = summary_page(pack, wanted, &files);
        files.push(EvidenceFile { path: SUMMARY_PDF.into(), kind: "report", bytes: page });
        files.sort_by(|left, right| left.path.cmp(&right.path));
    }

    let (controls, pointers) = (wanted.template.controls(&files), pointers(&files));
    files.push(EvidenceFile::of("control_index.json", "report", &controls)?);
    files.push(EvidenceFile::of("evidence_pointers.json", "report", &pointers)?);
    files.sort_by(|left, right| left.path.cmp(&right.path));
    let manifest = manifest(pack, wanted, controls, pointers, &files)?;
    Ok(EvidencePack { manifest, policy_digests, files })
}

/// The name of the page.
const SUMMARY_PDF: &str = "summary.pdf";

fn summary_page<R>(pack: &Runpack<R>, wanted: &Wanted, files: &[EvidenceFile]) -> Vec<u8> {
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let time = pack.run.created_at;
    let generated = Timestamp::from_unix(time.unix_seconds(), 0).unwrap_or(time).to_string();
    let summary = Summary {
        run_id: &pack.run.run_id,
        case_id: &wanted.case_id,
        template: wanted.template.name(),
        generated: &generated,
        paths: &paths,
    };
    summary.render()
}

fn rendered(files: &[EvidenceFile]) -> Vec<Rendered> {
    let pages = files.iter().filter(|file| file.path == SUMMARY_PDF);
    let of = |file: &EvidenceFile| Rendered {
        format: "pdf".into(),
        path: file.path.clone(),
        sha256: Sha256Hex::of(&file.bytes).to_string(),
    };
    pages.map(of).collect()
}

fn pointers(files: &[EvidenceFile]) -> Vec<Pointer> {
    let pointer = |(number, file): (usize, &EvidenceFile)| Pointer {
        pointer_id: format!("ev_{number:03}"),
        path: file.path.clone(),
        kind: file.kind.into(),
        sha256: Sha256Hex::of(&file.bytes).to_string(),
    };
    (1..).zip(files).map(pointer).collect()
}

fn manifest<R>(
    pack: &Runpack<R>,
    wanted: &Wanted,
    control_index: Vec<Control>,
    evidence_pointers: Vec<Pointer>,
    files: &[EvidenceFile],
) -> Result<PackManifest, CanonicalError> {
    let content = |file: &EvidenceFile| Content {
        path: file.path.clone(),
        sha256: Sha256Hex::of(&file.bytes).to_string(),
        kind: file.kind.into(),
    };
    let mut manifest = PackManifest {
        schema_id: PACK_SCHEMA.into(),
        schema_version: "1.0.0".into(),
        created_at: pack.run.created_at,
        producer_version: crate::PRODUCER_VERSION.into(),
        run_id: pack.run.run_id.clone(),
        case_id: wanted.case_id.clone(),
        generated_at: pack.run.created_at,
        template_id: wanted.template.name().into(),
        control_index,
        evidence_pointers,
        incident_window: wanted.window.clone(),
        rendered_artifacts: rendered(files),
        contents: files.iter().map(content).collect(),
        ..PackManifest::default()
    };
    manifest.pack_id = manifest.computed_id()?;
    Ok(manifest)
}

/// Why a pack could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackWriteError {
    /// The container could not be written.
    #[error(transparent)]
    Container(#[from] WriteError),
    /// A record without a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl EvidencePack {
    /// Writes the pack, signed by `keys`.
    ///
    /// # Errors
    /// [`PackWriteError`]; what was written to `out` is then of no use.
    pub fn write(&mut self, out: impl Write, keys: &[&PrivateKey]) -> Result<(), PackWriteError> {
        self.manifest.sign(keys)?;
        let own = canonical_bytes(&self.manifest)?;
        let mut members: Vec<(&str, &[u8])> =
            self.files.iter().map(|file| (file.path.as_str(), file.bytes.as_slice())).collect();
        members.push((PACK_MANIFEST, &own));
        members.sort_unstable_by_key(|(path, _)| *path);
        let mut writer = ContainerWriter::new(out);
        for (path, bytes) in members {
            writer.member(path, bytes)?;
        }
        writer.finish()?;
        Ok(())
    }
}
