//! The one translation from an action to a Gate intent (contract guarded-run 2.2, design 5).
//!
//! Equal actions give equal intents in any run: no pid, time, descriptor, inode or engine enters one.
//! The results are in the normal form of control 4 as they stand, so that their digest is the one any
//! other reader computes.

mod op;
mod subject;

use std::net::IpAddr;
use std::sync::Arc;

pub use op::{kernel_kind, path_op};
pub use subject::{Subject, kinds};

use gait_core::canonical::{self, CanonicalError};
use gait_core::intent::{Args, Context, EndpointClass, Intent, IntentParts, Provenance, Target, TargetKind};
use gait_core::name::name;

use crate::event::{
    Action, ExecObject, InetCall, NodeKind, PathOp, Protocol, SystemObject, UnixName, UnixType, Via, Why,
};

/// The tool of the intent of the run itself, which is never evaluated.
pub const RUN_TOOL: &str = "guard.run";

/// Translates the actions of one run.
#[derive(Clone, Debug)]
pub struct Translator {
    context: Arc<Context>,
}

/// Why a run's context can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// It would be changed by normalisation, so digests would not be those of the given context.
    #[error("the {member} `{value}` has white space at an end, or a backslash, or bytes that are no text")]
    NotNormal {
        /// `identity`, `workspace` or `risk class`.
        member: &'static str,
        /// What was given.
        value: String,
    },
}

impl Translator {
    /// A translator for a run with this context.
    ///
    /// # Errors
    /// [`ContextError`] for a context that control 4.4 would change, or whose workspace is not its own
    /// name (contract guarded-run 2.2).
    pub fn new(identity: &str, workspace: &[u8], risk_class: &str) -> Result<Self, ContextError> {
        let refuse = |member, value: &str| ContextError::NotNormal { member, value: value.to_owned() };
        let workspace_name = name(workspace);
        if workspace_name.as_bytes() != workspace || workspace_name.contains('\\') || workspace_name.is_empty() {
            return Err(refuse("workspace", &workspace_name));
        }
        if identity.trim() != identity || identity.is_empty() {
            return Err(refuse("identity", identity));
        }
        let risk_class = risk_class.to_lowercase();
        if risk_class.trim() != risk_class || risk_class.is_empty() {
            return Err(refuse("risk class", &risk_class));
        }
        let context =
            Context { identity: identity.to_owned(), workspace: workspace_name, risk_class, ..Context::default() };
        Ok(Self { context: Arc::new(context) })
    }

    /// The context of every intent.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The intent of the run itself.
    ///
    /// # Errors
    /// Never for any arguments a kernel passes on.
    pub fn run(&self, argv: &[Vec<u8>]) -> Result<Intent, CanonicalError> {
        Ok(self.intent(RUN_TOOL, Vec::new(), command_args(argv)?))
    }

    /// The intent of an action.
    ///
    /// # Errors
    /// Never for any arguments a kernel passes on.
    pub fn translate(&self, action: &Action<'_>) -> Result<Intent, CanonicalError> {
        Ok(match action {
            Action::Path { op, path, via } => {
                let words = Words::of(*op);
                let target = Target::of(TargetKind::Path, name(path), words.operation, words.class);
                self.intent(words.tool, vec![target], path_args(*op, *via))
            }
            Action::Exec { object, argv, via } => {
                let mut args = command_args(argv)?;
                put_via(&mut args, *via);
                self.intent("proc.exec", vec![exec_target(object)], args)
            }
            Action::Inet { call, protocol, address } => {
                let (host, port) = (address.ip().to_canonical(), address.port());
                let class = subject::inet_class(port);
                let value = match host {
                    IpAddr::V4(host) => format!("{host}:{port}"),
                    IpAddr::V6(host) => format!("[{host}]:{port}"),
                };
                let (tool, operation) = inet_words(*call);
                let target = Target::of(TargetKind::Host, value, operation, class).with_domain(host.to_string());
                self.intent(tool, vec![target], one("protocol", protocol_word(*protocol)))
            }
            Action::Unix { call, socket, name: socket_name } => {
                let (_, operation) = inet_words(*call);
                let target = unix_target(socket_name, operation);
                self.intent("net.unix", vec![target], one("protocol", unix_word(*socket)))
            }
            Action::System { name, object: SystemObject { class, detail } } => {
                let target = Target::of(TargetKind::Other, format!("{class}:{detail}"), name, EndpointClass::Other);
                self.intent(format!("sys.{name}"), vec![target], Args::new())
            }
            Action::Unresolved { op, why } => {
                let words = Words::of(*op);
                let value = format!("unresolved:{}", why_word(*why));
                let target = Target::of(TargetKind::Other, value, words.operation, words.class);
                self.intent(words.tool, vec![target], Args::new())
            }
        })
    }

    fn intent(&self, tool: impl Into<std::borrow::Cow<'static, str>>, targets: Vec<Target>, args: Args) -> Intent {
        Intent::from_normal_parts(IntentParts {
            tool_name: tool.into(),
            args,
            targets,
            arg_provenance: Provenance::SYSTEM.into(),
            context: Arc::clone(&self.context),
        })
    }
}

/// How an operation on a path is called.
struct Words {
    tool: &'static str,
    operation: &'static str,
    class: EndpointClass,
}

