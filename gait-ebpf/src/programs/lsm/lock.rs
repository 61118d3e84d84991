//! The second lock: what the supervisor does for the tree, on objects that it judged, the tree can't do itself, by whatever
//! call the kernel may have (a number that no table knows). It happens only if the first lock failed, so the run ends over
//! it. Unless the tree may have rings of io_uring: what comes through one is refused and recorded.

use core::ffi::c_void;

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use aya_log_ebpf::error;
use gait_ebpf::record::{counter, kind, lock};
use gait_ebpf::socket;

use super::{EPERM, has_rings};
use crate::kernel::{O_MSGHDR_NAME, member};
use crate::{ring, scope};

/// Refuses what can't be asked for through a ring.
#[inline(always)]
pub fn locked(number: u32) -> i32 {
    if scope::mine().is_none() {
        return 0;
    }
    error!(&(), "the second lock {} held: the first did not", number);
    told(kind::LOCK, number)
}

/// Refuses what can be asked for through a ring, where there can be one.
#[inline(always)]
pub fn closed_to_rings(number: u32) -> i32 {
    if !has_rings() {
        return locked(number);
    }
    if scope::mine().is_none() { 0 } else { told(kind::RING, number) }
}

#[inline(always)]
fn told(kind: u32, number: u32) -> i32 {
    ring::count(counter::DENIED);
    if !ring::put_urgently(&ring::header(kind, number, 0)) {
        ring::count(counter::NO_ROOM);
    }
    EPERM
}

macro_rules! locks {
    ($with:ident: $($name:ident $hook:literal $number:ident;)*) => {
        $(
            #[lsm(hook = $hook)]
            pub fn $name(_ctx: LsmContext) -> i32 {
                $with(lock::$number)
            }
        )*
    };
}

locks! { locked:
    path_chroot "path_chroot" PATH_CHROOT;
    sb_mount "sb_mount" SB_MOUNT;
    sb_umount "sb_umount" SB_UMOUNT;
    sb_pivotroot "sb_pivotroot" SB_PIVOTROOT;
    move_mount "move_mount" MOVE_MOUNT;
    bpf_call "bpf" BPF;
    userns_create "userns_create" USERNS_CREATE;
}

locks! { closed_to_rings:
    inode_setxattr "inode_setxattr" INODE_SETXATTR;
    inode_removexattr "inode_removexattr" INODE_REMOVEXATTR;
    inode_set_acl "inode_set_acl" INODE_SET_ACL;
    inode_remove_acl "inode_remove_acl" INODE_REMOVE_ACL;
    socket_connect "socket_connect" SOCKET_CONNECT;
    socket_bind "socket_bind" SOCKET_BIND;
    socket_listen "socket_listen" SOCKET_LISTEN;
    uring_cmd "uring_cmd" URING_CMD;
    uring_override_creds "uring_override_creds" URING_OVERRIDE_CREDS;
}

/// A socket of a kind that the filter would not let the tree make; `kern`: made by the kernel for itself.
#[lsm(hook = "socket_create")]
pub fn socket_create(ctx: LsmContext) -> i32 {
    let (family, kind, protocol) = (ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1) as u32, ctx.arg::<u64>(2) as u32);
    let kern = ctx.arg::<u64>(3) as u32;
    if kern != 0 || !has_rings() || socket::is_let(family, kind, protocol) {
        return 0;
    }
    closed_to_rings(lock::SOCKET_CREATE)
}

/// A message with an address of its own. Without one the socket is connected, which was judged.
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(ctx: LsmContext) -> i32 {
    let message: *const c_void = ctx.arg(1);
    // SAFETY: the verifier knows the argument.
    let name: *const c_void = unsafe { member(message, &O_MSGHDR_NAME) };
    if name.is_null() { 0 } else { closed_to_rings(lock::SOCKET_SENDMSG) }
}

/// A signal to a process that is not of the tree. The kernel's own signals don't come by here.
#[lsm(hook = "task_kill")]
pub fn task_kill(ctx: LsmContext) -> i32 {
    let target: *mut c_void = ctx.arg::<*mut c_void>(0);
    if scope::holds(target) { 0 } else { locked(lock::TASK_KILL) }
}

/// Looking into a process: inside of the tree only.
#[lsm(hook = "ptrace_access_check")]
pub fn ptrace_access_check(ctx: LsmContext) -> i32 {
    let target: *mut c_void = ctx.arg::<*mut c_void>(0);
    if scope::mine().is_none() || scope::holds(target) { 0 } else { EPERM }
}
