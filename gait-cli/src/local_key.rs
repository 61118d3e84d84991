//! The key of this user on this machine: `$HOME/.gait/keys/signing.key`.
//!
//! It is made once, at first use, and replaced by [`rotate`] alone, which keeps it: what it signed must stay
//! verifiable. The folder is 0700 and the file 0600; anything wider is refused, because a key that others can read
//! proves nothing.

use crate::failure::Failure;
use crate::key_mode;
use gait_core::digest::Sha256Hex;
use gait_core::file;
use gait_core::file::os_text;
use gait_core::signature::{PrivateKey, PublicKey};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Whether a call made the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Now,
    Before,
}

/// The folder of the local key, whether it exists or not: an agent must never reach it.
///
/// # Errors
/// `HOME` is not set: exit 6.
pub fn folder() -> Result<PathBuf, Failure> {
    match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(Path::new(&home).join(".gait").join("keys")),
        None => Err(Failure::invalid("no place for the local key: HOME is not set")
            .with_hint("set HOME, or name a key with --private-key")),
    }
}

/// The file of the local key.
///
/// # Errors
/// As [`folder`].
pub fn path() -> Result<PathBuf, Failure> {
    Ok(folder()?.join("signing.key"))
}

/// The local key, if there is one. Without `HOME` there is none.
///
/// # Errors
/// It can be reached by others, can't be read or is no key: exit 6.
pub fn load() -> Result<Option<PrivateKey>, Failure> {
    match folder() {
        Ok(folder) => load_from(&folder),
        Err(_) => Ok(None),
    }
}

/// The local key; makes it if there is none.
///
/// # Errors
/// As [`load`], and where it can't be written (exit 1).
pub fn load_or_make() -> Result<(PrivateKey, Made), Failure> {
    load_or_make_in(&folder()?)
}

/// What a rotation did.
#[derive(Debug)]
pub struct Rotated {
    /// The key that signs from now on.
    pub new: PrivateKey,
    /// The key that signed until now.
    pub old: PublicKey,
    /// Where the old key is kept, 0600.
    pub archived: PathBuf,
    /// Where its public half is kept.
    pub archived_public: PathBuf,
}

/// Puts a new key in the place of the local one, which is kept in the folder `archive` under its id.
///
/// # Errors
/// There is no local key or it can't be used (exit 6); something can't be written (exit 1): then the local key is
/// what it was.
pub fn rotate() -> Result<Rotated, Failure> {
    rotate_in(&folder()?)
}

fn rotate_in(folder: &Path) -> Result<Rotated, Failure> {
    let none = || Failure::invalid("there is no local key to replace").with_hint("run `gait keys init`");
    let failed = |error: io::Error| Failure::io(format!("rotate local key: {}: {}", folder.display(), os_text(&error)));
    if !folder.is_dir() {
        return Err(none());
    }
    // Two at once must not both replace the same key: one of the new ones would be lost after it has signed.
    let turn = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(".rotate"));
    turn.and_then(|turn| turn.lock().map(|()| turn)).map_err(failed).and_then(|_turn| {
        let old_key = load_from(folder)?.ok_or_else(none)?;
        let old = old_key.public();
        let archive = folder.join("archive");
        DirBuilder::new().recursive(true).mode(0o700).create(&archive).map_err(failed)?;
        let archived = archive.join(format!("{}.key", old.id()));
        let archived_public = archive.join(format!("{}.pub", old.id()));
        // A copy: a key with two names would be refused by `gait exec` if the rotation were cut short here.
        place_private(&archive, &archived, &old_key).map_err(failed)?;
        file::write_atomic(&archived_public, format!("{}\n", old.to_base64()).as_bytes()).map_err(Failure::io)?;
        let new = key_mode::throwaway()?;
        place_private(folder, &folder.join("signing.key"), &new).map_err(failed)?;
        for changed in [archive.as_path(), folder] {
            File::open(changed).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(Rotated { new, old, archived, archived_public })
    })
}

/// Puts `key` in the place of whatever is at `path` in `folder`, whole or not at all.
fn place_private(folder: &Path, path: &Path, key: &PrivateKey) -> io::Result<()> {
    let temporary = folder.join(temporary_name(key));
    let moved = write_private(&temporary, key).and_then(|()| fs::rename(&temporary, path));
    if moved.is_err() {
        // Nothing to tell if it was not made.
        let _ = fs::remove_file(&temporary);
    }
    moved
}

fn temporary_name(key: &PrivateKey) -> String {
    let name = Sha256Hex::of(format!("{}:{}", key.public().to_base64(), std::process::id()));
    format!(".signing.key.tmp-{}", name.short(16))
}

fn load_from(folder: &Path) -> Result<Option<PrivateKey>, Failure> {
    let path = folder.join("signing.key");
    let refuse =
        |error: &io::Error| Failure::invalid(format!("read local key: open {}: {}", path.display(), os_text(error)));
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(&error)),
    };
    let folder_mode = fs::metadata(folder).map_err(|error| refuse(&error))?.mode();
    check_mode(folder, folder_mode, 0o700)?;
    let metadata = file.metadata().map_err(|error| refuse(&error))?;
    if !metadata.is_file() {
        return Err(Failure::invalid(format!("read local key: {} is not a file", path.display())));
    }
    check_mode(&path, metadata.mode(), 0o600)?;
    let mut text = Zeroizing::new(String::with_capacity(128));
    file.read_to_string(&mut text).map_err(|error| refuse(&error))?;
    PrivateKey::from_base64(&text)
        .map(Some)
        .map_err(|error| Failure::invalid(format!("read local key: {}: {error}", path.display())))
}

