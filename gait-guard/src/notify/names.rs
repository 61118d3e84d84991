//! What an object is called: the words in which it is judged and recorded.

use std::ffi::CStr;

use super::agent::Stop;
use crate::event::Why;
use crate::session::Floor;

/// Longest name of one directory entry (`NAME_MAX`).
const NAME_MAX: usize = 255;
/// Longest path that is judged; the kernel itself names none that is longer.
const LONGEST: usize = 4095;
const DELETED: &[u8] = b" (deleted)";

/// One component of a path that is not `.` or `..`, with room for a trailing slash.
pub(super) struct EntryName {
    bytes: [u8; NAME_MAX + 2],
    len: usize,
}

impl EntryName {
    /// # Errors
    /// `ENAMETOOLONG` above 255 bytes.
    pub(super) fn new(name: &[u8]) -> Result<Self, Stop> {
        if name.len() > NAME_MAX {
            return Err(Stop::Errno(rustix::io::Errno::NAMETOOLONG));
        }
        let mut bytes = [0; NAME_MAX + 2];
        bytes[..name.len()].copy_from_slice(name);
        Ok(Self { bytes, len: name.len() })
    }

    /// Puts back the slash that the agent wrote after the name: it changes what the kernel answers.
    pub(super) fn push_slash(&mut self) {
        if self.len <= NAME_MAX {
            self.bytes[self.len] = b'/';
        }
    }

    /// The name, without a slash.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The name for the kernel, with the slash if there was one.
    pub(super) fn as_c_str(&self) -> &CStr {
        // INVARIANT: the last byte is never written.
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// Room for one absolute path, and the path in it.
pub(super) struct NameBuffer {
    pub(super) bytes: [u8; LONGEST + NAME_MAX + 2],
    pub(super) len: usize,
}

impl NameBuffer {
    /// An empty name.
    pub(super) fn new() -> Self {
        Self { bytes: [0; LONGEST + NAME_MAX + 2], len: 0 }
    }

    /// The name.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Replaces the name.
    pub(super) fn set(&mut self, name: &[u8]) -> Result<(), Stop> {
        let room = self.bytes.get_mut(..name.len()).ok_or(too_long())?;
        room.copy_from_slice(name);
        self.len = name.len();
        Ok(())
    }

    /// Appends an entry of the directory that it names.
    ///
    /// # Errors
    /// [`Why::NameTooLong`] where the kernel could not name the result.
    pub(super) fn push(&mut self, name: &[u8]) -> Result<(), Stop> {
        let slash: &[u8] = if self.as_bytes() == b"/" { b"" } else { b"/" };
        if self.len + slash.len() + name.len() > LONGEST {
            return Err(too_long());
        }
        self.append(slash)?;
        self.append(name)
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), Stop> {
        let end = self.len + piece.len();
        if end > LONGEST {
            return Err(too_long());
        }
        self.bytes[self.len..end].copy_from_slice(piece);
        self.len = end;
        Ok(())
    }

    /// Whether the kernel may have marked the name as that of a removed entry.
    pub(super) fn looks_deleted(&self) -> bool {
        self.as_bytes().ends_with(DELETED)
    }

    /// Takes the kernel's mark off; a file that never had a name gets one without its number.
    pub(super) fn strip_deleted(&mut self, inode: u64) {
        self.len -= DELETED.len();
        let unnamed = format!("/#{inode}");
        if self.as_bytes().ends_with(unnamed.as_bytes()) {
            self.len -= unnamed.len();
            // Shorter than `LONGEST` with the name that was taken away, so it fits.
            let _ = self.append(b"/");
            let _ = self.append(TEMPORARY);
        }
    }
}

/// The name under which files made with `O_TMPFILE` are judged, below their directory.
pub(crate) const TEMPORARY: &[u8] = b"#tmpfile";

/// A name that is too long to be judged.
pub(super) fn too_long() -> Stop {
    Stop::Unresolved(Why::NameTooLong, Floor::Unresolved)
}

/// Writes a path below a procfs without numbers that differ between runs: `owner` stands for the
/// process (`self`, or `pid` for another one), `tid` for a thread, `n` for a descriptor.
pub(super) fn stable_proc_path(mount: &[u8], tail: &[u8], owner: &[u8]) -> Vec<u8> {
    let mut path = mount.to_vec();
    let mut before: &[u8] = b"";
    for (position, component) in tail.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).enumerate() {
        path.push(b'/');
        path.extend_from_slice(match before {
            _ if position == 0 => owner,
            b"task" if is_number(component) => b"tid",
            b"fd" | b"fdinfo" if is_number(component) => b"n",
            b"map_files" => b"range",
            _ => component,
        });
        before = component;
    }
    path
}

/// Whether a component is a decimal number.
pub(crate) fn is_number(component: &[u8]) -> bool {
    !component.is_empty() && component.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::{EntryName, NameBuffer, stable_proc_path};

    #[test]
    fn numbers_of_one_run_do_not_get_into_names() {
        let stable =
            |tail: &[u8], owner: &[u8]| String::from_utf8(stable_proc_path(b"/proc", tail, owner)).expect("text");
        assert_eq!(stable(b"12/task/13/fd/4", b"self"), "/proc/self/task/tid/fd/n");
        assert_eq!(stable(b"12/mem", b"pid"), "/proc/pid/mem");
        assert_eq!(stable(b"12/map_files/7f00-7f01", b"self"), "/proc/self/map_files/range");
    }

    #[test]
    fn a_removed_temporary_file_has_a_name_without_its_inode() {
        let mut name = NameBuffer::new();
        name.set(b"/w/#77 (deleted)").expect("fits");
        assert!(name.looks_deleted());
        name.strip_deleted(77);
        assert_eq!(name.as_bytes(), b"/w/#tmpfile");
        name.set(b"/w/notes (deleted)").expect("fits");
        name.strip_deleted(77);
        assert_eq!(name.as_bytes(), b"/w/notes");
    }

    #[test]
    fn a_path_that_the_kernel_could_not_name_is_refused() {
        let mut name = NameBuffer::new();
        name.set(&[b'/'; 4000]).expect("fits");
        assert!(name.push(&[b'a'; 95]).is_err());
        assert!(name.push(&[b'a'; 94]).is_ok());
        assert!(EntryName::new(&[b'a'; 256]).is_err());
    }
}
