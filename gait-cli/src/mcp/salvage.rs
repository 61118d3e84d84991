//! The folder of a session whose gait was killed, and the runpack that it becomes.

use super::spool::{AUDITS, EVIDENCE, INTENTS, RESULTS, SESSION, TRACES, bundle_of, write_session};
use crate::exit::Exit;
use crate::failure::Failure;
use gait_core::file::{self, PathError};
use gait_core::mcp::salvage::{SalvageError, SessionFiles, salvage};
use gait_core::runpack::container::MEMBER_LIMIT_BYTES;
use gait_core::runpack::write::PackMember;
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// A session that was sealed.
#[derive(Debug)]
pub struct Sealed {
    pub run_id: String,
    pub bundle: PathBuf,
    /// Tool calls that were decided.
    pub calls: u64,
    /// Those of which nobody knows what came.
    pub unended: u64,
    pub torn_bytes: u64,
}

/// Whether a folder is that of a session.
pub fn is_session(folder: &Path) -> bool {
    folder.join(SESSION).is_file()
}

/// Makes the records in `folder` a runpack below `out`, signed by `key`. The folder stays.
///
/// # Errors
/// The session goes on, its runpack is there already, or another key signed: exit 6. The records don't fit together:
/// exit 2. Something can't be read or written: exit 1.
pub fn seal(folder: &Path, key: &PrivateKey, now: Timestamp, out: &Path) -> Result<Sealed, Failure> {
    let path = folder.join(SESSION);
    let session = File::open(&path).map_err(PathError::of("open", &path)).map_err(Failure::io)?;
    match session.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Failure::invalid(format!("the session goes on: {}", folder.display()))
                .with_hint("end its client, or gait mcp serve"));
        }
        Err(TryLockError::Error(error)) => return Err(Failure::io(PathError::of("lock", &path)(error))),
    }
    let read = |name: &str| file::read_at_most(&folder.join(name), MEMBER_LIMIT_BYTES).map_err(Failure::io);
    let (session, intents, results) = (read(SESSION)?, read(INTENTS)?, read(RESULTS)?);
    let (traces, audits, evidence) = (read(TRACES)?, read(AUDITS)?, read(EVIDENCE)?);
    let files = SessionFiles {
        session: &session,
        intents: &intents,
        results: &results,
        traces: &traces,
        approval_audits: &audits,
        credential_evidence: &evidence,
    };
    let salvaged = salvage(&files, &key.public(), now).map_err(failure)?;
    let run_id = salvaged.run.run_id.clone();
    let bundle = bundle_of(out, &run_id);
    if bundle.exists() {
        return Err(Failure::invalid(format!("a run of this id is recorded already: {}", bundle.display())));
    }
    let names = [INTENTS, RESULTS, TRACES, AUDITS, EVIDENCE];
    let is_needed = |name: &str, lines: &[u8]| !lines.is_empty() || ![AUDITS, EVIDENCE].contains(&name);
    let members = names.into_iter().zip(salvaged.lines).filter(|(name, lines)| is_needed(name, lines));
    let members = members.map(|(name, lines)| PackMember::bytes(name, lines.to_vec())).collect();
    write_session(&bundle, &salvaged.run, salvaged.capture, members, key)?;
    let (calls, unended, torn_bytes) = (salvaged.calls, salvaged.unended, salvaged.torn_bytes);
    Ok(Sealed { run_id, bundle, calls, unended, torn_bytes })
}

fn failure(error: SalvageError) -> Failure {
    match error {
        SalvageError::OtherKey { .. } => Failure::invalid(error).with_hint("name the session's key with --private-key"),
        _ => Failure::new(Exit::VerificationFailed, error),
    }
}