/// Refuses what group or others can reach.
fn check_mode(path: &Path, mode: u32, wanted: u32) -> Result<(), Failure> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let message =
        format!("local key: others can reach {} (mode {:04o}, expected {wanted:04o})", path.display(), mode & 0o7777);
    let hint = format!(
        "run `chmod {wanted:o} {}`; if others may have read the key, remove it and run `gait keys init`",
        path.display()
    );
    Err(Failure::invalid(message).with_hint(hint))
}

fn load_or_make_in(folder: &Path) -> Result<(PrivateKey, Made), Failure> {
    if let Some(key) = load_from(folder)? {
        return Ok((key, Made::Before));
    }
    let failed = |error: io::Error| Failure::io(format!("write local key: {}: {}", folder.display(), os_text(&error)));
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).map_err(failed)?;
    check_mode(folder, fs::metadata(folder).map_err(failed)?.mode(), 0o700)?;
    let key = key_mode::throwaway()?;
    if publish(folder, &key).map_err(failed)? == Made::Now {
        return Ok((key, Made::Now));
    }
    // Somebody else made one at the same time: theirs is the key.
    match load_from(folder)? {
        Some(key) => Ok((key, Made::Before)),
        None => Err(Failure::io(format!("write local key: {} vanished", folder.display()))),
    }
}

/// Writes the key under its name, whole, unless the name is taken.
fn publish(folder: &Path, key: &PrivateKey) -> io::Result<Made> {
    let temporary = folder.join(temporary_name(key));
    let written = write_private(&temporary, key).and_then(|()| fs::hard_link(&temporary, folder.join("signing.key")));
    let removed = fs::remove_file(&temporary);
    match written {
        Ok(()) => {
            removed?;
            File::open(folder)?.sync_all()?;
            Ok(Made::Now)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Made::Before),
        Err(error) => Err(error),
    }
}

fn write_private(path: &Path, key: &PrivateKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.to_base64().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn keys_folder() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".gait").join("keys");
        (home, folder)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_key_is_made_once_and_for_its_owner_only() {
        let (_home, folder) = keys_folder();
        assert!(load_from(&folder).unwrap().is_none());
        let (first, made) = load_or_make_in(&folder).unwrap();
        assert_eq!(made, Made::Now);
        let (second, made) = load_or_make_in(&folder).unwrap();
        assert_eq!(made, Made::Before);
        assert_eq!(first.public(), second.public());
        assert_eq!((mode(&folder), mode(&folder.join("signing.key"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn many_at_once_agree_on_one_key() {
        let (_home, folder) = keys_folder();
        let folder = &folder;
        let made: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| load_or_make_in(folder).unwrap())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(made.windows(2).all(|pair| pair[0].0.public() == pair[1].0.public()));
        assert_eq!(made.iter().filter(|(_, made)| *made == Made::Now).count(), 1);
    }

    #[test]
    fn a_key_that_is_replaced_is_kept_for_its_owner_only() {
        let (_home, folder) = keys_folder();
        assert!(rotate_in(&folder).unwrap_err().message.contains("no local key"));
        let first = load_or_make_in(&folder).unwrap().0.public();
        let rotated = rotate_in(&folder).unwrap();
        assert_eq!(rotated.old, first);
        assert_eq!(load_from(&folder).unwrap().unwrap().public(), rotated.new.public());
        assert_ne!(rotated.new.public(), first);
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(PrivateKey::from_base64(&text(&rotated.archived)).unwrap().public(), first);
        assert_eq!(PublicKey::from_base64(&text(&rotated.archived_public)).unwrap(), first);
        assert_eq!((mode(&rotated.archived), mode(&folder.join("archive"))), (0o600, 0o700));
        assert_eq!(mode(&folder.join("signing.key")), 0o600);
        rotate_in(&folder).unwrap();
        assert_eq!(fs::read_dir(folder.join("archive")).unwrap().count(), 4);
    }

    #[test]
    fn of_many_rotations_at_once_none_loses_a_key() {
        let (_home, folder) = keys_folder();
        let first = load_or_make_in(&folder).unwrap().0.public();
        let rotated: Vec<Rotated> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..6).map(|_| scope.spawn(|| rotate_in(&folder).unwrap())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        let current = load_from(&folder).unwrap().unwrap().public();
        for key in rotated.iter().map(|rotated| rotated.new.public()).chain([first]) {
            let kept = folder.join("archive").join(format!("{}.key", key.id())).exists();
            assert!(kept != (key == current), "{}", key.id());
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_home, folder) = keys_folder();
        load_or_make_in(&folder).unwrap();
        let path = folder.join("signing.key");
        for bad in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bad)).unwrap();
            let failure = load_from(&folder).unwrap_err();
            assert!(failure.message.contains(&format!("(mode 0{bad:o}, expected 0600)")), "{}", failure.message);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(load_or_make_in(&folder).unwrap_err().message.contains("(mode 0755, expected 0700)"));
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_replaced() {
        let (_home, folder) = keys_folder();
        load_or_make_in(&folder).unwrap();
        let path = folder.join("signing.key");
        fs::write(&path, "AAAA\n").unwrap();
        let failure = load_or_make_in(&folder).unwrap_err();
        assert!(failure.message.ends_with("invalid private key length: 3"), "{}", failure.message);
        assert_eq!(fs::read_to_string(&path).unwrap(), "AAAA\n");
    }
}
