//! Signed packs of policies and skills, kept in a folder of this machine (contract, control 15.1 to 15.4).
//!
//! A pack is its manifest: what it lists is neither fetched nor looked at. Nothing here speaks to a network.

mod cache;
pub mod manifest;
mod verify;

pub use cache::{Cache, InstallError, Installed, Listed, Terms, read_limited};
pub use manifest::{Artifact, ManifestError, PACK_SCHEMA, RegistryManifest};
pub use verify::{REPORT_SCHEMA, Verification, VerifyError};

use crate::text::lower_trimmed;

/// Largest manifest that is read.
pub const LIMIT_BYTES: u64 = 5 << 20;

/// Whether `publisher` is one of `allowed`; an empty list allows all.
///
/// # Errors
/// In the words of the contract.
fn allow_publisher(publisher: &str, allowed: &[String]) -> Result<(), PublisherError> {
    if allowed.is_empty() {
        return Ok(());
    }
    if publisher.is_empty() {
        return Err(PublisherError::Missing);
    }
    if allowed.iter().any(|one| lower_trimmed(one) == publisher) {
        return Ok(());
    }
    Err(PublisherError::NotAllowed { publisher: publisher.to_owned() })
}

/// Why a publisher is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublisherError {
    /// The manifest names none.
    #[error("publisher allowlist configured but manifest publisher is empty")]
    Missing,
    /// It names another.
    #[error("manifest publisher {publisher} is not in allowlist")]
    NotAllowed {
        /// Whom.
        publisher: String,
    },
}
