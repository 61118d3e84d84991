//! Where things are, and running what makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::succeed;

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where builds go.
pub fn target() -> PathBuf {
    // Relative to the folder that it was built in, or absolute.
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}

/// The release build of `gait`, made if need be; `GAIT_BIN` names another.
pub fn gait_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("GAIT_BIN") {
        return Ok(PathBuf::from(path).canonicalize()?);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    succeed(Command::new(cargo).args(["build", "--release", "--quiet", "-p", "gait-cli"]).current_dir(root()))?;
    Ok(target().join("release/gait"))
}
