//! Runpacks as files: written whole or not at all, and opened for the commands that work with them.

use crate::failure::Failure;
use crate::locate;
use gait_core::file::{self, AtomicFile, PathError, clean};
use gait_core::json;
use gait_core::runpack::open::Runpack;
use gait_core::runpack::record::Manifest;
use gait_core::runpack::write::{PackError, PackFacts, PackMember, RunRecords, write_pack};
use gait_core::signature::PrivateKey;
use serde::Serialize;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

/// An intact runpack on disk.
pub type OpenPack = Runpack<BufReader<File>>;

/// Opens the runpack that `input` names, and gives its path as named.
///
/// # Errors
/// It is not there or not intact: exit 6.
pub fn open(input: &str) -> Result<(OpenPack, PathBuf), Failure> {
    let path = locate::runpack(input)?;
    let pack = Runpack::open_path(&path).map_err(Failure::invalid)?;
    Ok((pack, path))
}

/// Writes a runpack to `path`, whose folder is made if need be.
///
/// # Errors
/// It could not be written: exit 1; what was at `path` is as before.
pub fn write(
    path: &Path,
    facts: &PackFacts,
    members: &[PackMember],
    keys: &[&PrivateKey],
) -> Result<Manifest, Failure> {
    file::create_folders(parent(path)).map_err(Failure::io)?;
    let target = AtomicFile::create(path).map_err(Failure::io)?;
    let mut out = BufWriter::with_capacity(1 << 18, target);
    let manifest = write_pack(&mut out, facts, members, keys).map_err(|error: PackError| Failure::io(error))?;
    finished(out, path)?;
    Ok(manifest)
}

/// Writes the pack of `records` to `path`.
///
/// # Errors
/// As [`write`].
pub fn write_records(path: &Path, records: &RunRecords, keys: &[&PrivateKey]) -> Result<Manifest, Failure> {
    let members = records.members().map_err(Failure::invalid)?;
    write(path, &records.facts(), &members, keys)
}

/// Writes a whole file to `path`, whose folder is made if need be.
///
/// # Errors
/// It could not be written: exit 1.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    file::create_folders(parent(path)).map_err(Failure::io)?;
    file::write_atomic(path, bytes).map_err(Failure::io)
}

/// Writes `value` as plain compact JSON to `path`, whose folder is made if need be, without holding the text.
///
/// # Errors
/// It could not be written: exit 1.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    file::create_folders(parent(path)).map_err(Failure::io)?;
    let mut out = BufWriter::with_capacity(1 << 16, AtomicFile::create(path).map_err(Failure::io)?);
    json::write_compact_html_safe(value, &mut out).map_err(Failure::io)?;
    finished(out, path)
}

/// Ends a file that was written through a buffer.
fn finished(out: BufWriter<AtomicFile>, path: &Path) -> Result<(), Failure> {
    let target = out.into_inner().map_err(|error| {
        Failure::io(PathError { op: "write", path: path.to_path_buf(), source: error.into_error() })
    })?;
    target.commit().map_err(Failure::io)
}

/// The folder of `path`; empty for a bare name.
pub fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// An empty file in the folder of `path` that goes when it is closed.
///
/// # Errors
/// There is no such folder, or it can't be written.
pub fn nameless(path: &Path) -> Result<File, PathError> {
    let folder = Some(parent(path)).filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).map_err(PathError::of("open", folder))
}

/// How answers name a file in an output folder: with `./` unless it is absolute or starts with a dot already.
pub fn shown(path: &Path) -> String {
    let text = clean(path).display().to_string();
    if path.is_absolute() || text.starts_with('.') { text } else { format!("./{text}") }
}

/// How a runpack is named to other commands: by its run id where they would find it by that, else by its path.
pub fn named(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let run_id = name.strip_prefix("runpack_").and_then(|name| name.strip_suffix(".zip"));
    match run_id {
        Some(run_id) if clean(parent(path)) == Path::new(locate::OUT_DIR) => run_id.into(),
        _ => shown(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_shown_as_something_to_type() {
        for (path, expected) in [("gait-out/x", "./gait-out/x"), ("./o/x", "./o/x"), ("/o/x", "/o/x"), ("../x", "../x")]
        {
            assert_eq!(shown(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_run_is_named_by_its_id_only_where_that_finds_it() {
        for (path, expected) in [
            ("./gait-out/runpack_a.zip", "a"),
            ("o/runpack_a.zip", "./o/runpack_a.zip"),
            ("gait-out/a.zip", "./gait-out/a.zip"),
        ] {
            assert_eq!(named(Path::new(path)), expected, "{path}");
        }
    }
}
