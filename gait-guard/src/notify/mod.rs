//! The notify engine: a seccomp user-notification supervisor that decides everything and does, on
//! behalf of the agent, whatever depends on memory that the agent could still change.
//!
//! One thread at a time decodes, judges and answers ([`Supervisor::run`]). Because it also performs
//! every mutation itself, no process of the agent can rename or link anything while a path is being
//! judged. A second thread receives what comes meanwhile. Calls that block are parked on threads of
//! their own; execs are handed to a tracer thread that checks again at the ptrace exec-stop.

mod agent;
mod call;
mod context;
mod deny;
mod dispatch;
mod exec;
mod image;
mod lookup;
mod map;
mod mutate;
mod names;
mod net;
mod open;
mod park;
mod pids;
mod program;
mod refuse;
mod reply;
mod resolve;
mod supervisor;
mod text;
mod tracer;
mod tree;
mod view;
mod walk;
mod watch;

pub use call::Call;
pub use context::Context;
pub(crate) use deny::RING;
pub(crate) use names::{TEMPORARY, is_number};
pub use reply::{RegisterOnly, Reply};
pub use supervisor::{NotifyError, Supervisor};
pub use tree::Tree;
pub(crate) use tree::parent_of;
