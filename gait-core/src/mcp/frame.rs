//! Bytes of a pipe to frames: one message on one line, of bounded length.

use super::skim::{Found, Skim};

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line without its line break.
    Line(Vec<u8>),
    /// A line that is longer than the limit. Its bytes are gone.
    TooLong {
        /// How long it is, in bytes.
        length: u64,
        /// Whom to tell.
        found: Found,
    },
}

/// Cuts a stream at line feeds. Holds at most one line of the limit's length.
#[derive(Debug)]
pub struct Framer {
    limit: usize,
    line: Vec<u8>,
    /// The line that is being dropped: its length so far, and what was seen of it.
    dropped: Option<(u64, Skim)>,
}

impl Framer {
    /// For lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), dropped: None }
    }

    /// Takes bytes as they come, and gives each line that they complete to `each`.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Frame)) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|&byte| byte == b'\n') {
            self.extend(&rest[..at]);
            each(self.cut());
            rest = &rest[at + 1..];
        }
        self.extend(rest);
    }

    /// The last line of a stream that ended without a line break, if there is one.
    pub fn finish(&mut self) -> Option<Frame> {
        let is_empty = self.line.is_empty() && self.dropped.is_none();
        (!is_empty).then(|| self.cut())
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.dropped.is_none() && self.line.len() + bytes.len() > self.limit {
            let mut skim = Skim::default();
            skim.pass(&self.line);
            self.dropped = Some((self.line.len() as u64, skim));
            // Room that a long line took is given back.
            self.line = Vec::new();
        }
        match &mut self.dropped {
            Some((length, skim)) => {
                *length += bytes.len() as u64;
                skim.pass(bytes);
            }
            None => self.line.extend_from_slice(bytes),
        }
    }

    fn cut(&mut self) -> Frame {
        match self.dropped.take() {
            Some((length, skim)) => Frame::TooLong { length, found: skim.found() },
            None => Frame::Line(std::mem::take(&mut self.line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(limit: usize, pieces: &[&[u8]]) -> Vec<Frame> {
        let (mut framer, mut frames) = (Framer::new(limit), Vec::new());
        pieces.iter().for_each(|piece| framer.push(piece, |frame| frames.push(frame)));
        frames.extend(framer.finish());
        frames
    }

    fn line(text: &str) -> Frame {
        Frame::Line(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_are_cut_at_line_feeds_only() {
        assert_eq!(frames(9, &[b"a\r\n\n", b"b", b"c\n"]), [line("a\r"), line(""), line("bc")]);
        assert_eq!(frames(9, &[b"a\nend"]), [line("a"), line("end")]);
        assert_eq!(frames(9, &[]), []);
    }

    #[test]
    fn a_line_over_the_limit_is_dropped_and_the_next_one_is_whole() {
        let found = Found { id: Some(b"5".to_vec()), has_method: false };
        let long = br#"{"id":5,"x":"................"}"#;
        let length = long.len() as u64;
        assert_eq!(frames(8, &[long, b"\nnext\n"]), [Frame::TooLong { length, found: found.clone() }, line("next")]);
        assert_eq!(frames(length as usize, &[long]), [Frame::Line(long.to_vec())]);
        assert_eq!(frames(8, &[long]), [Frame::TooLong { length, found }]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_reads_end(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in prop::collection::vec(0usize..200, 0..9),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let whole = frames(12, &[&bytes]);
            prop_assert_eq!(frames(12, &pieces), whole.clone());
            let total: u64 = whole.iter().map(|frame| match frame {
                Frame::Line(line) => line.len() as u64,
                Frame::TooLong { length, .. } => *length,
            }).sum();
            prop_assert_eq!(total, bytes.iter().filter(|&&byte| byte != b'\n').count() as u64);
        }
    }
}
