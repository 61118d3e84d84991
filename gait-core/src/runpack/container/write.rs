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
        let (start, io) = (self.begin(name)?, |source| WriteError::Io { name: name.into(), source });
        let mut deflater = Deflater::new(&mut self.out);
        deflater.take_in(content).map_err(io)?;
        let (_, facts) = deflater.finish().map_err(io)?;
        self.end(name, start, &facts)?;
        Ok(facts.digest)
    }

    /// Writes one member that was deflated before, by a [`Deflater`] whose output `content` gives again.
    ///
    /// # Errors
    /// [`WriteError`]; the container is then of no use.
    pub fn deflated(&mut self, name: &str, facts: &Facts, mut content: impl Read) -> Result<(), WriteError> {
        let start = self.begin(name)?;
        io::copy(&mut content, &mut self.out).map_err(|source| WriteError::Io { name: name.into(), source })?;
        self.end(name, start, facts)
    }

    /// Writes the header of a member; gives where it is and where its content starts.
    fn begin(&mut self, name: &str) -> Result<(u32, u64), WriteError> {
        if self.members.last().is_some_and(|last| last.name.as_str() >= name) {
            return Err(WriteError::Order { name: name.into() });
        }
        let full = || WriteError::Full { name: name.into() };
        let offset = u32::try_from(self.out.count).ok().filter(|offset| *offset != u32::MAX).ok_or_else(full)?;
        if self.members.len() >= usize::from(u16::MAX) - 1 || name.len() > usize::from(u16::MAX) {
            return Err(full());
        }
        let header = local_header(name);
        self.out.write_all(&header).map_err(|source| WriteError::Io { name: name.into(), source })?;
        Ok((offset, self.out.count))
    }

    /// Writes what follows the content of a member.
    fn end(&mut self, name: &str, (offset, start): (u32, u64), facts: &Facts) -> Result<(), WriteError> {
        let full = || WriteError::Full { name: name.into() };
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
        let bytes = descriptor(&member);
        self.out.write_all(&bytes).map_err(|source| WriteError::Io { name: name.into(), source })?;
        self.members.push(member);
        Ok(())
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

/// What the container says of a member.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// SHA-256 of the content.
    pub digest: Sha256Hex,
    crc32: u32,
    size: u64,
}

/// Records are repetitive: more effort makes a runpack 2 % smaller and takes half as long again.
const LEVEL: Compression = Compression::new(3);

/// Deflates the content of a member into `W`, and finds out on the way what the container says of it.
#[derive(Debug)]
pub struct Deflater<W: Write> {
    encoder: DeflateEncoder<W>,
    hasher: Hasher,
    crc32: crc32fast::Hasher,
    size: u64,
}

impl<W: Write> Deflater<W> {
    /// Deflates into `out`.
    pub fn new(out: W) -> Self {
        Deflater {
            encoder: DeflateEncoder::new(out, LEVEL),
            hasher: Hasher::new(),
            crc32: crc32fast::Hasher::new(),
            size: 0,
        }
    }

    /// Bytes of content so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes in all that `content` gives, or as much as a member may have and a little more.
    ///
    /// # Errors
    /// Reading or writing failed.
    pub fn take_in(&mut self, mut content: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.write_all(buffer.get(..count).unwrap_or_default())?;
            if self.size > super::MEMBER_LIMIT_BYTES {
                return Ok(());
            }
        }
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(self) -> io::Result<(W, Facts)> {
        let out = self.encoder.finish()?;
        Ok((out, Facts { digest: self.hasher.finish(), crc32: self.crc32.finalize(), size: self.size }))
    }

    /// Ends the stream and begins another one into `out`: the tables of a stream, a third of a megabyte, are made once.
    ///
    /// # Errors
    /// Writing failed.
    pub fn next(&mut self, out: W) -> io::Result<(W, Facts)> {
        let out = self.encoder.reset(out)?;
        let facts = Facts {
            digest: std::mem::take(&mut self.hasher).finish(),
            crc32: std::mem::take(&mut self.crc32).finalize(),
            size: std::mem::take(&mut self.size),
        };
        Ok((out, facts))
    }
}

impl<W: Write> Write for Deflater<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.write_all(bytes)?;
        self.hasher.update(bytes);
        self.crc32.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
