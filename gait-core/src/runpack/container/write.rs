//! Writing the one form of the container.

use super::{CENTRAL_SIGNATURE, DESCRIPTOR_SIGNATURE, END_SIGNATURE, LOCAL_SIGNATURE, fixed};
use crate::digest::{Hasher, Sha256Hex};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::{self, Read, Write};

/// Writes members in the order of their names, each from a reader, none of them held in memory.
///
/// The same members give the same bytes, on every machine.
#[derive(Debug)]
pub struct ContainerWriter<W: Write> {
    out: Counted<W>,
    members: Vec<Written>,
}

/// Why a container could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The member could not be read or the container not be written.
    #[error("write `{name}`: {source}")]
    Io {
        /// The member at hand.
        name: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Members come in the order of the bytes of their names, each once.
    #[error("member `{name}` is not in order")]
    Order {
        /// The member that came too late.
        name: String,
    },
    /// Larger than a reader accepts.
    #[error("member `{name}` is larger than {} bytes", super::MEMBER_LIMIT_BYTES)]
    MemberTooLarge {
        /// The member.
        name: String,
    },
    /// More than the container can count: 65,535 members or 4 GiB.
    #[error("the container is full at member `{name}`")]
    Full {
        /// The member that no longer fits.
        name: String,
    },
}

#[derive(Debug)]
struct Written {
    name: String,
    offset: u32,
    crc32: u32,
    compressed: u32,
    size: u32,
}

impl<W: Write> ContainerWriter<W> {
    /// Starts a container at the current position of `out`.
    pub fn new(out: W) -> Self {
        ContainerWriter { out: Counted { inner: out, count: 0 }, members: Vec::new() }
    }

    /// Writes one member, all that `content` gives, and returns its SHA-256.
    ///
    /// # Errors
    /// [`WriteError`]; the container is then of no use.
    pub fn member(&mut self, name: &str, content: impl Read) -> Result<Sha256Hex, WriteError> {
        if self.members.last().is_some_and(|last| last.name.as_str() >= name) {
            return Err(WriteError::Order { name: name.into() });
        }
        let full = || WriteError::Full { name: name.into() };
        let offset = u32::try_from(self.out.count).ok().filter(|offset| *offset != u32::MAX).ok_or_else(full)?;
        if self.members.len() >= usize::from(u16::MAX) - 1 || name.len() > usize::from(u16::MAX) {
            return Err(full());
        }
        let io = |source| WriteError::Io { name: name.into(), source };
        self.out.write_all(&local_header(name)).map_err(io)?;
        let start = self.out.count;
        let facts = deflate(&mut self.out, content).map_err(io)?;
        if facts.size > super::MEMBER_LIMIT_BYTES {
            return Err(WriteError::MemberTooLarge { name: name.into() });
        }
        let member = Written {
            name: name.into(),
            offset,
            crc32: facts.crc32,
            compressed: u32::try_from(self.out.count - start).map_err(|_| full())?,
            size: u32::try_from(facts.size).map_err(|_| full())?,
        };
        self.out.write_all(&descriptor(&member)).map_err(io)?;
        self.members.push(member);
        Ok(facts.digest)
    }

    /// Writes the directory and gives back what was written to.
    ///
    /// # Errors
    /// [`WriteError`] where it can't be written.
    pub fn finish(mut self) -> Result<W, WriteError> {
        let last = self.members.last().map(|member| member.name.clone()).unwrap_or_default();
        let io = |source| WriteError::Io { name: last.clone(), source };
        let full = || WriteError::Full { name: last.clone() };
        let start = self.out.count;
        for member in &self.members {
            self.out.write_all(&central_header(member)).map_err(io)?;
        }
        let length = u32::try_from(self.out.count - start).map_err(|_| full())?;
        let start = u32::try_from(start).map_err(|_| full())?;
        let count = u16::try_from(self.members.len()).map_err(|_| full())?;
        self.out.write_all(&end_record(count, length, start)).map_err(io)?;
        self.out.flush().map_err(io)?;
        Ok(self.out.inner)
    }
}

struct Facts {
    digest: Sha256Hex,
    crc32: u32,
    size: u64,
}

/// Records are repetitive: more effort makes a runpack 2 % smaller and takes half as long again.
const LEVEL: Compression = Compression::new(3);

fn deflate(out: &mut impl Write, mut content: impl Read) -> io::Result<Facts> {
    let mut encoder = DeflateEncoder::new(out, LEVEL);
    let (mut hasher, mut crc, mut size) = (Hasher::new(), crc32fast::Hasher::new(), 0u64);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        hasher.update(bytes);
        crc.update(bytes);
        size += bytes.len() as u64;
        if size > super::MEMBER_LIMIT_BYTES {
            break;
        }
        encoder.write_all(bytes)?;
    }
    encoder.finish()?;
    Ok(Facts { digest: hasher.finish(), crc32: crc.finalize(), size })
}

fn name_length(name: &str) -> u16 {
    // INVARIANT: `ContainerWriter::member` refuses longer names.
    u16::try_from(name.len()).unwrap_or(u16::MAX)
}

/// The local header; sizes and CRC follow the content.
pub(super) fn local_header(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(LOCAL_SIGNATURE.to_le_bytes());
    bytes.extend(fixed::VERSION_NEEDED.to_le_bytes());
    bytes.extend(fixed::flags(name).to_le_bytes());
    bytes.extend(fixed::DEFLATE.to_le_bytes());
    bytes.extend(fixed::TIME.to_le_bytes());
    bytes.extend(fixed::DATE.to_le_bytes());
    bytes.extend([0; 12]);
    bytes.extend(name_length(name).to_le_bytes());
    bytes.extend((fixed::EXTRA.len() as u16).to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend(fixed::EXTRA);
    bytes
}

fn descriptor(member: &Written) -> Vec<u8> {
    descriptor_bytes(member.crc32, member.compressed, member.size)
}

pub(super) fn descriptor_bytes(crc32: u32, compressed: u32, size: u32) -> Vec<u8> {
    [DESCRIPTOR_SIGNATURE, crc32, compressed, size].iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn central_header(member: &Written) -> Vec<u8> {
    central_bytes(&member.name, member.crc32, member.compressed, member.size, member.offset)
}

pub(super) fn central_bytes(name: &str, crc32: u32, compressed: u32, size: u32, offset: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(80);
    bytes.extend(CENTRAL_SIGNATURE.to_le_bytes());
    bytes.extend(fixed::MADE_BY.to_le_bytes());
    bytes.extend(fixed::VERSION_NEEDED.to_le_bytes());
    bytes.extend(fixed::flags(name).to_le_bytes());
    bytes.extend(fixed::DEFLATE.to_le_bytes());
    bytes.extend(fixed::TIME.to_le_bytes());
    bytes.extend(fixed::DATE.to_le_bytes());
    bytes.extend(crc32.to_le_bytes());
    bytes.extend(compressed.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(name_length(name).to_le_bytes());
    bytes.extend((fixed::EXTRA.len() as u16).to_le_bytes());
    // Length of the comment, disk, internal attributes.
    bytes.extend([0; 6]);
    bytes.extend(fixed::ATTRIBUTES.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend(fixed::EXTRA);
    bytes
}

pub(super) fn end_record(count: u16, length: u32, start: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(22);
    bytes.extend(END_SIGNATURE.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

#[derive(Debug)]
struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
