//! Files that hold private keys: read only where nobody else can reach them.
//!
//! A file is as private as its own mode or a folder above it makes it: one that anybody may read is still closed to
//! everybody else below a folder that only its owner may enter. Access control lists are not looked at.

use crate::failure::Failure;
use gait_core::file::os_text;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longer than any key in base64, with a lot of blanks.
const MAX_BYTES: u64 = 64 * 1024;

/// The text of a private key file. It is wiped from memory when dropped.
///
/// # Errors
/// The file can't be read, is too long for a key, or can be reached by others: exit 6.
pub fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |op: &str, error: &io::Error| {
        Failure::invalid(format!("read private key: {op} {}: {}", path.display(), os_text(error)))
    };
    let file = File::open(path).map_err(|error| failed("open", &error))?;
    let metadata = file.metadata().map_err(|error| failed("stat", &error))?;
    // A pipe has no name that others could open it by.
    if metadata.is_file() && is_reachable(path, &metadata).map_err(|error| failed("stat", &error))? {
        let mode = metadata.mode() & 0o7777;
        let shown = path.display();
        return Err(Failure::invalid(format!(
            "private key file can be reached by others: {shown} (mode {mode:04o}, expected 0600)"
        ))
        .with_hint(format!("run `chmod 600 {shown}`; if others may have read the key, make a new one")));
    }
    // Room for all of it from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len().min(MAX_BYTES) as usize + 1024));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| failed("read", &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::invalid(format!("read private key: {} is too long for a key", path.display())));
    }
    // What is no text is no base64 either, which says better what is wrong.
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether anybody but its owner and root can read or change the file.
fn is_reachable(path: &Path, file: &fs::Metadata) -> io::Result<bool> {
    if file.mode() & 0o066 == 0 {
        return Ok(false);
    }
    let real = fs::canonicalize(path)?;
    let mut folder: Option<PathBuf> = real.parent().map(Path::to_path_buf);
    while let Some(above) = folder {
        let metadata = fs::metadata(&above)?;
        let is_ours = metadata.uid() == file.uid() || metadata.uid() == 0;
        if metadata.mode() & 0o011 == 0 && is_ours {
            return Ok(false);
        }
        folder = above.parent().map(Path::to_path_buf);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_that_others_can_reach_is_refused_and_one_below_a_closed_folder_is_not() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("keys");
        fs::create_dir(&folder).unwrap();
        let key = folder.join("signing.key");
        fs::write(&key, "AAAA").unwrap();
        for (outer, inner, mode, is_refused) in [
            (0o755, 0o755, 0o600, false),
            (0o755, 0o755, 0o400, false),
            (0o755, 0o755, 0o644, true),
            (0o755, 0o755, 0o640, true),
            (0o755, 0o755, 0o604, true),
            (0o755, 0o755, 0o620, true),
            (0o755, 0o711, 0o644, true),
            (0o755, 0o700, 0o644, false),
            (0o700, 0o755, 0o644, false),
            // Members of the folder's group may enter it.
            (0o710, 0o755, 0o644, true),
        ] {
            set_mode(home.path(), outer);
            set_mode(&folder, inner);
            set_mode(&key, mode);
            let read = read(&key);
            assert_eq!(read.is_err(), is_refused, "{outer:o} {inner:o} {mode:o}");
            if let Err(failure) = read {
                let shown = format!("(mode {mode:04o}, expected 0600)");
                assert!(failure.message.ends_with(&shown), "{}", failure.message);
            }
        }
        set_mode(home.path(), 0o700);
    }

    #[test]
    fn a_link_does_not_hide_who_can_reach_the_file() {
        let open = tempfile::tempdir().unwrap();
        let closed = tempfile::tempdir().unwrap();
        set_mode(open.path(), 0o755);
        let key = open.path().join("signing.key");
        fs::write(&key, "AAAA").unwrap();
        set_mode(&key, 0o644);
        let link = closed.path().join("link");
        std::os::unix::fs::symlink(&key, &link).unwrap();
        assert!(read(&link).is_err());
    }

    #[test]
    fn what_never_ends_is_too_long_for_a_key() {
        let failure = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(failure.message, "read private key: /dev/zero is too long for a key");
    }
}
