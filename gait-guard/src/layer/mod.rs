//! The layers that hold whatever the engine does: descriptors, environment, Landlock, seccomp.

pub mod seccomp;
