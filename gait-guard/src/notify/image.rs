//! What an exec is to start, as judged from the call, and what it did start, as the kernel has it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::program;
use crate::event::{Action, Actor, ExecObject, SystemObject, Via};
use crate::session::{DecidedExec, ExecEnd, Floor, Judge, Ruling};

/// A file's device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

/// A program file by handle: which file it is, and what it is called.
#[derive(Clone, Debug)]
pub struct Program {
    /// Which file.
    pub id: FileId,
    /// Its name, or that it has none.
    pub object: ExecObject<'static>,
}

impl Program {
    /// Names the object of an `O_PATH` handle.
    ///
    /// # Errors
    /// Those of looking at it; `ENAMETOOLONG` for a path that the kernel can't print.
    pub fn of(handle: impl AsFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(&handle)?;
        let link = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
        let name = rustix::fs::readlink(link, Vec::new())?.into_bytes();
        let id = FileId { device: stat.st_dev, inode: stat.st_ino };
        let object = match nameless(&name, id, stat.st_nlink) {
            Some(given) => ExecObject::Memory(Cow::Owned(given)),
            None => ExecObject::Path(Cow::Owned(name)),
        };
        Ok(Self { id, object })
    }

    /// The name for the journal.
    pub fn name(&self) -> &[u8] {
        match &self.object {
            ExecObject::Path(name) | ExecObject::Memory(name) => name,
        }
    }
}

/// The name that a file without one was given: a memory file, `O_TMPFILE`, or one that was unlinked.
/// A file whose name really ends in ` (deleted)` has one.
fn nameless(name: &[u8], id: FileId, links: u64) -> Option<Vec<u8>> {
    let given = name.strip_suffix(b" (deleted)".as_slice());
    if links > 0 && (given.is_none() || leads_to(name, id)) {
        return None;
    }
    let given = given.unwrap_or(name);
    let given = given.strip_prefix(b"/memfd:".as_slice()).unwrap_or(given);
    let last = given.rsplit(|&b| b == b'/').next().unwrap_or(given);
    // O_TMPFILE calls it by its inode, which differs from run to run.
    let numbered = last.strip_prefix(b"#").is_some_and(|digits| digits.iter().all(u8::is_ascii_digit));
    Some(if numbered { Vec::new() } else { given.to_vec() })
}

fn leads_to(name: &[u8], id: FileId) -> bool {
    rustix::fs::statat(rustix::fs::CWD, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileId { device: stat.st_dev, inode: stat.st_ino } == id)
}

/// What was judged before the exec.
#[derive(Clone, Debug)]
pub struct Image {
    /// The file that will run: for a script, the interpreter at the end of the chain.
    pub runs: FileId,
    /// What that file is called.
    pub object: ExecObject<'static>,
    /// The argument vector that it will get.
    pub arguments: Vec<Vec<u8>>,
    /// The script that was called, if it was one.
    pub script: Option<Script>,
}

/// A script that was judged.
#[derive(Clone, Debug)]
pub struct Script {
    /// How the kernel will spell it (`AT_EXECFN`).
    pub called: Vec<u8>,
    /// Which file.
    pub id: FileId,
}

/// What becomes of a process that is stopped at its exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Runs,
    /// It must not.
    Dies,
}

/// What a stopped process has really started.
struct Started {
    program: Program,
    arguments: Vec<Vec<u8>>,
    called: Vec<u8>,
    /// The ELF interpreter: the loader of shared libraries.
    loader: Option<Program>,
}

impl Image {
    /// Compares what `pid`, stopped at its exec, has started with what was judged; judges what is
    /// different or could not be known before; records what now runs.
    pub fn inspect(&self, judge: &dyn Judge, pid: i32) -> Verdict {
        let started = Started::read(pid);
        let verdict = self.decide(judge, pid, started.as_ref().ok());
        if judge.is_watching() {
            let found =
                started.ok().map(|started| decided(started.program.id, &started.program.object, started.arguments));
            judge.exec_ends(pid, ExecEnd::Looked(found));
        }
        verdict
    }

    /// What was judged, for whoever else saw it.
    pub fn decided(&self) -> DecidedExec {
        decided(self.runs, &self.object, self.arguments.clone())
    }

    fn decide(&self, judge: &dyn Judge, pid: i32, started: Option<&Started>) -> Verdict {
        let actor = Actor { tid: pid };
        let Some(started) = started else {
            let object = SystemObject { class: "process", detail: "unreadable" };
            judge.deny(actor, &Action::System { name: "execve", object }, Floor::Unreadable);
            return Verdict::Dies;
        };
        if !self.is(started, pid) && !judge_again(judge, actor, started, pid) {
            return Verdict::Dies;
        }
        if let Some(loader) = &started.loader
            && !allows(judge, actor, &loader.object, &started.arguments, Some(Via::Interpreter))
        {
            return Verdict::Dies;
        }
        judge.executed(actor, started.program.name(), &started.arguments);
        Verdict::Runs
    }

    fn is(&self, started: &Started, pid: i32) -> bool {
        if self.runs != started.program.id || self.arguments != started.arguments {
            return false;
        }
        match &self.script {
            None => true,
            Some(script) => {
                script.called == started.called
                    && called_file(pid, &started.called).is_ok_and(|file| file.id == script.id)
            }
        }
    }
}

