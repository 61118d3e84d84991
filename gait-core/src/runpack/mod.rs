//! A run as one file: a zip of canonical JSON members, listed by digest in a manifest that may be signed.
//!
//! | module | what |
//! |---|---|
//! | [`container`] | the zip, whatever is in it |
//! | [`record`] | the records of the members |
//! | [`manifest`] | digest and signatures |
//! | [`write`] | records and files become a pack |
//! | `beside` | large members of it are deflated side by side |
//! | [`stream`] | the same for records that are too many to hold |
//! | [`verify`] | a pack is what its manifest says |
//! | [`consistency`] | a manifest speaks of the run that the pack holds, and digests of what is there |
//! | [`open`] | a pack that is intact, record by record |
//! | [`glance`] | records seen without taking them apart |
//! | [`replay`], [`diff`], [`reduce`], [`migrate`] | what is done with one |
//! | [`footer`] | the line that names one |
//! | [`demo`] | the one that needs nothing |

mod beside;
pub mod consistency;
pub mod container;
pub mod demo;
pub mod diff;
pub mod footer;
pub mod glance;
pub(crate) mod hashed;
pub(crate) mod id_key;
pub mod lines;
pub mod manifest;
pub mod migrate;
pub mod open;
pub mod record;
pub mod reduce;
pub mod replay;
pub mod stream;
pub mod verify;
pub mod write;

#[cfg(test)]
mod tests;
