//! The decision by itself: the programs' own code, asked about subjects through `BPF_PROG_TEST_RUN`.
//!
//! Nothing is attached, and nothing of the machine is decided: it shows that the kernel decides as user space does.

use std::ops::Range;

use gait_ebpf::op::Op;
use gait_ebpf::tables::{PATH_BYTES, Tables};
use gait_ebpf::trial::{SUBJECTS, Subject};

use super::BpfError;
use super::image::Image;
use super::object::{Object, Options, Purpose};
use crate::sys::mapping::Mapping;

/// What the kernel is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The operation.
    pub op: Op,
    /// The value: at most [`PATH_BYTES`] bytes, what is longer is cut.
    pub value: &'a [u8],
    /// Where in the value its domain is, for addresses: not empty at its end.
    pub domain: Option<Range<usize>>,
    /// Where the value lies in the buffer: as the programs have it, paths end at the end of it and texts start anywhere.
    pub place: Place,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// From this byte on, or as near as it fits.
    From(usize),
    /// Its last byte is the last of the buffer.
    AtTheEnd,
}

/// Words of a [`Subject`] before its bytes.
const HEAD: usize = 6;
const WORDS: usize = size_of::<Subject>() / 4;

/// No table gives it: a subject that holds it afterwards was not decided.
const UNANSWERED: u32 = u32::MAX;

/// The loaded programs, with the tables and the subjects mapped into memory.
pub struct Trial {
    object: Object,
    tables: Mapping,
    subjects: Mapping,
}

impl Trial {
    /// Loads the programs. Only [`Trial::judge`] writes to the ring.
    ///
    /// # Errors
    /// [`BpfError`]: this kernel, or this user, can't.
    pub fn new(ring_bytes: u32) -> Result<Self, BpfError> {
        let mut object = Object::load(Options { ring_bytes, simulate: false, purpose: Purpose::Try })?;
        // Loads the program, whatever it is asked first.
        object.try_out("trial", 0, 0)?;
        let tables = object.mapping("TABLES", size_of::<Tables>())?;
        let subjects = object.mapping("SUBJECT", SUBJECTS * size_of::<Subject>())?;
        Ok(Self { object, tables, subjects })
    }

    /// Puts a policy in place of the one before.
    pub fn fill(&mut self, image: &Image) {
        image.write(self.tables.words());
    }

    /// The words of the [`Tables`] that the kernel walks.
    pub fn tables(&mut self) -> &mut [u32] {
        self.tables.words()
    }

    /// The outcome of each question, as the kernel decides it; `None` where it decided nothing.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub fn decide(&mut self, questions: &[Question<'_>]) -> Result<Vec<Option<u32>>, BpfError> {
        let mut answers = Vec::with_capacity(questions.len());
        for run in questions.chunks(SUBJECTS) {
            for (words, question) in self.subjects.words().chunks_exact_mut(WORDS).zip(run) {
                put(words, question);
            }
            self.object.try_out("trial", run.len() as u64, 0)?;
            let decided = self.subjects.words().chunks_exact(WORDS).take(run.len());
            answers.extend(decided.map(|words| words.first().copied().filter(|outcome| *outcome != UNANSWERED)));
        }
        Ok(answers)
    }

    /// Puts paths, at most [`SUBJECTS`], where [`Trial::judge`] finds them.
    pub fn put(&mut self, paths: &[&[u8]]) {
        for (words, value) in self.subjects.words().chunks_exact_mut(WORDS).zip(paths) {
            put(words, &Question { op: Op::Read, value, domain: None, place: Place::AtTheEnd });
        }
    }

    /// Reads of the first `count` paths, judged as the hooks judge an open, with a record each that bears the number
    /// `first` or one of those that follow: whether each was let through.
    ///
    /// # Errors
    /// [`BpfError::Program`]
    pub fn judge(&mut self, count: usize, first: u64) -> Result<Vec<bool>, BpfError> {
        let count = count.min(SUBJECTS);
        for words in self.subjects.words().chunks_exact_mut(WORDS).take(count) {
            words[0] = UNANSWERED;
        }
        self.object.try_out("flood", count as u64, first)?;
        Ok(self.subjects.words().chunks_exact(WORDS).take(count).map(|words| words[0] == 0).collect())
    }

    /// The programs and the ring.
    pub fn object(&mut self) -> &mut Object {
        &mut self.object
    }
}

/// Writes a subject. Around its value stays what was there before: the programs must not look at it.
fn put(words: &mut [u32], question: &Question<'_>) {
    let value = &question.value[..question.value.len().min(PATH_BYTES)];
    let last = PATH_BYTES - value.len();
    let start = match question.place {
        Place::From(start) => start.min(last),
        Place::AtTheEnd => last,
    };
    let domain = question.domain.clone().unwrap_or(0..0);
    let is_host = question.domain.is_some();
    let bound = |at: usize| if is_host { (start + at.min(value.len())) as u32 } else { 0 };
    let (head, bytes) = words.split_at_mut(HEAD);
    head.copy_from_slice(&[
        UNANSWERED,
        question.op as u32,
        start as u32,
        (start + value.len()) as u32,
        bound(domain.start),
        bound(domain.end),
    ]);
    let mut padded = vec![0; start % 4];
    padded.extend(value);
    padded.resize(padded.len().next_multiple_of(4), 0);
    for (to, four) in bytes[start / 4..].iter_mut().zip(padded.as_chunks::<4>().0) {
        *to = u32::from_ne_bytes(*four);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words[HEAD..].iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_value_lies_where_it_was_asked_for() {
        for (place, start) in [
            (Place::From(0), 0),
            (Place::From(5), 5),
            (Place::AtTheEnd, PATH_BYTES - 3),
            (Place::From(9999), PATH_BYTES - 3),
        ] {
            let mut words = vec![7; WORDS];
            put(&mut words, &Question { op: Op::Exec, value: b"abc", domain: None, place });
            assert_eq!(words[1..HEAD], [Op::Exec as u32, start as u32, start as u32 + 3, 0, 0], "{place:?}");
            assert_eq!(bytes(&words)[start..start + 3], *b"abc", "{place:?}");
        }
    }

    #[test]
    fn a_domain_is_a_part_of_its_value() {
        let mut words = vec![0; WORDS];
        put(
            &mut words,
            &Question { op: Op::ConnectHttp, value: b"[::1]:80", domain: Some(1..4), place: Place::From(8) },
        );
        assert_eq!(words[2..HEAD], [8, 16, 9, 12]);
    }

    #[test]
    fn a_value_that_is_too_long_is_cut() {
        let mut words = vec![0; WORDS];
        let long = vec![b'x'; PATH_BYTES + 10];
        put(&mut words, &Question { op: Op::Read, value: &long, domain: None, place: Place::AtTheEnd });
        assert_eq!(words[2..4], [0, PATH_BYTES as u32]);
        assert_eq!(bytes(&words)[..PATH_BYTES], long[..PATH_BYTES]);
    }
}
