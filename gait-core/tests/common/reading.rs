//! Everything that this crate does with the bytes of a foreign runpack, one after the other.

use gait_core::file::PathError;
use gait_core::guarded::verify::{check, embedded_key, kind, load};
use gait_core::regress::survey::Survey;
use gait_core::runpack::container::Container;
use gait_core::runpack::diff::{Privacy, diff, diff_files};
use gait_core::runpack::migrate::{rewrite, same_members};
use gait_core::runpack::open::Runpack;
use gait_core::runpack::record::{IntentRecord, ResultRecord};
use gait_core::runpack::reduce::{Predicate, reduce};
use gait_core::runpack::replay::Replay;
use gait_core::runpack::verify::integrity;
use gait_core::time::Timestamp;
use std::io::Cursor;
use std::path::Path;

/// How far a file got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// Not even a container.
    Nothing,
    /// A container with members.
    Container,
    /// A manifest, with which the members could be compared.
    Manifest,
    /// An intact runpack, in the records of which something is wrong.
    Intact,
    /// All of its records can be read.
    Records,
}

/// Reads `file` in every way there is and compares it with `other`, an intact runpack. It comes back, whatever the
/// bytes are.
pub fn read_everything(file: &[u8], other: &[u8]) -> Reached {
    let Ok(mut container) = Container::open(Cursor::new(file)) else {
        return Reached::Nothing;
    };
    let _ = container.inexact();
    let Ok(found) = integrity(&mut container) else {
        return Reached::Container;
    };
    let _ = found.signatures(None);
    let _ = (kind(&mut container, &found), embedded_key(&mut container));
    let _ = check(&mut container, &found);
    let at_once = diff_files(Cursor::new(file), Cursor::new(other), Privacy::Full);
    let Ok(mut pack) = Runpack::open(Cursor::new(file)) else {
        assert!(at_once.is_err(), "what can't be opened can't be compared");
        return Reached::Manifest;
    };
    let _ = load(Cursor::new(file));
    let _ = (pack.glance_at::<IntentRecord>(|_| ()), pack.glance_at::<ResultRecord>(|_| ()));
    let _ = (Replay::of(&mut pack).map(|replay| replay.each_step(&mut pack, drop)), Survey::of(&mut pack));
    if let Ok(mut other) = Runpack::open(Cursor::new(other)) {
        let one_by_one = diff(&mut pack, &mut other, Privacy::Full);
        assert_eq!(at_once.map_err(|error| error.to_string()), one_by_one.map_err(|error| error.to_string()));
        let _ = diff(&mut other, &mut pack, Privacy::Metadata);
        let _ = same_members(pack.container(), other.container());
    }
    let spare = || tempfile::tempfile().map_err(PathError::of("open", Path::new("a temporary file")));
    let _ = rewrite(&mut pack, std::io::sink(), Timestamp::FALLBACK, &[], spare);
    for predicate in [Predicate::MissingResult, Predicate::NonOkStatus] {
        let _ = reduce(&mut pack, predicate);
    }
    if pack.load().is_err() {
        return Reached::Intact;
    }
    Reached::Records
}
