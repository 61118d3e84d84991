//! Syscalls as text: each argument of `attack calls` is one, `name arg arg ...`.
//!
//! | word | register |
//! |---|---|
//! | `7`, `-100`, `0x10`, `0o644` | the number |
//! | `$2` | what the second call gave |
//! | `s:/a%20b` | address of the string, `%NN` decoded |
//! | `hex:0200` | address of these bytes |
//! | `buf:64` | address of so many zero bytes |
//! | `out:64` | the same, printed after the call up to its result |
//! | `argv:a,b` | address of a NULL-terminated list of strings |
//! | `iov:hello` | address of one `struct iovec` over the string |
//!
//! Per call one line: `openat = 3` or `openat ! EACCES`. All are made; the last one decides the exit code.

use std::ffi::CString;
use std::io;

use crate::{number, sys};

/// Makes `calls` in order; whether the last one succeeded.
pub fn run(calls: &[&str]) -> io::Result<bool> {
    let mut results: Vec<i64> = Vec::new();
    let mut last = false;
    for call in calls {
        let mut words = call.split_whitespace();
        let name = words.next().ok_or_else(|| wrong(call))?;
        let nr = match name.strip_prefix('#') {
            Some(nr) => nr.parse().map_err(|_| wrong(call))?,
            None => number::syscall(name).ok_or_else(|| wrong(call))?,
        };
        let mut memory = Memory::default();
        let mut args = [0_u64; 6];
        for (slot, word) in args.iter_mut().zip(words) {
            *slot = memory.register(word, &results).ok_or_else(|| wrong(call))?;
        }
        // SAFETY: addresses point into `memory`, which outlives the call and is as long as the test said; what the
        // call does to this process is what the test wants.
        let result = unsafe { sys::syscall(nr, args) };
        if result == Ok(0) && matches!(name, "clone" | "clone3" | "fork" | "vfork") {
            sys::exit(0);
        }
        last = result.is_ok();
        match result {
            Ok(value) => println!("{name} = {value}{}", memory.shown(value)),
            Err(errno) => println!("{name} ! {}", number::errno_name(errno)),
        }
        results.push(result.unwrap_or(-1));
    }
    Ok(last)
}

fn wrong(call: &str) -> io::Error {
    io::Error::other(format!("cannot read `{call}`"))
}

/// What the registers of one call point to.
#[derive(Default)]
struct Memory {
    blocks: Vec<Vec<u8>>,
    words: Vec<Vec<u64>>,
    shown: Option<usize>,
}

impl Memory {
    fn register(&mut self, word: &str, results: &[i64]) -> Option<u64> {
        if let Some(n) = word.strip_prefix('$') {
            return results.get(n.parse::<usize>().ok()?.checked_sub(1)?).map(|value| *value as u64);
        }
        match word.split_once(':') {
            None => integer(word),
            Some(("s", text)) => Some(self.block(terminated(text)?)),
            Some(("hex", digits)) => Some(self.block(unhex(digits)?)),
            Some(("buf", len)) => Some(self.block(vec![0; len.parse().ok()?])),
            Some(("out", len)) => {
                self.shown = Some(self.blocks.len());
                Some(self.block(vec![0; len.parse().ok()?]))
            }
            Some(("argv", list)) => {
                let mut addresses = Vec::new();
                for arg in list.split(',') {
                    addresses.push(self.block(terminated(arg)?));
                }
                addresses.push(0);
                Some(self.list(addresses))
            }
            Some(("iov", text)) => {
                let bytes = unescape(text)?;
                let len = bytes.len() as u64;
                let at = self.block(bytes);
                Some(self.list(vec![at, len]))
            }
            Some(_) => None,
        }
    }

    fn block(&mut self, bytes: Vec<u8>) -> u64 {
        self.blocks.push(bytes);
        self.blocks.last().map_or(0, |block| block.as_ptr() as u64)
    }

    fn list(&mut self, words: Vec<u64>) -> u64 {
        self.words.push(words);
        self.words.last().map_or(0, |list| list.as_ptr() as u64)
    }

    fn shown(&self, result: i64) -> String {
        let block = self.shown.and_then(|at| self.blocks.get(at));
        let Some(block) = block else { return String::new() };
        let len = usize::try_from(result).unwrap_or(0).min(block.len());
        format!(" {}", String::from_utf8_lossy(&block[..len]))
    }
}

fn integer(word: &str) -> Option<u64> {
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
    let value = match digits.split_at_checked(2) {
        Some(("0x", hex)) => u64::from_str_radix(hex, 16).ok()?,
        Some(("0o", octal)) => u64::from_str_radix(octal, 8).ok()?,
        _ => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

fn terminated(text: &str) -> Option<Vec<u8>> {
    Some(CString::new(unescape(text)?).ok()?.into_bytes_with_nul())
}

/// `%NN` to bytes.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

/// Two hexadecimal digits per byte.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high * 16 + low).collect())
}
