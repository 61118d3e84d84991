//! The records of a session on disk, as they are made, and the runpack at its end.
//!
//! A session has its own folder beside its runpack. A record is in it before anything is done about the call, so
//! a session that is killed leaves there what it decided: each line of `traces.jsonl` is signed on its own.

use crate::failure::Failure;
use crate::pack;
use gait_core::canonical::{canonical_bytes, write_canonical};
use gait_core::file::{PathError, create_folders};
use gait_core::mcp::record::{Capture, session_run};
use gait_core::mcp::salvage::SessionFile;
use gait_core::mcp::session::{Call, Ended, Judged, Ledger, LedgerError, Tally};
use gait_core::runpack::record::{Manifest, Refs, Run, TimelineEvent};
use gait_core::runpack::write::{Content, PackFacts, PackMember};
use gait_core::signature::PrivateKey;
use gait_core::time::Timestamp;
use serde::Serialize;
use serde_json::json;
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub const SESSION: &str = "session.json";
pub const INTENTS: &str = "intents.jsonl";
pub const RESULTS: &str = "results.jsonl";
pub const TRACES: &str = "traces.jsonl";
pub const AUDITS: &str = "approval_audits.jsonl";
pub const EVIDENCE: &str = "credential_evidence.jsonl";

/// The folder of a session that goes on, below the folder of its runpack.
pub fn folder_of(out: &Path, run_id: &str) -> PathBuf {
    out.join(format!(".mcp_{run_id}"))
}

/// Where the runpack of a run goes, below `out`.
pub fn bundle_of(out: &Path, run_id: &str) -> PathBuf {
    out.join(format!("runpack_{run_id}.zip"))
}

/// The folder of a session that goes on.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    bundle: PathBuf,
    run: Run,
    capture: Capture,
    intents: File,
    results: File,
    traces: File,
    audits: File,
    evidence: File,
    /// Digests of what was signed. Traces of equal decisions are equal: each is written once.
    traced: HashSet<String>,
    /// Locked as long as the session goes on.
    _session: File,
}

impl Spool {
    /// Starts the records of the run `run_id` below `out`.
    ///
    /// # Errors
    /// There is such a run: exit 6. The folder can't be written to: exit 1.
    pub fn start(
        out: &Path,
        run_id: &str,
        started_at: Timestamp,
        producer_version: &str,
        capture: Capture,
    ) -> Result<Self, Failure> {
        let (folder, bundle) = (folder_of(out, run_id), bundle_of(out, run_id));
        for (path, what) in
            [(&bundle, "a run of this id is recorded already"), (&folder, "a session of this run id was begun")]
        {
            if path.exists() {
                return Err(Failure::invalid(format!("{what}: {}", path.display())).with_hint("use another --run-id"));
            }
        }
        create_folders(out).map_err(Failure::io)?;
        DirBuilder::new().mode(0o700).create(&folder).map_err(PathError::of("mkdir", &folder)).map_err(Failure::io)?;
        let open = |name: &str| {
            let path = folder.join(name);
            let opened = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
            opened.map_err(PathError::of("open", &path)).map_err(Failure::io)
        };
        let (intents, results, traces) = (open(INTENTS)?, open(RESULTS)?, open(TRACES)?);
        let (audits, evidence) = (open(AUDITS)?, open(EVIDENCE)?);
        let run = session_run(run_id, started_at, producer_version);
        let mut session = open(SESSION)?;
        // Nobody else has seen the file yet.
        session.lock().map_err(PathError::of("lock", &folder.join(SESSION))).map_err(Failure::io)?;
        let begun = SessionFile { capture_mode: capture.as_str().into(), run: run.clone() };
        append(&mut session, &begun).map_err(Failure::io)?;
        Ok(Self {
            folder,
            bundle,
            run,
            capture,
            intents,
            results,
            traces,
            audits,
            evidence,
            traced: HashSet::new(),
            _session: session,
        })
    }

