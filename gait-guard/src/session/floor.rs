//! The floor on resolved paths: what no policy can open to the agent (design 5).
//!
//! Only names are compared here: every path was resolved to an object before, so a symlink, `..` or a
//! bind mount that the resolver saw through can't hide one. A second hard link to a protected file is
//! another name; the key and the journal are therefore only ever reached through closed folders, whose
//! entries the agent can't link because it can't name them.

use std::path::PathBuf;

use super::{Dirs, Floor};
use crate::event::{Action, ExecObject, InetCall, PathOp, UnixName};

/// Paths that belong to the guard.
#[derive(Clone, Debug, Default)]
pub struct GuardedPaths {
    closed: Vec<Vec<u8>>,
    sealed: Vec<Vec<u8>>,
}

impl GuardedPaths {
    /// `closed`: nothing at or below may be touched in any way. `sealed`: nothing at or below may be
    /// changed. All must be absolute and resolved.
    pub fn new(closed: impl IntoIterator<Item = PathBuf>, sealed: impl IntoIterator<Item = PathBuf>) -> Self {
        let bytes = |path: PathBuf| path.into_os_string().into_encoded_bytes();
        Self { closed: closed.into_iter().map(bytes).collect(), sealed: sealed.into_iter().map(bytes).collect() }
    }

    /// What nothing may look at, and what nothing may change: each at and below.
    pub fn looked_after(&self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let kernel = OF_KERNEL.iter().map(|path| path.to_vec());
        (self.closed.clone(), self.closed.iter().chain(&self.sealed).cloned().chain(kernel).collect())
    }

    /// The folders above what is guarded: what moves one of them moves that.
    pub fn holders(&self) -> Vec<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt;
        let guarded = self.closed.iter().chain(&self.sealed);
        let above = |path: &Vec<u8>| {
            let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
            path.ancestors().skip(1).map(|folder| folder.as_os_str().as_bytes().to_vec()).collect::<Vec<_>>()
        };
        let mut holders: Vec<Vec<u8>> = guarded.flat_map(above).collect();
        holders.sort();
        holders.dedup();
        holders
    }

    /// A folder that nothing may look at.
    pub fn a_closed_one(&self) -> Option<&std::path::Path> {
        use std::os::unix::ffi::OsStrExt;
        self.closed.first().map(|path| std::path::Path::new(std::ffi::OsStr::from_bytes(path)))
    }

    /// Whether the floor refuses `action`.
    pub fn judge(&self, action: &Action<'_>) -> Option<Floor> {
        let refused = match action {
            Action::Path { op, path, .. } => {
                self.is_closed(path)
                    || (changes(*op) && self.is_sealed(path))
                    || (moves(*op) && self.holds_guarded(path))
            }
            Action::Exec { object: ExecObject::Path(path), .. } => self.is_closed(path),
            Action::Unix { call, name: UnixName::Path(path), .. } => {
                self.is_closed(path) || (*call == InetCall::Bind && self.is_sealed(path))
            }
            _ => false,
        };
        if refused {
            return Some(Floor::GuardAccess);
        }
        let commands_kernel = matches!(action, Action::Path { op, path, .. } if changes(*op) && is_of_kernel(path));
        commands_kernel.then_some(Floor::Privilege)
    }

    fn is_closed(&self, path: &[u8]) -> bool {
        self.closed.iter().any(|root| is_at_or_below(path, root))
    }

    fn is_sealed(&self, path: &[u8]) -> bool {
        self.sealed.iter().any(|root| is_at_or_below(path, root))
    }

    /// Moving a folder away moves what is in it: the guard would find something else under its name.
    fn holds_guarded(&self, path: &[u8]) -> bool {
        self.closed.iter().chain(&self.sealed).any(|guarded| is_at_or_below(guarded, path))
    }
}

fn is_at_or_below(path: &[u8], root: &[u8]) -> bool {
    match path.strip_prefix(root) {
        Some(rest) => rest.is_empty() || rest[0] == b'/' || root == b"/",
        None => false,
    }
}

/// Files that command the kernel when they are written: root needs no capability for most of them, and some (such as
/// `core_pattern`) run a program outside of every guard. The rest is for machines on which devices are writable.
const OF_KERNEL: [&[u8]; 10] = [
    b"/proc/sys",
    b"/proc/sysrq-trigger",
    b"/proc/irq",
    b"/proc/acpi",
    b"/proc/bus",
    b"/proc/fs",
    b"/sys",
    b"/dev/mem",
    b"/dev/kmem",
    b"/dev/port",
];

