//! JSON lines, one record at a time.

use std::io::{self, BufRead};

/// A line may be this long (contract, artifacts 3.4).
pub const LINE_LIMIT_BYTES: usize = 10 << 20;

/// Why a line was not read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The stream broke off or is damaged.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// Longer than [`LINE_LIMIT_BYTES`].
    #[error("line {number}: longer than {LINE_LIMIT_BYTES} bytes")]
    TooLong {
        /// Counted from 1.
        number: u64,
    },
    /// Not a record.
    #[error("line {number}: {source}")]
    Record {
        /// Counted from 1.
        number: u64,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

/// The lines of a stream that are not blank, in a buffer that is reused.
#[derive(Debug)]
pub struct Lines<R> {
    source: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of `source`.
    pub fn new(source: R) -> Self {
        Lines { source, line: Vec::new(), number: 0 }
    }

    /// The stream, as far as it was read.
    pub fn into_source(self) -> R {
        self.source
    }

    /// The next line without its end, and its number; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`LineError`]
    pub fn next_line(&mut self) -> Result<Option<(u64, &[u8])>, LineError> {
        loop {
            self.line.clear();
            self.number += 1;
            if !self.fill()? {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some((self.number, self.line.strip_suffix(b"\n").unwrap_or(&self.line))))
    }

    /// Reads up to the end of the line; whether there was one.
    fn fill(&mut self) -> Result<bool, LineError> {
        loop {
            let available = match self.source.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LineError::Io(error)),
            };
            if available.is_empty() {
                return Ok(!self.line.is_empty());
            }
            let end = memchr::memchr(b'\n', available).map(|at| at + 1);
            let take = end.unwrap_or(available.len());
            self.line.extend_from_slice(available.get(..take).unwrap_or_default());
            self.source.consume(take);
            if self.line.len() > LINE_LIMIT_BYTES {
                return Err(LineError::TooLong { number: self.number });
            }
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

/// The same for a stream that comes in pieces, from whoever reads it anyway.
#[derive(Debug, Default)]
pub struct PushedLines {
    partial: Vec<u8>,
    number: u64,
}

impl PushedLines {
    /// Takes in the next piece, and gives each line that it ends to `each`.
    ///
    /// # Errors
    /// [`LineError`], also one of `each`; then no more may be pushed.
    pub fn push(
        &mut self,
        mut piece: &[u8],
        each: &mut impl FnMut(u64, &[u8]) -> Result<(), LineError>,
    ) -> Result<(), LineError> {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end + 1);
            piece = rest;
            if self.partial.is_empty() {
                self.line(line, each)?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole, each)?;
                whole.clear();
                self.partial = whole;
            }
        }
        self.partial.extend_from_slice(piece);
        self.check(self.partial.len(), self.number + 1)
    }

    /// Gives what follows the last line break, if anything does.
    ///
    /// # Errors
    /// As [`PushedLines::push`].
    pub fn end(&mut self, each: &mut impl FnMut(u64, &[u8]) -> Result<(), LineError>) -> Result<(), LineError> {
        let last = std::mem::take(&mut self.partial);
        if last.is_empty() { Ok(()) } else { self.line(&last, each) }
    }

    fn line(
        &mut self,
        line: &[u8],
        each: &mut impl FnMut(u64, &[u8]) -> Result<(), LineError>,
    ) -> Result<(), LineError> {
        self.number += 1;
        self.check(line.len(), self.number)?;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        each(self.number, line.strip_suffix(b"\n").unwrap_or(line))
    }

    fn check(&self, length: usize, number: u64) -> Result<(), LineError> {
        if length > LINE_LIMIT_BYTES { Err(LineError::TooLong { number }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_skipped_but_counted() {
        let mut lines = Lines::new(&b"a\n\n  \r\nb"[..]);
        assert_eq!(lines.next_line().unwrap(), Some((1, &b"a"[..])));
        assert_eq!(lines.next_line().unwrap(), Some((4, &b"b"[..])));
        assert_eq!(lines.next_line().unwrap(), None);
        assert_eq!(lines.next_line().unwrap(), None);
    }

    proptest::proptest! {
        #[test]
        fn pushed_lines_are_those_that_are_pulled(text in "[ab\n \r]{0,40}", size in 1usize..9) {
            let mut pulled = Vec::new();
            let mut lines = Lines::new(text.as_bytes());
            while let Some((number, line)) = lines.next_line().unwrap() {
                pulled.push((number, line.to_vec()));
            }
            let mut given = Vec::new();
            let mut pushed = PushedLines::default();
            let mut each = |number: u64, line: &[u8]| {
                given.push((number, line.to_vec()));
                Ok(())
            };
            for piece in text.as_bytes().chunks(size) {
                pushed.push(piece, &mut each).unwrap();
            }
            pushed.end(&mut each).unwrap();
            proptest::prop_assert_eq!(given, pulled);
        }
    }

    #[test]
    fn pushed_lines_have_the_same_limit() {
        let mut pushed = PushedLines::default();
        let piece = vec![b'x'; LINE_LIMIT_BYTES];
        pushed.push(&piece, &mut |_, _| Ok(())).unwrap();
        assert!(matches!(pushed.push(b"x", &mut |_, _| Ok(())), Err(LineError::TooLong { number: 1 })));
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        assert!(matches!(Lines::new(endless).next_line(), Err(LineError::TooLong { number: 1 })));
    }
}