    /// Where the runpack goes.
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Leaves nothing behind of a session that never began.
    pub fn discard(self) {
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// Writes the runpack, signed by `key`, and removes the folder.
    ///
    /// # Errors
    /// It could not be written: exit 1; the folder is then still there.
    pub fn seal(
        mut self,
        tally: &Tally,
        ended_by: &str,
        now: Timestamp,
        key: &PrivateKey,
    ) -> Result<Manifest, Failure> {
        let counts = json!({
            "ended_by": ended_by, "allowed": tally.allowed, "refused": tally.refused, "malformed": tally.malformed,
            "dropped": tally.dropped, "unanswered": tally.unanswered, "unrecorded": tally.unrecorded,
        });
        let more = gait_core::mcp::record::object(counts);
        self.run.timeline.push(TimelineEvent {
            event: "session_end".into(),
            ts: now,
            more,
            ..TimelineEvent::default()
        });
        let file = |name: &str| PackMember { name: name.into(), content: Content::File(self.folder.join(name)) };
        let mut members = vec![file(INTENTS), file(RESULTS), file(TRACES)];
        // Most sessions have none of these.
        for (name, records) in [(AUDITS, &self.audits), (EVIDENCE, &self.evidence)] {
            let length = records.metadata().map_err(PathError::of("stat", &self.folder.join(name)));
            members.extend((length.map_err(Failure::io)?.len() > 0).then(|| file(name)));
        }
        let kept = format!("the records are kept in {}", self.folder.display());
        let manifest = write_session(&self.bundle, &self.run, self.capture, members, key)
            .map_err(|failure| failure.with_hint(kept))?;
        // What is in it is in the runpack now.
        let _ = fs::remove_dir_all(&self.folder);
        Ok(manifest)
    }
}

/// Writes the runpack of a session: `members` and what follows from `run`.
///
/// # Errors
/// It could not be written: exit 1.
pub fn write_session(
    bundle: &Path,
    run: &Run,
    capture: Capture,
    mut members: Vec<PackMember>,
    key: &PrivateKey,
) -> Result<Manifest, Failure> {
    let mut refs = Refs::default();
    refs.fill(run);
    let failed = |error| Failure::io(error).within("write runpack");
    members.push(PackMember::bytes("run.json", canonical_bytes(run).map_err(failed)?));
    members.push(PackMember::bytes("refs.json", canonical_bytes(&refs).map_err(failed)?));
    let facts = PackFacts {
        created_at: run.created_at,
        producer_version: run.producer_version.clone(),
        run_id: run.run_id.clone(),
        capture_mode: capture.as_str().into(),
    };
    pack::write(bundle, &facts, &members, &[key])
}

/// Appends one canonical line, in one write.
fn append(file: &mut File, record: &impl Serialize) -> Result<(), LedgerError> {
    let mut line = Vec::with_capacity(1024);
    write_canonical(record, &mut line).map_err(|error| LedgerError(error.to_string()))?;
    line.push(b'\n');
    file.write_all(&line).map_err(|error| LedgerError(gait_core::file::os_text(&error)))
}

impl Ledger for Spool {
    fn decided(&mut self, call: &Call) -> Result<(), LedgerError> {
        let signed = call.trace.signature.as_ref().map(|signature| signature.signed_digest.clone()).unwrap_or_default();
        if !self.traced.contains(&signed) {
            append(&mut self.traces, &call.trace)?;
            self.traced.insert(signed);
        }
        if let Some(audit) = call.approval_audit() {
            append(&mut self.audits, &audit)?;
        }
        if let Some(evidence) = call.credential_evidence() {
            append(&mut self.evidence, &evidence)?;
        }
        let mut record = call.to_record(self.capture);
        record.fill(&self.run);
        append(&mut self.intents, &record)
    }

    fn ended(&mut self, judged: &Judged, ended: &Ended) -> Result<(), LedgerError> {
        let mut record = judged.to_record(ended, self.capture).map_err(|error| LedgerError(error.to_string()))?;
        record.fill(&self.run);
        append(&mut self.results, &record)
    }
}
