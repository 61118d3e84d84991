//! The kinds of action by the numbers that the kernel's programs give them.

use gait_core::intent::{EndpointClass, TargetKind};
use gait_core::policy::compile::Kind;
use gait_ebpf::op::Op;

use super::subject::{exec_kind, inet_kind, path_kind, unix_kind};
use crate::event::{InetCall, NodeKind, PathOp};

/// The operation on a path that a number stands for.
pub fn path_op(op: Op) -> Option<PathOp> {
    Some(match op {
        Op::Read => PathOp::Read,
        Op::List => PathOp::List,
        Op::Write => PathOp::Write,
        Op::Create => PathOp::Create,
        Op::Truncate => PathOp::Truncate,
        Op::Mkdir => PathOp::Mkdir,
        Op::Mknod => PathOp::Mknod { node: NodeKind::Regular, mode: 0 },
        Op::Symlink => PathOp::Symlink,
        Op::Link => PathOp::Link,
        Op::RenameTo => PathOp::RenameTo,
        Op::Chmod => PathOp::Chmod { mode: 0 },
        Op::Chown => PathOp::Chown,
        Op::Utimes => PathOp::Utimes,
        Op::Setxattr => PathOp::Setxattr,
        Op::Removexattr => PathOp::Removexattr,
        Op::Delete => PathOp::Delete,
        Op::Rmdir => PathOp::Rmdir,
        Op::RenameFrom => PathOp::RenameFrom,
        Op::Map => PathOp::Map,
        Op::Watch => PathOp::Watch,
        _ => return None,
    })
}

/// What a policy is asked about for a number.
pub fn kernel_kind(op: Op) -> Kind {
    if let Some(op) = path_op(op) {
        return path_kind(op, TargetKind::Path);
    }
    let (http, dns) = (EndpointClass::NetHttp, EndpointClass::NetDns);
    match op {
        Op::UnixConnectPath => unix_kind(InetCall::Connect, TargetKind::Path),
        Op::UnixSendPath => unix_kind(InetCall::Send, TargetKind::Path),
        Op::UnixBindPath => unix_kind(InetCall::Bind, TargetKind::Path),
        Op::UnixConnectOther => unix_kind(InetCall::Connect, TargetKind::Other),
        Op::UnixSendOther => unix_kind(InetCall::Send, TargetKind::Other),
        Op::UnixBindOther => unix_kind(InetCall::Bind, TargetKind::Other),
        Op::ConnectHttp => inet_kind(InetCall::Connect, http),
        Op::ConnectDns => inet_kind(InetCall::Connect, dns),
        Op::SendHttp => inet_kind(InetCall::Send, http),
        Op::SendDns => inet_kind(InetCall::Send, dns),
        Op::BindHttp => inet_kind(InetCall::Bind, http),
        Op::BindDns => inet_kind(InetCall::Bind, dns),
        Op::ExecMemory => exec_kind(TargetKind::Other),
        // Exec, and what `path_op` knew.
        _ => exec_kind(TargetKind::Path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::kinds;

    #[test]
    fn each_number_is_a_kind_that_is_compiled() {
        let known = kinds();
        for op in Op::ALL {
            assert!(known.contains(&kernel_kind(op)), "{op:?}");
        }
    }
}
