//! Arguments that change while the kernel, or a guard, is reading them.
//!
//! Each race prints `tries N escaped N` and works if it escaped at least once: unguarded, where the denied object
//! is as good as the allowed one, it always does.

use std::ffi::{CString, c_int, c_void};
use std::io::{self, Read};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use crate::sys;

/// What a file that must not be read begins with.
const CANARY: &[u8] = b"canary";

/// Bytes that two threads, or two processes, see at one address.
#[derive(Clone, Copy)]
struct Shared(&'static [AtomicU8]);

impl Shared {
    fn new(len: usize) -> io::Result<Self> {
        let memory = sys::shared_memory(len)?;
        let (at, len) = (memory.as_mut_ptr(), memory.len());
        // SAFETY: `memory` is the only slice of the mapping and is given up here; an AtomicU8 has the layout of a u8.
        Ok(Self(unsafe { std::slice::from_raw_parts(at.cast::<AtomicU8>(), len) }))
    }

    fn address(self) -> u64 {
        self.0.as_ptr() as u64
    }

    fn set(self, bytes: &[u8]) {
        for (cell, byte) in self.0.iter().zip(bytes) {
            cell.store(*byte, Ordering::Relaxed);
        }
    }
}

/// A thread that does `flip` over and over until it is dropped.
struct Flipper {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Flipper {
    /// Returns once both sides were up: a busy machine may not run a new thread before all tries are over.
    fn start(mut flip: impl FnMut(usize) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flipped = Arc::new(AtomicUsize::new(0));
        let (seen, done) = (Arc::clone(&stop), Arc::clone(&flipped));
        let gives_way = is_only_processor();
        let thread = std::thread::spawn(move || {
            for turn in 0.. {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                flip(turn);
                done.store(turn + 1, Ordering::Relaxed);
                if gives_way {
                    std::thread::yield_now();
                }
            }
        });
        while flipped.load(Ordering::Relaxed) < 2 && !thread.is_finished() {
            std::thread::yield_now();
        }
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Flipper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether who flips and who is to see it take turns. Then the flipper gives way after each flip: each time that it runs, be it
/// between the guard's look and the kernel's, the bytes are others than before, and it runs as often as can be. Otherwise it
/// would flip alone until its slice of time ends, while all others wait. Where there are more processors it never gives
/// way: it flips while the others read.
fn is_only_processor() -> bool {
    std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1)
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(|_| io::Error::other("not a number"))
}

fn c_bytes(text: &str) -> io::Result<Vec<u8>> {
    Ok(CString::new(text)?.into_bytes_with_nul())
}

/// Two texts of one length, so that a half-written one is neither longer nor shorter.
fn pair(a: &str, b: &str) -> io::Result<[Vec<u8>; 2]> {
    let pair = [c_bytes(a)?, c_bytes(b)?];
    if pair[0].len() == pair[1].len() { Ok(pair) } else { Err(io::Error::other("the two must be of one length")) }
}

fn report(tries: usize, escaped: usize) -> io::Result<bool> {
    println!("tries {tries} escaped {escaped}");
    Ok(escaped > 0)
}

/// The path bytes of `open` flip between a file that may be read and one that may not.
pub fn open(allowed: &str, denied: &str, tries: &str) -> io::Result<bool> {
    let paths = pair(allowed, denied)?;
    let shared = Shared::new(paths[0].len())?;
    shared.set(&paths[0]);
    let _flipper = Flipper::start(move |turn| shared.set(&paths[turn % 2]));
    let tries = number(tries)?;
    let escaped = (0..tries).filter(|_| opens_canary(shared.address())).count();
    report(tries, escaped)
}

/// Another process on the same processor opens what it may all the time: what a guard keeps for each processor would be
/// another's by the time it is looked at.
pub fn scratch(allowed: &str, denied: &str, tries: &str) -> io::Result<bool> {
    let (allowed, denied, tries) = (c_bytes(allowed)?, c_bytes(denied)?, number(tries)?);
    let first = [1_u64; 1];
    // SAFETY: reads eight bytes of a local.
    let pinned = unsafe { sys::syscall(libc::SYS_sched_setaffinity, [0, 8, first.as_ptr() as u64, 0, 0, 0]) };
    pinned.map_err(io::Error::from_raw_os_error)?;
    let other = match sys::fork()? {
        Some(pid) => pid,
        None => loop {
            let _ = opens_canary(allowed.as_ptr() as u64);
        },
    };
    let escaped = (0..tries).filter(|_| opens_canary(denied.as_ptr() as u64)).count();
    end(other);
    report(tries, escaped)
}

/// A symbolic link flips between the two.
pub fn link(allowed: &str, denied: &str, tries: &str) -> io::Result<bool> {
    let targets = [allowed.to_owned(), denied.to_owned()];
    let (name, next) = ("race-link", "race-link.next");
    let _ = std::fs::remove_file(name);
    std::os::unix::fs::symlink(allowed, name)?;
    let _flipper = Flipper::start(move |turn| {
        let _ = std::os::unix::fs::symlink(&targets[turn % 2], next);
        let _ = std::fs::rename(next, name);
    });
    let path = c_bytes(name)?;
    let tries = number(tries)?;
    let escaped = (0..tries).filter(|_| opens_canary(path.as_ptr() as u64)).count();
    report(tries, escaped)
}

fn opens_canary(path: u64) -> bool {
    let at = libc::AT_FDCWD as u64;
    // SAFETY: `path` is the address of a terminated string; both that are flipped between end at the same byte.
    let opened = unsafe { sys::syscall(libc::SYS_openat, [at, path, libc::O_RDONLY as u64, 0, 0, 0]) };
    let Ok(fd) = opened else { return false };
    let mut head = [0_u8; 6];
    // SAFETY: reads at most 6 bytes into a local of 6.
    let read = unsafe { sys::syscall(libc::SYS_read, [fd as u64, head.as_mut_ptr() as u64, 6, 0, 0, 0]) };
    // SAFETY: closes the descriptor that was opened above and that nobody else holds.
    let _ = unsafe { sys::syscall(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]) };
    read == Ok(6) && head == CANARY
}

/// The path bytes of `execve` flip, in memory shared with a process that stays outside the exec. The denied program
/// is one of us and marks that it ran on a pipe. Also prints how the tries ended.
pub fn exec(allowed: &str, denied: &str, tries: &str) -> io::Result<bool> {
    let paths = pair(allowed, denied)?;
    let shared = Shared::new(paths[0].len())?;
    shared.set(&paths[0]);
    let (mut marks, pen) = io::pipe()?;
    // SAFETY: F_DUPFD takes numbers only; the copy stays open across exec, as the mark needs.
    let fd = unsafe { sys::syscall(libc::SYS_fcntl, [pen.as_raw_fd() as u64, libc::F_DUPFD as u64, 20, 0, 0, 0]) };
    let fd = fd.map_err(io::Error::from_raw_os_error)?;
    drop(pen);
    let texts = [c_bytes("attack")?, c_bytes("mark")?, c_bytes(&fd.to_string())?];
    let argv = [texts[0].as_ptr() as u64, texts[1].as_ptr() as u64, texts[2].as_ptr() as u64, 0];
    let none = [0_u64];
    let mut call = [shared.address(), argv.as_ptr() as u64, none.as_ptr() as u64, 0, 0, 0];
    let mut stack = vec![0_u128; 4096];
    let flipper = flipping_process(shared, paths)?;
    let tries = number(tries)?;
    let mut ends = Ends::default();
    for _ in 0..tries {
        // SAFETY: the child makes one call, whose arguments live as long as this process.
        let child = unsafe { sys::child_in_our_memory(&mut stack, execute, call.as_mut_ptr().cast())? };
        if let Some((_, status)) = sys::wait(child) {
            ends.add(status);
        }
    }
    end(flipper);
    // SAFETY: closes our copy of the pen, so that the read below ends.
    let _ = unsafe { sys::syscall(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]) };
    let mut seen = Vec::new();
    marks.read_to_end(&mut seen)?;
    let Ends { ran, refused, missing, killed, other } = ends;
    println!("tries ran {ran} refused {refused} missing {missing} killed {killed} other {other}");
    report(tries, seen.len())
}

/// Makes the `execve` whose six arguments lie at `call`. Returns, which is to end with it as exit code, the error.
extern "C" fn execute(call: *mut c_void) -> c_int {
    // SAFETY: `exec` hands over an array of its own, which it only uses again when this is over.
    let args = unsafe { *call.cast::<[u64; 6]>() };
    // SAFETY: terminated lists and strings that live as long as the process.
    unsafe { sys::syscall(libc::SYS_execve, args) }.err().unwrap_or_default()
}

/// How many tries of [`exec`] ended in which way.
#[derive(Default)]
struct Ends {
    /// Either program ran to its end.
    ran: usize,
    refused: usize,
    /// The path was half written.
    missing: usize,
    killed: usize,
    other: usize,
}

impl Ends {
    fn add(&mut self, status: i32) {
        let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        let end = match code {
            Some(0) => &mut self.ran,
            Some(libc::EACCES) => &mut self.refused,
            Some(libc::ENOENT) => &mut self.missing,
            None if libc::WTERMSIG(status) == libc::SIGKILL => &mut self.killed,
            _ => &mut self.other,
        };
        *end += 1;
    }
}

/// argv[1] flips between two words while `program` (an echo) is executed; it prints which it got.
pub fn argv(program: &str, tries: &str) -> io::Result<bool> {
    let words = pair("first-word", "other-word")?;
    let shared = Shared::new(words[0].len())?;
    shared.set(&words[0]);
    let path = c_bytes(program)?;
    let argv = [path.as_ptr() as u64, shared.address(), 0];
    let flipper = flipping_process(shared, words)?;
    for _ in 0..number(tries)? {
        let Some(child) = sys::fork()? else {
            let none = [0_u64];
            let args = [path.as_ptr() as u64, argv.as_ptr() as u64, none.as_ptr() as u64, 0, 0, 0];
            // SAFETY: as in `exec`.
            let _ = unsafe { sys::syscall(libc::SYS_execve, args) };
            sys::exit(9)
        };
        sys::wait(child);
    }
    end(flipper);
    Ok(true)
}

fn flipping_process(shared: Shared, texts: [Vec<u8>; 2]) -> io::Result<i32> {
    match sys::fork()? {
        Some(pid) => Ok(pid),
        None => {
            let gives_way = is_only_processor();
            for turn in 0.. {
                shared.set(&texts[turn % 2]);
                if gives_way {
                    std::thread::yield_now();
                }
            }
            sys::exit(0)
        }
    }
}

fn end(pid: i32) {
    // SAFETY: takes numbers only; `pid` is our child that was not waited for.
    let _ = unsafe { sys::syscall(libc::SYS_kill, [pid as u64, libc::SIGKILL as u64, 0, 0, 0, 0]) };
    sys::wait(pid);
}

/// The port of a UDP `connect` flips. An escape is a socket whose peer is the denied port.
pub fn connect(allowed: &str, denied: &str, tries: &str) -> io::Result<bool> {
    let denied_port: u16 = denied.parse().map_err(|_| io::Error::other("not a port"))?;
    let allowed_port: u16 = allowed.parse().map_err(|_| io::Error::other("not a port"))?;
    let shared = Shared::new(16)?;
    shared.set(&loopback(allowed_port));
    let addresses = [loopback(allowed_port), loopback(denied_port)];
    let _flipper = Flipper::start(move |turn| shared.set(&addresses[turn % 2]));
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let fd = socket.as_raw_fd() as u64;
    let tries = number(tries)?;
    let mut escaped = 0;
    for _ in 0..tries {
        // SAFETY: the address is 16 bytes of shared memory, the length of a sockaddr_in.
        let connected = unsafe { sys::syscall(libc::SYS_connect, [fd, shared.address(), 16, 0, 0, 0]) };
        if connected.is_ok() && socket.peer_addr().is_ok_and(|peer| peer.port() == denied_port) {
            escaped += 1;
        }
    }
    report(tries, escaped)
}

/// `struct sockaddr_in` of 127.0.0.1 and `port`.
fn loopback(port: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4..8].copy_from_slice(&[127, 0, 0, 1]);
    bytes
}

