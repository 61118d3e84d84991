//! What is compared.

use anyhow::Result;

/// A policy engine that has its rules and, in its own form, all subjects.
pub trait Engine {
    /// Its name in the report.
    fn name(&self) -> &'static str;

    /// Whether it allows the subject of this number.
    fn allows(&mut self, subject: usize) -> Result<bool>;
}
