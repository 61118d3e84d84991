//! Typed actions, as an engine decoded them from the kernel.

mod action;

pub use action::{
    Action, Actor, ExecObject, InetCall, NodeKind, PathOp, Protocol, SystemObject, UnixName, UnixType, Via, Why,
};
