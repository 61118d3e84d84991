//! Whether each program that the kernel started is one that the supervisor saw through.
//!
//! Both sides tell of each exec: the tracepoint into the ring, the tracer here. The tracer announces an exec before it
//! lets the call go on, and says what it found before it lets the program run, so at a record without an announcement
//! nobody decided it. What the tracer says and what the record says are compared in the order of each process.

use std::collections::{HashMap, VecDeque};

use super::ExecEnd;
use crate::bpf::watch::Image;

/// An exec that the supervisor saw through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The path of the program; `None` if it has none.
    pub path: Option<Vec<u8>>,
    /// Its inode.
    pub inode: u64,
    /// Its arguments.
    pub arguments: Vec<Vec<u8>>,
}

/// What was told about execs, until the other side tells the same.
#[derive(Default)]
pub struct Witness {
    books: HashMap<i32, Book>,
    /// What the kernel's paths have before the guard's: something only in a `chroot`. Known from the first program, which
    /// the guard itself starts.
    prefix: Option<Vec<u8>>,
}

/// Execs of one process.
#[derive(Default)]
struct Book {
    /// Announced, and not ended yet.
    under_way: u32,
    /// Found by the tracer; `None`: it was killed before its first instruction, whatever it was.
    told: VecDeque<Option<Decided>>,
    /// Recorded by the tracepoint.
    seen: VecDeque<Image>,
    /// Decided, and killed before the tracer could look: each may have been recorded or not.
    killed: VecDeque<Decided>,
}

/// Killed execs of one process that are remembered: more can only be made by a process that dies many times.
const MOST_KILLED: usize = 64;

impl Witness {
    /// The tracer is about to let an exec of a process happen.
    pub fn begun(&mut self, tgid: i32) {
        self.books.entry(tgid).or_default().under_way += 1;
    }

    /// How that ended. Gives the programs that nobody decided.
    pub fn ended(&mut self, tgid: i32, end: ExecEnd) -> Vec<Image> {
        let book = self.books.entry(tgid).or_default();
        book.under_way = book.under_way.saturating_sub(1);
        match end {
            ExecEnd::Failed => {}
            ExecEnd::Looked(found) => book.told.push_back(found),
            ExecEnd::Killed(decided) => {
                if book.killed.len() == MOST_KILLED {
                    book.killed.pop_front();
                }
                book.killed.push_back(decided);
            }
        }
        self.settle(tgid)
    }

    /// The tracepoint recorded a program. Gives those that nobody decided.
    pub fn seen(&mut self, image: Image) -> Vec<Image> {
        let tgid = image.tgid;
        self.books.entry(tgid).or_default().seen.push_back(image);
        self.settle(tgid)
    }

    /// The process ended: all that it ran was told, but for what was killed while it started.
    pub fn exited(&mut self, tgid: i32) {
        if self.books.get(&tgid).is_some_and(|book| book.under_way == 0 && book.seen.is_empty()) {
            self.books.remove(&tgid);
        }
    }

    /// Nothing more will be told. Gives the programs that nobody decided.
    pub fn closed(&mut self) -> Vec<Image> {
        let processes: Vec<i32> = self.books.keys().copied().collect();
        let mut strangers = Vec::new();
        for tgid in processes {
            if let Some(book) = self.books.get_mut(&tgid) {
                book.under_way = 0;
            }
            strangers.extend(self.settle(tgid));
        }
        strangers
    }

    fn settle(&mut self, tgid: i32) -> Vec<Image> {
        let Self { books, prefix } = self;
        let Some(book) = books.get_mut(&tgid) else { return Vec::new() };
        let mut strangers = Vec::new();
        while !book.told.is_empty() && !book.seen.is_empty() {
            if let (Some(told), Some(seen)) = (book.told.pop_front(), book.seen.pop_front())
                && told.is_some_and(|decided| !is_same(&decided, &seen, prefix))
            {
                strangers.push(seen);
            }
        }
        if book.under_way > 0 {
            return strangers;
        }
        while let Some(seen) = book.seen.pop_front() {
            match book.killed.iter().position(|decided| is_same(decided, &seen, prefix)) {
                Some(at) => drop(book.killed.remove(at)),
                None => strangers.push(seen),
            }
        }
        if book.told.is_empty() && book.killed.is_empty() {
            books.remove(&tgid);
        }
        strangers
    }
}

