//! A file that calls keep between them, and the lock that lets one call at a time read and write it (control 12).
//!
//! The lock is a file beside the state that exists while it is held, as existing implementations have it. One that was
//! left behind by a call that died is taken away when it is old.

use crate::clock;
use crate::failure::Failure;
use gait_core::file::{self, PathError};
use gait_core::rate_limit::LockRecord;
use gait_core::time::Timestamp;
use std::collections::hash_map::RandomState;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// How long to wait for others.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(15);

/// The state of `what`, held until this is dropped.
#[derive(Debug)]
pub struct LockedState {
    what: &'static str,
    path: PathBuf,
    lock: PathBuf,
    /// What we wrote into the lock: another content is another's lock.
    content: String,
}

impl LockedState {
    /// Takes the lock of the state at `path`, whose folders are made; `what` is its name in messages.
    ///
    /// # Errors
    /// Others hold it for too long (`state_contention`), or it can't be made: exit 1.
    pub fn acquire(path: &Path, what: &'static str) -> Result<Self, Failure> {
        Self::acquire_within(path, what, PATIENCE)
    }

    fn acquire_within(path: &Path, what: &'static str, patience: Duration) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::io(format!("acquire {what} lock: {error}"));
        let folder = path.parent().unwrap_or(Path::new(""));
        file::create_folders(folder).map_err(|error| failed(&error))?;
        let mut name = path.as_os_str().to_os_string();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let content = LockRecord::new(std::process::id(), clock::now()).to_line().map_err(|error| failed(&error))?;
        let started = Instant::now();
        loop {
            match create(&lock, &content) {
                Ok(()) => return Ok(LockedState { what, path: path.to_path_buf(), lock, content }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&PathError::of("open", &lock)(error))),
            }
            take_away_if_stale(&lock);
            if started.elapsed() >= patience {
                return Err(Failure::contention(format!("acquire {what} lock: timeout"))
                    .with_advice(format!("retry; if nothing else is running, remove {}", lock.display())));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The bytes of the state; nothing if there is none yet.
    ///
    /// # Errors
    /// It is there and can't be read: exit 1.
    pub fn read(&self) -> Result<Option<Vec<u8>>, Failure> {
        match file::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(Failure::io(format!("read {} state: {error}", self.what))),
        }
    }

    /// Puts `text` in place of the state, whole.
    ///
    /// # Errors
    /// It can't be written: exit 1, and the state is as it was.
    pub fn write(&self, text: &str) -> Result<(), Failure> {
        file::write_atomic(&self.path, text.as_bytes())
            .map_err(|error| Failure::io(format!("write {} state: {error}", self.what)))
    }
}

impl Drop for LockedState {
    fn drop(&mut self) {
        // If somebody held us for dead, the lock is theirs by now.
        if fs::read(&self.lock).is_ok_and(|content| content == self.content.as_bytes()) {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

fn create(lock: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(lock)?;
    if let Err(error) = file.write_all(content.as_bytes()) {
        // A full disk must not leave a lock behind.
        let _ = fs::remove_file(lock);
        return Err(error);
    }
    Ok(())
}

/// Removes a lock that was left behind. What it really was is looked at after it has been moved aside, because
/// another call may have replaced it in between; then it is put back.
fn take_away_if_stale(lock: &Path) {
    if !is_stale(lock) {
        return;
    }
    let mut aside = lock.as_os_str().to_os_string();
    aside.push(format!(".{:016x}", RandomState::new().build_hasher().finish()));
    let aside = PathBuf::from(aside);
    if fs::rename(lock, &aside).is_err() {
        return;
    }
    if !is_stale(&aside) {
        let _ = fs::hard_link(&aside, lock);
    }
    let _ = fs::remove_file(&aside);
}

fn is_stale(lock: &Path) -> bool {
    let Some(modified) = fs::metadata(lock).and_then(|metadata| metadata.modified()).ok() else { return false };
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let Ok(modified) = Timestamp::from_unix(seconds, since.subsec_nanos()) else { return false };
    fs::read(lock).is_ok_and(|content| LockRecord::is_stale(&content, &modified, &clock::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Category;

    const SHORT: Duration = Duration::from_millis(40);

    #[test]
    fn a_lock_is_there_while_it_is_held_and_gone_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/state.json");
        let held = LockedState::acquire(&path, "rate limit").unwrap();
        let lock = folder.path().join("a/b/state.json.lock");
        let record: serde_json::Value = serde_json::from_slice(&fs::read(&lock).unwrap()).unwrap();
        assert_eq!(record["pid"], std::process::id());
        let failure = LockedState::acquire_within(&path, "rate limit", SHORT).unwrap_err();
        assert_eq!(failure.message, "acquire rate limit lock: timeout");
        assert_eq!(failure.category, Some(Category::StateContention));
        drop(held);
        assert!(!lock.exists());
        assert!(LockedState::acquire_within(&path, "rate limit", SHORT).is_ok());
    }

    #[test]
    fn a_lock_that_was_left_behind_is_taken_over_and_another_s_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let lock = folder.path().join("state.json.lock");
        let old = Timestamp::from_unix(clock::now().unix_seconds() - 20, 0).unwrap();
        fs::write(&lock, LockRecord::new(1, old).to_line().unwrap()).unwrap();
        let held = LockedState::acquire_within(&path, "rate limit", SHORT).unwrap();
        fs::write(&lock, "theirs").unwrap();
        drop(held);
        assert_eq!(fs::read(&lock).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_can_t_be_made_says_why() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let failure = LockedState::acquire(&folder.path().join("file/state.json"), "rate limit").unwrap_err();
        assert!(failure.message.starts_with("acquire rate limit lock: mkdir "), "{}", failure.message);
        assert_eq!(failure.category, Some(Category::IoFailure));
    }
}
