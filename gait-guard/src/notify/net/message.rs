//! `struct msghdr` and ancillary data of the agent, read into copies of ours.

use rustix::io::Errno;

/// `UIO_MAXIOV`: more parts are `EMSGSIZE`.
const MOST_PARTS: u64 = 1024;
/// The kernel refuses more ancillary data than `optmem_max`, which is less than this.
const MOST_CONTROL: u64 = 1 << 20;
/// `sizeof(struct msghdr)` and `sizeof(struct mmsghdr)` on x86_64.
pub const HEADER: usize = 56;
/// The distance between two entries of `sendmmsg`, and where its `msg_len` is.
pub const ENTRY: u64 = 64;
/// Where the kernel writes how much of an entry was sent.
pub const ENTRY_LENGTH: u64 = 56;
/// `struct cmsghdr`, and what its data is aligned to.
const CONTROL_HEADER: usize = 16;
const CONTROL_ALIGN: usize = 8;
/// `SCM_MAX_FD`.
const MOST_DESCRIPTORS: usize = 253;

/// Reads memory of the agent.
pub trait Memory {
    /// Fills `into` from `address`.
    ///
    /// # Errors
    /// `EFAULT` where nothing is mapped, `EPERM` where the agent can't be read.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno>;

    /// A fresh copy of `length` bytes.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn copy(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; length];
        if length > 0 {
            self.read(address, &mut bytes)?;
        }
        Ok(bytes)
    }
}

/// One stretch of the agent's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it starts.
    pub address: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// What is to be sent, as far as it has to be known before the data itself is copied.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// The destination's bytes, if one was given.
    pub address: Option<Vec<u8>>,
    /// Where the data is.
    pub parts: Vec<Part>,
    /// Ancillary data, as the agent wrote it.
    pub control: Vec<u8>,
}

impl Outgoing {
    /// All the data, in bytes.
    pub fn total(&self) -> u64 {
        self.parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.length))
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// The destination of a message: a null pointer or no length is none, and more than an address
/// can have is cut, as the kernel does for messages.
///
/// # Errors
/// Those of reading; `EINVAL` for a negative length.
pub fn destination(memory: &impl Memory, pointer: u64, length: u32) -> Result<Option<Vec<u8>>, Errno> {
    if (length as i32) < 0 {
        return Err(Errno::INVAL);
    }
    if pointer == 0 || length == 0 {
        return Ok(None);
    }
    memory.copy(pointer, (length as usize).min(super::address::LONGEST)).map(Some)
}

/// Reads a `struct msghdr` at `address`, with all that it points to but the data.
///
/// # Errors
/// As the kernel's `copy_msghdr_from_user`: `EFAULT`, `EMSGSIZE`, `EINVAL`, `ENOBUFS`.
pub fn read_header(memory: &impl Memory, address: u64) -> Result<Outgoing, Errno> {
    let header = memory.copy(address, HEADER)?;
    let (parts_at, parts) = (word(&header, 16), word(&header, 24));
    let (control_at, control) = (word(&header, 32), word(&header, 40));
    if parts > MOST_PARTS {
        return Err(Errno::MSGSIZE);
    }
    let to = destination(memory, word(&header, 0), half(&header, 8))?;
    let table = memory.copy(parts_at, parts as usize * 16)?;
    let parts =
        table.chunks_exact(16).map(|part| Part { address: word(part, 0), length: word(part, 8) }).collect::<Vec<_>>();
    if parts.iter().any(|part| part.length > i64::MAX as u64) {
        return Err(Errno::INVAL);
    }
    if control > MOST_CONTROL {
        return Err(Errno::NOBUFS);
    }
    let control = if control_at == 0 { Vec::new() } else { memory.copy(control_at, control as usize)? };
    Ok(Outgoing { address: to, parts, control })
}

/// Copies at most `most` bytes of data, starting `skip` bytes in.
///
/// # Errors
/// Those of reading.
pub fn data(memory: &impl Memory, parts: &[Part], skip: u64, most: usize) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    let mut skip = skip;
    for part in parts {
        if skip >= part.length {
            skip -= part.length;
            continue;
        }
        let room = most - out.len();
        let take = usize::try_from(part.length - skip).unwrap_or(usize::MAX).min(room);
        let start = out.len();
        out.resize(start + take, 0);
        memory.read(part.address.wrapping_add(skip), &mut out[start..])?;
        skip = 0;
        if out.len() == most {
            break;
        }
    }
    Ok(out)
}

/// One piece of ancillary data, and where its data is in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// `cmsg_level`.
    pub level: i32,
    /// `cmsg_type`.
    pub kind: i32,
    /// Its data, in the whole buffer.
    pub range: std::ops::Range<usize>,
}

