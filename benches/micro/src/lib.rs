//! The operations of contract surface 12.2: what each does and works on.
//!
//! Two programs measure them: `times` with the allocator of the product, `allocations` with one that counts. Counting
//! costs time, so neither does both.

mod calls;
mod packs;
mod registry;
mod snapshots;
mod world;

use anyhow::Result;
use std::path::Path;

/// One operation that is measured.
pub struct Operation {
    /// As in the contract and in `perf/*.json`.
    pub name: &'static str,
    /// Does it once.
    pub run: Box<dyn FnMut() -> Result<()>>,
}

impl Operation {
    fn new(name: &'static str, run: impl FnMut() -> Result<()> + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// All operations, in the order of the contract. Their files are in `folder`, which is empty.
///
/// # Errors
/// What they work on can't be made.
pub fn operations(folder: &Path) -> Result<Vec<Operation>> {
    Ok(vec![
        calls::evaluate_policy()?,
        packs::verify_zip(folder)?,
        packs::diff_runpacks(folder)?,
        snapshots::snapshot_of(folder)?,
        snapshots::diff_snapshots(),
        packs::verify_pack(folder)?,
        packs::build_incident_pack(folder)?,
        registry::install_local(folder)?,
        registry::verify_installed(folder)?,
        calls::decode_tool_call(),
        calls::evaluate_tool_call()?,
    ])
}
