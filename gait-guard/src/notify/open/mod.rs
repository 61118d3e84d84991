//! `open`, `openat`, `openat2` and `creat`, performed on behalf of the agent.
//!
//! The path is read once, resolved to a handle, the object of the handle is judged, and a descriptor
//! for that very object is installed in the agent. A plain read is opened at once and judged on what
//! was opened, which saves a system call.
//!
//! What an open is judged as, on the resolved path: `Create` if it makes the file, else `Truncate`
//! with `O_TRUNC` (it stands for the writing too: both are `fs.write`), else `Write` if it may
//! write; and also `Read` (`List` for a directory) if it may read. `O_TMPFILE` is a `Create` of
//! `#tmpfile` in its directory, `O_PATH` is judged like reading.

mod request;
mod unexecutable;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, openat2};
use rustix::io::Errno;

use self::request::{Caller, Request};
use super::agent::{Agent, PathBuffer, Stop};
use super::names::{NameBuffer, TEMPORARY};
use super::reply::RegisterOnly;
use super::resolve::{Found, Goal, Last, Query, Slot};
use super::view::{Named, Object};
use super::{Call, Context, Reply};
use crate::event::PathOp;
use crate::session::Floor;

/// How often a file that others create and remove meanwhile is tried.
const TRIES: usize = 16;
/// Flags that our own opens always have, or the guard would get a terminal or leak a descriptor.
const OURS: OFlags = OFlags::CLOEXEC.union(OFlags::NOCTTY);

/// Decides an open.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    let context = &*context;
    let agent = context.view.agent(call.tid);
    match Request::decode(&agent, call) {
        Ok(request) => {
            let open = Open { context, call, agent, request };
            open.run().unwrap_or_else(|stop| context.stop(call, open.request.main_op(), stop))
        }
        Err(stop) => context.stop(call, PathOp::Read, stop),
    }
}

struct Open<'a> {
    context: &'a Context,
    call: &'a Call,
    agent: Agent<'a>,
    request: Request,
}

