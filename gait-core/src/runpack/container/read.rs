//! Reading containers of any writer.

use super::inflate::Inflater;
use super::{
    CENTRAL_LENGTH, CENTRAL_SIGNATURE, END_LENGTH, END_SIGNATURE, LOCAL_LENGTH, LOCAL_SIGNATURE, MEMBER_LIMIT_BYTES,
    READ_BYTES, u16_at, u32_at,
};
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};

/// A directory larger than this is refused.
const DIRECTORY_LIMIT_BYTES: u64 = 32 << 20;
/// As far back as the end record is looked for: a comment of full length and a little junk.
const END_SEARCH_BYTES: u64 = 65 * 1024;

/// A zip file whose directory was read and found sane; its members are read one at a time.
#[derive(Debug)]
pub struct Container<R> {
    pub(super) source: R,
    members: Vec<Member>,
    by_name: HashMap<String, usize>,
    pub(super) layout: Layout,
}

/// Where the directory lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// What offsets in the file count from; not zero if something precedes the zip.
    pub base: u64,
    pub directory_start: u64,
    pub directory_length: u64,
    pub end_start: u64,
    pub file_length: u64,
}

/// A file of the container, as the directory describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The exact name; relative and without `..`.
    pub name: String,
    /// How it is compressed.
    pub method: Method,
    /// Bytes of its content.
    pub size: u64,
    /// DOS date and time of modification.
    pub modified: (u16, u16),
    /// Permissions and kind, in the form of the system that [`Member::made_by`] names.
    pub attributes: u32,
    /// The system and version that wrote it.
    pub made_by: u16,
    /// Bytes of a comment.
    pub comment_length: u16,
    pub(super) crc32: u32,
    pub(super) flags: u16,
    pub(super) compressed: u64,
    pub(super) header_at: u64,
}

/// How a member is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    Stored,
    /// Deflate, the one that we write.
    Deflate,
    /// Something that can't be read here.
    Other(u16),
}

/// Why a file is not a container that is read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The file could not be read.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// Empty, truncated, or something else.
    #[error("zip: not a valid zip file")]
    NotAZip,
    /// Sizes or counts beyond the plain format.
    #[error("zip: zip64 is not supported")]
    Zip64,
    /// A directory that no runpack has.
    #[error("zip directory too large: {bytes}")]
    DirectoryTooLarge {
        /// Bytes that it claims.
        bytes: u64,
    },
    /// Two members of one name: which of them is meant can't be told.
    #[error("duplicate zip member: {name}")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name that leads out of any folder, or is not text.
    #[error("unsafe zip member name: {name}")]
    UnsafeName {
        /// The name, with what is not text replaced.
        name: String,
    },
}

/// Why the content of a member could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// Larger than a member may be.
    #[error("zip entry too large: {size}")]
    TooLarge {
        /// Bytes that the directory claims.
        size: u64,
    },
    /// A method that can't be read here.
    #[error("zip: unsupported compression algorithm")]
    Method,
    /// There is no member at the place where the directory says.
    #[error("zip: not a valid zip file")]
    NoHeader,
    /// Damaged content, or a file that can't be read.
    #[error("{}", content_text(.0))]
    Content(#[source] io::Error),
}

fn content_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected EOF".into(),
        _ if error.raw_os_error().is_some() => crate::file::os_text(error),
        _ => error.to_string(),
    }
}

impl<R: Read + Seek> Container<R> {
    /// Reads the directory of the zip in `source`.
    ///
    /// # Errors
    /// [`ContainerError`]: not a zip, or one with names that nothing should accept.
    pub fn open(mut source: R) -> Result<Self, ContainerError> {
        let file_length = source.seek(SeekFrom::End(0)).map_err(ContainerError::Io)?;
        let end = find_end(&mut source, file_length)?;
        let layout = layout(&mut source, &end, file_length)?;
        let mut directory = vec![0; usize::try_from(layout.directory_length).map_err(|_| ContainerError::NotAZip)?];
        source.seek(SeekFrom::Start(layout.directory_start)).map_err(ContainerError::Io)?;
        source.read_exact(&mut directory).map_err(short)?;
        let members = parse_directory(&directory, end.count)?;
        let mut by_name = HashMap::with_capacity(members.len());
        for (index, member) in members.iter().enumerate() {
            if by_name.insert(member.name.clone(), index).is_some() {
                return Err(ContainerError::Duplicate { name: member.name.clone() });
            }
        }
        Ok(Container { source, members, by_name, layout })
    }

