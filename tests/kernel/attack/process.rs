//! Attacks that are more than a list of calls: programs without a file, descriptors from elsewhere, other ABIs, floods.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::{calls, number, sys};

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(|_| io::Error::other("not a number"))
}

/// Leaves one byte on descriptor `fd`.
pub fn mark(fd: &str) -> io::Result<bool> {
    // SAFETY: takes the address of one constant byte.
    let done = unsafe { sys::syscall(libc::SYS_write, [number(fd)? as u64, b"x".as_ptr() as u64, 1, 0, 0, 0]) };
    Ok(done == Ok(1))
}

/// Says that this program ran.
pub fn say() -> io::Result<bool> {
    println!("it-ran");
    Ok(true)
}

/// Prints every open descriptor above 2, asking for each number: works without procfs.
pub fn descriptors() -> io::Result<bool> {
    let mut found = false;
    for fd in 3..70_000_u64 {
        // SAFETY: F_GETFD takes numbers only.
        if unsafe { sys::syscall(libc::SYS_fcntl, [fd, libc::F_GETFD as u64, 0, 0, 0, 0]) }.is_ok() {
            println!("open {fd}");
            found = true;
        }
    }
    Ok(found)
}

/// Runs a copy of `program` that lies in memory only.
pub fn memfd_exec(program: &str, args: &[&str]) -> io::Result<bool> {
    let name = CString::new("harmless")?;
    // SAFETY: the name is a terminated string.
    let fd = unsafe { sys::syscall(libc::SYS_memfd_create, [name.as_ptr() as u64, 0, 0, 0, 0, 0]) };
    let fd = fd.map_err(io::Error::from_raw_os_error)?;
    // SAFETY: a new descriptor that nobody else owns.
    let file = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    exec_copy(File::from(file), program, args)
}

/// Runs a copy of `program` in a file of `folder` that has no name.
pub fn tmpfile_exec(folder: &str, program: &str, args: &[&str]) -> io::Result<bool> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().read(true).write(true).mode(0o700).custom_flags(libc::O_TMPFILE).open(folder)?;
    // A file open for writing is busy: execute another descriptor of it.
    let mut copy = file.try_clone()?;
    copy.write_all(&std::fs::read(program)?)?;
    let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    drop((file, copy));
    exec_fd(&again, args)
}

fn exec_copy(mut file: File, program: &str, args: &[&str]) -> io::Result<bool> {
    file.write_all(&std::fs::read(program)?)?;
    exec_fd(&file, args)
}

fn exec_fd(file: &File, args: &[&str]) -> io::Result<bool> {
    let mut texts = vec![CString::new("copy")?];
    for arg in args {
        texts.push(CString::new(*arg)?);
    }
    let argv: Vec<u64> = texts.iter().map(|text| text.as_ptr() as u64).chain([0]).collect();
    let (none, empty) = ([0_u64], c"");
    let flags = libc::AT_EMPTY_PATH as u64;
    let fd = file.as_raw_fd() as u64;
    let args = [fd, empty.as_ptr() as u64, argv.as_ptr() as u64, none.as_ptr() as u64, flags, 0];
    // SAFETY: lists and strings are terminated and live until the call replaces the process or fails.
    let failed = unsafe { sys::syscall(libc::SYS_execveat, args) };
    println!("execveat ! {}", number::errno_name(failed.err().unwrap_or(0)));
    Ok(false)
}

/// Takes a descriptor from whoever listens on `socket`, and prints what can be read from it.
pub fn receive(socket: &str) -> io::Result<bool> {
    let stream = UnixStream::connect(socket)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())?;
    let passed = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let Some(fd) = passed else { return Ok(false) };
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text)?;
    println!("received {text}");
    Ok(true)
}

/// `sendmsg` of one datagram to the `struct sockaddr` given in hexadecimal, on a new UDP socket of its family.
pub fn send_message(address: &str) -> io::Result<bool> {
    let mut address = calls::unhex(address).ok_or_else(|| io::Error::other("not hexadecimal"))?;
    let family = u64::from(address.first().copied().unwrap_or(0));
    // SAFETY: takes numbers only.
    let fd = unsafe { sys::syscall(libc::SYS_socket, [family, libc::SOCK_DGRAM as u64, 0, 0, 0, 0]) };
    let fd = fd.map_err(io::Error::from_raw_os_error)?;
    let mut text = *b"out";
    let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
    let message = libc::msghdr {
        msg_name: address.as_mut_ptr().cast(),
        msg_namelen: address.len() as u32,
        msg_iov: &raw mut part,
        msg_iovlen: 1,
        msg_control: std::ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    };
    // SAFETY: the message and what it points to are locals that outlive the call.
    let sent = unsafe { sys::syscall(libc::SYS_sendmsg, [fd as u64, (&raw const message) as u64, 0, 0, 0, 0]) };
    match sent {
        Ok(bytes) => println!("sendmsg = {bytes}"),
        Err(errno) => println!("sendmsg ! {}", number::errno_name(errno)),
    }
    Ok(sent.is_ok())
}

