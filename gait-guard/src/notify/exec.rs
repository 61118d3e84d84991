//! `execve` and `execveat`: the file is resolved and judged before the kernel sees it, and again by
//! the [`super::tracer`] when it has been started.

use std::fs::File;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::agent::{AT_FDCWD, Agent, PathBuffer, Stop};
use super::image::{Image, Program, Script};
use super::program;
use super::resolve::Last;
use super::tracer::Job;
use super::{Call, Context, Reply};
use crate::event::{Action, ExecObject, PathOp, Via};
use crate::session::{Floor, Ruling};

/// Scripts that name scripts: the kernel follows this many (`BINPRM` recursion, `ELOOP` above).
const DEEPEST: usize = 5;
const AT_EXECVE_CHECK: i32 = 0x1_0000;
/// The kernel gives a single argument at most this (`MAX_ARG_STRLEN`).
const LONGEST_ARGUMENT: usize = 32 * 4096;

/// What the call names.
struct Request {
    dirfd: i32,
    path: u64,
    arguments: u64,
    flags: i32,
}

impl Request {
    fn of(call: &Call) -> Self {
        if call.nr == libc::SYS_execve {
            Self { dirfd: AT_FDCWD, path: call.args[0], arguments: call.args[1], flags: 0 }
        } else {
            Self { dirfd: call.int(0), path: call.args[1], arguments: call.args[2], flags: call.int(4) }
        }
    }
}

/// Decides an exec, and hands it to the tracer if it may go on.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    match prepare(context, call, &Request::of(call)) {
        Ok(image) => {
            context.tracer.hand(Job { call: *call, image });
            Reply::Handed
        }
        Err(stop) => Reply::Errno(stopped(context, call, stop)),
    }
}

/// Records a refusal that needed no policy.
fn stopped(context: &Context, call: &Call, stop: Stop) -> Errno {
    match stop {
        Stop::Errno(errno) => errno,
        Stop::Floor(floor, path) => {
            let object = ExecObject::Path(path.into());
            context.judge.deny(call.actor(), &Action::Exec { object, argv: Vec::new(), via: None }, floor)
        }
        Stop::Unresolved(why, floor) => {
            context.judge.deny(call.actor(), &Action::Unresolved { op: PathOp::Map, why }, floor)
        }
    }
}

fn prepare(context: &mut Context, call: &Call, request: &Request) -> Result<Image, Stop> {
    if request.flags & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | AT_EXECVE_CHECK) != 0 {
        return Err(Errno::INVAL.into());
    }
    let agent = context.agent(call.tid);
    let mut path = PathBuffer::new();
    agent.path(request.path, &mut path)?;
    let handle = open(context, &agent, request, path.as_bytes())?;
    let unexecutable = runnable(&handle, request.flags)?;
    let mut arguments = arguments(&agent, request.arguments)?;
    if arguments.is_empty() {
        // The kernel makes up an empty name for the program (Linux 5.18).
        arguments.push(Vec::new());
    }
    let called = called(request, path.as_bytes());
    let image = judge_chain(context, call, handle, arguments, called)?;
    unexecutable.map_or(Ok(image), |errno| Err(errno.into()))
}

fn open(context: &Context, agent: &Agent<'_>, request: &Request, path: &[u8]) -> Result<OwnedFd, Stop> {
    if path.is_empty() {
        if request.flags & libc::AT_EMPTY_PATH == 0 {
            return Err(Errno::NOENT.into());
        }
        return agent.base(request.dirfd);
    }
    let last = if request.flags & libc::AT_SYMLINK_NOFOLLOW == 0 { Last::Follow } else { Last::Keep };
    context.lookup(agent, request.dirfd, path, last)
}

/// What the kernel checks about a file before it asks whether it may be executed: such a call fails
/// whatever the policy says, so nothing is decided. The exception is a program on a mount without execution, for that
/// is how the agent holds files that it may not execute: the error it will get is given back, to be told after the verdict.
fn runnable(handle: &OwnedFd, flags: i32) -> Result<Option<Errno>, Stop> {
    const ANY_EXECUTE: u32 = 0o111;
    let mode = rustix::fs::fstat(handle)?.st_mode;
    let kind = FileType::from_raw_mode(mode);
    if kind == FileType::Symlink && flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
        return Err(Errno::LOOP.into());
    }
    if kind != FileType::RegularFile {
        return Err(Errno::ACCESS.into());
    }
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    match rustix::fs::accessat(CWD, link, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(None),
        Err(Errno::ACCESS) if mode & ANY_EXECUTE != 0 => Ok(Some(Errno::ACCESS)),
        Err(errno) => Err(errno.into()),
    }
}

/// How the kernel will spell the path to the new program (`AT_EXECFN`, `fs/exec.c` `alloc_bprm`).
fn called(request: &Request, path: &[u8]) -> Vec<u8> {
    if request.dirfd == AT_FDCWD || path.first() == Some(&b'/') {
        return path.to_vec();
    }
    let mut called = format!("/dev/fd/{}", request.dirfd).into_bytes();
    if !path.is_empty() {
        called.push(b'/');
        called.extend_from_slice(path);
    }
    called
}

