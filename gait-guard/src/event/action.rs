//! One thing that an agent tried to do, on the objects that the kernel resolved.
//!
//! An action holds nothing that differs between two runs that did the same: no pid, time, inode or
//! descriptor number. Those belong to the journal.

use std::borrow::Cow;
use std::net::SocketAddr;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The thread, as the kernel names it in the supervisor's pid namespace.
    pub tid: i32,
}

/// One action with one target. A rename is two actions: both must be allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action<'a> {
    /// Something done to a file system object: `path` is absolute, as seen from the guard's root.
    Path {
        /// What is done; it decides tool, operation and endpoint class.
        op: PathOp,
        /// The resolved path, raw bytes, no trailing slash.
        path: Cow<'a, [u8]>,
        /// How, when not by a call that names a path.
        via: Option<Via>,
    },
    /// A program is started.
    Exec {
        /// The file that will run.
        object: ExecObject<'a>,
        /// The argument vector, raw bytes.
        argv: Vec<Vec<u8>>,
        /// `interpreter` for the program of a `#!` line or an ELF `PT_INTERP`.
        via: Option<Via>,
    },
    /// An IPv4 or IPv6 address is connected to, sent to, or bound.
    Inet {
        /// Which call.
        call: InetCall,
        /// What runs over the socket.
        protocol: Protocol,
        /// The address from the supervisor's own copy; an IPv4-mapped one is given as IPv4.
        address: SocketAddr,
    },
    /// A UNIX socket is connected to, sent to, or bound.
    Unix {
        /// Which call.
        call: InetCall,
        /// The type of the socket.
        socket: UnixType,
        /// Where it leads.
        name: UnixName<'a>,
    },
    /// Anything else that has a name of its own in the contract: `sys.<name>`.
    System {
        /// The part after `sys.`, from a closed list: usually the name of the syscall.
        name: &'static str,
        /// What it was aimed at.
        object: SystemObject,
    },
    /// A path that could not be resolved to an object: always denied.
    Unresolved {
        /// What it would have been.
        op: PathOp,
        /// Why.
        why: Why,
    },
}

/// Operations on a path. Each belongs to one tool (`fs.read`, `fs.list`, `fs.write`, `fs.delete`, `proc.exec`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the operation of its name")]
pub enum PathOp {
    Read,
    List,
    Write,
    Create,
    Truncate,
    Mkdir,
    Mknod {
        node: NodeKind,
        mode: u16,
    },
    Symlink,
    Link,
    RenameTo,
    Chmod {
        mode: u16,
    },
    Chown,
    Utimes,
    Setxattr,
    Removexattr,
    Delete,
    Rmdir,
    RenameFrom,
    /// An executable mapping outside an exec; `via` says `mmap`.
    Map,
    /// Watched with inotify: says when others touch it.
    Watch,
}

/// Kinds of special files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the kind of its name")]
pub enum NodeKind {
    Regular,
    Fifo,
    Char,
    Block,
    Socket,
}

/// How an action came about, when not by a call that names its path (the intent's `via`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is spelt as in the contract")]
pub enum Via {
    Mmap,
    ReceivedFd,
    Interpreter,
}

/// The file that an exec runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExecObject<'a> {
    /// A file with a name.
    Path(Cow<'a, [u8]>),
    /// A file without one: memfd, `O_TMPFILE`, unlinked. Holds the name it was given, if any.
    Memory(Cow<'a, [u8]>),
}

/// Calls on sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the call of its name")]
pub enum InetCall {
    Connect,
    Send,
    Bind,
}

/// What runs over an internet socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is spelt as in the contract")]
pub enum Protocol {
    Tcp,
    Udp,
    Raw,
    Other,
}

/// Types of UNIX sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is spelt as in the contract")]
pub enum UnixType {
    Stream,
    Dgram,
    Seqpacket,
}

/// Where a UNIX socket leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixName<'a> {
    /// A socket file: the resolved absolute path.
    Path(Cow<'a, [u8]>),
    /// A name in the abstract namespace, without the leading NUL.
    Abstract(Cow<'a, [u8]>),
    /// An address without a name.
    Unnamed,
}

/// What a `sys.*` action was aimed at: `<class>:<detail>`, from a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SystemObject {
    /// `process`, `mount`, `bpf`, `socket`, ...
    pub class: &'static str,
    /// `guard`, `outside`, `bind`, `prog_load`, ...
    pub detail: &'static str,
}

/// Why a path could not be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is its own explanation")]
pub enum Why {
    NameTooLong,
    Unreadable,
    Unreachable,
    Failed,
    /// The kernel refused to open it before the guard could see what it was.
    Refused,
}
