//! Files that are either written whole or not at all, and errors that name the operation and the path.
//!
//! The contract (artifacts 1.5): files are 0600, directories 0750, subject to the umask; a file appears under its
//! name only when all of it is on disk.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

/// An operation of the operating system on a path that failed: `open x.zip: no such file or directory`.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}: {}", path.display(), os_text(source))]
pub struct PathError {
    /// `open`, `stat`, `mkdir`, `read`, `write`, `rename`, ...
    pub op: &'static str,
    /// The path as the caller gave it.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl PathError {
    /// For `map_err`: the error of `op` on `path`.
    pub fn of(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PathError {
        let path = path.to_path_buf();
        move |source| PathError { op, path, source }
    }

    /// Whether the path is simply not there.
    pub fn is_absent(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// The words of the operating system for `error`: lower case, without the number.
pub fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    words.to_lowercase()
}

/// A file that appears at its path, whole and on disk, when [`AtomicFile::commit`] returns, and never otherwise.
///
/// What was at the path before stays there until then. A dropped one leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl AtomicFile {
    /// Starts a file for `path` in the folder of `path`, which must exist.
    ///
    /// # Errors
    /// The folder can't be written to, or the path is a device, pipe or socket: a file must not take its place.
    pub fn create(path: &Path) -> Result<Self, PathError> {
        if is_special(path) {
            let source = io::Error::other("not a regular file");
            return Err(PathError { op: "open", path: path.to_path_buf(), source });
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for _ in 0..TRIES {
            let number = RandomState::new().build_hasher().finish();
            let temporary = path.with_file_name(format!(".{name}.tmp-{number:016x}"));
            match private(OpenOptions::new().write(true).read(true).create_new(true)).open(&temporary) {
                Ok(file) => return Ok(AtomicFile { file, temporary, path: path.to_path_buf() }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(PathError { op: "open", path: temporary, source }),
            }
        }
        Err(PathError { op: "open", path: path.to_path_buf(), source: io::ErrorKind::AlreadyExists.into() })
    }

    /// Makes what was written the file at the path.
    ///
    /// # Errors
    /// It could not be written or moved; the path is as it was before.
    pub fn commit(mut self) -> Result<(), PathError> {
        self.file.flush().and_then(|()| self.file.sync_all()).map_err(PathError::of("write", &self.path))?;
        self.place()?;
        // Best effort: not every file system can sync a folder.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    fn place(&mut self) -> Result<(), PathError> {
        fs::rename(&self.temporary, &self.path).map_err(PathError::of("rename", &self.path))?;
        self.temporary.clear();
        Ok(())
    }
}

const TRIES: u32 = 100;

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl io::Read for AtomicFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            // Nothing to tell if it is gone already.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Whether `path` is there and neither a file nor a folder: `/dev/null`, a pipe, a terminal.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Writes `bytes` as the whole file at `path`, whose folder must exist. Into a device or pipe they are just written.
///
/// # Errors
/// [`PathError`]; the path is as it was before.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    if is_special(path) {
        let mut target = OpenOptions::new().write(true).open(path).map_err(PathError::of("open", path))?;
        return target.write_all(bytes).map_err(PathError::of("write", path));
    }
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(PathError::of("write", path))?;
    file.commit()
}

/// As [`write_atomic`], but without waiting for the disk: no reader ever sees half a file and a killed program loses
/// nothing, but a machine that loses power may.
///
/// # Errors
/// [`PathError`]; the path is as it was before.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    if is_special(path) {
        return write_atomic(path, bytes);
    }
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).and_then(|()| file.flush()).map_err(PathError::of("write", path))?;
    file.place()
}

/// Writes `bytes` in place of the file at `path`, which must exist and whose permissions stay; a link stays one.
///
/// # Errors
/// [`PathError`]; the file is as it was before.
pub fn rewrite(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    let target = fs::canonicalize(path).map_err(PathError::of("open", path))?;
    let permissions = fs::metadata(&target).map_err(PathError::of("stat", path))?.permissions();
    let mut file = AtomicFile::create(&target)?;
    file.write_all(bytes).map_err(PathError::of("write", path))?;
    file.file.set_permissions(permissions).map_err(PathError::of("chmod", path))?;
    file.commit()
}

/// Creates `folder` and those above it, 0750.
///
/// # Errors
/// [`PathError`] with the operation `mkdir`.
pub fn create_folders(folder: &Path) -> Result<(), PathError> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o750);
    builder.create(folder).map_err(PathError::of("mkdir", folder))
}

/// The bytes of the file at `path`.
///
/// # Errors
/// [`PathError`] with the operation `open` or `read`.
pub fn read(path: &Path) -> Result<Vec<u8>, PathError> {
    let mut file = File::open(path).map_err(PathError::of("open", path))?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes).map_err(PathError::of("read", path))?;
    Ok(bytes)
}

/// The bytes of the file at `path`, which may also be a device that never ends.
///
/// # Errors
/// As [`read`], and where there are more than `limit` bytes.
pub fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, PathError> {
    let file = File::open(path).map_err(PathError::of("open", path))?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit.saturating_add(1)), &mut bytes)
        .map_err(PathError::of("read", path))?;
    if bytes.len() as u64 > limit {
        let source = io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes"));
        return Err(PathError { op: "read", path: path.to_path_buf(), source });
    }
    Ok(bytes)
}

/// `path` without `.`, doubled separators and `a/..`; `.` for nothing.
pub fn clean(path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    if parts.is_empty() { PathBuf::from(".") } else { parts.into_iter().collect() }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_committed_leaves_the_old_one_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        write_atomic(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_private_even_where_the_old_one_was_not() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_or_device_is_written_to_and_not_replaced() {
        use std::os::unix::fs::FileTypeExt;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_atomic(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        let error = AtomicFile::create(&pipe).unwrap_err().to_string();
        assert!(error.starts_with("open ") && error.ends_with(": not a regular file"), "{error}");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn paths_are_cleaned_as_text() {
        for (path, expected) in
            [("./a//b/../c", "a/c"), ("", "."), ("../x", "../x"), ("/../a", "/a"), ("a/..", "."), ("..", "..")]
        {
            assert_eq!(clean(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn no_more_is_read_than_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "abc").unwrap();
        assert_eq!(read_at_most(&path, 3).unwrap(), b"abc");
        let error = read_at_most(&path, 2).unwrap_err();
        assert_eq!(error.to_string(), format!("read {}: more than 2 bytes", path.display()));
    }

    #[test]
    fn errors_read_as_the_contract_says() {
        let error = read(Path::new("no/such.json")).unwrap_err();
        assert_eq!(error.to_string(), "open no/such.json: no such file or directory");
        assert!(error.is_absent());
    }
}