/// Whether what was decided is what ran.
///
/// A file has a path and an inode number, and each can differ where the file does not: it may be renamed between the two
/// looks, and on stacked file systems `stat` gives another number than the kernel has. So one of the two has to be equal.
/// The arguments have to be in any case, as far as they were recorded.
fn is_same(decided: &Decided, seen: &Image, prefix: &mut Option<Vec<u8>>) -> bool {
    has_arguments(decided, seen) && is_file(decided, seen, prefix)
}

fn has_arguments(decided: &Decided, seen: &Image) -> bool {
    let Some(arguments) = &seen.arguments else { return true };
    let length: usize = decided.arguments.iter().map(|argument| argument.len() + 1).sum();
    let mut all = decided.arguments.iter().flat_map(|argument| argument.iter().chain([&0]));
    length as u64 == arguments.whole && arguments.bytes.iter().all(|byte| all.next() == Some(byte))
}

fn is_file(decided: &Decided, seen: &Image, prefix: &mut Option<Vec<u8>>) -> bool {
    let (Some(path), Some(full)) = (&decided.path, &seen.path) else {
        // A file without a name: its number is all that there is, where the kernel side could read it.
        return decided.inode == seen.inode || seen.inode == 0 || decided.path.is_none();
    };
    if let Some(before) = full.strip_suffix(path.as_slice())
        && before == prefix.get_or_insert_with(|| before.to_vec()).as_slice()
    {
        return true;
    }
    decided.inode == seen.inode
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::watch::Arguments;

    fn decided(path: &str, inode: u64, arguments: &[&str]) -> Decided {
        let arguments = arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        Decided { path: Some(path.into()), inode, arguments }
    }

    fn image(tgid: i32, path: &str, inode: u64, arguments: &[&str]) -> Image {
        let bytes: Vec<u8> = arguments.iter().flat_map(|argument| [argument.as_bytes(), b"\0"].concat()).collect();
        let whole = bytes.len() as u64;
        Image { tgid, path: Some(path.into()), inode, arguments: Some(Arguments { bytes, whole }) }
    }

    const LS: (&str, u64, &[&str]) = ("/bin/ls", 5, &["ls", "-l"]);

    fn ls() -> Decided {
        decided(LS.0, LS.1, LS.2)
    }

    fn saw_ls(tgid: i32) -> Image {
        image(tgid, LS.0, LS.1, LS.2)
    }

    #[test]
    fn an_exec_that_was_decided_is_no_stranger_whoever_tells_first() {
        let mut witness = Witness::default();
        witness.begun(7);
        assert!(witness.seen(saw_ls(7)).is_empty());
        assert!(witness.ended(7, ExecEnd::Looked(Some(ls()))).is_empty());
        witness.begun(7);
        assert!(witness.ended(7, ExecEnd::Looked(Some(ls()))).is_empty());
        assert!(witness.seen(saw_ls(7)).is_empty());
        assert!(witness.books.is_empty() && witness.closed().is_empty());
    }

    #[test]
    fn an_exec_that_nobody_announced_is_a_stranger_at_once() {
        let mut witness = Witness::default();
        assert_eq!(witness.seen(saw_ls(7)), [saw_ls(7)]);
        // Nor does the exec of another process vouch for it.
        witness.begun(8);
        assert_eq!(witness.seen(saw_ls(7)), [saw_ls(7)]);
    }

    #[test]
    fn other_arguments_or_another_file_are_strangers() {
        for (path, inode, arguments) in [
            ("/bin/ls", 5, &["ls", "-L"][..]),
            ("/bin/ls", 5, &["ls"]),
            ("/bin/ls", 5, &["ls", "-l", "x"]),
            ("/bin/sh", 6, &["ls", "-l"]),
        ] {
            let mut witness = Witness::default();
            witness.begun(7);
            let seen = image(7, path, inode, arguments);
            assert!(witness.seen(seen.clone()).is_empty());
            assert_eq!(witness.ended(7, ExecEnd::Looked(Some(ls()))), [seen], "{path} {arguments:?}");
        }
    }

    #[test]
    fn a_renamed_file_and_a_stacked_file_system_are_the_same_file() {
        let mut witness = Witness::default();
        for seen in [image(7, "/bin/renamed", 5, LS.2), image(7, "/bin/ls", 99, LS.2)] {
            witness.begun(7);
            assert!(witness.seen(seen).is_empty());
            assert!(witness.ended(7, ExecEnd::Looked(Some(ls()))).is_empty());
        }
    }

    #[test]
    fn in_a_chroot_the_paths_differ_by_one_prefix() {
        let mut witness = Witness::default();
        let mut run = |seen: Image| {
            witness.begun(7);
            witness.seen(seen);
            witness.ended(7, ExecEnd::Looked(Some(ls())))
        };
        assert!(run(image(7, "/jail/bin/ls", 99, LS.2)).is_empty());
        assert!(run(image(7, "/jail/bin/ls", 99, LS.2)).is_empty());
        assert_eq!(run(image(7, "/tmp/bin/ls", 99, LS.2)).len(), 1);
        assert_eq!(run(image(7, "/bin/ls", 99, LS.2)).len(), 1);
    }

    #[test]
    fn a_failed_exec_vouches_for_nothing() {
        let mut witness = Witness::default();
        witness.begun(7);
        assert!(witness.ended(7, ExecEnd::Failed).is_empty());
        assert_eq!(witness.seen(saw_ls(7)).len(), 1);
    }

    #[test]
    fn one_killed_while_it_started_may_have_been_recorded_or_not() {
        let mut witness = Witness::default();
        witness.begun(7);
        assert!(witness.seen(saw_ls(7)).is_empty());
        assert!(witness.ended(7, ExecEnd::Killed(ls())).is_empty());
        witness.exited(7);
        assert!(witness.books.is_empty());
        // The record comes later, and vouches for nothing but what was decided.
        witness.begun(7);
        assert!(witness.ended(7, ExecEnd::Killed(ls())).is_empty());
        assert_eq!(witness.seen(image(7, "/bin/sh", 6, &["sh"])).len(), 1);
        assert!(witness.seen(saw_ls(7)).is_empty());
        assert_eq!(witness.seen(saw_ls(7)).len(), 1, "once");
    }

    #[test]
    fn of_two_threads_that_exec_one_is_lost() {
        let mut witness = Witness::default();
        witness.begun(7);
        witness.begun(7);
        assert!(witness.seen(image(7, "/bin/sh", 6, &["sh"])).is_empty());
        assert!(witness.ended(7, ExecEnd::Killed(ls())).is_empty());
        assert!(witness.ended(7, ExecEnd::Looked(Some(decided("/bin/sh", 6, &["sh"])))).is_empty());
        assert!(witness.closed().is_empty());
    }

    #[test]
    fn what_is_left_at_the_end_is_a_stranger() {
        let mut witness = Witness::default();
        witness.begun(7);
        assert!(witness.seen(saw_ls(7)).is_empty());
        assert_eq!(witness.closed(), [saw_ls(7)]);
    }

    #[test]
    fn arguments_are_compared_as_far_as_they_were_recorded() {
        let long = "x".repeat(5000);
        let decided = decided("/bin/ls", 5, &["ls", &long]);
        let mut seen = image(7, "/bin/ls", 5, &["ls", &long]);
        if let Some(arguments) = &mut seen.arguments {
            arguments.bytes.truncate(4096);
        }
        assert!(has_arguments(&decided, &seen));
        if let Some(arguments) = &mut seen.arguments {
            arguments.whole -= 1;
        }
        assert!(!has_arguments(&decided, &seen));
        seen.arguments = None;
        assert!(has_arguments(&decided, &seen), "unreadable says nothing");
        let empty = Decided { arguments: vec![Vec::new()], ..decided };
        assert!(has_arguments(&empty, &image(7, "/bin/ls", 5, &[""])));
    }
}
