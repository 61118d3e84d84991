//! The seccomp filter: which syscalls run, which are held for the supervisor, which don't exist.
//!
//! [`table`] puts every known syscall in one class; [`registers`] says for some of them which argument
//! registers make a difference; [`program`] turns both into BPF. Foreign ABIs are killed; what is not in the
//! table doesn't exist (ENOSYS). What the policy or the floor refuses is never refused here: it goes to
//! the notifier, so that the refusal is a recorded decision.

pub mod program;
pub mod registers;
pub mod table;

/// Who decides opens and executable mappings, and with them what programs of the kernel can decide else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// They are held for the supervisor.
    Held,
    /// Programs of the kernel, on the object that the call comes to (engine `lsm`): they run, and so do most changes of names
    /// and attributes. Held are opens for `O_PATH`, which no hook sees, and `openat2`, whose flags are in memory.
    Decided,
    /// A program of the kernel looks at what was opened when the call returns (engine `hybrid`): opens that only read what
    /// is there run, as their registers tell. All others are held, and executable mappings too.
    Seen,
}

/// What becomes of a syscall. All classes but the last three are held for the supervisor, some only when
/// the registers say so ([`registers::rules`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Opens or creates a file by path: done on behalf.
    Open,
    /// Changes something by path: done on behalf.
    Mutate,
    /// Changes attributes through a descriptor, which may be open for reading only: done on behalf.
    FdMutate,
    /// Executes a program: judged, continued, checked again at the exec-stop.
    Exec,
    /// Maps memory; held when a file becomes executable.
    Map,
    /// Names an address or passes descriptors: done on a duplicate of the socket.
    Net,
    /// Watches a path.
    Watch,
    /// Names a process; held when that is another one.
    Pid,
    /// Decided by its registers: the harmless values run, others are held and refused.
    Static,
    /// Refused by the floor, recorded.
    Deny,
    /// Obsolete or optional calls that this boundary does not have: ENOSYS.
    Absent,
    /// Reads attributes and names only: runs, not recorded.
    Meta,
    /// Works on memory, time, the caller itself, or descriptors that were judged: runs.
    Allow,
}