impl Words {
    fn of(op: PathOp) -> Self {
        let read = |tool, operation| Self { tool, operation, class: EndpointClass::FsRead };
        let write = |operation| Self { tool: "fs.write", operation, class: EndpointClass::FsWrite };
        let delete = |operation| Self { tool: "fs.delete", operation, class: EndpointClass::FsDelete };
        match op {
            PathOp::Read => read("fs.read", "read"),
            PathOp::List => read("fs.list", "list"),
            PathOp::Watch => read("fs.list", "watch"),
            PathOp::Write => write("write"),
            PathOp::Create => write("create"),
            PathOp::Truncate => write("truncate"),
            PathOp::Mkdir => write("mkdir"),
            PathOp::Mknod { .. } => write("mknod"),
            PathOp::Symlink => write("symlink"),
            PathOp::Link => write("link"),
            PathOp::RenameTo => write("rename"),
            PathOp::Chmod { .. } => write("chmod"),
            PathOp::Chown => write("chown"),
            PathOp::Utimes => write("utimes"),
            PathOp::Setxattr => write("setxattr"),
            PathOp::Removexattr => write("removexattr"),
            PathOp::Delete => delete("delete"),
            PathOp::Rmdir => delete("rmdir"),
            PathOp::RenameFrom => delete("rename"),
            PathOp::Map => Self { tool: "proc.exec", operation: "exec", class: EndpointClass::ProcExec },
        }
    }
}

fn path_args(op: PathOp, via: Option<Via>) -> Args {
    let mut args = Args::new();
    match op {
        PathOp::Chmod { mode } => {
            args.insert("mode".into(), octal(mode).into());
        }
        PathOp::Mknod { node, mode } => {
            args.insert("mode".into(), octal(mode).into());
            if let Some(word) = node_word(node) {
                args.insert("node".into(), word.into());
            }
        }
        _ => {}
    }
    let via = if op == PathOp::Map { via.or(Some(Via::Mmap)) } else { via };
    put_via(&mut args, via);
    args
}

fn put_via(args: &mut Args, via: Option<Via>) {
    let word = match via {
        Some(Via::Mmap) => "mmap",
        Some(Via::ReceivedFd) => "received_fd",
        Some(Via::Interpreter) => "interpreter",
        None => return,
    };
    args.insert("via".into(), word.into());
}

/// `argc`, `argv_digest`, `program`: the arguments themselves never enter an intent.
fn command_args(argv: &[Vec<u8>]) -> Result<Args, CanonicalError> {
    let mut args = Args::new();
    args.insert("argc".into(), argv.len().into());
    args.insert("argv_digest".into(), argv_digest(argv)?.to_string().into());
    args.insert("program".into(), program(argv).into());
    Ok(args)
}

/// Digest of the canonical array of the arguments' names.
///
/// # Errors
/// Never for any arguments a kernel passes on.
pub fn argv_digest(argv: &[Vec<u8>]) -> Result<gait_core::digest::Sha256Hex, CanonicalError> {
    canonical::digest_of(&argv.iter().map(|arg| name(arg)).collect::<Vec<_>>())
}

/// Name of the base name of `argv[0]`.
pub fn program(argv: &[Vec<u8>]) -> String {
    let first = argv.first().map(Vec::as_slice).unwrap_or_default();
    name(first.rsplit(|b| *b == b'/').next().unwrap_or_default())
}

fn exec_target(object: &ExecObject<'_>) -> Target {
    let (kind, value) = match object {
        ExecObject::Path(path) => (TargetKind::Path, name(path)),
        ExecObject::Memory(given) => (TargetKind::Other, format!("memfd:{}", name(given))),
    };
    Target::of(kind, value, "exec", EndpointClass::ProcExec)
}

fn unix_target(socket: &UnixName<'_>, operation: &'static str) -> Target {
    match socket {
        UnixName::Path(path) => Target::of(TargetKind::Path, name(path), operation, EndpointClass::FsWrite),
        UnixName::Abstract(given) => {
            Target::of(TargetKind::Other, format!("unix:@{}", name(given)), operation, EndpointClass::Other)
        }
        UnixName::Unnamed => Target::of(TargetKind::Other, "unix:unnamed".to_owned(), operation, EndpointClass::Other),
    }
}

fn one(key: &str, word: &'static str) -> Args {
    Args::from_iter([(key.to_owned(), word.into())])
}

fn octal(mode: u16) -> String {
    format!("{:04o}", mode & 0o7777)
}

fn node_word(node: NodeKind) -> Option<&'static str> {
    match node {
        NodeKind::Regular => None,
        NodeKind::Fifo => Some("fifo"),
        NodeKind::Char => Some("char"),
        NodeKind::Block => Some("block"),
        NodeKind::Socket => Some("socket"),
    }
}

fn inet_words(call: InetCall) -> (&'static str, &'static str) {
    match call {
        InetCall::Connect => ("net.connect", "connect"),
        InetCall::Send => ("net.send", "send"),
        InetCall::Bind => ("net.bind", "bind"),
    }
}

fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Raw => "raw",
        Protocol::Other => "other",
    }
}

fn unix_word(socket: UnixType) -> &'static str {
    match socket {
        UnixType::Stream => "stream",
        UnixType::Dgram => "dgram",
        UnixType::Seqpacket => "seqpacket",
    }
}

fn why_word(why: Why) -> &'static str {
    match why {
        Why::NameTooLong => "name_too_long",
        Why::Unreadable => "unreadable",
        Why::Unreachable => "unreachable",
        Why::Failed => "failed",
        Why::Refused => "refused",
    }
}

#[cfg(test)]
mod tests;
