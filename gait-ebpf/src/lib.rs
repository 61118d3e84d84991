//! What the BPF programs and user space share: how records and tables lie in memory.
//!
//! No dependencies, no `std`, no code but plain arithmetic: the same source is compiled for the kernel and for the
//! machine. Everything is `repr(C)`, of the machine's byte order, without padding.

#![no_std]
#![deny(unsafe_code)]

pub mod config;
pub mod op;
pub mod record;
pub mod socket;
pub mod tables;
pub mod trial;