    /// The members in the order of the directory.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member called `name`.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.by_name.get(name).and_then(|index| self.members.get(*index))
    }

    /// The content of `name` as a stream that is checked while it is read; `None` if there is no such member.
    ///
    /// # Errors
    /// [`MemberError`] if it can't be read at all; damage is found later, by the reader.
    pub fn read(&mut self, name: &str) -> Result<Option<MemberReader<&mut R>>, MemberError> {
        let Some(member) = self.member(name).cloned() else {
            return Ok(None);
        };
        if member.size > MEMBER_LIMIT_BYTES {
            return Err(MemberError::TooLarge { size: member.size });
        }
        let start = self.content_start(&member)?;
        self.source.seek(SeekFrom::Start(start)).map_err(MemberError::Content)?;
        MemberReader::new(&mut self.source, &member).map(Some)
    }

    /// The whole content of `name`, not larger than `limit_bytes`; `None` if there is no such member.
    ///
    /// # Errors
    /// [`MemberError`]
    pub fn read_all(&mut self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>, MemberError> {
        let size = self.member(name).map_or(0, |member| member.size);
        if size > limit_bytes {
            return Err(MemberError::TooLarge { size });
        }
        let Some(mut reader) = self.read(name)? else {
            return Ok(None);
        };
        // The size is a claim until the content was read, so it reserves little.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).min(1 << 20));
        reader.read_to_end(&mut bytes).map_err(MemberError::Content)?;
        Ok(Some(bytes))
    }

    /// Where the content starts: after a local header that must be there.
    pub(super) fn content_start(&mut self, member: &Member) -> Result<u64, MemberError> {
        let at = self.layout.base + member.header_at;
        self.source.seek(SeekFrom::Start(at)).map_err(MemberError::Content)?;
        let mut header = [0; LOCAL_LENGTH as usize];
        self.source.read_exact(&mut header).map_err(|_| MemberError::NoHeader)?;
        if u32_at(&header, 0) != LOCAL_SIGNATURE {
            return Err(MemberError::NoHeader);
        }
        Ok(at + LOCAL_LENGTH + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28)))
    }
}

fn short(error: io::Error) -> ContainerError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ContainerError::NotAZip,
        _ => ContainerError::Io(error),
    }
}

struct End {
    at: u64,
    count: u16,
    directory_length: u64,
    directory_offset: u64,
}

/// The last end record whose comment fits into the file, as other readers look for it.
fn find_end<R: Read + Seek>(source: &mut R, file_length: u64) -> Result<End, ContainerError> {
    let length = file_length.min(END_SEARCH_BYTES);
    let start = file_length - length;
    let mut tail = vec![0; usize::try_from(length).map_err(|_| ContainerError::NotAZip)?];
    source.seek(SeekFrom::Start(start)).map_err(ContainerError::Io)?;
    source.read_exact(&mut tail).map_err(short)?;
    let last = tail.len().checked_sub(END_LENGTH).ok_or(ContainerError::NotAZip)?;
    let at = (0..=last).rev().find(|at| u32_at(&tail, *at) == END_SIGNATURE).ok_or(ContainerError::NotAZip)?;
    let comment = usize::from(u16_at(&tail, at + 20));
    if at + END_LENGTH + comment > tail.len() {
        return Err(ContainerError::NotAZip);
    }
    let (count, length, offset) = (u16_at(&tail, at + 10), u32_at(&tail, at + 12), u32_at(&tail, at + 16));
    if count == u16::MAX || length == u32::MAX || offset == u32::MAX {
        return Err(ContainerError::Zip64);
    }
    Ok(End { at: start + at as u64, count, directory_length: length.into(), directory_offset: offset.into() })
}

/// Where the directory lies, also when something precedes the zip.
fn layout<R: Read + Seek>(source: &mut R, end: &End, file_length: u64) -> Result<Layout, ContainerError> {
    if end.directory_length > DIRECTORY_LIMIT_BYTES {
        return Err(ContainerError::DirectoryTooLarge { bytes: end.directory_length });
    }
    let directory_start = end.at.checked_sub(end.directory_length).ok_or(ContainerError::NotAZip)?;
    let base = directory_start.checked_sub(end.directory_offset).ok_or(ContainerError::NotAZip)?;
    let mut layout =
        Layout { base, directory_start, directory_length: end.directory_length, end_start: end.at, file_length };
    // A writer may already count from the start of the file although something precedes the zip.
    if base > 0 && end.count > 0 && signature_at(source, end.directory_offset)? == CENTRAL_SIGNATURE {
        layout.base = 0;
        layout.directory_start = end.directory_offset;
    }
    Ok(layout)
}