fn decided(file: FileId, object: &ExecObject<'static>, arguments: Vec<Vec<u8>>) -> DecidedExec {
    let path = match object {
        ExecObject::Path(path) => Some(path.to_vec()),
        ExecObject::Memory(_) => None,
    };
    DecidedExec { path, inode: file.inode, arguments }
}

fn allows(
    judge: &dyn Judge,
    actor: Actor,
    object: &ExecObject<'static>,
    arguments: &[Vec<u8>],
    via: Option<Via>,
) -> bool {
    let action = Action::Exec { object: object.clone(), argv: arguments.to_vec(), via };
    judge.judge(actor, &action) == Ruling::Allow
}

/// Somebody changed the path or the arguments while the call was judged.
fn judge_again(judge: &dyn Judge, actor: Actor, started: &Started, pid: i32) -> bool {
    let Ok(called) = called_file(pid, &started.called) else {
        let object = SystemObject { class: "process", detail: "unreadable" };
        judge.deny(actor, &Action::System { name: "execve", object }, Floor::Unresolved);
        return false;
    };
    if called.id == started.program.id {
        return allows(judge, actor, &called.object, &started.arguments, None);
    }
    allows(judge, actor, &called.object, &started.arguments, None)
        && allows(judge, actor, &started.program.object, &started.arguments, Some(Via::Interpreter))
}

/// The file that the kernel's spelling of the path leads to, seen by the process.
fn called_file(pid: i32, called: &[u8]) -> Result<Program, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let open = |path: PathBuf| rustix::fs::open(path, flags, Mode::empty());
    let bytes =
        |bytes: &[u8]| Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes)).to_path_buf();
    // What names the caller means the process, not us.
    let own = [("/dev/fd/", "fd"), ("/proc/self/", ""), ("/proc/thread-self/", "")];
    let own = own.iter().find_map(|(prefix, folder)| Some((called.strip_prefix(prefix.as_bytes())?, folder)));
    let handle = match own {
        Some((rest, folder)) => open(Path::new(&format!("/proc/{pid}/{folder}")).join(bytes(rest)))?,
        None => {
            let cwd = open(PathBuf::from(format!("/proc/{pid}/cwd")))?;
            rustix::fs::openat(&cwd, bytes(called), flags, Mode::empty())?
        }
    };
    Program::of(handle)
}

impl Started {
    fn read(pid: i32) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let handle: OwnedFd = rustix::fs::open(format!("/proc/{pid}/exe"), flags, Mode::empty())?;
        let program = Program::of(&handle)?;
        let arguments = program::arguments(pid)?;
        let called = program::executed_path(pid)?;
        let loader = loader(pid, &handle)?;
        Ok(Self { program, arguments, called, loader })
    }
}

/// The file beside the program that is mapped at its exec: the kernel maps only its ELF interpreter.
///
/// Maps names its files by text. A text that could mean two files means neither.
fn loader(pid: i32, program: &OwnedFd) -> Result<Option<Program>, Errno> {
    let maps = std::fs::read(format!("/proc/{pid}/maps")).map_err(|_| Errno::PERM)?;
    let own = rustix::fs::readlink(format!("/proc/self/fd/{}", program.as_raw_fd()), Vec::new())?.into_bytes();
    let Some(other) = program::mapped(&maps).into_iter().find(|mapped| mapped.name != own) else {
        return Ok(None);
    };
    let id = FileId { device: other.file.0, inode: other.file.1 };
    let object = match other.name.strip_suffix(b" (deleted)".as_slice()) {
        Some(given) => ExecObject::Memory(Cow::Owned(given.to_vec())),
        None if other.name.contains(&b'\n') => return Err(Errno::INVAL),
        None => ExecObject::Path(Cow::Owned(other.name)),
    };
    Ok(Some(Program { id, object }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_file_has_no_path() {
        let file = rustix::fs::memfd_create("tool", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let program = Program::of(&file).unwrap();
        assert_eq!(program.object, ExecObject::Memory(Cow::Borrowed(b"tool")));
    }

    #[test]
    fn an_unlinked_file_has_no_path_and_one_that_looks_unlinked_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x (deleted)");
        let file = std::fs::File::create(&path).unwrap();
        assert!(matches!(Program::of(&file).unwrap().object, ExecObject::Path(_)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Program::of(&file).unwrap().object, ExecObject::Memory(_)));
    }

    #[test]
    fn a_file_that_never_had_a_name_is_the_same_in_every_run() {
        let folder = rustix::fs::open("/tmp", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, ".", flags, Mode::RWXU).unwrap();
        assert_eq!(Program::of(&file).unwrap().object, ExecObject::Memory(Cow::Borrowed(b"")));
    }

    #[test]
    fn an_unlinked_name_of_a_file_that_has_another_is_no_path() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let file = std::fs::File::create(&one).unwrap();
        std::fs::hard_link(&one, &two).unwrap();
        std::fs::remove_file(&one).unwrap();
        assert!(matches!(Program::of(&file).unwrap().object, ExecObject::Memory(_)));
    }
}
