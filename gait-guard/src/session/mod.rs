//! Decides and records each action of one run.

mod beginning;
mod config;
mod decide;
mod finish;
mod floor;
mod folder;
mod judge;
mod known;
mod lines;
mod observe;
mod origin;
mod process;
mod rules;
mod run;
mod seal;
mod signer;
#[cfg(test)]
mod tests;
mod witness;

pub use config::{CaptureMode, Dirs, Enforcement, Outcome, Rules, Said, SessionConfig, StartError, Stop};
pub(crate) use decide::errno_name;
pub use finish::{Block, FinishError, Finished, Summary};
pub use floor::GuardedPaths;
pub(crate) use floor::guarded_paths;
pub(crate) use folder::PINS;
pub use folder::{FolderError, RunFolder, SegmentFiles, remove_run, unsealed_runs};
pub use origin::{Denial, Origin};
pub use rules::PolicyRules;
pub use run::Session;
pub use seal::{SealError, Sealed, seal};
pub use witness::Decided as DecidedExec;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::event::{Action, Actor};

/// What an engine must do with an action that was decided and recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Let it happen: its record is in the journal.
    Allow,
    /// Refuse it with this error: so is the record of that.
    Deny(Errno),
}

/// Denials that no policy can lift (`guard_floor_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Floor {
    /// Aimed at the guard: its memory, signals, journal, keys, policy file.
    GuardAccess,
    /// Aimed at a process that is not of the agent's tree.
    Outsider,
    /// Would gain privilege or change what the boundary means.
    Privilege,
    /// Uses an ABI, socket family or call that nothing mediates.
    Unmediated,
    /// The target could not be resolved to an object.
    Unresolved,
    /// The caller's memory could not be read, so nothing could be judged.
    Unreadable,
}

/// The seam between an engine and the run it serves: every engine decides through this.
///
/// Both calls write the record before they return, so an engine that acts only on their return
/// value can't let anything through unrecorded. They don't fail: where the record can't be kept
/// they deny and end the run.
pub trait Judge: Send + Sync {
    /// Decides `action` by the floor and the policy.
    fn judge(&self, actor: Actor, action: &Action<'_>) -> Ruling;

    /// Records a denial that was decided without the policy. With `--simulate` the floor still holds.
    fn deny(&self, actor: Actor, action: &Action<'_>, floor: Floor) -> Errno;

    /// [`Judge::deny`] where the call has an error of its own that programs expect: the one that is recorded is the one
    /// that the agent gets.
    fn deny_as(&self, actor: Actor, action: &Action<'_>, floor: Floor, errno: Errno) -> Errno;

    /// What [`Judge::judge`] would say, without a record. Nothing is let through on the strength of it:
    /// it only tells where the engine must be stricter than one decision (what moving a folder would
    /// change for all that is in it, what may be mapped for execution).
    ///
    /// A judge that can't tell says `Allow`: then the engine does no more than it was told.
    fn foresee(&self, action: &Action<'_>) -> Ruling {
        let _ = action;
        Ruling::Allow
    }

    /// Told before a folder is moved, and after. While one is, nothing is created that the engine's own thread does not
    /// create. False: that can't be had, and the folder must not be moved.
    fn moving(&self, moves: bool) -> bool {
        let _ = moves;
        true
    }

    /// Told before a descriptor is installed in the table of thread `tid`, and after (`None`): what judges descriptors that the
    /// agent receives knows this one by it, which was judged when it was opened.
    fn gives(&self, tid: i32, file: Option<BorrowedFd<'_>>) {
        let _ = (tid, file);
    }

    /// Whether what comes through a ring of io_uring is judged where it arrives: then the policy decides whether the agent may
    /// have one, else it may not.
    fn lets_rings(&self) -> bool {
        false
    }

    /// Records that an exec which was judged has happened: what the process now runs.
    fn executed(&self, actor: Actor, file: &[u8], argv: &[Vec<u8>]);

    /// Whether somebody else watches too: then [`Judge::exec_begins`] and [`Judge::exec_ends`] have to be told.
    fn is_watching(&self) -> bool {
        false
    }

    /// The kernel is about to be let do an exec of process `tgid`. Told before it is.
    fn exec_begins(&self, tgid: i32) {
        let _ = tgid;
    }

    /// How that ended. Told before the new program runs its first instruction, if it will.
    fn exec_ends(&self, tgid: i32, end: ExecEnd) {
        let _ = (tgid, end);
    }
}

/// How an exec ended that the supervisor let happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecEnd {
    /// It did not happen: the call gave an error, or the caller was killed before it went on.
    Failed,
    /// It happened, and this is what was found at its first instruction. `None`: that could not be read, so the process
    /// is killed there.
    Looked(Option<DecidedExec>),
    /// The caller died meanwhile: it may have happened and not have run. This is what was judged.
    Killed(DecidedExec),
}
