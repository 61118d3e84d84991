//! What can be asked for through a ring of io_uring: no system call names what is done.

use std::ffi::CString;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{number, sys};

/// Length of a submission, in bytes.
const ENTRY: usize = 64;
const OFFSETS: usize = 120;
const HERE: u32 = libc::AT_FDCWD as u32;

/// `struct io_uring_sqe`, as far as it is used.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Entry {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: u32,
    off: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

/// `IOSQE_ASYNC`: done by a worker thread of the kernel.
const ASYNC: u8 = 1 << 4;

/// Asks for one thing; prints `done`, or the name of its error. A read prints what was read. After `worker` a thread of the
/// kernel does it, after `poller` one that takes requests by itself.
pub fn run(what: &[&str]) -> io::Result<bool> {
    let (ring, what) = match what {
        ["worker", what @ ..] => (Ring { flags: ASYNC, ..Ring::new(false)? }, what),
        ["poller", what @ ..] => (Ring::new(true)?, what),
        what => (Ring::new(false)?, what),
    };
    let text = |text: &str| CString::new(text).map_err(io::Error::other);
    let at = |path: &CString| path.as_ptr() as u64;
    let outcome = match what {
        ["read", path] => {
            let path = text(path)?;
            let opened = ring.ask(Entry { opcode: 18, fd: HERE, addr: at(&path), ..Entry::default() });
            opened.and_then(|fd| ring.read(fd))
        }
        ["create", path] => {
            let path = text(path)?;
            let flags = (libc::O_CREAT | libc::O_WRONLY) as u32;
            ring.ask(Entry { opcode: 18, fd: HERE, addr: at(&path), len: 0o644, op_flags: flags, ..Entry::default() })
        }
        ["unlink", path] => {
            let path = text(path)?;
            ring.ask(Entry { opcode: 36, fd: HERE, addr: at(&path), ..Entry::default() })
        }
        ["mkdir", path] => {
            let path = text(path)?;
            ring.ask(Entry { opcode: 37, fd: HERE, addr: at(&path), len: 0o755, ..Entry::default() })
        }
        ["symlink", target, path] => {
            let (target, path) = (text(target)?, text(path)?);
            ring.ask(Entry { opcode: 38, fd: HERE, addr: at(&target), off: at(&path), ..Entry::default() })
        }
        ["rename", from, to] => ring.pair(35, &text(from)?, &text(to)?),
        ["link", from, to] => ring.pair(39, &text(from)?, &text(to)?),
        ["setxattr", path] => ring.set(&text(path)?, &text("user.ring")?, b"1"),
        // Version 2; owner, group, and others, who may read.
        ["set-acl", path] => {
            let entries = [(1, 6), (4, 0), (0x20, 4)].map(|(who, may): (u8, u8)| [who, 0, may, 0, 255, 255, 255, 255]);
            ring.set(&text(path)?, &text("system.posix_acl_access")?, &[&[2, 0, 0, 0], entries.as_flattened()].concat())
        }
        ["connect", address] => {
            let SocketAddr::V4(address) = address.parse::<SocketAddr>().map_err(io::Error::other)? else {
                return Err(io::Error::other("an IPv4 address"));
            };
            let mut bytes = [0u8; 16];
            bytes[0] = libc::AF_INET as u8;
            bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
            bytes[4..8].copy_from_slice(&address.ip().octets());
            // SAFETY: takes numbers only.
            let socket =
                unsafe { sys::syscall(libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0, 0, 0, 0]) };
            socket.and_then(|fd| {
                let addr = bytes.as_ptr() as u64;
                ring.ask(Entry { opcode: 16, fd: fd as u32, addr, off: 16, ..Entry::default() })
            })
        }
        ["socket", family, kind, protocol] => {
            let number = |text: &str| text.parse::<u32>().map_err(io::Error::other);
            let (family, kind, protocol) = (number(family)?, number(kind)?, number(protocol)?);
            ring.ask(Entry { opcode: 45, fd: family, off: kind.into(), len: protocol, ..Entry::default() })
        }
        _ => return Err(io::Error::other("no such request")),
    };
    match outcome {
        Ok(_) => println!("done"),
        Err(errno) => println!("{}", number::errno_name(errno)),
    }
    Ok(outcome.is_ok())
}

/// A ring with its three mappings.
struct Ring {
    fd: i32,
    /// Of each request.
    flags: u8,
    is_polled: bool,
    submissions: *mut u8,
    completions: *mut u8,
    entries: *mut Entry,
    offsets: [u32; OFFSETS / 4],
}

