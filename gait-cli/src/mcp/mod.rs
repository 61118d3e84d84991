//! What sessions and calls of the Model Context Protocol need from this machine: pipes, processes, files.
//!
//! What to do with a message is decided in `gait_core::mcp`.

pub mod controls;
pub mod export;
mod pipe;
pub mod relay;
pub mod salvage;
mod server;
pub mod spool;
