//! Which processes are the agent's.

use std::fs;

use rustix::process::Pid;

/// The agent's processes: those that descend from the guard without being part of it.
///
/// A process whose parent died goes to the nearest subreaper, which is the supervisor: so a chain of
/// parents never leaves the guard.
#[derive(Clone, Debug)]
pub struct Tree {
    supervisor: Pid,
    watchdog: Option<Pid>,
    launcher: Option<Pid>,
}

impl Tree {
    /// The tree below `supervisor`, whose orphans go to `watchdog`, itself started by `launcher`.
    pub fn new(supervisor: Pid, watchdog: Option<Pid>, launcher: Option<Pid>) -> Self {
        Self { supervisor, watchdog, launcher }
    }

    /// Whether `pid` is a process of the guard itself.
    pub fn is_guard(&self, pid: i32) -> bool {
        [Some(self.supervisor), self.watchdog, self.launcher]
            .into_iter()
            .flatten()
            .any(|guard| guard.as_raw_nonzero().get() == pid)
    }

    /// Whether `pid` (a process or thread id of this pid namespace) is of the agent's tree. Processes that are gone are not.
    pub fn contains(&self, pid: i32) -> bool {
        let Some(Kin { process, mut parent }) = kin(pid) else {
            return false;
        };
        if self.is_guard(process) {
            return false;
        }
        // Ends at a process without a parent (0), or one that is gone.
        loop {
            if self.is_guard(parent) {
                return true;
            }
            match kin(parent) {
                Some(next) => parent = next.parent,
                None => return false,
            }
        }
    }
}

/// Where a task belongs.
pub(crate) struct Kin {
    /// Its thread group.
    pub process: i32,
    /// The parent of that.
    pub parent: i32,
}

/// The parent of a process.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    kin(pid).map(|kin| kin.parent)
}

/// Looks a process or thread up; `None` if it is gone.
pub(crate) fn kin(id: i32) -> Option<Kin> {
    // The name comes first and newlines in it are escaped, so no line of it can pass for another one.
    let status = fs::read(format!("/proc/{id}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some(Kin { process: field("Tgid:")?, parent: field("PPid:")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{getpid, getppid};

    #[test]
    fn a_child_is_of_the_tree_and_the_guard_and_outsiders_are_not() {
        let me = getpid();
        let tree = Tree::new(me, None, None);
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        let pid = child.id() as i32;
        assert!(tree.contains(pid));
        assert!(!tree.contains(me.as_raw_nonzero().get()));
        assert!(!tree.contains(getppid().unwrap().as_raw_nonzero().get()));
        assert!(!tree.contains(1));
        // A thread of the guard is not one of its children, though they have the same parent chain.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let (id_sender, ids) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            id_sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = receiver.recv();
        });
        let id = ids.recv().unwrap();
        assert!(!Tree::new(me, getppid(), None).contains(id));
        drop(sender);
        thread.join().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!tree.contains(pid));
    }
}