// Places in `struct io_uring_params`, in words: of the head, tail, mask and array of submissions, and of those of completions.
const SQ_TAIL: usize = 11;
const SQ_MASK: usize = 12;
const SQ_ARRAY: usize = 16;
const CQ_HEAD: usize = 20;
const CQ_MASK: usize = 22;
const CQ_CQES: usize = 25;

impl Ring {
    fn new(is_polled: bool) -> io::Result<Self> {
        let mut offsets = [0u32; OFFSETS / 4];
        // IORING_SETUP_SQPOLL
        offsets[2] = if is_polled { 2 } else { 0 };
        // SAFETY: the kernel fills in one structure of that length.
        let fd = unsafe { sys::syscall(libc::SYS_io_uring_setup, [4, offsets.as_mut_ptr() as u64, 0, 0, 0, 0]) };
        let fd = fd.map_err(|errno| {
            println!("{}", number::errno_name(errno));
            io::Error::from_raw_os_error(errno)
        })? as i32;
        let map = |offset: i64| -> io::Result<*mut u8> {
            // SAFETY: a new mapping; the kernel allows what the ring has.
            let place = unsafe {
                let shared = libc::MAP_SHARED | libc::MAP_POPULATE;
                libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, shared, fd, offset)
            };
            if place == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(place.cast()) }
        };
        let (submissions, completions, entries) = (map(0)?, map(0x800_0000)?, map(0x1000_0000)?);
        assert_eq!(size_of::<Entry>(), ENTRY);
        Ok(Self { fd, flags: 0, is_polled, submissions, completions, entries: entries.cast(), offsets })
    }

    /// Hands in one request and waits for it.
    fn ask(&self, entry: Entry) -> Result<i64, i32> {
        let word = |base: *mut u8, at: usize| {
            let place = base.wrapping_add(self.offsets[at] as usize).cast::<AtomicU32>();
            // SAFETY: inside of the mapping, by the kernel's own offsets; both sides use atomics.
            unsafe { &*place }
        };
        let tail = word(self.submissions, SQ_TAIL);
        let index = tail.load(Ordering::Acquire) & word(self.submissions, SQ_MASK).load(Ordering::Relaxed);
        let place = self.entries.wrapping_add(index as usize);
        // SAFETY: one of the ring's entries.
        unsafe { place.write(Entry { flags: self.flags, ..entry }) };
        let array = self.submissions.wrapping_add(self.offsets[SQ_ARRAY] as usize).cast::<u32>();
        let place = array.wrapping_add(index as usize);
        // SAFETY: the place in the array that belongs to it.
        unsafe { place.write(index) };
        tail.fetch_add(1, Ordering::Release);
        // IORING_ENTER_GETEVENTS, and IORING_ENTER_SQ_WAKEUP for the poller.
        let (handed, flags) = if self.is_polled { (0, 3) } else { (1, 1) };
        // SAFETY: takes numbers only.
        unsafe { sys::syscall(libc::SYS_io_uring_enter, [self.fd as u64, handed, 1, flags, 0, 0]) }?;
        let head = word(self.completions, CQ_HEAD);
        let index = head.load(Ordering::Acquire) & word(self.completions, CQ_MASK).load(Ordering::Relaxed);
        // struct io_uring_cqe { u64 user_data; i32 res; u32 flags; }
        let result = self.offsets[CQ_CQES] as usize + index as usize * 16 + 8;
        let place = self.completions.wrapping_add(result).cast::<i32>();
        // SAFETY: one of the ring's completions, which the kernel has written.
        let result = unsafe { place.read() };
        head.fetch_add(1, Ordering::Release);
        if result < 0 { Err(-result) } else { Ok(result.into()) }
    }

    fn pair(&self, opcode: u8, from: &CString, to: &CString) -> Result<i64, i32> {
        let (addr, off) = (from.as_ptr() as u64, to.as_ptr() as u64);
        self.ask(Entry { opcode, fd: HERE, addr, off, len: HERE, ..Entry::default() })
    }

    fn set(&self, path: &CString, name: &CString, value: &[u8]) -> Result<i64, i32> {
        let (addr, off) = (name.as_ptr() as u64, value.as_ptr() as u64);
        let rest = [0, path.as_ptr() as u64, 0];
        self.ask(Entry { opcode: 42, addr, off, len: value.len() as u32, rest, ..Entry::default() })
    }

    /// Reads from an open file through the ring, and prints it.
    fn read(&self, fd: i64) -> Result<i64, i32> {
        let mut buffer = [0u8; 256];
        let addr = buffer.as_mut_ptr() as u64;
        let length = self.ask(Entry { opcode: 22, fd: fd as u32, addr, len: 256, ..Entry::default() })?;
        print!("{}", String::from_utf8_lossy(&buffer[..length as usize]));
        Ok(length)
    }
}
