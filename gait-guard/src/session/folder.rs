//! The folder of a run while it goes on: `$HOME/.gait/runs/<run_id>/` (contract guarded-run 3.3).
//!
//! It holds everything from which the runpack is made, also when the guard is killed: the segments of
//! the journal, `policy.yaml`, `guard.json` without its end, and `lock`, which the guard holds.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use gait_core::journal::Segments;
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};

/// Kept free for the end of the journal, should the disk fill up.
const RESERVE_BYTES: u64 = 64 << 10;

/// The folder of the engine's pins, in that of the run: a bpffs while the run goes on.
pub(crate) const PINS: &str = "bpf";

/// The folder of one run, locked.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

/// Why the folder of a run can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is one of that name: run ids are used once.
    #[error("run `{run_id}` exists already: {}", path.display())]
    Exists {
        /// The id.
        run_id: String,
        /// Its folder.
        path: PathBuf,
    },
    /// A guard holds it.
    #[error("the run in {} is still going on", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Something could not be made, written or read.
    #[error("{}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    move |cause| FolderError::Io { path: path.to_owned(), cause }
}

impl RunFolder {
    /// Makes and locks the folder of a new run below `state` (`$HOME/.gait`), with the two files that
    /// do not change any more. On the disk it is once [`RunFolder::sync_beginning`] has returned.
    ///
    /// # Errors
    /// [`FolderError`]; nothing must be started then.
    pub fn create(state: &Path, run_id: &str, policy: &[u8], guard: &[u8]) -> Result<Self, FolderError> {
        let runs = state.join("runs");
        private_folders(&runs).map_err(at(&runs))?;
        let path = runs.join(run_id);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(FolderError::Exists { run_id: run_id.to_owned(), path });
            }
            made => made.map_err(at(&path))?,
        }
        let lock = lock(&path, true)?;
        let folder = Self { path, _lock: lock };
        for (name, content) in [("policy.yaml", policy), ("guard.json", guard)] {
            let file = folder.path.join(name);
            create_file(&file).and_then(|mut file| file.write_all(content)).map_err(at(&file))?;
        }
        let decisions = folder.path.join("decisions");
        DirBuilder::new().mode(0o700).create(&decisions).map_err(at(&decisions))?;
        Ok(folder)
    }

    /// Locks the folder of a run whose guard is gone.
    ///
    /// # Errors
    /// [`FolderError::Locked`] while a guard holds it.
    pub fn adopt(path: &Path) -> Result<Self, FolderError> {
        let lock = lock(path, false)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of one of its files, at most `limit` bytes.
    ///
    /// # Errors
    /// It can't be read, or is longer.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, FolderError> {
        let path = self.path.join(name);
        let mut content = Vec::new();
        let file = open_file(&path).map_err(at(&path))?;
        file.take(limit + 1).read_to_end(&mut content).map_err(at(&path))?;
        if content.len() as u64 > limit {
            return Err(at(&path)(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(content)
    }

    /// Where a segment is, from 1.
    pub fn segment_path(&self, number: u64) -> PathBuf {
        segment_path(&self.path, number)
    }

    /// A segment for reading, from 1; `None` after the last.
    ///
    /// # Errors
    /// It is there and can't be read.
    pub fn segment(&self, number: u64) -> Result<Option<File>, FolderError> {
        let path = segment_path(&self.path, number);
        match open_file(&path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(FolderError::Io { path, cause }),
        }
    }

    /// Puts the folder of a run that begins on the disk, with the first segment as it is by now.
    ///
    /// # Errors
    /// It may not be there.
    pub fn sync_beginning(&self) -> io::Result<()> {
        for file in [self.path.join("policy.yaml"), self.path.join("guard.json"), self.segment_path(1)] {
            open_file(&file)?.sync_all()?;
        }
        let runs = self.path.parent().unwrap_or(&self.path);
        [&self.path.join("decisions"), &self.path, runs].into_iter().try_for_each(sync_folder)
    }

    /// Removes the folder with all in it, after the runpack was made.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn remove(&self) -> Result<(), FolderError> {
        remove_run(&self.path)
    }
}

/// Removes the folder of a run that nobody guards any more, with the pins in it.
///
/// # Errors
/// Something could not be removed.
pub fn remove_run(folder: &Path) -> Result<(), FolderError> {
    let pins = folder.join(PINS);
    if pins.exists() {
        // Of a guard that was killed: its programs leave the kernel with their pins.
        let unmounted = crate::sys::mount::remove_bpffs(&pins);
        unmounted.map_err(|errno| FolderError::Io { path: pins, cause: errno.into() })?;
    }
    std::fs::remove_dir_all(folder).map_err(at(folder))
}

/// Ids of runs below `state` that no guard holds and nobody sealed.
pub fn unsealed_runs(state: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(state.join("runs")) else {
        return Vec::new();
    };
    let mut runs: Vec<String> = entries
        .flatten()
        .filter(|entry| lock(&entry.path(), false).is_ok())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    runs.sort();
    runs
}

fn private_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Takes the lock; `make` creates its file. A folder by hand may have none: then it is made.
fn lock(folder: &Path, make: bool) -> Result<File, FolderError> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    if make {
        options.write(true).create_new(true).mode(0o600);
    }
    let file = match options.open(&path) {
        Ok(file) => file,
        // A copy of a run's folder without its lock: the folder itself is locked instead.
        Err(e) if e.kind() == io::ErrorKind::NotFound && !make => File::open(folder).map_err(at(folder))?,
        Err(cause) => return Err(FolderError::Io { path, cause }),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::Locked { path: folder.to_owned() }),
        Err(errno) => Err(FolderError::Io { path, cause: errno.into() }),
    }
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join("decisions").join(format!("{number:06}.jsonl"))
}

