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
            let end = available.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
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

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        assert!(matches!(Lines::new(endless).next_line(), Err(LineError::TooLong { number: 1 })));
    }
}
