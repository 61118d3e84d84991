//! The memory of tokens that were used: what makes a token good for one decision only.
//!
//! The contract's tokens can be shown again until they expire. Who wants them to count once keeps this memory beside
//! the gate; a token is remembered by the digest that is signed, until it has expired anyway.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Sha256Hex;
use crate::json::{self, WriteError};
use crate::overlay::records;
use crate::time::Timestamp;

const SCHEMA_ID: &str = "gait.gate.approval_uses";
const SCHEMA_VERSION: &str = "1.0.0";

/// Tokens that were used, with the time until which that must be remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenUses(BTreeMap<Sha256Hex, Timestamp>);

records! {
    /// The file as it was read.
    UsesFile ("a memory of used tokens") {
        schema_id: String,
        schema_version: String,
        used: Vec<UseEntry>,
    }

    /// One token.
    UseEntry ("a used token") {
        token_digest: String,
        expires_at: Timestamp,
    }
}

#[derive(Serialize)]
struct Written<'a> {
    schema_id: &'a str,
    schema_version: &'a str,
    used: Vec<WrittenUse<'a>>,
}

#[derive(Serialize)]
struct WrittenUse<'a> {
    token_digest: &'a Sha256Hex,
    expires_at: Timestamp,
}

/// Why a file is no memory of used tokens. Nothing is approved then: what was used can't be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsesReadError {
    /// Not such a JSON document.
    #[error("parse approval uses: {0}")]
    Json(#[from] serde_json::Error),
    /// Another kind of record.
    #[error("parse approval uses: unsupported schema: {schema_id} {schema_version}")]
    Schema {
        /// What `schema_id` says.
        schema_id: String,
        /// What `schema_version` says.
        schema_version: String,
    },
    /// An entry without a digest.
    #[error("parse approval uses: {0}")]
    Digest(#[from] crate::digest::DigestError),
}

impl TokenUses {
    /// Reads the file form.
    ///
    /// # Errors
    /// [`UsesReadError`].
    pub fn read(document: &[u8]) -> Result<Self, UsesReadError> {
        let file: UsesFile = json::read(document)?;
        if file.schema_id != SCHEMA_ID || file.schema_version != SCHEMA_VERSION {
            return Err(UsesReadError::Schema { schema_id: file.schema_id, schema_version: file.schema_version });
        }
        let mut uses = BTreeMap::new();
        for entry in file.used {
            uses.insert(Sha256Hex::parse(&entry.token_digest)?, entry.expires_at);
        }
        Ok(Self(uses))
    }

    /// Whether a token was used.
    pub fn holds(&self, digest: &Sha256Hex) -> bool {
        self.0.contains_key(digest)
    }

    /// Remembers what another memory holds too.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// Remembers tokens, and forgets those that have expired by `now`.
    pub fn remember(&mut self, used: &[(Sha256Hex, Timestamp)], now: &Timestamp) {
        self.0.retain(|_, expires_at| now.is_before(expires_at));
        self.0.extend(used.iter().copied());
    }

    /// The file form: indented, sorted by digest.
    ///
    /// # Errors
    /// [`WriteError`] where serialisation itself fails.
    pub fn to_file_text(&self) -> Result<String, WriteError> {
        let used = self.0.iter().map(|(token_digest, &expires_at)| WrittenUse { token_digest, expires_at }).collect();
        json::to_indented_html_safe(&Written { schema_id: SCHEMA_ID, schema_version: SCHEMA_VERSION, used })
    }
}
