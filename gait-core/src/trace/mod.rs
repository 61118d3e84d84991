//! The signed record of one verdict.
