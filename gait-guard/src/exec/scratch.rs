//! The agent's private temporary folder.
//!
//! Its name follows from user and workspace, so that two runs of the same agent see the same paths; a second run at the
//! same time gets the next name. A lock tells a folder in use from one that a killed run left behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gait_core::digest::Sha256Hex;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::getuid;

/// Runs of one workspace at the same time.
const MOST: u32 = 1000;

/// No folder could be had.
#[derive(Debug, thiserror::Error)]
#[error("no private temporary folder in `{parent}`: {source}")]
pub struct ScratchError {
    parent: PathBuf,
    #[source]
    source: io::Error,
}

/// A folder of this run alone. Removed with what is in it when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes it, below the folder for temporary files.
    ///
    /// # Errors
    /// [`ScratchError`].
    pub fn make(workspace: &Path) -> Result<Self, ScratchError> {
        let parent = std::env::temp_dir();
        let fail = |source| ScratchError { parent: parent.clone(), source };
        let parent = fs::canonicalize(&parent).map_err(fail)?;
        let fail = |source| ScratchError { parent: parent.clone(), source };
        let digest = Sha256Hex::of(workspace.as_os_str().as_bytes()).to_string();
        let stem = format!("gait-{}-{}", getuid().as_raw(), &digest[..12]);
        for number in 0..MOST {
            let path = parent.join(if number == 0 { stem.clone() } else { format!("{stem}-{number}") });
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(error)),
            }
            if let Some(lock) = take(&path) {
                empty(&path).map_err(fail)?;
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(fail(io::ErrorKind::AlreadyExists.into()))
    }

    /// Where it is: absolute, resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The lock of a folder that is ours and not in use.
fn take(path: &Path) -> Option<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let folder = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path).ok()?;
    let metadata = folder.metadata().ok()?;
    let is_ours = metadata.uid() == getuid().as_raw() && metadata.mode() & 0o777 == 0o700;
    (is_ours && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok()).then_some(folder)
}

fn empty(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed (folders that the agent made unreadable) is left for the next run of this workspace.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_at_the_same_time_have_folders_of_their_own_and_later_ones_the_same() {
        let workspace = tempfile::tempdir().unwrap();
        let first = Scratch::make(workspace.path()).unwrap();
        let second = Scratch::make(workspace.path()).unwrap();
        assert_ne!(first.path(), second.path());
        let path = first.path().to_path_buf();
        fs::write(path.join("file"), "left").unwrap();
        drop(first);
        assert!(!path.exists());
        let third = Scratch::make(workspace.path()).unwrap();
        assert_eq!(third.path(), path);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    }
}
