//! Whether every byte of a container is the one that our writer would have put there, compression aside.
//!
//! What is left open: a deflate stream may spell the same content in other tokens. Such a change changes no member.

use super::read::{Container, Layout, Member};
use super::watched::WatchedInflater;
use super::write::{central_bytes, descriptor_bytes, end_record, local_header};
use super::{DESCRIPTOR_LENGTH, END_LENGTH, MEMBER_LIMIT_BYTES, Method};
use std::io::{self, Read, Seek, SeekFrom};

/// The first place where a container is not of the one form (contract, artifacts 3.3 and guarded-run 3.5).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Inexact {
    /// The file could not be read.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// Bytes before the first record.
    #[error("{bytes} bytes before the first member")]
    Before {
        /// How many.
        bytes: u64,
    },
    /// Bytes after the end record, or a comment.
    #[error("{bytes} bytes after the end")]
    After {
        /// How many.
        bytes: u64,
    },
    /// Members that are not in the order of their names.
    #[error("member `{name}` is not in order")]
    Order {
        /// The one that comes too late.
        name: String,
    },
    /// A member that is not where the one before it ends.
    #[error("member `{name}` does not follow the one before it")]
    Gap {
        /// The member.
        name: String,
    },
    /// A local header, data descriptor, directory entry or the end record with another value than the fixed one.
    #[error("{record} of `{name}` is not as written")]
    Record {
        /// Which record.
        record: &'static str,
        /// The member; empty for the end record.
        name: String,
    },
    /// Content that is not one deflate stream, which ends where the member does, with zero bits after it.
    #[error("the compressed content of `{name}` is not as written")]
    Stream {
        /// The member.
        name: String,
    },
}

impl<R: Read + Seek> Container<R> {
    /// The first finding of a pass over the whole file; `None` if every byte is accounted for.
    ///
    /// Reads and inflates all members once. Their digests are not looked at: that is the business of `verify`.
    pub fn inexact(&mut self) -> Option<Inexact> {
        self.check_all().err()
    }

    fn check_all(&mut self) -> Result<(), Inexact> {
        let Layout { base, directory_start, directory_length, end_start, file_length } = self.layout;
        if base > 0 {
            return Err(Inexact::Before { bytes: base });
        }
        let members = self.members().to_vec();
        let (mut at, mut directory) = (0, Vec::new());
        for (index, member) in members.iter().enumerate() {
            if index > 0 && members.get(index - 1).is_some_and(|before| before.name >= member.name) {
                return Err(Inexact::Order { name: member.name.clone() });
            }
            if member.header_at != at {
                return Err(Inexact::Gap { name: member.name.clone() });
            }
            at = self.check_member(member, at)?;
            directory.extend(expected_entry(member).ok_or_else(|| wrong("the directory entry", member))?);
        }
        if at != directory_start {
            return Err(Inexact::Gap { name: String::new() });
        }
        self.check_directory(&members, &directory)?;
        if directory_start + directory_length != end_start {
            return Err(Inexact::Record { record: "the end record", name: String::new() });
        }
        self.check_end(&members, end_start, file_length)
    }

    fn check_directory(&mut self, members: &[Member], expected: &[u8]) -> Result<(), Inexact> {
        let found = self.bytes_at(self.layout.directory_start, self.layout.directory_length)?;
        if found == expected {
            return Ok(());
        }
        let mut at = 0;
        for member in members {
            let entry = expected_entry(member).unwrap_or_default();
            if found.get(at..at + entry.len()) != Some(entry.as_slice()) {
                return Err(wrong("the directory entry", member));
            }
            at += entry.len();
        }
        Err(Inexact::Record { record: "the end record", name: String::new() })
    }

    fn check_end(&mut self, members: &[Member], end_start: u64, file_length: u64) -> Result<(), Inexact> {
        let end = self.bytes_at(end_start, END_LENGTH as u64)?;
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let count = u16::try_from(members.len()).unwrap_or(u16::MAX);
        let expected = end_record(count, number(self.layout.directory_length), number(self.layout.directory_start));
        let after = file_length - end_start - END_LENGTH as u64;
        if after > 0 {
            return Err(Inexact::After { bytes: after });
        }
        if end == expected { Ok(()) } else { Err(Inexact::Record { record: "the end record", name: String::new() }) }
    }

    /// Checks one member, whose header is at `at`, and gives the place where the next one must be.
    fn check_member(&mut self, member: &Member, at: u64) -> Result<u64, Inexact> {
        let header = local_header(&member.name);
        if self.bytes_at(at, header.len() as u64)? != header {
            return Err(wrong("the local header", member));
        }
        let content = at + header.len() as u64;
        self.check_stream(member, content)?;
        let descriptor_at = content + member.compressed;
        let descriptor = self.bytes_at(descriptor_at, DESCRIPTOR_LENGTH)?;
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        if descriptor != descriptor_bytes(member.crc32, number(member.compressed), number(member.size)) {
            return Err(wrong("the data descriptor", member));
        }
        Ok(descriptor_at + DESCRIPTOR_LENGTH)
    }

    fn check_stream(&mut self, member: &Member, at: u64) -> Result<(), Inexact> {
        let broken = || Inexact::Stream { name: member.name.clone() };
        if member.method != Method::Deflate || member.size > MEMBER_LIMIT_BYTES {
            return Err(broken());
        }
        self.source.seek(SeekFrom::Start(at)).map_err(Inexact::Io)?;
        let mut inflater = WatchedInflater::new((&mut self.source).take(member.compressed), member.compressed);
        let mut crc = crc32fast::Hasher::new();
        let (mut size, mut buffer) = (0u64, vec![0; 1 << 16]);
        loop {
            let count = inflater.read(&mut buffer).map_err(|_| broken())?;
            if count == 0 {
                break;
            }
            crc.update(buffer.get(..count).unwrap_or_default());
            size += count as u64;
            if size > member.size {
                return Err(broken());
            }
        }
        let whole = inflater.is_done() && inflater.consumed() == member.compressed && inflater.tail_is_clean();
        if whole && size == member.size && crc.finalize() == member.crc32 { Ok(()) } else { Err(broken()) }
    }

    fn bytes_at(&mut self, at: u64, length: u64) -> Result<Vec<u8>, Inexact> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.source.seek(SeekFrom::Start(at)).map_err(Inexact::Io)?;
        self.source.read_exact(&mut bytes).map_err(Inexact::Io)?;
        Ok(bytes)
    }
}

fn wrong(record: &'static str, member: &Member) -> Inexact {
    Inexact::Record { record, name: member.name.clone() }
}

/// The directory entry that our writer gives this member.
fn expected_entry(member: &Member) -> Option<Vec<u8>> {
    let number = |value: u64| u32::try_from(value).ok();
    Some(central_bytes(
        &member.name,
        member.crc32,
        number(member.compressed)?,
        number(member.size)?,
        number(member.header_at)?,
    ))
}
