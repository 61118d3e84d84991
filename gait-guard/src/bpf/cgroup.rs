//! The control group of the agent, and the socket hooks in it.
//!
//! A socket belongs for its life to the group of the task that made it. So the hooks see every call on a socket of the
//! agent, whoever makes it, and none on anybody else's. Being in the group adds to what is enforced and takes nothing away:
//! who is of the agent's tree is told by task storage and by the filter, neither of which can be left.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd};

use super::{BpfError, Object};

/// What is attached where.
pub(super) const HOOKS: [(&str, &str); 7] = [
    ("on_connect4", "connect4"),
    ("on_connect6", "connect6"),
    ("on_sendmsg4", "sendmsg4"),
    ("on_sendmsg6", "sendmsg6"),
    ("on_bind4", "bind4"),
    ("on_bind6", "bind6"),
    ("on_sock_create", "sock_create"),
];

/// What the name of a group starts with.
const PREFIX: &str = "gait-";

/// A fresh group below the one that this process is in. Dropped, it is removed.
#[derive(Debug)]
pub struct ControlGroup {
    path: PathBuf,
    folder: File,
}

impl ControlGroup {
    /// Makes the group, and removes those of guards that were killed before they could.
    ///
    /// # Errors
    /// [`BpfError::ControlGroup`]
    pub fn make() -> Result<Self, BpfError> {
        let failed = |what| move |cause| BpfError::ControlGroup { what, cause };
        let parent = own_group().map_err(failed("find a cgroup2 mount"))?;
        let namespace = namespace().map_err(failed("read /proc/self/ns/pid"))?;
        remove_abandoned(&parent, &namespace);
        let pid = std::process::id();
        let start = start_of(pid).unwrap_or_default();
        let path = parent.join(format!("{PREFIX}{namespace}-{pid}-{start}"));
        fs::create_dir(&path).map_err(failed("mkdir"))?;
        match File::open(&path) {
            Ok(folder) => Ok(Self { path, folder }),
            Err(cause) => {
                let _ = fs::remove_dir(&path);
                Err(failed("open")(cause))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for ControlGroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Its last tasks may still be on their way out.
        for _ in 0..50 {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                _ => return,
            }
        }
    }
}

/// The folder of this process's group in the hierarchy of version 2, wherever that is mounted.
fn own_group() -> io::Result<PathBuf> {
    let mounts = fs::read("/proc/self/mountinfo")?;
    let mounts = String::from_utf8_lossy(&mounts);
    let mount = mounts.lines().find_map(mount_point).ok_or(io::ErrorKind::NotFound)?;
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).ok_or(io::ErrorKind::NotFound)?;
    Ok(Path::new(&mount).join(own))
}

/// The mount point of a line of `mountinfo` that is of cgroup2, whole. Names with escapes are left alone.
fn mount_point(line: &str) -> Option<String> {
    let (left, right) = line.split_once(" - ")?;
    let mut fields = left.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    (right.starts_with("cgroup2 ") && root == "/" && !point.contains('\\')).then(|| point.to_owned())
}

fn namespace() -> io::Result<String> {
    let link = fs::read_link("/proc/self/ns/pid")?;
    Ok(link.to_string_lossy().chars().filter(char::is_ascii_digit).collect())
}

/// Field 22 of a process's `stat`, in the kernel's ticks.
fn start_of(pid: u32) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.get(stat.iter().rposition(|byte| *byte == b')')? + 1..)?;
    std::str::from_utf8(after).ok()?.split_ascii_whitespace().nth(19).map(str::to_owned)
}

/// Groups whose guard is gone. One that still has tasks is not removed by the kernel.
fn remove_abandoned(parent: &Path, namespace: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let mut parts = owner.split('-');
        if parts.next() != Some(namespace) {
            continue;
        }
        let (Some(pid), Some(start)) = (parts.next().and_then(|pid| pid.parse().ok()), parts.next()) else { continue };
        if start_of(pid).as_deref() != Some(start) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Object {
    /// Loads the socket hooks and attaches them to `group`.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub fn attach_sockets(&mut self, group: &ControlGroup) -> Result<(), BpfError> {
        HOOKS.iter().try_for_each(|(name, hook)| self.attach_to_group(name, hook, group.as_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_wherever_it_is_mounted() {
        let unified = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw";
        assert_eq!(mount_point(unified), Some("/sys/fs/cgroup".into()));
        let hybrid = "31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 none rw";
        assert_eq!(mount_point(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("32 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"), None);
        assert_eq!(mount_point("33 24 0:27 /part /mnt rw - cgroup2 none rw"), None, "a part of it is not it");
    }

    #[test]
    fn a_process_starts_once() {
        let own = start_of(std::process::id());
        assert!(own.is_some() && own == start_of(std::process::id()));
    }
}
