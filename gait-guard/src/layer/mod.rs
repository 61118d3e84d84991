//! The layers that hold whatever the engine does: descriptors, environment, Landlock, seccomp.

pub mod environment;
pub mod landlock;
pub mod seccomp;
