//! The execution guard: starts an agent inside a boundary that the kernel enforces, decides every
//! file, process and network action with the Gate policy, and records each decision.
//!
//! One action passes through the modules in this order: [`launch`] put the agent behind the
//! [`layer`]s, an engine ([`notify`]) sees its syscall, decodes it into an [`event`], [`intent`] says
//! it in the words of the contract, and the [`session`] decides and records it.
#![deny(unsafe_code)]

pub mod bpf;
pub mod cache;
pub mod event;
pub mod exec;
pub mod host;
pub mod hybrid;
pub mod intent;
pub mod kernel;
pub mod launch;
pub mod layer;
pub mod lsm;
pub mod notify;
pub mod session;
#[allow(unsafe_code, reason = "the one module that talks to the kernel without a safe wrapper")]
pub mod sys;
