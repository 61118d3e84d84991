//! Where registry packs are kept and come from (contract, control 15.2).

pub mod fetch;
pub mod source;

use crate::failure::Failure;
use crate::flags::Args;
use gait_core::registry::Cache;
use std::path::PathBuf;

/// The cache that `--cache-dir` names, else the one of this user.
///
/// # Errors
/// None is named, and there is no home: exit 6.
pub fn cache(args: &Args) -> Result<Cache, Failure> {
    if let Some(folder) = args.trimmed("cache-dir") {
        return Ok(Cache::new(folder));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| Failure::invalid("no home directory").with_hint("add --cache-dir"))?;
    Ok(Cache::new(PathBuf::from(home).join(".gait/registry")))
}
