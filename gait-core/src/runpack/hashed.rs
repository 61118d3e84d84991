//! A member that is hashed while somebody reads it, a large one on a thread beside.
//!
//! Inflating and hashing take about as long as each other, and neither needs anything of the other but the bytes.

use super::container::{MemberReader, READ_BYTES};
use crate::digest::{Hasher, Sha256Hex};
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

/// For less than this a thread is not worth its start.
const BESIDE_FROM_BYTES: u64 = 2 << 20;
/// One is filled, one hashed, one on its way.
const BUFFERS: usize = 3;

/// The content of a member, and its SHA-256 once it was read to its end.
pub(crate) struct HashedMember<R: Read> {
    reader: MemberReader<R>,
    piece: Arc<Piece>,
    at: usize,
    hashing: Hashing,
}

#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    length: usize,
}

impl Piece {
    fn content(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

enum Hashing {
    Here(Hasher),
    Beside(Beside),
}

/// A thread that hashes pieces in the order in which they come, and gives them back.
struct Beside {
    pieces: Sender<Arc<Piece>>,
    done: Receiver<Arc<Piece>>,
    /// How many pieces there are.
    count: usize,
    thread: JoinHandle<Hasher>,
}

impl Beside {
    /// `None` where there is no thread to be had.
    fn start() -> Option<Self> {
        let (pieces, to_hash) = channel::<Arc<Piece>>();
        let (give_back, done) = channel();
        let hash = move || {
            let mut hasher = Hasher::new();
            for piece in to_hash {
                hasher.update(piece.content());
                // Whoever reads may have stopped.
                let _ = give_back.send(piece);
            }
            hasher
        };
        let thread = Builder::new().name("digest".into()).spawn(hash).ok()?;
        Some(Beside { pieces, done, count: 1, thread })
    }

    /// A piece that nobody uses.
    fn piece(&mut self, used: Arc<Piece>) -> io::Result<Arc<Piece>> {
        drop(used);
        if self.count < BUFFERS {
            self.count += 1;
            return Ok(Arc::default());
        }
        self.done.recv().map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that computes a digest is gone")
}

impl<R: Read> HashedMember<R> {
    /// Reads `reader`, which gives about `size` bytes.
    pub fn new(reader: MemberReader<R>, size: u64) -> Self {
        let beside = if size < BESIDE_FROM_BYTES { None } else { Beside::start() };
        let hashing = beside.map_or_else(|| Hashing::Here(Hasher::new()), Hashing::Beside);
        HashedMember { reader, piece: Arc::default(), at: 0, hashing }
    }

    /// The digest of all that was read.
    ///
    /// # Errors
    /// The thread that computes it is gone.
    pub fn finish(self) -> io::Result<Sha256Hex> {
        match self.hashing {
            Hashing::Here(hasher) => Ok(hasher.finish()),
            Hashing::Beside(Beside { pieces, thread, .. }) => {
                drop(pieces);
                Ok(thread.join().map_err(|_| gone())?.finish())
            }
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        let used = std::mem::take(&mut self.piece);
        self.at = 0;
        let mut piece = match &mut self.hashing {
            Hashing::Here(_) => used,
            Hashing::Beside(beside) => beside.piece(used)?,
        };
        if Arc::get_mut(&mut piece).is_none() {
            piece = Arc::default();
        }
        if let Some(piece) = Arc::get_mut(&mut piece) {
            piece.bytes.resize(READ_BYTES, 0);
            piece.length = read(&mut self.reader, &mut piece.bytes)?;
        }
        match &mut self.hashing {
            Hashing::Here(hasher) => hasher.update(piece.content()),
            Hashing::Beside(beside) => beside.pieces.send(Arc::clone(&piece)).map_err(|_| gone())?,
        }
        self.piece = piece;
        Ok(())
    }
}

fn read(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl<R: Read> BufRead for HashedMember<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.piece.length {
            self.refill()?;
        }
        Ok(self.piece.content().get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.piece.length);
    }
}

impl<R: Read> Read for HashedMember<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut content = self.fill_buf()?;
        let count = content.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::container::{Container, ContainerWriter};
    use std::io::Cursor;

    fn container(content: &[u8]) -> Container<Cursor<Vec<u8>>> {
        let mut writer = ContainerWriter::new(Vec::new());
        writer.member("m", content).unwrap();
        Container::open(Cursor::new(writer.finish().unwrap())).unwrap()
    }

    #[test]
    fn content_and_digest_are_the_same_here_and_beside() {
        for length in [0, 1, READ_BYTES, READ_BYTES + 1, 9 * READ_BYTES + 5] {
            let content: Vec<u8> = (0..length).map(|at| (at * at % 251) as u8).collect();
            for size in [0, BESIDE_FROM_BYTES] {
                let mut container = container(&content);
                let mut member = HashedMember::new(container.read("m").unwrap().unwrap(), size);
                assert_eq!(matches!(member.hashing, Hashing::Beside(_)), size > 0);
                let mut found = Vec::new();
                member.read_to_end(&mut found).unwrap();
                assert!(found == content, "{length} {size}");
                assert_eq!(member.finish().unwrap(), Sha256Hex::of(&content));
            }
        }
    }

    #[test]
    fn a_reader_that_stops_early_leaves_nothing_waiting() {
        let content = vec![b'x'; 20 * READ_BYTES];
        let mut container = container(&content);
        let mut member = HashedMember::new(container.read("m").unwrap().unwrap(), BESIDE_FROM_BYTES);
        member.fill_buf().unwrap();
        // What was read so far has a digest, and the thread ends.
        assert_eq!(member.finish().unwrap(), Sha256Hex::of(&content[..READ_BYTES]));
    }
}
