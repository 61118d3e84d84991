//! Raw deflate streams, read piece by piece.

use flate2::{Decompress, FlushDecompress, Status};
use std::io::{self, Read};

/// Inflates what `source` gives.
pub(super) struct Inflater<R> {
    source: R,
    state: Decompress,
    input: Box<[u8]>,
    start: usize,
    end: usize,
    done: bool,
}

impl<R: Read> Inflater<R> {
    pub(super) fn new(source: R) -> Self {
        Inflater {
            source,
            state: Decompress::new(false),
            input: vec![0; 1 << 15].into_boxed_slice(),
            start: 0,
            end: 0,
            done: false,
        }
    }

    fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.end {
            self.start = 0;
            self.end = self.source.read(&mut self.input)?;
        }
        Ok(self.end > self.start)
    }
}

impl<R: Read> Read for Inflater<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while !self.done {
            let more = self.fill()?;
            let input = self.input.get(self.start..self.end).unwrap_or_default();
            let (consumed, written) = (self.state.total_in(), self.state.total_out());
            let step = self.state.decompress(input, buffer, FlushDecompress::None);
            let used = usize::try_from(self.state.total_in() - consumed).unwrap_or(0);
            let given = usize::try_from(self.state.total_out() - written).unwrap_or(0);
            self.start += used;
            match step {
                Ok(Status::StreamEnd) => self.done = true,
                Ok(_) if used > 0 || given > 0 => {}
                Ok(_) if !more => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => return Err(corrupt(self.state.total_in())),
            }
            if given > 0 {
                return Ok(given);
            }
        }
        Ok(0)
    }
}

fn corrupt(at: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("flate: corrupt input before offset {at}"))
}
