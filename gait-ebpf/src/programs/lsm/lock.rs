//! The second lock: what the supervisor does for the tree, on objects that it judged, the tree can't do itself, by whatever
//! call the kernel may have (io_uring, a number that no table knows). It happens only if the first lock failed, so the run
//! ends over it.

use core::ffi::c_void;

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use aya_log_ebpf::error;
use gait_ebpf::record::{counter, kind, lock};

use super::EPERM;
use crate::kernel::{O_MSGHDR_NAME, member};
use crate::{ring, scope};

#[inline(always)]
fn locked(number: u32) -> i32 {
    if scope::mine().is_none() {
        return 0;
    }
    let header = ring::header(kind::LOCK, number, 0);
    error!(&(), "the second lock {} held: the first did not", number);
    if !ring::put(&header) {
        ring::count(counter::NO_ROOM);
    }
    EPERM
}

macro_rules! locks {
    ($($name:ident $hook:literal $number:ident;)*) => {
        $(
            #[lsm(hook = $hook)]
            pub fn $name(_ctx: LsmContext) -> i32 {
                locked(lock::$number)
            }
        )*
    };
}

locks! {
    path_unlink "path_unlink" PATH_UNLINK;
    path_rmdir "path_rmdir" PATH_RMDIR;
    path_mkdir "path_mkdir" PATH_MKDIR;
    path_symlink "path_symlink" PATH_SYMLINK;
    path_link "path_link" PATH_LINK;
    path_rename "path_rename" PATH_RENAME;
    path_chmod "path_chmod" PATH_CHMOD;
    path_chown "path_chown" PATH_CHOWN;
    path_chroot "path_chroot" PATH_CHROOT;
    socket_connect "socket_connect" SOCKET_CONNECT;
    socket_bind "socket_bind" SOCKET_BIND;
    sb_mount "sb_mount" SB_MOUNT;
    sb_umount "sb_umount" SB_UMOUNT;
    sb_pivotroot "sb_pivotroot" SB_PIVOTROOT;
    move_mount "move_mount" MOVE_MOUNT;
    bpf_call "bpf" BPF;
    userns_create "userns_create" USERNS_CREATE;
    inode_setxattr "inode_setxattr" INODE_SETXATTR;
    inode_removexattr "inode_removexattr" INODE_REMOVEXATTR;
}

/// A message with an address of its own. Without one the socket is connected, which was judged.
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(ctx: LsmContext) -> i32 {
    let message: *const c_void = ctx.arg(1);
    // SAFETY: the verifier knows the argument.
    let name: *const c_void = unsafe { member(message, &O_MSGHDR_NAME) };
    if name.is_null() { 0 } else { locked(lock::SOCKET_SENDMSG) }
}

/// Looking into a process: inside of the tree only.
#[lsm(hook = "ptrace_access_check")]
pub fn ptrace_access_check(ctx: LsmContext) -> i32 {
    let target: *mut c_void = ctx.arg::<*mut c_void>(0);
    if scope::mine().is_none() || scope::holds(target) { 0 } else { EPERM }
}
