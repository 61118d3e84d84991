//! What an open was about that the kernel refused before there was an object: the caller's words, looked up again.
//!
//! The words were in the caller's memory and the folders may have changed since, so this is no object that was decided, and
//! the record says so. Nothing depends on it: the open has failed.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, accessat, fstat, openat2, readlinkat};

use crate::event::PathOp;

/// A file that somebody could not open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// What would have been done: read, or listed.
    pub(super) op: PathOp,
    /// Its path.
    pub(super) path: Vec<u8>,
    /// Whether its mode lets this user read it.
    pub(super) is_readable: bool,
}

/// Looks up `name`, which is a NUL-terminated path, from the folder `base`. `None`: there is no such file, or its name
/// depends on who asks, as all in the folder of a process does.
pub(super) fn find(name: &[u8], base: &[u8]) -> Option<Named> {
    let name = name.strip_suffix(b"\0").filter(|name| !name.is_empty())?;
    if !name.starts_with(b"/") && base.is_empty() {
        return None;
    }
    let path = if name.starts_with(b"/") { name.to_vec() } else { [base, b"/", name].concat() };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = openat2(CWD, OsStr::from_bytes(&path), flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).ok()?;
    let stat = fstat(&file).ok()?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = readlinkat(CWD, &link, Vec::new()).ok()?.into_bytes();
    let is_nameless = stat.st_nlink == 0;
    if is_nameless || !path.starts_with(b"/") || is_of_process(&path) {
        return None;
    }
    let is_readable = accessat(CWD, &link, Access::READ_OK, AtFlags::EACCESS).is_ok();
    Some(Named { op: if is_folder { PathOp::List } else { PathOp::Read }, path, is_readable })
}

fn is_of_process(path: &[u8]) -> bool {
    let below = path.strip_prefix(b"/proc/").and_then(|rest| rest.split(|byte| *byte == b'/').next());
    below.is_some_and(crate::notify::is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_name_is_looked_up_as_the_kernel_would() {
        let folder = tempfile::tempdir().unwrap();
        let at = fs::canonicalize(folder.path()).unwrap();
        fs::write(at.join("secret"), "x").unwrap();
        symlink("secret", at.join("link")).unwrap();
        let base = at.as_os_str().as_bytes();
        let secret = at.join("secret").into_os_string().into_encoded_bytes();
        let found = |name: &[u8]| {
            find(name, base).map(|named| {
                assert!(named.is_readable);
                (named.op, named.path)
            })
        };
        let read = Some((PathOp::Read, secret.clone()));
        assert_eq!(found(b"secret\0"), read);
        assert_eq!(found(b"link\0"), read);
        assert_eq!(found(b"../../..//proc/../etc/..\0"), Some((PathOp::List, b"/".to_vec())));
        assert_eq!(found(&[&secret[..], b"\0"].concat()), read);
        assert_eq!(found(b".\0"), Some((PathOp::List, base.to_vec())));
        for nothing in [&b"none\0"[..], b"\0", b"", b"secret", b"/proc/self/status\0", b"/proc/self/fd/0\0"] {
            assert_eq!(found(nothing), None, "{}", nothing.escape_ascii());
        }
        assert_eq!(find(b"secret\0", b""), None, "nobody knows from where");
    }
}
