//! Logs that many calls append to.

use crate::failure::Failure;
use crate::pack;
use gait_core::file::{PathError, create_folders};
use gait_core::json::WriteError;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Appends a line to the log at `path`, if one is named. It is written at once, so lines of many writers don't mix.
///
/// # Errors
/// It could not be written: exit 1.
pub fn append(
    path: Option<&OsStr>,
    doing: &str,
    line: impl FnOnce() -> Result<String, WriteError>,
) -> Result<(), Failure> {
    let Some(path) = path.filter(|path| !path.is_empty()).map(Path::new) else { return Ok(()) };
    let failed = |error: PathError| Failure::io(error).within(doing);
    create_folders(pack::parent(path)).map_err(failed)?;
    let line = line().map_err(Failure::io)?;
    let mut log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(PathError::of("open", path))
        .map_err(failed)?;
    log.write_all(line.as_bytes()).map_err(PathError::of("write", path)).map_err(failed)
}
