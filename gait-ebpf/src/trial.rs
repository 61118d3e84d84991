//! Subjects of the trial program: what a test asks the kernel to decide.

use crate::tables::{BLOCK, PATH_BYTES};

/// Subjects of one run.
pub const SUBJECTS: usize = 1024;

/// One question, and its answer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Subject {
    /// The decision.
    pub outcome: u32,
    /// [`crate::op::Op`].
    pub op: u32,
    /// First byte of the value.
    pub start: u32,
    /// End of it.
    pub end: u32,
    /// First byte of the domain inside of the value.
    pub domain_start: u32,
    /// End of it; 0: there is none.
    pub domain_end: u32,
    /// The bytes.
    pub bytes: [u8; PATH_BYTES],
    /// Nothing: see [`BLOCK`].
    pub slack: [u8; BLOCK],
}