impl Open<'_> {
    fn run(&self) -> Result<Reply, Stop> {
        let mut path = PathBuffer::new();
        self.agent.path(self.request.path, &mut path)?;
        let query = Query { dirfd: self.request.dirfd, path: &path, resolve: self.request.resolve };
        if self.request.is_plain_read()
            && let Some(reply) = self.read_at_once(query)?
        {
            return Ok(reply);
        }
        for _ in 0..TRIES {
            let found = if self.request.creates() { self.find_or_place(query)? } else { self.find(query)? };
            let outcome = match found {
                Found { object: Some(object), slot, .. } => self.existing(object, slot.as_ref())?,
                Found { slot: Some(slot), .. } if self.request.creates() => self.create(&slot)?,
                Found { .. } => return Err(Errno::NOENT.into()),
            };
            if let Some(reply) = outcome {
                return Ok(reply);
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn find(&self, query: Query<'_>) -> Result<Found, Stop> {
        self.context.view.find(&self.agent, query, self.request.last())
    }

    fn find_or_place(&self, query: Query<'_>) -> Result<Found, Stop> {
        let ends_in_slash = query.path.as_bytes().ends_with(b"/");
        let goal = if ends_in_slash { Goal::Entry } else { Goal::Object(self.request.last()) };
        let found = self.context.view.entry(&self.agent, query, goal)?;
        if ends_in_slash && found.slot.is_some() {
            return Err(Errno::ISDIR.into());
        }
        Ok(found)
    }

    /// Opens a regular file or directory for reading in one go, and judges what was opened. `None`
    /// where it takes more.
    fn read_at_once(&self, query: Query<'_>) -> Result<Option<Reply>, Stop> {
        let view = &self.context.view;
        let base = query.base(&self.agent)?;
        let start = base.as_ref().map_or(view.root(), AsFd::as_fd);
        // A look before the open: opening a device or a FIFO could have an effect of its own.
        let follow = if self.request.last() == Last::Keep { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
        match rustix::fs::statat(start, query.path.as_c_str(), follow) {
            Ok(stat) if is_plain(&stat) => {}
            Ok(_) | Err(_) => return Ok(None),
        }
        let flags = self.request.flags | OURS | OFlags::NONBLOCK;
        let opened = openat2(start, query.path.as_c_str(), flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        let Ok(fd) = opened else { return Ok(None) };
        let object = Object::new(fd)?;
        if !is_plain(&object.stat) || view.is_proc(object.stat.st_dev, object.fd.as_fd()) {
            return Ok(None);
        }
        let mut name = NameBuffer::new();
        self.judge(&object, &mut name)?;
        let kind = object.kind();
        let fd = self.unexecutable(&object.stat, &name, flags).unwrap_or(object.fd);
        self.deliver(fd, kind).map(Some)
    }

    /// Names the object and has each right on it decided.
    fn judge(&self, object: &Object, name: &mut NameBuffer) -> Result<(), Stop> {
        let view = &self.context.view;
        if view.name(&self.agent, object.fd.as_fd(), &object.stat, name)? == Named::Nameless {
            return Ok(());
        }
        for op in self.request.rights(object.is_dir()).into_iter().flatten() {
            self.context.permit(self.call, op, name.as_bytes())?;
        }
        Ok(())
    }

    /// Opens what is there. `None`: it has to be looked for again.
    fn existing(&self, object: Object, slot: Option<&Slot>) -> Result<Option<Reply>, Stop> {
        let request = &self.request;
        let is_link = object.kind() == FileType::Symlink;
        if request.creates() && request.flags.contains(OFlags::EXCL) {
            return Err(Errno::EXIST.into());
        }
        if request.flags.contains(OFlags::DIRECTORY) && !object.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        if object.is_dir() && request.wants_a_file() {
            return Err(Errno::ISDIR.into());
        }
        if is_link && !request.is_handle() {
            return Err(Errno::LOOP.into());
        }
        if request.is_temporary() {
            return self.temporary(&object).map(Some);
        }
        let mut name = NameBuffer::new();
        self.judge(&object, &mut name)?;
        if request.is_handle() {
            return Ok(Some(self.handle_only()));
        }
        if request.creates() {
            self.check_sticky(&object, slot)?;
        }
        self.reopen(object, &name).map(Some)
    }

    /// `O_PATH`: such descriptors can't be injected. The flags of `open` and `openat` are in a
    /// register, so the kernel can only make a handle of whatever the path names by then; it gives
    /// no data, and every use of it is judged again. Those of `openat2` are in memory.
    fn handle_only(&self) -> Reply {
        match self.request.caller {
            Caller::Registers => Reply::Continue(RegisterOnly::because("O_PATH is in the register of the flags")),
            Caller::Memory => Reply::Errno(Errno::NOSYS),
        }
    }

    fn create(&self, slot: &Slot) -> Result<Option<Reply>, Stop> {
        let view = &self.context.view;
        let mut name = NameBuffer::new();
        view.slot_name(&self.agent, slot, &mut name)?;
        self.check_set_id(&name)?;
        self.context.permit(self.call, PathOp::Create, name.as_bytes())?;
        if self.request.may_read() {
            self.context.permit(self.call, PathOp::Read, name.as_bytes())?;
        }
        view.adopt_umask(&self.agent)?;
        self.context.confirm(self.call)?;
        let (parent, entry) = slot.parts();
        let other = self.unexecutable_parent(parent, &name, slot.name.as_bytes());
        let parent = other.as_ref().map_or(parent, AsFd::as_fd);
        let flags = self.request.flags.difference(OFlags::NOFOLLOW) | OURS | OFlags::EXCL;
        match rustix::fs::openat(parent, entry, flags, Mode::from_bits_retain(self.request.mode)) {
            Ok(fd) => self.inject(fd, FileType::RegularFile).map(Some),
            Err(Errno::EXIST) if !self.request.flags.contains(OFlags::EXCL) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn temporary(&self, folder: &Object) -> Result<Reply, Stop> {
        let view = &self.context.view;
        let mut name = NameBuffer::new();
        view.name(&self.agent, folder.fd.as_fd(), &folder.stat, &mut name)?;
        name.push(TEMPORARY)?;
        self.check_set_id(&name)?;
        self.context.permit(self.call, PathOp::Create, name.as_bytes())?;
        if self.request.may_read() {
            self.context.permit(self.call, PathOp::Read, name.as_bytes())?;
        }
        view.adopt_umask(&self.agent)?;
        self.context.confirm(self.call)?;
        let flags = self.request.flags.difference(OFlags::NOFOLLOW) | OURS;
        let fd = view.reopen(folder.fd.as_fd(), flags, Mode::from_bits_retain(self.request.mode))?;
        self.inject(fd, FileType::RegularFile)
    }

    /// A file that runs with the rights of its owner is not the agent's to make.
    fn check_set_id(&self, name: &NameBuffer) -> Result<(), Stop> {
        if sets_id(self.request.mode) {
            return Err(Stop::Floor(Floor::Privilege, name.as_bytes().to_vec()));
        }
        Ok(())
    }

    fn reopen(&self, object: Object, name: &NameBuffer) -> Result<Reply, Stop> {
        let kind = object.kind();
        let flags = self.request.flags.difference(OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW) | OURS;
        let mut object = if is_own_terminal(&object.stat) { self.terminal()? } else { object };
        if let Some(handle) = self.unexecutable(&object.stat, name, OFlags::PATH | OFlags::CLOEXEC) {
            object.fd = handle;
        }
        self.context.confirm(self.call)?;
        if blocks(&object.stat, flags) {
            return self.park(object.fd, flags);
        }
        // A lease held by somebody would stall the loop: not waited for here.
        let ours = if kind == FileType::RegularFile { flags | OFlags::NONBLOCK } else { flags };
        match self.context.view.reopen(object.fd.as_fd(), ours, Mode::empty()) {
            Ok(fd) => self.deliver(fd, kind),
            Err(Errno::AGAIN) if kind == FileType::RegularFile && !flags.contains(OFlags::NONBLOCK) => {
                self.park(object.fd, flags)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens on a thread of its own, which may take as long as it takes.
    fn park(&self, object: OwnedFd, flags: OFlags) -> Result<Reply, Stop> {
        let path = self.context.view.own_path(object.as_fd())?;
        let cloexec = self.request.flags.contains(OFlags::CLOEXEC);
        Ok(self.context.parking.park(self.call, move || {
            let opened = rustix::fs::open(path.as_c_str(), flags, Mode::empty());
            drop(object);
            match opened {
                Ok(fd) => Reply::Inject { fd, cloexec, early_close: true },
                Err(errno) => Reply::Errno(errno),
            }
        }))
    }

    /// `/dev/tty` is the controlling terminal of whoever opens it: the agent's, not ours.
    fn terminal(&self) -> Result<Object, Stop> {
        let device = self.agent.terminal()?;
        let path = terminal_path(device).ok_or(Errno::NXIO)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.context.view.root(), path, flags, Mode::empty()).map_err(|_| Errno::NXIO)?;
        let object = Object::new(fd)?;
        if object.kind() != FileType::CharacterDevice || object.stat.st_rdev != decode_device(device) {
            return Err(Errno::NXIO.into());
        }
        Ok(object)
    }

    /// `fs.protected_regular` and `fs.protected_fifos`: `O_CREAT` does not open what somebody else
    /// left in a sticky directory. The kernel checks it where it looks the name up, which was us.
    fn check_sticky(&self, object: &Object, slot: Option<&Slot>) -> Result<(), Stop> {
        let sticky = self.context.view.sticky;
        let level = match object.kind() {
            FileType::Fifo => sticky.fifos,
            FileType::RegularFile => sticky.regular,
            _ => 0,
        };
        let Some(slot) = slot.filter(|_| level > 0) else { return Ok(()) };
        let folder = rustix::fs::fstat(&slot.parent)?;
        let owner = object.stat.st_uid;
        if folder.st_mode & libc::S_ISVTX == 0 || owner == folder.st_uid || owner == rustix::process::geteuid().as_raw()
        {
            return Ok(());
        }
        let is_shared = folder.st_mode & libc::S_IWOTH != 0 || (level > 1 && folder.st_mode & libc::S_IWGRP != 0);
        if is_shared { Err(Errno::ACCESS.into()) } else { Ok(()) }
    }

    /// Takes off what only our own open had, and injects.
    fn deliver(&self, fd: OwnedFd, kind: FileType) -> Result<Reply, Stop> {
        if matches!(kind, FileType::RegularFile | FileType::Directory) && !self.request.flags.contains(OFlags::NONBLOCK)
        {
            const CHANGEABLE: OFlags = OFlags::APPEND.union(OFlags::DIRECT).union(OFlags::NOATIME);
            rustix::fs::fcntl_setfl(&fd, self.request.flags & CHANGEABLE)?;
        }
        self.inject(fd, kind)
    }

    fn inject(&self, fd: OwnedFd, kind: FileType) -> Result<Reply, Stop> {
        let cloexec = self.request.flags.contains(OFlags::CLOEXEC);
        let early_close = !matches!(kind, FileType::RegularFile | FileType::Directory);
        Ok(Reply::Inject { fd, cloexec, early_close })
    }
}

/// Whether a mode makes a program run with the rights of its owner or group.
pub(super) fn sets_id(mode: u32) -> bool {
    const GROUP: u32 = libc::S_ISGID | libc::S_IXGRP;
    mode & libc::S_ISUID != 0 || mode & GROUP == GROUP
}

/// Whether opening it has no effect but a descriptor.
fn is_plain(stat: &Stat) -> bool {
    matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
}

fn is_own_terminal(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(5, 0)
}

/// Whether an open may wait for somebody else.
fn blocks(stat: &Stat, flags: OFlags) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => !flags.contains(OFlags::NONBLOCK) && (flags & OFlags::ACCMODE).bits() != OFlags::RDWR.bits(),
        // Memory devices, terminals without a line to wait for, pseudo terminals.
        FileType::CharacterDevice => !matches!(rustix::fs::major(stat.st_rdev), 1 | 5 | 128..=143),
        FileType::BlockDevice => true,
        _ => false,
    }
}

/// The kernel's 32-bit device number (`new_encode_dev`) as `st_rdev` has it.
fn decode_device(device: u32) -> u64 {
    rustix::fs::makedev((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00))
}

/// Where the terminal with this number is.
fn terminal_path(device: u32) -> Option<String> {
    let number = decode_device(device);
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    match major {
        136..=143 => Some(format!("/dev/pts/{}", (major - 136) * 256 + minor)),
        4 if minor < 64 => Some(format!("/dev/tty{minor}")),
        4 => Some(format!("/dev/ttyS{}", minor - 64)),
        5 if minor == 1 => Some("/dev/console".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{decode_device, sets_id, terminal_path};

    #[test]
    fn terminals_are_found_by_their_number() {
        // From proc_pid_stat(5): minor in bits 31..20 and 7..0, major in 15..8.
        assert_eq!(terminal_path(34816).as_deref(), Some("/dev/pts/0"));
        assert_eq!(terminal_path(34816 + 255).as_deref(), Some("/dev/pts/255"));
        assert_eq!(terminal_path((1 << 20) | (136 << 8)).as_deref(), Some("/dev/pts/256"));
        assert_eq!(terminal_path(4 << 8 | 2).as_deref(), Some("/dev/tty2"));
        assert_eq!(terminal_path(0), None);
        assert_eq!(decode_device(34816), rustix::fs::makedev(136, 0));
    }

    #[test]
    fn only_modes_that_lend_rights_count() {
        assert!(sets_id(0o4755) && sets_id(0o2755));
        // Mandatory locking, sticky, inherited group.
        assert!(!sets_id(0o2644) && !sets_id(0o1777) && !sets_id(0o755));
    }
}
