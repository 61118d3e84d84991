//! Records out of the ring.

use aya::maps::{Map, MapData, RingBuf};
use aya_log::EbpfLogger;
use gait_ebpf::record::{AT_FRONT, HEADER, Header, kind};
use rustix::fd::{AsFd, BorrowedFd};

use super::BpfError;

/// Takes records in the order in which they were reserved.
pub struct Reader {
    ring: RingBuf<MapData>,
    log: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub header: Header,
    /// Its payload.
    pub payload: &'a [u8],
}

impl Reader {
    pub(super) fn new(map: Map) -> Result<Self, BpfError> {
        let ring = RingBuf::try_from(map).map_err(|cause| BpfError::Map { map: "RECORDS", cause: Box::new(cause) })?;
        Ok(Self { ring, log: None })
    }

    /// From now on `log`, the lines of the programs for people, is emptied along.
    pub fn with_log(self, log: Option<EbpfLogger<&'static dyn log::Log>>) -> Self {
        Self { log, ..self }
    }

    /// Readable while there are records.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Hands the next record to `take`; none if there is none now. What is no record is `None` too, inside: a program of
    /// ours wrote it, so that is a fault of this guard.
    pub fn next<R>(&mut self, take: impl FnOnce(Option<Record<'_>>) -> R) -> Option<R> {
        let Some(item) = self.ring.next() else {
            if let Some(log) = &mut self.log {
                log.flush();
            }
            return None;
        };
        Some(take(parse(&item)))
    }
}

/// A record from its bytes: a header, and the payload at the end.
pub fn parse(bytes: &[u8]) -> Option<Record<'_>> {
    let head = bytes.first_chunk::<HEADER>()?;
    let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let long = |at: usize| {
        let halves = [word(at).to_ne_bytes(), word(at + 4).to_ne_bytes()];
        u64::from_ne_bytes(*halves.as_flattened().first_chunk().unwrap_or(&[0; 8]))
    };
    let header = Header {
        kind: word(0),
        size: word(4) & !AT_FRONT,
        time: long(8),
        tgid: word(16),
        tid: word(20),
        outcome: word(24),
        op: word(28),
        detail: long(32),
        extra: long(40),
    };
    if matches!(header.kind, kind::ARGUMENTS | kind::ADDRESS | kind::SPELT) || word(4) & AT_FRONT != 0 {
        // However much is padded, it starts where the header ends.
        return Some(Record { header, payload: bytes.get(HEADER..HEADER + header.size as usize)? });
    }
    let payload = bytes.len().checked_sub(header.size as usize).filter(|start| *start >= HEADER)?;
    Some(Record { header, payload: &bytes[payload..] })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of 64 bytes of this kind, with numbers from 48 on after its header.
    fn record(kind: u32, size: u32) -> Vec<u8> {
        let head = [kind, size, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].map(u32::to_ne_bytes);
        head.as_flattened().iter().copied().chain(48..64).collect()
    }

    #[test]
    fn a_payload_is_at_the_end_or_after_the_header() {
        let parsed =
            |kind, size| parse(&record(kind, size)).map(|record| (record.header.size, record.payload.to_vec()));
        assert_eq!(parsed(kind::PATH, 3), Some((3, vec![61, 62, 63])));
        assert_eq!(parsed(kind::PATH, 3 | AT_FRONT), Some((3, vec![48, 49, 50])));
        assert_eq!(parsed(kind::SPELT, 3), Some((3, vec![48, 49, 50])));
        assert_eq!(parsed(kind::PATH, 16), parsed(kind::PATH, 16 | AT_FRONT));
    }

    #[test]
    fn a_payload_that_is_not_there_is_no_record() {
        for size in [17, 17 | AT_FRONT, !AT_FRONT, u32::MAX] {
            assert_eq!(parse(&record(kind::PATH, size)), None);
        }
        assert_eq!(parse(&record(kind::PATH, 0)[..47]), None);
    }
}
