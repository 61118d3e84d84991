//! Where a runpack is: `<run_id|path>` (contract, artifacts 2.8).

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// Where runs are recorded by default.
pub const OUT_DIR: &str = "gait-out";

/// The runpack that `input` names.
///
/// # Errors
/// Nothing is named, or there is no such file: exit 6.
pub fn runpack(input: &str) -> Result<PathBuf, Failure> {
    if input.is_empty() {
        return Err(Failure::invalid("missing run_id or path"));
    }
    if is_path(input) {
        let path = PathBuf::from(input);
        return if is_file(&path) { Ok(path) } else { Err(Failure::invalid(format!("runpack not found: {input}"))) };
    }
    let name = format!("runpack_{input}.zip");
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let places =
        [Some(Path::new(OUT_DIR).join(&name)), home.map(|home| Path::new(&home).join(".gait/runpacks").join(&name))];
    places
        .into_iter()
        .flatten()
        .find(|path| is_file(path))
        .ok_or_else(|| Failure::invalid(format!("runpack not found for run_id: {input}")))
}

/// Whether `input` is a path and not a run id.
pub fn is_path(input: &str) -> bool {
    input.contains(['/', '\\']) || input.to_ascii_lowercase().ends_with(".zip")
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_dir())
}
