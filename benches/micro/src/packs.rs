//! Runpacks and evidence packs, from and to files.

use crate::Operation;
use crate::world::{Incident, key, other_run, run, runpack};
use anyhow::{Context, Result, ensure};
use gait_core::evidence::Template;
use gait_core::evidence::build::{Pages, Wanted, build};
use gait_core::evidence::incident::{select, window};
use gait_core::evidence::verify::verify;
use gait_core::runpack::container::Container;
use gait_core::runpack::diff::{Privacy, diff_files};
use gait_core::runpack::manifest::SignatureStatus;
use gait_core::runpack::open::{Runpack, open_file};
use gait_core::runpack::verify::integrity;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

/// What an incident pack covers before and after the run, unless asked otherwise.
const DAY_NANOS: i64 = 24 * 3600 * 1_000_000_000;

/// All members of a signed runpack against its manifest, and the signature.
pub fn verify_zip(folder: &Path) -> Result<Operation> {
    let path = runpack(folder, &run("run_verify")?)?;
    let key = key().public();
    Ok(Operation::new("BenchmarkVerifyZipTypical", move || {
        let found = integrity(&mut Container::open(open_file(&path)?)?)?;
        let signatures = found.signatures(Some(&key));
        ensure!(found.holds() && signatures.status == SignatureStatus::Verified, "{found:?} {signatures:?}");
        Ok(())
    }))
}

/// Two runs of which one call differs.
pub fn diff_runpacks(folder: &Path) -> Result<Operation> {
    let left = runpack(folder, &run("run_left")?)?;
    let right = runpack(folder, &other_run("run_right")?)?;
    Ok(Operation::new("BenchmarkDiffRunpacksTypical", move || {
        let summary = diff_files(open_file(&left)?, open_file(&right)?, Privacy::Full)?;
        ensure!(summary.intents_changed && summary.results_changed, "{summary:?}");
        Ok(())
    }))
}

/// An evidence pack with a trace and a regress result.
pub fn verify_pack(folder: &Path) -> Result<Operation> {
    let incident = Incident::new(folder, "run_evidence")?;
    let path = folder.join("evidence_pack.zip");
    let wanted =
        Wanted { template: Template::Soc2, traces: vec![incident.trace], results: vec![incident.result], ..nothing() };
    write(Runpack::open_path(&incident.runpack)?, &wanted, &path)?;
    Ok(Operation::new("BenchmarkVerifyPackTypical", move || {
        let report = verify(open_file(&path)?, None)?;
        ensure!(report.holds(), "{report:?}");
        Ok(())
    }))
}

/// From a runpack to the file with everything around it: looked for in its folder, read, packed, written. The file is
/// not synced: what waiting for a disk costs is the matter of `BenchmarkInstallLocalTypical`.
pub fn build_incident_pack(folder: &Path) -> Result<Operation> {
    let runpack = Incident::new(folder, "run_incident")?.runpack;
    let path = folder.join("incident_pack.zip");
    Ok(Operation::new("BenchmarkBuildIncidentPackTypical", move || incident_pack(&runpack, &path)))
}

fn incident_pack(runpack: &Path, path: &Path) -> Result<()> {
    let source = Runpack::open_path(runpack)?;
    let around = window(source.run.created_at, DAY_NANOS, &source.run.run_id);
    let selected = select(runpack.parent().context("a folder")?, &around);
    ensure!(selected.traces.len() == 1 && selected.results.len() == 1, "{selected:?}");
    let wanted = Wanted { traces: selected.traces, results: selected.results, window: Some(around), ..nothing() };
    write(source, &wanted, path)
}

fn write(mut source: Runpack<BufReader<File>>, wanted: &Wanted, path: &Path) -> Result<()> {
    let mut evidence = build(&mut source, wanted)?;
    // A new file: closing one that was truncated waits for the disk on some file systems.
    if path.exists() {
        fs::remove_file(path)?;
    }
    let mut out = BufWriter::new(File::create_new(path)?);
    evidence.write(&mut out, &[])?;
    Ok(out.flush()?)
}

fn nothing() -> Wanted {
    Wanted {
        template: Template::IncidentResponse,
        case_id: String::new(),
        traces: Vec::new(),
        results: Vec::new(),
        inventory: Vec::new(),
        audits: Vec::new(),
        credentials: Vec::new(),
        window: None,
        pdf: Pages::None,
    }
}
