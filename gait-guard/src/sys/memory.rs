//! The memory of another process, read and written as data.

use std::io::IoSlice;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

/// Reads memory of the process of thread `tid` from `address` on, and says how many bytes came.
///
/// Stops at the first page that can't be read. `process_vm_readv` first; where it is refused as a
/// call (`EPERM`, `ENOSYS`: seccomp profiles of containers), `/proc/TID/mem`.
///
/// # Errors
/// `EFAULT` if not even the first byte is mapped, `EPERM` if the memory may not be read, `ESRCH` if
/// there is no such thread.
pub fn read(tid: i32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    if buffer.is_empty() {
        return Ok(0);
    }
    match vm_read(tid, address, buffer) {
        Err(Errno::PERM | Errno::NOSYS) => read_file(tid, address, buffer),
        other => other,
    }
}

/// Writes `bytes` to the process of thread `tid` at `address`, and says how many were written.
///
/// # Errors
/// As [`read`]; a page without write permission is `EFAULT`.
pub fn write(tid: i32, address: u64, bytes: &[u8]) -> Result<usize, Errno> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let local = IoSlice::new(bytes);
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: `IoSlice` has the layout of `iovec` (std guarantees it) and borrows `bytes`, which the
    // kernel only reads; `remote` is an address of the other process that the kernel checks.
    let written = unsafe { libc::process_vm_writev(tid, (&raw const local).cast(), 1, &raw const remote, 1, 0) };
    usize::try_from(written).map_err(|_| last_error())
}

fn vm_read(tid: i32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: `local` describes exactly `buffer`, which is borrowed mutably for the whole call;
    // `remote` is an address of the other process that the kernel checks and we never dereference.
    let count = unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(count).map_err(|_| last_error())
}

fn read_file(tid: i32, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let file = std::fs::File::open(format!("/proc/{tid}/mem")).map_err(|_| Errno::PERM)?;
    match file.read_at(buffer, address) {
        Ok(0) => Err(Errno::FAULT),
        Ok(count) => Ok(count),
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Err(Errno::FAULT),
        Err(_) => Err(Errno::PERM),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use rustix::io::Errno;

    fn own_tid() -> i32 {
        rustix::thread::gettid().as_raw_nonzero().get()
    }

    #[test]
    fn memory_is_read_and_written_as_it_is() {
        let source = *b"path of a file\0";
        let mut copy = [0_u8; 15];
        assert_eq!(read(own_tid(), source.as_ptr() as u64, &mut copy), Ok(15));
        assert_eq!(copy, source);
        let target = [0_u8; 4];
        assert_eq!(write(own_tid(), target.as_ptr() as u64, b"abcd"), Ok(4));
        assert_eq!(std::hint::black_box(target), *b"abcd");
    }

    #[test]
    fn an_address_that_is_not_mapped_is_a_fault() {
        assert_eq!(read(own_tid(), 1, &mut [0; 8]), Err(Errno::FAULT));
    }

    #[test]
    fn a_thread_that_does_not_exist_is_named_so() {
        assert_eq!(read(i32::MAX, 4096, &mut [0; 8]), Err(Errno::SRCH));
    }
}
