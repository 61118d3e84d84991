//! Runs as regression tests: fixtures on disk, graders over them, one result (contract, artifacts 5).
//!
//! All paths are relative to the current folder of the caller: `gait.yaml` beside `fixtures/<name>/`.

pub mod config;
pub mod fixture;
pub mod grade;
pub mod guarded;
pub mod init;
pub mod junit;
pub mod run;
pub mod survey;

/// The schema version of every record here.
pub const SCHEMA_VERSION: &str = "1.0.0";
/// The folder of all fixtures.
pub const FIXTURES: &str = "fixtures";
/// The list of fixtures.
pub const CONFIG: &str = "gait.yaml";