/// Judges the file that was named and, for a script, each interpreter.
fn judge_chain(
    context: &mut Context,
    call: &Call,
    handle: OwnedFd,
    mut arguments: Vec<Vec<u8>>,
    called: Vec<u8>,
) -> Result<Image, Stop> {
    let mut handle = handle;
    let mut program = Program::of(&handle)?;
    judge(context, call, &handle, &program, &arguments, None)?;
    let mut script = None;
    let mut spelt = called.clone();
    for _ in 0..=DEEPEST {
        let Some(line) = script_line(&handle) else { break };
        let Some(found) = program::interpreter(&line) else { break };
        if script.is_none() {
            script = Some(Script { called: called.clone(), id: program.id });
        }
        // The kernel says what is wrong with an interpreter that can't be found.
        let Ok(next) = context.lookup(&context.agent(call.tid), AT_FDCWD, found.path, Last::Follow) else { break };
        arguments = script_arguments(&found, &spelt, arguments);
        spelt = found.path.to_vec();
        program = Program::of(&next)?;
        handle = next;
        judge(context, call, &handle, &program, &arguments, Some(Via::Interpreter))?;
    }
    Ok(Image { runs: program.id, object: program.object, arguments, script })
}

/// The first line of a script. `None` for other files.
fn script_line(handle: &OwnedFd) -> Option<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(link, flags, Mode::empty()).ok()?);
    program::head(&file).ok().filter(|head| head.starts_with(b"#!"))
}

/// What an interpreter gets: itself, its one argument, the script as it was named, and the rest.
fn script_arguments(line: &program::Interpreter<'_>, script: &[u8], arguments: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut out = vec![line.path.to_vec()];
    out.extend(line.argument.map(<[u8]>::to_vec));
    out.push(script.to_vec());
    out.extend(arguments.into_iter().skip(1));
    out
}

/// Has a file decided, unless it can only be executed: the kernel keeps what such a program does from everybody, so
/// nothing that it does could be judged.
fn judge(
    context: &Context,
    call: &Call,
    handle: &OwnedFd,
    program: &Program,
    arguments: &[Vec<u8>],
    via: Option<Via>,
) -> Result<(), Stop> {
    context.confirm(call)?;
    let action = Action::Exec { object: borrowed(&program.object), argv: arguments.to_vec(), via };
    if is_readable(handle) == Err(Errno::ACCESS) {
        return Err(context.judge.deny_as(call.actor(), &action, Floor::Unreadable, Errno::ACCESS).into());
    }
    match context.judge.judge(call.actor(), &action) {
        Ruling::Allow => Ok(()),
        Ruling::Deny(errno) => Err(Stop::Errno(errno)),
    }
}

fn is_readable(handle: &OwnedFd) -> Result<(), Errno> {
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    rustix::fs::accessat(CWD, link, Access::READ_OK, AtFlags::EACCESS)
}

fn borrowed<'a>(object: &'a ExecObject<'static>) -> ExecObject<'a> {
    match object {
        ExecObject::Path(name) => ExecObject::Path(name.as_ref().into()),
        ExecObject::Memory(name) => ExecObject::Memory(name.as_ref().into()),
    }
}

/// Reads an argument vector. It may change until the exec: the tracer compares.
fn arguments(agent: &Agent<'_>, address: u64) -> Result<Vec<Vec<u8>>, Stop> {
    let mut out = Vec::new();
    let mut strings = Strings::new(agent);
    let mut total = 0;
    if address == 0 {
        return Ok(out);
    }
    for at in (address..).step_by(8) {
        let mut pointer = [0; 8];
        agent.bytes(at, &mut pointer)?;
        let pointer = u64::from_ne_bytes(pointer);
        if pointer == 0 {
            return Ok(out);
        }
        let argument = strings.read(pointer)?;
        total += argument.len() + 9;
        if total > program::MOST_ARGUMENTS {
            break;
        }
        out.push(argument);
    }
    Err(Errno::TOOBIG.into())
}

/// Strings that lie close together are read together.
struct Strings<'a> {
    agent: &'a Agent<'a>,
    start: u64,
    window: Vec<u8>,
}

impl<'a> Strings<'a> {
    const WINDOW: u64 = 4096;

    fn new(agent: &'a Agent<'a>) -> Self {
        Self { agent, start: 0, window: Vec::new() }
    }

    fn read(&mut self, address: u64) -> Result<Vec<u8>, Stop> {
        let mut out = Vec::new();
        while out.len() < LONGEST_ARGUMENT {
            let part = self.from(address.wrapping_add(out.len() as u64))?;
            match part.iter().position(|&b| b == 0) {
                Some(end) => {
                    out.extend_from_slice(&part[..end]);
                    return Ok(out);
                }
                None => out.extend_from_slice(part),
            }
        }
        Err(Errno::TOOBIG.into())
    }

    /// What is known from `address` on, at least one byte, never beyond its page.
    fn from(&mut self, address: u64) -> Result<&[u8], Stop> {
        let end = self.start + self.window.len() as u64;
        if !(self.start..end).contains(&address) {
            let length = Self::WINDOW - address % Self::WINDOW;
            self.window.resize(length as usize, 0);
            self.start = address;
            self.agent.bytes(address, &mut self.window).inspect_err(|_| self.window.clear())?;
        }
        Ok(&self.window[(address - self.start) as usize..])
    }
}
