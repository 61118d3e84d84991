//! What a program file says about how it is run, and what a process that has just started one says
//! about what it runs.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

/// How much of a file the kernel looks at (`BINPRM_BUF_SIZE`).
const LOOKED_AT: usize = 256;
/// The most that is read of an argument vector: `MAX_ARG_STRLEN` times more than anyone needs, but
/// bounded. What lies beyond is not in the digest; such an exec is refused.
pub const MOST_ARGUMENTS: usize = 8 << 20;

/// What a `#!` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interpreter<'a> {
    /// The program's path as written.
    pub path: &'a [u8],
    /// All that follows, as one argument.
    pub argument: Option<&'a [u8]>,
}

/// The `#!` line of a file, as the kernel reads it (`fs/binfmt_script.c`). `None` for a file that
/// is no script, or whose line the kernel refuses.
pub fn interpreter(head: &[u8]) -> Option<Interpreter<'_>> {
    let line = head.strip_prefix(b"#!")?;
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    // The kernel sees 256 bytes; whether the line or just its last word is cut decides.
    let (line, cut) = match line.iter().position(|&b| b == b'\n') {
        Some(end) => (&line[..end], false),
        None => (line, head.len() >= LOOKED_AT),
    };
    let start = line.iter().position(|b| !blank(b))?;
    let line = &line[start..];
    let end = line.iter().position(|b| blank(b) || *b == 0);
    if end.is_none() && cut {
        // The path may go on beyond what was read (ENOEXEC).
        return None;
    }
    let (path, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = if rest.first() == Some(&0) { &[] } else { rest };
    let rest = &rest[rest.iter().position(|b| !blank(b)).unwrap_or(rest.len())..];
    let rest = rest.split(|&b| b == 0).next().unwrap_or(rest);
    let kept = rest.iter().rposition(|b| !blank(b)).map_or(0, |last| last + 1);
    let argument = Some(&rest[..kept]).filter(|argument| !argument.is_empty());
    Some(Interpreter { path, argument }).filter(|_| !path.is_empty())
}

/// The start of a file, as far as the kernel looks.
///
/// # Errors
/// Those of opening and reading it.
pub fn head(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; LOOKED_AT];
    let mut have = 0;
    while have < bytes.len() {
        match file.read_at(&mut bytes[have..], have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

/// Splits what the kernel keeps of an argument vector: each argument ends with a NUL.
pub fn split_arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|&b| b == 0).map(<[u8]>::to_vec).collect()
}

/// The argument vector of a process that is stopped at its exec. Its memory is new and nobody
/// else's, so this is what the program gets.
///
/// # Errors
/// `EPERM` where it can't be read, `E2BIG` where it is longer than [`MOST_ARGUMENTS`].
pub fn arguments(pid: i32) -> Result<Vec<Vec<u8>>, Errno> {
    let file = File::open(format!("/proc/{pid}/cmdline")).map_err(|_| Errno::PERM)?;
    let mut bytes = Vec::new();
    file.take(MOST_ARGUMENTS as u64 + 1).read_to_end(&mut bytes).map_err(|_| Errno::PERM)?;
    if bytes.len() > MOST_ARGUMENTS {
        return Err(Errno::TOOBIG);
    }
    // argv[0] of an empty vector is made up by the kernel: one empty string.
    Ok(if bytes == [0] { vec![Vec::new()] } else { split_arguments(&bytes) })
}

/// Entries of the auxiliary vector that are used here.
const AT_EXECFN: u64 = 31;
/// `PATH_MAX` and what the kernel may put before it (`/dev/fd/N/`).
const LONGEST_PATH: usize = 4096 + 32;

/// The path that the kernel was given for this exec (`AT_EXECFN`), from the new memory.
///
/// # Errors
/// `EPERM` where it can't be read.
pub fn executed_path(pid: i32) -> Result<Vec<u8>, Errno> {
    let auxv = std::fs::read(format!("/proc/{pid}/auxv")).map_err(|_| Errno::PERM)?;
    let word = |at: &[u8]| at.try_into().map(u64::from_ne_bytes).unwrap_or(0);
    let entry = auxv.chunks_exact(16).find(|entry| word(&entry[..8]) == AT_EXECFN).ok_or(Errno::PERM)?;
    let mut path = Vec::new();
    let mut page = [0; 512];
    let address = word(&entry[8..]);
    while path.len() <= LONGEST_PATH {
        let count = crate::sys::memory::read(pid, address.wrapping_add(path.len() as u64), &mut page)?;
        match page[..count].iter().position(|&b| b == 0) {
            Some(end) => {
                path.extend_from_slice(&page[..end]);
                return Ok(path);
            }
            None => path.extend_from_slice(&page[..count]),
        }
    }
    Err(Errno::NAMETOOLONG)
}

