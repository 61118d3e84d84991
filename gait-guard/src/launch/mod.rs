//! From a plan to a running agent: all layers are in force before its first instruction.

mod command;
pub mod kin;
pub mod minder;
mod run;
pub mod watchdog;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

pub use command::{Command, CommandError};
pub use run::{End, RunError, Status, Terms, run};

use crate::layer::seccomp::{Opens, program};
use crate::sys::child::{self, Failed, Held, Recipe, Step};
use crate::sys::process::SignalSet;

/// What the child is put behind, besides what every child is: a session of its own, no capabilities,
/// `no_new_privs`, the seccomp filter, no inherited descriptors.
pub struct Confinement<'a> {
    /// Who decides opens.
    pub opens: Opens,
    /// A Landlock ruleset.
    pub landlock: Option<BorrowedFd<'a>>,
    /// What the command starts with blocked, if not what the calling thread has.
    pub blocked: Option<SignalSet>,
    /// Other standard descriptors than the caller's, which stay open until the child is released.
    pub stdio: [Option<BorrowedFd<'a>>; 3],
    /// A control group of its own.
    pub group: Option<BorrowedFd<'a>>,
}

impl Default for Confinement<'_> {
    fn default() -> Self {
        Self { opens: Opens::Held, landlock: None, blocked: None, stdio: [None; 3], group: None }
    }
}

/// Takes a child up to the point where it would execute `command`, all layers in force.
///
/// It dies with the calling thread. Its syscalls, `execve` first, must be answered once it is released.
///
/// # Errors
/// The step at which it failed; then nothing is left running.
pub fn hold(command: &Command, confinement: &Confinement<'_>) -> Result<Held, Failed> {
    let filter = program::filter(confinement.opens);
    let [programs, argv, environment] = command.texts();
    let recipe = Recipe::new(programs, argv, environment, filter, confinement.landlock);
    let recipe = recipe.map_err(|errno: Errno| Failed { step: Step::Seccomp, errno })?;
    child::start(recipe.stdio(confinement.stdio).blocked(confinement.blocked).group(confinement.group))
}
