//! Evidence packs: what an auditor or an incident needs of a run, as one signed file (contract, control 14).

pub mod build;
pub mod encrypted;
pub mod incident;
pub mod manifest;
mod pdf;
pub mod retain;
mod summary;
mod template;
pub mod verify;

pub use summary::{EvidenceError, Source};
pub use template::Template;

/// The member that lists the others.
pub const PACK_MANIFEST: &str = "pack_manifest.json";
