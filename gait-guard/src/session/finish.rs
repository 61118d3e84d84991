//! The end of a run: close the journal, derive the runpack from it, put it in place.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use gait_core::canonical::CanonicalError;
use gait_core::digest::{Hasher, Sha256Hex};
use gait_core::file::{AtomicFile, PathError};
use gait_core::guarded::{
    Counters, Derivation, GuardedPackError, PackSource, Packed, Presigned, Receipt, write_guarded_pack,
};
use gait_core::journal::{Chain, Checker, Enforced, JournalError, Ledger, WriteError};
use gait_core::signature::PrivateKey;

use super::config::{Outcome, Stop};
use super::folder::{FolderError, RunFolder};
use super::run::Session;

/// Distinct blocks that a summary lists; the rest is in the runpack.
const BLOCKS_LISTED: usize = 1000;

/// A run that ended, as a runpack.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its file.
    pub bundle: PathBuf,
    /// SHA-256 of its bytes, as they were written.
    pub bundle_digest: Sha256Hex,
    /// The digest of its manifest, for the ticket footer.
    pub manifest_digest: String,
    /// Why the session was stopped, if it was. Then the run failed whatever the command said.
    pub stop: Option<Stop>,
    /// What happened.
    pub summary: Summary,
}

/// What happened in a run, for people.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its id.
    pub run_id: String,
    /// Whether every decision has its record.
    pub complete: bool,
    /// Counts.
    pub counters: Counters,
    /// What was denied, in the order of the runpack; at most a thousand.
    pub blocks: Vec<Block>,
    /// How many distinct denials there were.
    pub distinct_blocks: u64,
}

/// One distinct denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The tool.
    pub tool_name: String,
    /// What is done to the target.
    pub operation: String,
    /// The target: a path, an address, ... as a name (escape it for terminals).
    pub value: String,
    /// `block` or `require_approval`.
    pub verdict: &'static str,
    /// The rule, if one matched.
    pub rule: Option<String>,
    /// Why.
    pub reason_codes: Vec<String>,
    /// How often.
    pub count: u64,
}

