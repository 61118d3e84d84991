//! Everything that this crate does with the bytes of a foreign runpack, one after the other.

use gait_core::guarded::verify::{check, embedded_key, kind, load};
use gait_core::regress::survey::Survey;
use gait_core::runpack::container::Container;
use gait_core::runpack::diff::{Privacy, diff};
use gait_core::runpack::migrate::{rewrite, same_members};
use gait_core::runpack::open::Runpack;
use gait_core::runpack::record::{IntentRecord, ResultRecord};
use gait_core::runpack::reduce::{Predicate, reduce};
use gait_core::runpack::replay::replay;
use gait_core::runpack::verify::integrity;
use gait_core::time::Timestamp;
use std::io::Cursor;

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
    let Ok(mut pack) = Runpack::open(Cursor::new(file)) else {
        return Reached::Manifest;
    };
    let _ = load(Cursor::new(file));
    let _ = (pack.glance_at::<IntentRecord>(|_| ()), pack.glance_at::<ResultRecord>(|_| ()));
    let _ = (replay(&mut pack), Survey::of(&mut pack));
    if let Ok(mut other) = Runpack::open(Cursor::new(other)) {
        let _ = diff(&mut pack, &mut other, Privacy::Full);
        let _ = diff(&mut other, &mut pack, Privacy::Metadata);
        let _ = same_members(pack.container(), other.container());
    }
    let _ = rewrite(&mut pack, std::io::sink(), Timestamp::FALLBACK, &[]);
    let Ok(records) = pack.load() else {
        return Reached::Intact;
    };
    let _ = (reduce(records.clone(), Predicate::MissingResult), reduce(records, Predicate::NonOkStatus));
    Reached::Records
}