fn signature_at<R: Read + Seek>(source: &mut R, at: u64) -> Result<u32, ContainerError> {
    let mut bytes = [0; 4];
    source.seek(SeekFrom::Start(at)).map_err(ContainerError::Io)?;
    source.read_exact(&mut bytes).map_err(short)?;
    Ok(u32::from_le_bytes(bytes))
}

fn parse_directory(mut directory: &[u8], count: u16) -> Result<Vec<Member>, ContainerError> {
    let mut members = Vec::with_capacity(usize::from(count).min(1024));
    for _ in 0..count {
        let header = directory.get(..CENTRAL_LENGTH).ok_or(ContainerError::NotAZip)?;
        if u32_at(header, 0) != CENTRAL_SIGNATURE {
            return Err(ContainerError::NotAZip);
        }
        let lengths = [28, 30, 32].map(|at| usize::from(u16_at(header, at)));
        let name = directory.get(CENTRAL_LENGTH..CENTRAL_LENGTH + lengths[0]).ok_or(ContainerError::NotAZip)?;
        members.push(parse_member(header, name)?);
        let whole = CENTRAL_LENGTH + lengths.iter().sum::<usize>();
        directory = directory.get(whole..).ok_or(ContainerError::NotAZip)?;
    }
    // More entries than were counted: they would be invisible to this reader and visible to another.
    if u32_at(directory, 0) == CENTRAL_SIGNATURE {
        return Err(ContainerError::NotAZip);
    }
    Ok(members)
}

fn parse_member(header: &[u8], name: &[u8]) -> Result<Member, ContainerError> {
    let sizes = [20, 24, 42].map(|at| u32_at(header, at));
    if sizes.contains(&u32::MAX) {
        return Err(ContainerError::Zip64);
    }
    Ok(Member {
        name: safe_name(name)?,
        method: match u16_at(header, 10) {
            0 => Method::Stored,
            8 => Method::Deflate,
            other => Method::Other(other),
        },
        size: sizes[1].into(),
        modified: (u16_at(header, 14), u16_at(header, 12)),
        attributes: u32_at(header, 38),
        made_by: u16_at(header, 4),
        comment_length: u16_at(header, 32),
        crc32: u32_at(header, 16),
        flags: u16_at(header, 8),
        compressed: sizes[0].into(),
        header_at: sizes[2].into(),
    })
}

/// A relative path of plain parts, `/` between them (contract, artifacts 12, A4).
fn safe_name(bytes: &[u8]) -> Result<String, ContainerError> {
    let refuse = || ContainerError::UnsafeName { name: String::from_utf8_lossy(bytes).into_owned() };
    let name = std::str::from_utf8(bytes).map_err(|_| refuse())?;
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let drive = name.as_bytes().get(1) == Some(&b':');
    let folder = name.strip_suffix('/').unwrap_or(name);
    if drive || name.contains(['\\', '\0']) || !folder.split('/').all(plain) {
        return Err(refuse());
    }
    Ok(name.to_string())
}

/// The content of a member. Size and CRC are checked at its end; nothing beyond the claimed size is produced.
pub struct MemberReader<R: Read> {
    decoder: Decoder<R>,
    crc: crc32fast::Hasher,
    left: u64,
    crc32: u32,
    ended: bool,
}

enum Decoder<R: Read> {
    Stored(Take<R>),
    Deflate(Box<Inflater<Take<R>>>),
}

impl<R: Read> MemberReader<R> {
    fn new(source: R, member: &Member) -> Result<Self, MemberError> {
        let limited = source.take(member.compressed);
        let decoder = match member.method {
            Method::Stored => Decoder::Stored(limited),
            Method::Deflate => Decoder::Deflate(Box::new(Inflater::new(limited))),
            Method::Other(_) => return Err(MemberError::Method),
        };
        Ok(MemberReader {
            decoder,
            crc: crc32fast::Hasher::new(),
            left: member.size,
            crc32: member.crc32,
            ended: false,
        })
    }

    /// The same, with a buffer, for reading by lines.
    pub fn buffered(self) -> BufReader<Self> {
        BufReader::with_capacity(READ_BYTES, self)
    }

    fn finish(&mut self) -> io::Result<usize> {
        self.ended = true;
        if self.left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.crc.clone().finalize() != self.crc32 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "zip: checksum error"));
        }
        Ok(0)
    }
}

impl<R: Read> Read for MemberReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.ended {
            return Ok(0);
        }
        let count = match &mut self.decoder {
            Decoder::Stored(stored) => stored.read(buffer)?,
            Decoder::Deflate(inflater) => inflater.read(buffer)?,
        };
        if count == 0 {
            return self.finish();
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        self.crc.update(bytes);
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "zip: content is larger than the directory says")
        })?;
        Ok(count)
    }
}
