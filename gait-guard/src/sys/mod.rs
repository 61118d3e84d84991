//! Every call to the kernel that has no safe wrapper elsewhere: one operation per unsafe block, behind safe signatures.

pub mod files;
pub mod memory;
