//! Where in a journal one is: heads of blocks, line numbers, cumulative counts (contract 3.2).

use super::line::{Checkpoint, Totals};
use crate::digest::{Hasher, Sha256Hex};
use crate::policy::Verdict;

/// The state that each checkpoint signs, kept the same way by writer and checker.
///
/// Block k is the bytes from the start of checkpoint line k-1 (of the journal for k = 1) up to
/// checkpoint line k; its head is SHA-256 of the head before, as 32 raw bytes, and the block.
#[derive(Clone)]
pub struct Chain {
    head: Sha256Hex,
    open_block: Hasher,
    block: u64,
    seq: u64,
    first: u64,
    bytes: u64,
    decisions: u64,
    verdicts: Totals,
    lost: u64,
}

impl Default for Chain {
    fn default() -> Self {
        let head = Sha256Hex::from_bytes([0; 32]);
        Self {
            head,
            open_block: begin(&head),
            block: 0,
            seq: 0,
            first: 1,
            bytes: 0,
            decisions: 0,
            verdicts: Totals::default(),
            lost: 0,
        }
    }
}

fn begin(head: &Sha256Hex) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(head.as_bytes());
    hasher
}

impl Chain {
    /// Takes in a line that is no checkpoint, newline included.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.seq += 1;
        self.bytes += line.len() as u64;
        self.open_block.update(line);
    }

    /// Takes in a decision, whose line was or will be added.
    pub(super) fn decide(&mut self, verdict: Verdict) {
        self.decisions += 1;
        self.verdicts.add(verdict);
    }

    /// Takes in a `lost` line's count.
    pub(super) fn lose(&mut self, count: u64) {
        self.lost = self.lost.saturating_add(count);
    }

    /// The head that the next checkpoint states.
    pub(super) fn next_head(&self) -> Sha256Hex {
        self.open_block.clone().finish()
    }

    /// Takes in a checkpoint line, newline included, that states `head`.
    pub(super) fn pass(&mut self, head: Sha256Hex, line: &[u8]) {
        self.head = head;
        self.open_block = begin(&head);
        self.open_block.update(line);
        self.block += 1;
        self.seq += 1;
        self.bytes += line.len() as u64;
        self.first = self.seq + 1;
    }

    /// Whether a checkpoint says what this chain has come to, signature apart.
    pub(super) fn agrees(&self, c: &Checkpoint) -> bool {
        (c.block, c.first, c.last, c.prev, c.head)
            == (self.block + 1, self.first, self.seq, self.head, self.next_head())
            && (c.decisions, c.verdicts, c.lost) == (self.decisions, self.verdicts, self.lost)
    }

    /// Lines since the last checkpoint.
    pub fn pending(&self) -> u64 {
        self.seq + 1 - self.first
    }

    /// Number of the last line, 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Number of the first line after the last checkpoint.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Number of checkpoints.
    pub fn blocks(&self) -> u64 {
        self.block
    }

    /// Head of the last block that has a checkpoint.
    pub fn head(&self) -> Sha256Hex {
        self.head
    }

    /// Bytes of all lines.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Decisions so far.
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Decisions so far by final verdict.
    pub fn verdicts(&self) -> Totals {
        self.verdicts
    }

    /// Lost decisions so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
