//! A run as one file: a zip of canonical JSON members, listed by digest in a manifest that may be signed.

pub mod container;
