//! Memory that is shared with the kernel: the values of a BPF array, and files of it.

use std::ptr::{NonNull, null_mut};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The values of a BPF array that was made with `BPF_F_MMAPABLE`, as words.
#[derive(Debug)]
pub struct Mapping {
    first: NonNull<u32>,
    words: usize,
}

impl Mapping {
    /// Maps the first `bytes` of the values.
    ///
    /// # Errors
    /// Those of `mmap`.
    pub fn of(map: BorrowedFd<'_>, bytes: usize) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel picks; nothing else refers to it.
        let first = unsafe { mmap(null_mut(), bytes, prot, MapFlags::SHARED, map, 0) }?;
        Ok(Self { first: NonNull::new(first.cast()).ok_or(Errno::NOMEM)?, words: bytes / 4 })
    }

    /// All of it. Programs read and write it too, but only between calls of those who hold this: see the users.
    pub fn words(&mut self) -> &mut [u32] {
        // SAFETY: the mapping is page-aligned, `words` long and lives as long as `self`, which is borrowed mutably. Every
        // bit pattern is a `u32`.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this size, and not unmapped since.
        let _ = unsafe { munmap(self.first.as_ptr().cast(), self.words * 4) };
    }
}

// SAFETY: memory of this process, owned by the value.
unsafe impl Send for Mapping {}

/// The bytes of a file that the kernel makes and nobody changes, mapped for reading.
#[derive(Debug)]
pub struct Image {
    first: NonNull<u8>,
    bytes: usize,
}

impl Image {
    /// Maps the first `bytes` of such a file.
    ///
    /// # Errors
    /// Those of `mmap`: not every such file can be mapped.
    pub fn of(file: BorrowedFd<'_>, bytes: usize) -> Result<Self, Errno> {
        // SAFETY: a new mapping at an address that the kernel picks; nothing else refers to it.
        let first = unsafe { mmap(null_mut(), bytes, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
        Ok(Self { first: NonNull::new(first.cast()).ok_or(Errno::NOMEM)?, bytes })
    }
}

impl std::ops::Deref for Image {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped by `of` with this size for as long as `self` lives; the kernel does not change what is mapped.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.bytes) }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this size, and not unmapped since.
        let _ = unsafe { munmap(self.first.as_ptr().cast(), self.bytes) };
    }
}