/// One thread opens a file; another reads from the number that the descriptor will have, into memory that a third process
/// sees, for as long as the process lives.
pub fn read(denied: &str, tries: &str) -> io::Result<bool> {
    let shared = Shared::new(CANARY.len())?;
    let (path, tries) = (c_bytes(denied)?, number(tries)?);
    let (mut escaped, mut killed) = (0, 0);
    for _ in 0..tries {
        shared.set(&[0; CANARY.len()]);
        let Some(child) = sys::fork()? else {
            read_beside(shared, &path);
            sys::exit(0);
        };
        if sys::wait(child).is_some_and(|(_, signal)| signal == libc::SIGKILL) {
            killed += 1;
        }
        if shared.0.iter().map(|cell| cell.load(Ordering::Relaxed)).eq(CANARY.iter().copied()) {
            escaped += 1;
        }
    }
    println!("killed {killed}");
    report(tries, escaped)
}

fn read_beside(shared: Shared, path: &[u8]) {
    let Ok(file) = std::fs::File::open("/dev/null") else { return };
    let next = file.as_raw_fd() as u64;
    drop(file);
    let is_ready = Arc::new(AtomicBool::new(false));
    let ready = Arc::clone(&is_ready);
    let reader = move || {
        ready.store(true, Ordering::Release);
        loop {
            let length = CANARY.len() as u64;
            // SAFETY: reads as many bytes as the shared memory has, which is never unmapped.
            let _ = unsafe { sys::syscall(libc::SYS_pread64, [next, shared.address(), length, 0, 0, 0]) };
        }
    };
    std::thread::spawn(reader);
    while !is_ready.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    let at = libc::AT_FDCWD as u64;
    // SAFETY: `path` ends in a zero byte.
    let opened = unsafe { sys::syscall(libc::SYS_openat, [at, path.as_ptr() as u64, libc::O_RDONLY as u64, 0, 0, 0]) };
    if opened.is_ok() {
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
}

/// Opens a file, reads it and prints it, without anything in between.
pub fn open_at_once(path: &str) -> io::Result<bool> {
    let mut head = [0_u8; 64];
    let read = std::fs::File::open(path)?.read(&mut head)?;
    println!("{}", String::from_utf8_lossy(&head[..read]));
    Ok(true)
}