/// The segments of a journal being written.
#[derive(Debug)]
pub struct SegmentFiles {
    folder: PathBuf,
    number: u64,
    current: File,
    length: u64,
    reserve: Option<PathBuf>,
    unsynced: Vec<File>,
}

impl SegmentFiles {
    /// Begins the journal of a new run.
    ///
    /// # Errors
    /// The first segment, or room for the end of the journal, can't be made.
    pub fn begin(folder: &RunFolder) -> io::Result<Self> {
        let reserve = folder.path.join("reserve");
        reserve_room(&create_file(&reserve)?)?;
        let current = create_file(&segment_path(&folder.path, 1))?;
        let folder = folder.path.clone();
        Ok(Self { folder, number: 1, current, length: 0, reserve: Some(reserve), unsynced: Vec::new() })
    }

    /// Goes on in a copy at `to` of the first `length` bytes of segment `number`: what a killed guard had
    /// left stays as it is.
    ///
    /// # Errors
    /// The copy can't be made.
    pub fn copied(folder: &RunFolder, number: u64, length: u64, to: &Path) -> io::Result<Self> {
        let source = open_file(&segment_path(&folder.path, number))?;
        let mut current = create_file(to)?;
        io::copy(&mut source.take(length), &mut current)?;
        let folder = folder.path.clone();
        Ok(Self { folder, number, current, length, reserve: None, unsynced: Vec::new() })
    }

    /// Gives the room that was kept back to the journal: once, for its end.
    pub fn release_reserve(&mut self) {
        if let Some(reserve) = self.reserve.take() {
            // If it can't be removed the end can't be written either, which shows as such.
            let _ = std::fs::remove_file(reserve);
        }
    }

    /// Files with lines that may not be on the disk: for `fdatasync` by somebody who can wait.
    ///
    /// # Errors
    /// The current segment has no second descriptor.
    pub fn to_sync(&mut self) -> io::Result<Vec<File>> {
        let mut files = std::mem::take(&mut self.unsynced);
        files.push(self.current.try_clone()?);
        Ok(files)
    }

    /// Puts all lines on the disk, on a thread of its own: what is read of them meanwhile needs no disk.
    ///
    /// # Errors
    /// The current segment has no second descriptor; without a thread, they may not be there.
    pub(super) fn start_sync(&mut self) -> io::Result<Syncing> {
        let files = Arc::new(self.to_sync()?);
        let mine = Arc::clone(&files);
        let started = std::thread::Builder::new().name("journal".into()).spawn(move || sync_all(&mine));
        match started {
            Ok(thread) => Ok(Syncing(Some(thread))),
            // There is no thread to be had.
            Err(_) => sync_all(&files).map(|()| Syncing(None)),
        }
    }
}

/// The end of a journal on its way to the disk. Dropped, it is waited for too: where no runpack comes to be, the journal is all
/// there is.
pub(super) struct Syncing(Option<JoinHandle<io::Result<()>>>);

fn sync_all(files: &[File]) -> io::Result<()> {
    files.iter().try_for_each(File::sync_data)
}

impl Syncing {
    /// Waits until it is there.
    ///
    /// # Errors
    /// It may not be.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        let Some(thread) = self.0.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs the journal is gone")))
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        // Whoever drops it has an error of its own to tell.
        let _ = self.wait();
    }
}

fn reserve_room(file: &File) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
        Err(rustix::io::Errno::OPNOTSUPP) => (&*file).write_all(&vec![0; RESERVE_BYTES as usize]),
        done => Ok(done?),
    }
}

impl Segments for SegmentFiles {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.current.write_all(bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(cause) => {
                // Half a line must not stay in front of the next one.
                self.current.set_len(self.length)?;
                io::Seek::seek(&mut self.current, io::SeekFrom::Start(self.length))?;
                Err(cause)
            }
        }
    }

    fn cut(&mut self) -> io::Result<()> {
        let next = create_file(&segment_path(&self.folder, self.number + 1))?;
        sync_folder(&self.folder.join("decisions"))?;
        self.unsynced.push(std::mem::replace(&mut self.current, next));
        self.number += 1;
        self.length = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_used_once_and_its_folder_is_private() {
        let state = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(state.path(), "run_x", b"policy", b"{}").unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&folder.path().metadata().unwrap());
        assert_eq!(mode & 0o777, 0o700);
        assert!(matches!(RunFolder::create(state.path(), "run_x", b"", b""), Err(FolderError::Exists { .. })));
    }

    #[test]
    fn a_journal_on_its_way_to_the_disk_is_waited_for_whatever_comes() {
        let (there, seen) = std::sync::mpsc::channel();
        let syncing = Syncing(Some(std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            there.send(()).map_err(io::Error::other)
        })));
        drop(syncing);
        assert_eq!(seen.try_recv(), Ok(()));
        let failed = Syncing(Some(std::thread::spawn(|| Err(io::ErrorKind::StorageFull.into()))));
        assert_eq!(failed.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_run_that_goes_on_is_not_adopted_and_not_listed_as_unsealed() {
        let state = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(state.path(), "run_x", b"policy", b"{}").unwrap();
        let path = folder.path().to_owned();
        assert!(matches!(RunFolder::adopt(&path), Err(FolderError::Locked { .. })));
        assert_eq!(unsealed_runs(state.path()), Vec::<String>::new());
        drop(folder);
        assert_eq!(unsealed_runs(state.path()), ["run_x"]);
        assert_eq!(RunFolder::adopt(&path).unwrap().read("policy.yaml", 100).unwrap(), b"policy");
    }
}
