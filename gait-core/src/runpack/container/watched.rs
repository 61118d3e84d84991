//! Raw deflate streams of which it matters how they end.
//!
//! Slower than [`super::inflate`]: what it knows of the end takes a decoder whose state can be kept.

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use std::io::{self, Read};

/// Inflates what `source` gives, and remembers its end.
pub(super) struct WatchedInflater<R> {
    source: R,
    state: Box<InflateState>,
    input: Box<[u8]>,
    start: usize,
    end: usize,
    done: bool,
    consumed: u64,
    /// The stream as it was before its last byte, and that byte; kept only for [`WatchedInflater::tail_is_clean`].
    tail: Option<Tail>,
    tail_at: Option<u64>,
}

struct Tail {
    before: Box<InflateState>,
    byte: u8,
}

impl<R: Read> WatchedInflater<R> {
    /// For a stream of `length` bytes, whose end [`WatchedInflater::tail_is_clean`] can judge afterwards.
    pub(super) fn new(source: R, length: u64) -> Self {
        WatchedInflater {
            source,
            state: InflateState::new_boxed(DataFormat::Raw),
            input: vec![0; 1 << 15].into_boxed_slice(),
            start: 0,
            end: 0,
            done: false,
            consumed: 0,
            tail: None,
            tail_at: length.checked_sub(1),
        }
    }

    /// Compressed bytes used so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Whether the stream has ended by itself.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the bits of the last byte after the end of the stream are zero.
    ///
    /// They mean nothing, so they could be changed without changing the content. Which bits those are is found by
    /// trying: if the byte with some of its upper bits cleared ends the stream with the same content, they are.
    pub(super) fn tail_is_clean(&self) -> bool {
        let Some(Tail { before, byte }) = &self.tail else {
            return false;
        };
        let content = content_with(before, *byte);
        let mut cleared: Vec<u8> = (0..8).map(|bits| byte & ((1u8 << bits) - 1)).filter(|less| less != byte).collect();
        cleared.dedup();
        content.is_some() && cleared.into_iter().all(|byte| content_with(before, byte) != content)
    }

    fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.end {
            self.start = 0;
            self.end = self.source.read(&mut self.input)?;
        }
        Ok(self.end > self.start)
    }

    /// How much of the input may be used now: never across the last byte while the tail is watched.
    fn usable(&self) -> usize {
        match self.tail_at {
            Some(at) if self.consumed < at => {
                let left = usize::try_from(at - self.consumed).unwrap_or(usize::MAX);
                self.end.min(self.start.saturating_add(left))
            }
            _ => self.end,
        }
    }
}

/// What the stream with this last byte still gives; `None` if it does not end there.
fn content_with(before: &InflateState, byte: u8) -> Option<Vec<u8>> {
    let mut state = Box::new(before.clone());
    let (mut content, mut output) = (Vec::new(), vec![0; 1 << 12]);
    let mut input: &[u8] = &[byte];
    loop {
        let step = inflate(&mut state, input, &mut output, MZFlush::None);
        input = input.get(step.bytes_consumed..).unwrap_or_default();
        content.extend_from_slice(output.get(..step.bytes_written).unwrap_or_default());
        match step.status {
            Ok(MZStatus::StreamEnd) => return Some(content),
            Ok(_) if step.bytes_consumed > 0 || step.bytes_written > 0 => {}
            _ => return None,
        }
    }
}

impl<R: Read> Read for WatchedInflater<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while !self.done {
            let more = self.fill()?;
            if self.tail.is_none() && self.tail_at == Some(self.consumed) && more {
                let byte = self.input.get(self.start).copied().unwrap_or(0);
                self.tail = Some(Tail { before: self.state.clone(), byte });
            }
            let input = self.input.get(self.start..self.usable()).unwrap_or_default();
            let step = inflate(&mut self.state, input, buffer, MZFlush::None);
            self.start += step.bytes_consumed;
            self.consumed += step.bytes_consumed as u64;
            let progress = step.bytes_consumed > 0 || step.bytes_written > 0;
            match step.status {
                Ok(MZStatus::StreamEnd) => self.done = true,
                Ok(_) | Err(MZError::Buf) if progress => {}
                Ok(_) | Err(MZError::Buf) if !more => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => return Err(corrupt(self.consumed)),
            }
            if step.bytes_written > 0 {
                return Ok(step.bytes_written);
            }
        }
        Ok(0)
    }
}

fn corrupt(at: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("flate: corrupt input before offset {at}"))
}
