//! What a run did, put together for people: one model that is small whatever the size of the run, from
//! which a terminal page and a web page are made.
//!
//! | module | what |
//! |---|---|
//! | [`guarded`] | a run of `gait exec`, from its journal |
//! | [`process`] | who started whom |
//! | [`action`] | what was tried, and what was decided |
//! | [`remedy`] | what to add to the policy for a denied action |
//! | [`timeline`] | when |
//! | [`plain`] | any other run, from its records |
//!
//! The pack must have been verified before: nothing here checks digests, chains or signatures. Texts are
//! as the pack has them, but cut at [`TEXT_LIMIT`]; whoever shows them must escape them.
//! Lists are cut at the limits that each of them states, and say how much was left out.

pub mod action;
pub mod guarded;
pub mod plain;
pub mod process;
pub mod remedy;
pub mod timeline;

use std::borrow::Cow;
use std::io::{Read, Seek};

use serde::Serialize;

use crate::guarded::GUARD;
use crate::policy::PolicyError;
use crate::runpack::container::{Container, MEMBER_LIMIT_BYTES, MemberError};
use crate::runpack::lines::LineError;
use crate::runpack::record::{Manifest, Run, parse};
use guarded::Guarded;
use plain::Plain;

/// Characters of a text that are kept.
pub const TEXT_LIMIT: usize = 1024;

/// What a run did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The run.
    pub run_id: String,
    /// Its start.
    pub started_at: String,
    /// The program that recorded it.
    pub producer_version: String,
    /// `reference` or `raw`.
    pub capture_mode: String,
    /// Operating system, architecture and runtime.
    pub env: [String; 3],
    /// What is known of it.
    #[serde(flatten)]
    pub content: Content,
}

/// The kinds of run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// It has a journal.
    Guarded(Box<Guarded>),
    /// It has records of its calls, and no journal.
    Plain(Box<Plain>),
}

/// Why a pack can't be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A member is not there.
    #[error("missing {name}")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A member can't be read.
    #[error("read {name}: {source}")]
    Member {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: MemberError,
    },
    /// A member is not what it should be.
    #[error("parse {name}: {source}")]
    Record {
        /// Its name.
        name: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A line of a member is not what it should be.
    #[error("parse {name}: {source}")]
    Line {
        /// Its name.
        name: String,
        /// Which line and why.
        #[source]
        source: LineError,
    },
    /// The policy of the run is none.
    #[error("parse policy.yaml: {0}")]
    Policy(#[from] PolicyError),
    /// A journal that refers to what it does not have.
    #[error("journal line {seq} refers to definition {def}, which does not exist")]
    Dangling {
        /// The line.
        seq: u64,
        /// The definition.
        def: u64,
    },
    /// A journal without beginning or end.
    #[error("the journal has no {what} line")]
    Incomplete {
        /// `open` or `close`.
        what: &'static str,
    },
}

/// Puts together what the run in `container` did. `manifest` is that of the verified container.
///
/// # Errors
/// [`InspectError`]: never for a pack that was verified as what it is.
pub fn inspect<R: Read + Seek>(container: &mut Container<R>, manifest: &Manifest) -> Result<Inspection, InspectError> {
    let name = "run.json";
    let run: Run = parse(&whole(container, name, MEMBER_LIMIT_BYTES)?)
        .map_err(|source| InspectError::Record { name: name.into(), source })?;
    let content = if manifest.files.iter().any(|file| file.path == GUARD) {
        Content::Guarded(Box::new(guarded::read(container)?))
    } else {
        Content::Plain(Box::new(plain::read(container, &run)?))
    };
    Ok(Inspection {
        run_id: clipped(&run.run_id),
        started_at: run.created_at.to_string(),
        producer_version: clipped(&run.producer_version),
        capture_mode: clipped(&manifest.capture_mode),
        env: [&run.env.os, &run.env.arch, &run.env.runtime].map(|word| clipped(word)),
        content,
    })
}

/// The whole of a member.
fn whole<R: Read + Seek>(container: &mut Container<R>, name: &str, limit: u64) -> Result<Vec<u8>, InspectError> {
    container
        .read_all(name, limit)
        .map_err(|source| InspectError::Member { name: name.into(), source })?
        .ok_or_else(|| InspectError::Missing { name: name.into() })
}

/// `text`, or as much of it as is kept, with the number of characters that are not.
fn clip(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(TEXT_LIMIT) {
        None => Cow::Borrowed(text),
        Some((at, _)) => {
            let (kept, cut) = text.split_at(at);
            Cow::Owned(format!("{kept}\u{2026} ({} more characters)", cut.chars().count()))
        }
    }
}

fn clipped(text: &str) -> String {
    clip(text).into_owned()
}

/// The first `limit` of a list of words, each cut, with a last one that says how many are missing.
fn clipped_list(list: &[String], limit: usize) -> Vec<String> {
    let mut kept: Vec<String> = list.iter().take(limit).map(|word| clipped(word)).collect();
    if list.len() > limit {
        kept.push(format!("\u{2026} ({} more)", list.len() - limit));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        let long = "\u{e9}".repeat(TEXT_LIMIT + 3);
        let cut = clip(&long);
        assert!(cut.starts_with(&"\u{e9}".repeat(TEXT_LIMIT)));
        assert!(cut.ends_with("\u{2026} (3 more characters)"));
        assert_eq!(clip("short"), "short");
        assert_eq!(clip(&"x".repeat(TEXT_LIMIT)).len(), TEXT_LIMIT);
    }

    #[test]
    fn a_list_is_cut_and_says_so() {
        let list: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        assert_eq!(clipped_list(&list, 5), list);
        assert_eq!(clipped_list(&list, 2), ["0", "1", "\u{2026} (3 more)"]);
    }
}
