//! A run as one file: a zip of canonical JSON members, listed by digest in a manifest that may be signed.
//!
//! | module | what |
//! |---|---|
//! | [`container`] | the zip, whatever is in it |
//! | [`record`] | the records of the members |
//! | [`manifest`] | digest and signatures |
//! | [`write`] | records and files become a pack |
//! | [`verify`] | a pack is what its manifest says |
//! | [`open`] | a pack that is intact, record by record |

pub mod container;
pub mod lines;
pub mod manifest;
pub mod open;
pub mod record;
pub mod verify;
pub mod write;

#[cfg(test)]
mod tests;