/// Takes ancillary data apart as the kernel does (`for_each_cmsghdr`, `CMSG_OK`).
///
/// # Errors
/// `EINVAL` for a piece that is shorter than its header or longer than what is left.
pub fn pieces(control: &[u8]) -> Result<Vec<Piece>, Errno> {
    let mut out = Vec::new();
    let mut at = 0;
    while control.len() - at >= CONTROL_HEADER {
        let length = usize::try_from(word(control, at)).map_err(|_| Errno::INVAL)?;
        if length < CONTROL_HEADER || length > control.len() - at {
            return Err(Errno::INVAL);
        }
        let (level, kind) = (half(control, at + 8) as i32, half(control, at + 12) as i32);
        out.push(Piece { level, kind, range: at + CONTROL_HEADER..at + length });
        at += length.next_multiple_of(CONTROL_ALIGN);
        if at > control.len() {
            break;
        }
    }
    Ok(out)
}

/// The descriptor numbers of an `SCM_RIGHTS` piece.
///
/// # Errors
/// `EINVAL` for more than a message can carry.
pub fn descriptors(data: &[u8]) -> Result<Vec<i32>, Errno> {
    let numbers: Vec<i32> = data.chunks_exact(4).map(|four| half(four, 0) as i32).collect();
    if numbers.len() > MOST_DESCRIPTORS { Err(Errno::INVAL) } else { Ok(numbers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory that starts at address 0x1000.
    struct Bytes(Vec<u8>);

    impl Memory for Bytes {
        fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
            let at = address.checked_sub(0x1000).ok_or(Errno::FAULT)? as usize;
            into.copy_from_slice(self.0.get(at..at + into.len()).ok_or(Errno::FAULT)?);
            Ok(())
        }
    }

    fn piece(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut out = ((CONTROL_HEADER + data.len()) as u64).to_ne_bytes().to_vec();
        out.extend(level.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(data);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }

    fn header(fields: [u64; 6]) -> Vec<u8> {
        let mut bytes: Vec<u8> = fields.iter().flat_map(|field| field.to_ne_bytes()).collect();
        bytes.resize(HEADER, 0);
        bytes
    }

    #[test]
    fn a_header_is_read_with_all_it_points_to() {
        let mut bytes = header([0x1000 + 56, 4, 0x1000 + 60, 2, 0, 0]);
        bytes.extend(b"addr");
        for field in [0x1000u64 + 92, 3, 0x1000 + 95, 2] {
            bytes.extend(field.to_ne_bytes());
        }
        bytes.extend(b"abcde");
        let memory = Bytes(bytes);
        let message = read_header(&memory, 0x1000).unwrap();
        assert_eq!(message.address.as_deref(), Some(&b"addr"[..]));
        assert_eq!(message.total(), 5);
        assert_eq!(data(&memory, &message.parts, 0, 100).unwrap(), b"abcde");
        assert_eq!(data(&memory, &message.parts, 1, 3).unwrap(), b"bcd");
        assert_eq!(data(&memory, &message.parts, 4, 3).unwrap(), b"e");
    }

    #[test]
    fn limits_are_the_kernels() {
        assert_eq!(read_header(&Bytes(header([0, 0, 0x1000, 1025, 0, 0])), 0x1000).unwrap_err(), Errno::MSGSIZE);
        assert_eq!(read_header(&Bytes(header([1, 1 << 31, 0, 0, 0, 0])), 0x1000).unwrap_err(), Errno::INVAL);
        assert_eq!(read_header(&Bytes(header([0, 0, 0, 0, 1, 1 << 40])), 0x1000).unwrap_err(), Errno::NOBUFS);
        assert_eq!(read_header(&Bytes(vec![0; 8]), 0x1000).unwrap_err(), Errno::FAULT);
        assert_eq!(descriptors(&vec![0; 4 * 254]).unwrap_err(), Errno::INVAL);
    }

    #[test]
    fn ancillary_data_is_taken_apart() {
        let control = [piece(1, 1, &7i32.to_ne_bytes()), piece(0, 8, &[0; 12])].concat();
        let found = pieces(&control).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(descriptors(&control[found[0].range.clone()]).unwrap(), [7]);
        assert_eq!((found[1].level, found[1].kind), (0, 8));
    }

    #[test]
    fn a_piece_that_overruns_is_refused() {
        let mut control = piece(1, 1, &[0; 8]);
        control[0] = 200;
        assert_eq!(pieces(&control).unwrap_err(), Errno::INVAL);
        control[0] = 3;
        assert_eq!(pieces(&control).unwrap_err(), Errno::INVAL);
    }
}