/// One file that is mapped to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The mapping's first address.
    pub start: u64,
    /// The first address after it.
    pub end: u64,
    /// `PROT_EXEC`.
    pub executable: bool,
    /// Its device and inode.
    pub file: (u64, u64),
    /// Its name as the kernel prints it: a newline is `\012`, an unlinked file ends in ` (deleted)`.
    pub name: Vec<u8>,
}

/// Parses `/proc/PID/maps`, leaving out what has no file.
pub fn mapped(maps: &[u8]) -> Vec<Mapped> {
    maps.split(|&b| b == b'\n').filter_map(mapping).collect()
}

fn mapping(line: &[u8]) -> Option<Mapped> {
    let mut fields = line.splitn(6, |&b| b == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (start, end) = text()?.split_once('-')?;
    let executable = text()?.as_bytes().get(2) == Some(&b'x');
    let _offset = text()?;
    let (major, minor) = text()?.split_once(':')?;
    let inode: u64 = text()?.parse().ok()?;
    let name = fields.next()?.trim_ascii_start();
    if inode == 0 {
        return None;
    }
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let device = rustix::fs::makedev(u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    Some(Mapped { start: hex(start)?, end: hex(end)?, executable, file: (device, inode), name: unescape(name) })
}

fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.windows(4).position(|four| four == b"\\012") {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\n');
        rest = &rest[at + 4..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_interpreter() {
        let is = |path, argument| Some(Interpreter { path, argument });
        assert_eq!(interpreter(b"#!/bin/sh\necho"), is(b"/bin/sh", None));
        let argument: &[u8] = b"python3 -x";
        assert_eq!(interpreter(b"#! \t/usr/bin/env  python3 -x \n"), is(b"/usr/bin/env", Some(argument)));
        assert_eq!(interpreter(b"#!/bin/sh"), is(b"/bin/sh", None));
        assert_eq!(interpreter(b"#!bin/sh\n"), is(b"bin/sh", None));
    }

    #[test]
    fn what_the_kernel_refuses_has_no_interpreter() {
        assert_eq!(interpreter(b"\x7fELF"), None);
        assert_eq!(interpreter(b"#!\n"), None);
        assert_eq!(interpreter(b"#!  \t \n/bin/sh"), None);
        let long = [b"#!/".as_slice(), &[b'a'; 253]].concat();
        assert_eq!(interpreter(&long), None, "the path may go on beyond 256 bytes");
        let spaced = [b"#!/bin/sh ".as_slice(), &[b'a'; 246]].concat();
        assert_eq!(interpreter(&spaced).map(|line| line.path), Some(&b"/bin/sh"[..]), "only the argument is cut");
    }

    #[test]
    fn arguments_are_split_where_the_kernel_ends_them() {
        assert_eq!(split_arguments(b"a\0\0b\0"), [b"a".to_vec(), b"".to_vec(), b"b".to_vec()]);
        assert!(split_arguments(b"").is_empty());
    }

    #[test]
    fn own_maps_have_the_own_program() {
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let exe = std::fs::metadata("/proc/self/exe").unwrap();
        let file = (std::os::unix::fs::MetadataExt::dev(&exe), std::os::unix::fs::MetadataExt::ino(&exe));
        let found = mapped(&maps);
        assert!(found.iter().any(|m| m.executable && m.file == file), "{found:?}");
    }

    #[test]
    fn odd_names_in_maps_are_read_back() {
        let line = b"7f00-7f10 r-xp 00000000 fe:01 42                         /tmp/a b\\012c (deleted)\n";
        let found = mapped(line);
        assert_eq!(found[0].name, b"/tmp/a b\nc (deleted)");
        assert!(found[0].executable);
        assert_eq!((found[0].start, found[0].end), (0x7f00, 0x7f10));
    }
}
