//! What a compiled policy needs to know of an action: its kind, and the raw bytes of its value.

use std::borrow::Cow;
use std::net::IpAddr;

use gait_core::intent::{EndpointClass, TargetKind};
use gait_core::policy::compile::Kind;

use super::{Words, inet_words, why_word};
use crate::event::{Action, ExecObject, InetCall, NodeKind, PathOp, UnixName};

/// An action as a compiled policy sees it. The answer for it is the evaluator's for its intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// All of the intent that a policy can ask about, but value and domain.
    pub kind: Kind,
    /// The value, as the kernel has it.
    pub value: Cow<'a, [u8]>,
    /// The host of a network address.
    pub domain: Option<String>,
}

impl<'a> Subject<'a> {
    /// What a compiled policy sees of `action`.
    pub fn of(action: &'a Action<'_>) -> Self {
        let plain = |kind, value| Self { kind, value, domain: None };
        match action {
            Action::Path { op, path, .. } => plain(path_kind(*op, TargetKind::Path), Cow::Borrowed(path)),
            Action::Exec { object: ExecObject::Path(path), .. } => {
                plain(exec_kind(TargetKind::Path), Cow::Borrowed(path))
            }
            Action::Exec { object: ExecObject::Memory(given), .. } => {
                plain(exec_kind(TargetKind::Other), Cow::Owned([b"memfd:", given.as_ref()].concat()))
            }
            Action::Inet { call, address, .. } => {
                let host = address.ip().to_canonical();
                let value = match host {
                    IpAddr::V4(host) => format!("{host}:{}", address.port()),
                    IpAddr::V6(host) => format!("[{host}]:{}", address.port()),
                };
                let kind = inet_kind(*call, inet_class(address.port()));
                Self { kind, value: Cow::Owned(value.into_bytes()), domain: Some(host.to_string()) }
            }
            Action::Unix { call, name: UnixName::Path(path), .. } => {
                plain(unix_kind(*call, TargetKind::Path), Cow::Borrowed(path))
            }
            Action::Unix { call, name: UnixName::Abstract(given), .. } => {
                plain(unix_kind(*call, TargetKind::Other), Cow::Owned([b"unix:@", given.as_ref()].concat()))
            }
            Action::Unix { call, name: UnixName::Unnamed, .. } => {
                plain(unix_kind(*call, TargetKind::Other), Cow::Borrowed(b"unix:unnamed"))
            }
            Action::System { name, object } => {
                let kind = Kind {
                    tool_name: Cow::Owned(format!("sys.{name}")),
                    target_kind: TargetKind::Other,
                    operation: Cow::Borrowed(name),
                    endpoint_class: EndpointClass::Other,
                };
                plain(kind, Cow::Owned(format!("{}:{}", object.class, object.detail).into_bytes()))
            }
            Action::Unresolved { op, why } => {
                let value = format!("unresolved:{}", why_word(*why)).into_bytes();
                plain(path_kind(*op, TargetKind::Other), Cow::Owned(value))
            }
        }
    }
}

/// Every kind of action that an engine asks the policy about, but those of `sys.*`.
pub fn kinds() -> Vec<Kind> {
    let mut kinds: Vec<Kind> = PATH_OPS.iter().map(|op| path_kind(*op, TargetKind::Path)).collect();
    kinds.extend([exec_kind(TargetKind::Path), exec_kind(TargetKind::Other)]);
    for call in [InetCall::Connect, InetCall::Send, InetCall::Bind] {
        kinds.extend([EndpointClass::NetHttp, EndpointClass::NetDns].map(|class| inet_kind(call, class)));
        kinds.extend([TargetKind::Path, TargetKind::Other].map(|target| unix_kind(call, target)));
    }
    kinds.sort();
    kinds.dedup();
    kinds
}

const PATH_OPS: &[PathOp] = &[
    PathOp::Read,
    PathOp::List,
    PathOp::Write,
    PathOp::Create,
    PathOp::Truncate,
    PathOp::Mkdir,
    PathOp::Mknod { node: NodeKind::Regular, mode: 0 },
    PathOp::Symlink,
    PathOp::Link,
    PathOp::RenameTo,
    PathOp::Chmod { mode: 0 },
    PathOp::Chown,
    PathOp::Utimes,
    PathOp::Setxattr,
    PathOp::Removexattr,
    PathOp::Delete,
    PathOp::Rmdir,
    PathOp::RenameFrom,
    PathOp::Map,
    PathOp::Watch,
];

pub(super) fn inet_class(port: u16) -> EndpointClass {
    if port == 53 { EndpointClass::NetDns } else { EndpointClass::NetHttp }
}

pub(super) fn path_kind(op: PathOp, target: TargetKind) -> Kind {
    let words = Words::of(op);
    Kind::new(words.tool, target, words.operation, words.class)
}

pub(super) fn exec_kind(target: TargetKind) -> Kind {
    Kind::new("proc.exec", target, "exec", EndpointClass::ProcExec)
}

pub(super) fn inet_kind(call: InetCall, class: EndpointClass) -> Kind {
    let (tool, operation) = inet_words(call);
    Kind::new(tool, TargetKind::Host, operation, class)
}

pub(super) fn unix_kind(call: InetCall, target: TargetKind) -> Kind {
    let class = if target == TargetKind::Path { EndpointClass::FsWrite } else { EndpointClass::Other };
    Kind::new("net.unix", target, inet_words(call).1, class)
}
