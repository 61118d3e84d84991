//! Appends lines, and signs a checkpoint over each block of them.

use std::io;

use serde_json::{Value, json};

use super::chain::Chain;
use super::decision_line;
use super::define_line::{self, DefineParts};
use super::line::{Body, Close, DecisionLine, Open, Seal};
use crate::canonical::{self, CanonicalError};
use crate::digest::Sha256Hex;
use crate::policy::Verdict;
use crate::signature::PrivateKey;

/// No segment is longer (contract 1).
pub const SEGMENT_LIMIT: u64 = 64 << 20;

/// More than any checkpoint line takes; kept free at the end of each segment.
const CHECKPOINT_ROOM: u64 = 4096;

/// Where the lines of a journal go.
pub trait Segments {
    /// Appends all of `bytes` to the current segment, or nothing.
    ///
    /// # Errors
    /// Whatever kept it from doing so; the segment must then end where it ended before.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Ends the current segment, which ends in a checkpoint, and begins the next.
    ///
    /// # Errors
    /// Whatever kept the next one from being made.
    fn cut(&mut self) -> io::Result<()>;
}

/// Why a line was not written. The journal is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The segment could not be written.
    #[error("the journal can't be written")]
    Io(#[from] io::Error),
    /// A value that JSON can't hold.
    #[error("a journal line can't be written as canonical JSON")]
    Canonical(#[from] CanonicalError),
}

/// A journal being written.
///
/// Checkpoints are written before a line that would make the block or the segment too long, at
/// the end, and whenever the caller finds the oldest line without one too old ([`Writer::oldest`]).
/// So a line that was appended is never reported as an error because of a checkpoint after it.
pub struct Writer<S> {
    segments: S,
    key: PrivateKey,
    run_id: String,
    nonce: String,
    every: u64,
    chain: Chain,
    segment_bytes: u64,
    segment_limit: u64,
    oldest: Option<u64>,
    last_t: u64,
    buffer: Vec<u8>,
}

impl<S: Segments> Writer<S> {
    /// Begins a journal with its `open` line.
    ///
    /// # Errors
    /// The line can't be written.
    pub fn begin(segments: S, key: PrivateKey, open: Open) -> Result<Self, WriteError> {
        let mut writer = Self::resume(segments, key, &open, Chain::default(), 0, 0);
        writer.line(&Body::Open(Box::new(open)), 0)?;
        Ok(writer)
    }

    /// Goes on where a checked journal ends; `segment_bytes` is the length of its last segment,
    /// `last_t` the time of its last line.
    pub fn resume(segments: S, key: PrivateKey, open: &Open, chain: Chain, segment_bytes: u64, last_t: u64) -> Self {
        Self {
            segments,
            key,
            run_id: open.run_id.clone(),
            nonce: open.nonce.clone(),
            every: open.checkpoint_every.max(1),
            oldest: (chain.pending() > 0).then_some(last_t),
            chain,
            segment_bytes,
            segment_limit: SEGMENT_LIMIT,
            last_t,
            buffer: Vec::with_capacity(256),
        }
    }

    /// Cuts segments earlier than the format demands.
    #[must_use]
    pub fn with_segment_limit(mut self, bytes: u64) -> Self {
        self.segment_limit = bytes.min(SEGMENT_LIMIT);
        self
    }

    /// Appends a decision, by `verdict` of its definition. Returns its `seq`.
    ///
    /// # Errors
    /// The line is not in the journal.
    pub fn decision(&mut self, line: &DecisionLine, verdict: Verdict, t: u64) -> Result<u64, WriteError> {
        // Room for the numbers, the names of the members and an address.
        self.make_room(320)?;
        self.buffer.clear();
        decision_line::format(&mut self.buffer, self.chain.seq() + 1, t, line);
        self.segments.append(&self.buffer)?;
        self.chain.decide(verdict);
        Ok(self.appended(t))
    }

    /// Appends the definition of an action.
    ///
    /// # Errors
    /// [`WriteError::Io`]
    pub fn define(&mut self, parts: &DefineParts<'_>, t: u64) -> Result<u64, WriteError> {
        self.make_room(define_line::FRAME_BYTES + (parts.intent.len() + parts.decision.len()) as u64)?;
        self.buffer.clear();
        define_line::format(&mut self.buffer, self.chain.seq() + 1, t, parts);
        self.segments.append(&self.buffer)?;
        Ok(self.appended(t))
    }

    /// Appends any line but decisions, checkpoints and the end. Returns its `seq`.
    ///
    /// # Errors
    /// The line is not in the journal.
    pub fn line(&mut self, body: &Body, t: u64) -> Result<u64, WriteError> {
        let members = body.members().map_err(CanonicalError::from)?;
        let longest = canonical::canonical_bytes(&members)?.len() as u64 + 128;
        self.make_room(longest)?;
        self.append_line(body, members, t)
    }

    /// Ends the journal: `close` and the final checkpoint.
    ///
    /// # Errors
    /// The journal has no end.
    pub fn close(mut self, close: Close, t: u64) -> Result<Ended<S>, WriteError> {
        self.line(&Body::Close(close), t)?;
        self.end(t)
    }

    /// Ends the journal of a killed guard: `seal`, in the block that is open, and the final checkpoint.
    ///
    /// # Errors
    /// The journal has no end.
    pub fn seal(mut self, torn_bytes: u64, sealed_at: String) -> Result<Ended<S>, WriteError> {
        let t = self.last_t;
        let body = Body::Seal(Seal {
            attested: self.chain.first() - 1,
            unattested: self.chain.pending(),
            torn_bytes,
            sealed_at,
        });
        let members = body.members().map_err(CanonicalError::from)?;
        self.append_line(&body, members, t)?;
        self.end(t)
    }

    /// Writes the final checkpoint after a `close` or `seal` that is the last line.
    fn end(mut self, t: u64) -> Result<Ended<S>, WriteError> {
        self.sign(t, true)?;
        Ok(Ended { segments: self.segments, chain: self.chain, key: self.key })
    }

    /// Signs a checkpoint over the lines that have none; nothing to do if all have one.
    ///
    /// # Errors
    /// The checkpoint is not in the journal.
    pub fn checkpoint(&mut self, t: u64) -> Result<(), WriteError> {
        if self.chain.pending() > 0 { self.sign(t, false) } else { Ok(()) }
    }

    /// Time of the oldest line that has no checkpoint yet.
    pub fn oldest(&self) -> Option<u64> {
        self.oldest
    }

    /// Where the journal is.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Where the lines go.
    pub fn segments(&mut self) -> &mut S {
        &mut self.segments
    }

    /// Signs the open block first if it is full, and begins a segment if this one is.
    fn make_room(&mut self, line: u64) -> Result<(), WriteError> {
        let full = self.segment_bytes > 0 && self.segment_bytes + line + CHECKPOINT_ROOM > self.segment_limit;
        if self.chain.pending() >= self.every || (full && self.chain.pending() > 0) {
            self.sign(self.last_t, false)?;
        }
        if full {
            self.segments.cut()?;
            self.segment_bytes = 0;
        }
        Ok(())
    }

    fn append_line(&mut self, body: &Body, members: Value, t: u64) -> Result<u64, WriteError> {
        let line = complete(members, body.kind(), self.chain.seq() + 1, t)?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&line);
        self.segments.append(&self.buffer)?;
        if let Body::Lost(lost) = body {
            self.chain.lose(lost.count);
        }
        Ok(self.appended(t))
    }

    /// The buffer is in the journal: take it into the chain.
    fn appended(&mut self, t: u64) -> u64 {
        self.chain.add(&self.buffer);
        self.segment_bytes += self.buffer.len() as u64;
        self.oldest.get_or_insert(t);
        self.last_t = t;
        self.chain.seq()
    }

    fn sign(&mut self, t: u64, is_final: bool) -> Result<(), WriteError> {
        let head = self.chain.next_head();
        let mut record = self.unsigned_checkpoint(head, t, is_final);
        let signature = self.key.sign_digest(&canonical::digest_of(&record)?);
        record["signature"] = serde_json::to_value(signature).map_err(CanonicalError::from)?;
        let mut line = canonical::canonical_bytes(&record)?;
        line.push(b'\n');
        self.segments.append(&line)?;
        self.chain.pass(head, &line);
        self.segment_bytes += line.len() as u64;
        self.oldest = None;
        Ok(())
    }

    fn unsigned_checkpoint(&self, head: Sha256Hex, t: u64, is_final: bool) -> Value {
        let chain = &self.chain;
        json!({
            "type": "checkpoint", "seq": chain.seq() + 1, "t": t, "run_id": self.run_id, "nonce": self.nonce,
            "block": chain.blocks() + 1, "first": chain.first(), "last": chain.seq(),
            "prev": chain.head(), "head": head, "decisions": chain.decisions(),
            "verdicts": chain.verdicts(), "lost": chain.lost(), "final": is_final,
        })
    }
}

/// A journal that has its end.
pub struct Ended<S> {
    /// Where the lines went.
    pub segments: S,
    /// What they came to.
    pub chain: Chain,
    /// The key, for the records that are derived next.
    pub key: PrivateKey,
}

fn complete(mut members: Value, kind: &str, seq: u64, t: u64) -> Result<Vec<u8>, CanonicalError> {
    members["type"] = kind.into();
    members["seq"] = seq.into();
    members["t"] = t.into();
    let mut line = canonical::canonical_bytes(&members)?;
    line.push(b'\n');
    Ok(line)
}
