//! What the supervisor tells the hook of received descriptors before it installs one in the agent.

use std::sync::{Mutex, PoisonError};

use aya::maps::{HashMap, MapData};
use rustix::fd::BorrowedFd;
use rustix::fs::{OFlags, fcntl_getfl, fstat};

use super::object::map_error;
use super::{BpfError, Object};

/// By thread of the agent: the file that it is about to be given.
pub struct Given {
    files: Mutex<HashMap<MapData, u32, u64>>,
}

impl Object {
    /// What is to be told of descriptors that are given.
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn given(&self) -> Result<Given, BpfError> {
        let map = self.map("GIVEN")?;
        let files = HashMap::try_from(map).map_err(map_error("GIVEN"))?;
        Ok(Given { files: Mutex::new(files) })
    }
}

impl Given {
    /// Announces `file` to the hook, for thread `tid`, until the next call. What can't be announced is judged again when it
    /// arrives.
    pub fn tell(&self, tid: i32, file: Option<BorrowedFd<'_>>) {
        let tid = tid.unsigned_abs();
        // Each call on the map is whole or did nothing.
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = match file.and_then(word) {
            Some(word) => files.insert(tid, word, 0),
            None => files.remove(&tid),
        };
    }
}

/// A file as the hook knows it: the number of its inode, and how it may be accessed.
fn word(file: BorrowedFd<'_>) -> Option<u64> {
    let access = fcntl_getfl(file).ok()? & OFlags::RWMODE;
    Some(fstat(file).ok()?.st_ino << 2 | u64::from(access.bits()))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_is_told_by_its_inode_and_its_access() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let written = File::create(&path).unwrap();
        let read = File::open(&path).unwrap();
        let both = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let [one, two, three] = [&read, &written, &both].map(|file| word(file.as_fd()).unwrap());
        assert_eq!([one & 3, two & 3, three & 3], [0, 1, 2]);
        assert!(one >> 2 == two >> 2 && one >> 2 == three >> 2);
    }
}