fn is_of_kernel(path: &[u8]) -> bool {
    OF_KERNEL.iter().any(|root| is_at_or_below(path, root))
}

fn changes(op: PathOp) -> bool {
    !matches!(op, PathOp::Read | PathOp::List | PathOp::Map | PathOp::Watch)
}

fn moves(op: PathOp) -> bool {
    matches!(op, PathOp::RenameFrom | PathOp::RenameTo | PathOp::Rmdir)
}

/// The paths of the guard itself, as a run with these folders has them.
pub(crate) fn guarded_paths(dirs: &Dirs, workspace: &[u8]) -> GuardedPaths {
    // An out folder that holds the workspace can't be closed to writing as a whole.
    let holds_workspace = std::path::Path::new(std::ffi::OsStr::from_encoded(workspace)).starts_with(&dirs.out);
    let out = (!holds_workspace).then(|| dirs.out.clone());
    GuardedPaths::new(
        [dirs.state.clone()].into_iter().chain(dirs.closed.iter().cloned()),
        dirs.sealed.iter().cloned().chain(out),
    )
}

/// `OsStr` from bytes, which on Linux it is.
trait FromEncoded {
    fn from_encoded(bytes: &[u8]) -> &Self;
}

impl FromEncoded for std::ffi::OsStr {
    fn from_encoded(bytes: &[u8]) -> &Self {
        std::os::unix::ffi::OsStrExt::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn refused(op: PathOp, path: &str) -> bool {
        let paths =
            GuardedPaths::new(["/home/a/.gait".into()], ["/home/a/work/gait-out".into(), "/etc/policy.yaml".into()]);
        paths.judge(&Action::Path { op, path: Cow::Borrowed(path.as_bytes()), via: None }).is_some()
    }

    #[test]
    fn what_holds_the_guard_is_every_folder_above_it() {
        let paths = GuardedPaths::new(["/home/a/.gait".into()], ["/etc/policy.yaml".into()]);
        let holders: Vec<Vec<u8>> = ["/", "/etc", "/home", "/home/a"].map(|path| path.as_bytes().to_vec()).into();
        assert_eq!(paths.holders(), holders);
        for holder in holders {
            let action = Action::Path { op: PathOp::Rmdir, path: holder.into(), via: None };
            assert_eq!(paths.judge(&action), Some(Floor::GuardAccess));
        }
    }

    #[test]
    fn nothing_below_the_state_folder_can_be_touched() {
        for op in [PathOp::Read, PathOp::List, PathOp::Write, PathOp::Watch, PathOp::Map, PathOp::Delete] {
            assert!(refused(op, "/home/a/.gait"));
            assert!(refused(op, "/home/a/.gait/keys/local.key"));
            assert!(!refused(op, "/home/a/.gaiter"));
        }
    }

    #[test]
    fn what_the_guard_needs_can_be_read_and_not_changed() {
        for path in ["/home/a/work/gait-out", "/home/a/work/gait-out/runpack_x.zip", "/etc/policy.yaml"] {
            assert!(!refused(PathOp::Read, path));
            for op in [PathOp::Write, PathOp::Create, PathOp::Delete, PathOp::RenameTo, PathOp::Chmod { mode: 0 }] {
                assert!(refused(op, path), "{op:?} {path}");
            }
        }
        assert!(!refused(PathOp::Write, "/home/a/work/gait-out2"));
    }

    #[test]
    fn a_folder_above_can_be_written_but_not_moved_away() {
        for above in ["/home/a", "/home/a/work", "/etc", "/"] {
            assert!(refused(PathOp::RenameFrom, above), "{above}");
            assert!(refused(PathOp::RenameTo, above), "{above}");
            assert!(!refused(PathOp::Chown, above), "{above}");
        }
        assert!(!refused(PathOp::RenameFrom, "/home/a/work/src"));
    }

    #[test]
    fn what_commands_the_kernel_can_be_read_and_not_written() {
        let judge = |op, path: &str| {
            GuardedPaths::default().judge(&Action::Path { op, path: Cow::Borrowed(path.as_bytes()), via: None })
        };
        for path in
            ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/fs/cgroup/x/release_agent", "/dev/mem"]
        {
            assert_eq!(judge(PathOp::Write, path), Some(Floor::Privilege), "{path}");
            assert_eq!(judge(PathOp::Read, path), None, "{path}");
        }
        for path in ["/proc/self/comm", "/proc/17/task/17/comm", "/system", "/dev/null"] {
            assert_eq!(judge(PathOp::Write, path), None, "{path}");
        }
    }
}
