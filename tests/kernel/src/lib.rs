//! What the suites under `tests/` are made of.
//!
//! They drive the real `gait` binary on the real kernel, beside the same program without a guard. A test passes,
//! fails, or is skipped with the syscall and errno that says why ([`suite`]); what this kernel must have is promised
//! in `GAIT_KERNEL` ([`need`]); what a program should know of it goes to `GAIT_SUITE_REPORT` ([`report`]). A [`denial::Denial`] is an attack with its control; a [`scene::Scene`] is the folder that it
//! happens in; a [`pack::Pack`] is what was recorded, read without any code of the product; a
//! [`browser::Browser`] looks at pages as people do.
#![forbid(unsafe_code)]

pub mod browser;
pub mod denial;
pub mod need;
pub mod pack;
pub mod report;
pub mod run;
pub mod scene;
pub mod suite;

/// What files that must not be read hold.
pub const CANARY: &str = "canary-5d2f7e";
