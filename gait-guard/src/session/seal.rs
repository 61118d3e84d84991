//! The journal of a guard that was killed becomes a runpack (contract guarded-run 3.4).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use gait_core::guarded::{Presigned, Receipt};
use gait_core::journal::{Checker, JournalError, LINE_LIMIT, Writer};
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;

use super::finish::{FinishError, RecordedRun, read_segments};
use super::folder::{FolderError, RunFolder, SegmentFiles};

/// Longest `guard.json` and `policy.yaml`.
const SMALL_LIMIT: u64 = 1 << 20;

/// A run that was sealed.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Its id.
    pub run_id: String,
    /// Its runpack.
    pub bundle: PathBuf,
    /// Whether the record is complete: only if the guard itself had ended the journal.
    pub complete: bool,
    /// Last line that the guard itself attested.
    pub attested: u64,
    /// Lines after it.
    pub unattested: u64,
    /// Length of the half line that was dropped.
    pub torn_bytes: u64,
}

/// Why a run was not sealed. The journal is as it was, but for a `seal` line if only the pack failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The folder can't be used, or its run goes on.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Another key: the seal would not fit the journal.
    #[error("the key {given} is not that of the run, {wanted}")]
    OtherKey {
        /// Id of the key that was given.
        given: String,
        /// Id of the run's.
        wanted: String,
    },
    /// The journal up to the torn end does not hold: nothing is signed over it.
    #[error("the journal does not hold: {0}")]
    Broken(#[source] JournalError),
    /// There is no whole first line.
    #[error("the journal has not begun")]
    Empty,
    /// `guard.json` can't be read or is of another run.
    #[error("guard.json is not that of the journal")]
    Receipt,
    /// The journal can't be ended, or the pack not made.
    #[error(transparent)]
    Finish(#[from] FinishError),
    /// The segment that was torn can't be opened or written.
    #[error("the journal can't be written")]
    Io(#[from] std::io::Error),
}

/// Seals the run in `folder` with `key` and writes its pack to `out`. The folder stays as it is: the end of
/// the journal goes into a copy of its last segment.
///
/// The same folder, key and time give the same pack. A journal that has its end already, because only the
/// pack is missing, is packed as it is.
///
/// # Errors
/// [`SealError`]
pub fn seal(folder: &Path, key: PrivateKey, sealed_at: Timestamp, out: &Path) -> Result<Sealed, SealError> {
    let folder = RunFolder::adopt(folder)?;
    let receipt = read_receipt(&folder, &key)?;
    let policy = folder.read("policy.yaml", SMALL_LIMIT)?;
    let read = read_torn(&folder)?;
    let (ledger, chain, ended) = read.checker.unfinished().ok_or(SealError::Empty)?;
    if (&ledger.open().run_id, &ledger.open().nonce) != (&receipt.run_id, &receipt.run.nonce) {
        return Err(SealError::Receipt);
    }
    check_key(&ledger.open().key_id, &key)?;
    gait_core::file::create_folders(out).map_err(FinishError::from)?;
    let bundle = out.join(format!("runpack_{}.zip", receipt.run_id));
    let copy = Scratch(out.join(format!(".seal_{}.{}", receipt.run_id, std::process::id())));
    let mut segments: Vec<PathBuf> = (1..=read.segments).map(|number| folder.segment_path(number)).collect();
    let key = if ended {
        key
    } else {
        let files = SegmentFiles::copied(&folder, read.segments, read.length, &copy.0)?;
        segments.pop();
        segments.push(copy.0.clone());
        let writer = Writer::resume(files, key, ledger.open(), chain, read.length, ledger.last_t());
        writer.seal(read.torn, sealed_at.to_string()).map_err(FinishError::from)?.key
    };
    let run = read_segments(segments)?;
    let complete = pack(&run, &receipt, &policy, &key, &bundle)?;
    let (attested, unattested) = run.attested().map_err(FinishError::from)?;
    Ok(Sealed { run_id: receipt.run_id, bundle, complete, attested, unattested, torn_bytes: read.torn })
}

/// A file that is gone when its name is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn pack(
    run: &RecordedRun,
    receipt: &Receipt,
    policy: &[u8],
    key: &PrivateKey,
    bundle: &Path,
) -> Result<bool, SealError> {
    let (packed, _) = run.pack(receipt, policy, key, &Presigned::default(), bundle)?;
    Ok(packed.receipt.run.complete == Some(true))
}

fn read_receipt(folder: &RunFolder, key: &PrivateKey) -> Result<Receipt, SealError> {
    let bytes = folder.read("guard.json", SMALL_LIMIT)?;
    let receipt: Receipt = serde_json::from_slice(&bytes).map_err(|_| SealError::Receipt)?;
    check_key(&receipt.signing.key_id, key)?;
    Ok(receipt)
}

fn check_key(wanted: &str, key: &PrivateKey) -> Result<(), SealError> {
    let given = key.public().id().to_string();
    if given == wanted { Ok(()) } else { Err(SealError::OtherKey { given, wanted: wanted.to_owned() }) }
}

/// A journal that may have been cut off in the middle of a line.
struct Torn {
    checker: Checker,
    /// Number of segments.
    segments: u64,
    /// Length of the whole lines of the last.
    length: u64,
    /// Length of the half line after them.
    torn: u64,
}

/// Reads all segments; only the last may end elsewhere than after a checkpoint.
fn read_torn(folder: &RunFolder) -> Result<Torn, SealError> {
    let mut checker = Checker::new();
    let (mut segments, mut length, mut torn) = (0, 0, 0);
    while let Some(file) = folder.segment(segments + 1)? {
        if segments > 0 && (torn > 0 || checker.chain().pending() > 0) {
            return Err(SealError::Broken(JournalError::SegmentEnd));
        }
        segments += 1;
        (length, torn) = read_lines(&mut checker, &mut BufReader::with_capacity(1 << 16, file))?;
    }
    Ok(Torn { checker, segments, length, torn })
}

/// Length of the whole lines, and of what comes after them.
fn read_lines(checker: &mut Checker, source: &mut impl BufRead) -> Result<(u64, u64), SealError> {
    let (mut line, mut length) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = std::io::Read::take(&mut *source, LINE_LIMIT as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok((length, 0));
        }
        if line.last() != Some(&b'\n') && read <= LINE_LIMIT {
            return Ok((length, read as u64));
        }
        checker.line(&line).map_err(SealError::Broken)?;
        length += read as u64;
    }
}