/// Why a run has no runpack. Unless the journal itself is gone, its folder is kept for `run seal`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// Its last lines could not be written.
    #[error("the journal can't be ended")]
    Close(#[from] WriteError),
    /// A file of the run's folder.
    #[error("the run's folder can't be read")]
    Folder(#[from] FolderError),
    /// The journal on the disk is not what was written.
    #[error("the journal does not hold")]
    Journal(#[from] JournalError),
    /// The pack could not be made.
    #[error("the runpack can't be made")]
    Pack(#[from] GuardedPackError),
    /// A record could not be derived.
    #[error("a record can't be derived")]
    Canonical(#[from] CanonicalError),
    /// The pack could not be put in place.
    #[error(transparent)]
    Out(#[from] PathError),
}

impl Session {
    /// Ends the run after the command did (or was killed) and makes its runpack in the out folder.
    ///
    /// # Errors
    /// [`FinishError`]: there is no runpack; what was recorded stays in the run's folder.
    pub fn finish(self, outcome: Outcome) -> Result<Finished, FinishError> {
        self.finish_telling(outcome, &mut |_| ())
    }

    /// The same, and tells `packing`, as soon as the packing begins, how many bytes it is going to read.
    ///
    /// # Errors
    /// As [`Session::finish`].
    pub fn finish_telling(mut self, outcome: Outcome, packing: &mut dyn FnMut(u64)) -> Result<Finished, FinishError> {
        let stop = self.stopped();
        let mut ended = self.close(outcome)?;
        let syncing = ended.segments.start_sync().map_err(WriteError::from)?;
        let bundle = self.out.join(format!("runpack_{}.zip", self.receipt.run_id));
        packing(READS * journal_bytes(&self.folder));
        let run = read_run(&self.folder)?;
        let (packed, bundle_digest) =
            run.pack(&self.receipt, &self.policy_yaml, &ended.key, &self.presigned(), &bundle)?;
        let summary = run.summary(&packed.receipt)?;
        let manifest_digest = packed.manifest.manifest_digest;
        syncing.finish().map_err(WriteError::from)?;
        // The pack is in place: a folder that can't be removed is untidy, no failure of the run.
        let _ = self.folder.remove();
        Ok(Finished { bundle, bundle_digest, manifest_digest, stop, summary })
    }
}

/// A file, and the digest of all that was written to it.
struct Hashed<'a> {
    out: &'a mut AtomicFile,
    hasher: Hasher,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A journal on the disk that has its end, read back and checked.
pub(super) struct RecordedRun {
    segments: Vec<PathBuf>,
    ledger: Ledger,
    chain: Chain,
}

/// How often packing reads the journal: to check it, and to copy it.
const READS: u64 = 2;

/// Bytes of all segments of the journal, as far as they can be told: this is for watching only.
fn journal_bytes(folder: &RunFolder) -> u64 {
    let length = |number| folder.segment_path(number).metadata().ok().map(|found| found.len());
    (1..).map_while(length).sum()
}

/// Reads the journal of a run's folder from its start: what is packed is what is on the disk.
pub(super) fn read_run(folder: &RunFolder) -> Result<RecordedRun, FinishError> {
    let mut segments = Vec::new();
    while folder.segment(segments.len() as u64 + 1)?.is_some() {
        segments.push(folder.segment_path(segments.len() as u64 + 1));
    }
    read_segments(segments)
}

/// Reads the journal whose segments these are.
pub(super) fn read_segments(segments: Vec<PathBuf>) -> Result<RecordedRun, FinishError> {
    let mut checker = Checker::new();
    for path in &segments {
        let file = File::open(path).map_err(PathError::of("open", path))?;
        checker.segment(&mut BufReader::with_capacity(1 << 16, file))?;
    }
    let (ledger, chain) = checker.finish()?;
    Ok(RecordedRun { segments, ledger, chain })
}

impl RecordedRun {
    /// Writes the pack to `bundle`, whole or not at all. Gives SHA-256 of its bytes too.
    pub(super) fn pack(
        &self,
        initial: &Receipt,
        policy_yaml: &[u8],
        key: &PrivateKey,
        presigned: &Presigned,
        bundle: &Path,
    ) -> Result<(Packed, Sha256Hex), FinishError> {
        if let Some(parent) = bundle.parent() {
            gait_core::file::create_folders(parent)?;
        }
        let mut file = AtomicFile::create(bundle)?;
        let source = PackSource {
            ledger: &self.ledger,
            chain: &self.chain,
            segments: &self.segments,
            initial,
            policy_yaml,
            key,
            presigned,
        };
        let mut out = Hashed { out: &mut file, hasher: Hasher::new() };
        let packed = write_guarded_pack(&mut out, &source)?;
        let digest = out.hasher.finish();
        file.commit()?;
        Ok((packed, digest))
    }

    /// Last line that the guard itself attested, and the number of lines after it.
    pub(super) fn attested(&self) -> Result<(u64, u64), CanonicalError> {
        Ok(Derivation::new(&self.ledger, &self.chain)?.attested())
    }

    /// What happened.
    pub(super) fn summary(&self, receipt: &Receipt) -> Result<Summary, FinishError> {
        let (mut blocks, mut distinct_blocks) = (Vec::new(), 0);
        // Putting all intents in order is for nothing where none was denied.
        let denies = self.ledger.decisions().iter().any(|decision| decision.enforced == Enforced::Deny);
        let derivation = if denies { Some(Derivation::new(&self.ledger, &self.chain)?) } else { None };
        for tally in derivation.iter().flat_map(Derivation::tallies) {
            let decision = &self.ledger.decisions()[tally.decision];
            if decision.enforced == Enforced::Allow {
                continue;
            }
            distinct_blocks += 1;
            if blocks.len() < BLOCKS_LISTED {
                let intent: serde_json::Value = serde_json::from_slice(&self.ledger.intents()[tally.intent].canonical)
                    .map_err(CanonicalError::from)?;
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                let target = &intent["targets"][0];
                blocks.push(Block {
                    tool_name: text(&intent["tool_name"]),
                    operation: text(&target["operation"]),
                    value: text(&target["value"]),
                    verdict: decision.verdict.as_str(),
                    rule: decision.matched_rule.clone(),
                    reason_codes: decision.reason_codes.clone(),
                    count: tally.count,
                });
            }
        }
        Ok(Summary {
            run_id: receipt.run_id.clone(),
            complete: receipt.run.complete == Some(true),
            counters: receipt.run.counters.clone().unwrap_or_default(),
            blocks,
            distinct_blocks,
        })
    }
}