/// `getpid` by the 32-bit system call gate. Without a guard that kills for it, prints what it gave.
pub fn int80() -> io::Result<bool> {
    let result: i64;
    // SAFETY: getpid of the i386 table (20) touches no memory; the gate keeps all registers but rax and r8-r11.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") 20_i64 => result,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    println!("present {}", i64::from(result as i32 > 0));
    Ok(result as i32 > 0)
}

/// `getpid` by the x32 numbers.
pub fn x32() -> io::Result<bool> {
    // SAFETY: getpid takes no argument.
    let result = unsafe { sys::syscall(0x4000_0000 | libc::SYS_getpid, [0; 6]) };
    match result {
        Ok(pid) => println!("x32 = {pid}"),
        Err(errno) => println!("x32 ! {}", number::errno_name(errno)),
    }
    Ok(result.is_ok())
}

/// Opens and closes one file so many times.
pub fn opens(path: &str, times: &str) -> io::Result<bool> {
    for _ in 0..number(times)? {
        File::open(path)?;
    }
    println!("opened {times}");
    Ok(true)
}

/// Tries to create so many files, each by its own name.
pub fn create_names(folder: &str, times: &str) -> io::Result<bool> {
    let refused = (0..number(times)?).filter(|n| File::create(format!("{folder}/name-{n}")).is_err()).count();
    println!("refused {refused}");
    Ok(refused == 0)
}

/// So many children that stay: every second one in a session of its own, its parent gone.
pub fn bomb(count: &str) -> io::Result<bool> {
    for n in 0..number(count)? {
        if let Some(child) = sys::fork()? {
            if n % 2 == 1 {
                sys::wait(child);
            }
            continue;
        }
        if n % 2 == 1 {
            // SAFETY: takes nothing.
            let _ = unsafe { sys::syscall(libc::SYS_setsid, [0; 6]) };
            if sys::fork()?.is_some() {
                sys::exit(0);
            }
        }
        stay();
    }
    println!("ready");
    io::stdout().flush()?;
    stay()
}

fn stay() -> ! {
    loop {
        // SAFETY: takes nothing; returns after a handler, of which there is none.
        let _ = unsafe { sys::syscall(libc::SYS_pause, [0; 6]) };
    }
}

/// So many children that daemonize, then each opens the file `late` of its working directory for writing.
pub fn detached(count: &str) -> io::Result<bool> {
    for n in 0..number(count)? {
        if let Some(child) = sys::fork()? {
            sys::wait(child);
            continue;
        }
        // SAFETY: takes nothing.
        let _ = unsafe { sys::syscall(libc::SYS_setsid, [0; 6]) };
        if sys::fork()?.is_some() {
            sys::exit(0);
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        let _ = std::fs::write(format!("late-{n}"), "still here");
        sys::exit(0);
    }
    Ok(true)
}

/// Opens files while a timer fires 5,000 times a second with `SA_RESTART`; counts opens that failed.
pub fn storm(tries: &str) -> io::Result<bool> {
    extern "C" fn ignore(_: i32) {}
    // SAFETY: an all-zero sigaction is a valid one.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler does nothing, so it is safe at any moment.
    unsafe { libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) };
    let every = libc::timeval { tv_sec: 0, tv_usec: 200 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: reads a local.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    let path = c"/etc/passwd".as_ptr() as u64;
    let (mut failed, mut other) = (0, 0);
    for _ in 0..number(tries)? {
        let at = libc::AT_FDCWD as u64;
        // SAFETY: the path is a constant string.
        match unsafe { sys::syscall(libc::SYS_openat, [at, path, 0, 0, 0, 0]) } {
            // SAFETY: closes what was just opened.
            Ok(fd) => drop(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
            Err(libc::EINTR) => failed += 1,
            Err(_) => other += 1,
        }
    }
    println!("interrupted {failed} other {other}");
    Ok(failed == 0 && other == 0)
}

/// Closes everything, 0 to 2 too, then works on.
pub fn close_all() -> io::Result<bool> {
    // SAFETY: takes numbers only; nothing here uses a descriptor that it held before.
    let _ = unsafe { sys::syscall(libc::SYS_close_range, [0, u64::from(u32::MAX), 0, 0, 0, 0]) };
    std::fs::write("closed-all", "worked on")?;
    sys::exit(0)
}

/// Walks down so many folders of 200 letters below `folder`, then opens and prints `secret` there by its short name.
pub fn deep(folder: &str, levels: &str) -> io::Result<bool> {
    std::env::set_current_dir(folder)?;
    for _ in 0..number(levels)? {
        std::env::set_current_dir("d".repeat(200))?;
    }
    println!("read {}", std::fs::read_to_string("secret")?);
    Ok(true)
}

/// Installs a filter of our own that allows everything, then opens and prints `path`.
pub fn filter_on_top(path: &str) -> io::Result<bool> {
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut program = [libc::sock_filter { code, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }];
    let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers only.
    let _ = unsafe { sys::syscall(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0, 0]) };
    let operation = u64::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: reads the filter, a local.
    let installed = unsafe { sys::syscall(libc::SYS_seccomp, [operation, 0, (&raw const filter) as u64, 0, 0, 0]) };
    println!("filter {}", if installed.is_ok() { "installed" } else { "refused" });
    println!("read {}", std::fs::read_to_string(path)?);
    Ok(true)
}
