//! Records: what the programs put into the ring.
//!
//! A record is a [`Header`] and `size` bytes of payload. Some are padded to one of a few fixed sizes; what else is in the
//! ring means nothing.

/// What a record says.
pub mod kind {
    /// A process or thread of the tree was made. `op` is the child's thread id, `detail` its process id, `extra`
    /// the start of that process in nanoseconds since boot.
    pub const FORK: u32 = 1;
    /// A program was started. Payload: its path; `extra` says what became of looking for it (`path::Found`).
    pub const EXEC: u32 = 2;
    /// The last thread of a process ended. `detail` is the kernel's exit code: `code << 8 | signal`.
    pub const EXIT: u32 = 3;
    /// An action on a path was decided. Payload: the path. `op` is an [`crate::op::Op`], `outcome` the decision,
    /// `detail` 1 if it was let through, `extra` the mode of what is made.
    pub const PATH: u32 = 4;
    /// An action on an address was decided. Payload: [`super::Address`].
    pub const ADDRESS: u32 = 5;
    /// The self-test fired. `detail` is the token that it was armed with.
    pub const CANARY: u32 = 6;
    /// A task of the tree did itself what only the supervisor does for it: refused. `op` is one of [`super::lock`].
    pub const LOCK: u32 = 8;
    /// The arguments of the program that the next [`EXEC`] of the same process names. Payload: the first bytes of its
    /// argument area, each argument with its NUL; directly after the header. `detail` is the length of all of it, `extra`
    /// the number of the program's inode; `op` is 1 if the area could not be read (then there is no payload).
    pub const ARGUMENTS: u32 = 7;
    /// An open for reading that nobody held has returned (engine `hybrid`). As [`PATH`], but that it has happened by now:
    /// a denial is a kill. `extra` is a set of [`super::open`]. Let through with [`crate::tables::FLOOR_UNRESOLVED`]: what has
    /// no name anywhere, where the descriptor table is shared.
    pub const OPEN: u32 = 9;
    /// What the caller of the next [`OPEN`] of the same thread called the file: its words, which it can have changed
    /// meanwhile. Payload: the bytes, directly after the header; none if they can't be read.
    pub const SPELT: u32 = 10;
    /// What was asked for through a ring of io_uring and only the supervisor does: refused. `op` is one of
    /// [`super::lock`].
    pub const RING: u32 = 11;
}

/// Bits beside the mode in `extra` of a [`kind::PATH`].
pub mod path {
    /// The descriptor was received, not opened.
    pub const RECEIVED: u64 = 1 << 32;
}

/// Switches of the programs, by index of the map `SWITCHES`: 1 is on.
pub mod switch {
    /// The supervisor moves a folder.
    pub const MOVING: u32 = 0;
    /// The policy lets the tree have rings of io_uring.
    pub const RINGS: u32 = 1;
}

/// Bits about an open that has returned.
pub mod open {
    /// The descriptor table is shared with another task, or was since the last exec: that one could have replaced the
    /// descriptor meanwhile.
    pub const SHARED: u64 = 1;
    /// The file has no name any more.
    pub const UNLINKED: u64 = 2;
    /// The kernel itself refused it (`EACCES`): nothing was opened. Payload: the folder that its name starts at, if it is
    /// relative; nothing if that can't be had.
    pub const REFUSED: u64 = 4;
}

/// What stands at the start of each record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u32,
    /// Bytes of payload, and [`AT_FRONT`].
    pub size: u32,
    /// Nanoseconds since boot, time asleep included.
    pub time: u64,
    /// The process, in the guard's pid namespace.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// What was decided ([`crate::tables::outcome`]).
    pub outcome: u32,
    /// See [`kind`].
    pub op: u32,
    /// See [`kind`].
    pub detail: u64,
    /// More about the object: for paths the mode of the file.
    pub extra: u64,
}

/// In [`Header::size`], beside the number: the payload of a record that has it at its end else stands directly after the header.
pub const AT_FRONT: u32 = 1 << 31;

/// Size of a [`Header`].
pub const HEADER: usize = 48;

/// An internet address as the kernel has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The 16 bytes of the address, in words as they lie in memory; IPv4 in the first of them if `family` is 2.
    pub ip: [u32; 4],
    /// `AF_INET` (2) or `AF_INET6` (10); a v4-mapped address is given as IPv4.
    pub family: u32,
    /// In the machine's byte order.
    pub port: u32,
    /// `SOCK_STREAM` and so on.
    pub socket: u32,
    /// `IPPROTO_TCP` and so on.
    pub protocol: u32,
}

/// What only the supervisor does on behalf of the tree: numbers of hooks that refuse the tree itself, the kernel's names for
/// them.
pub mod lock {
    /// `path_rename`
    pub const PATH_RENAME: u32 = 0;
    /// `path_chroot`
    pub const PATH_CHROOT: u32 = 1;
    /// `path_mknod`
    pub const PATH_MKNOD: u32 = 2;
    /// `inode_setxattr`
    pub const INODE_SETXATTR: u32 = 3;
    /// `inode_removexattr`
    pub const INODE_REMOVEXATTR: u32 = 4;
    /// `inode_set_acl`
    pub const INODE_SET_ACL: u32 = 5;
    /// `inode_remove_acl`
    pub const INODE_REMOVE_ACL: u32 = 6;
    /// `socket_create`
    pub const SOCKET_CREATE: u32 = 7;
    /// `socket_connect`
    pub const SOCKET_CONNECT: u32 = 8;
    /// `socket_bind`
    pub const SOCKET_BIND: u32 = 9;
    /// `socket_listen`
    pub const SOCKET_LISTEN: u32 = 10;
    /// `socket_sendmsg`
    pub const SOCKET_SENDMSG: u32 = 11;
    /// `task_kill`
    pub const TASK_KILL: u32 = 12;
    /// `sb_mount`
    pub const SB_MOUNT: u32 = 13;
    /// `sb_umount`
    pub const SB_UMOUNT: u32 = 14;
    /// `sb_pivotroot`
    pub const SB_PIVOTROOT: u32 = 15;
    /// `move_mount`
    pub const MOVE_MOUNT: u32 = 16;
    /// `bpf`
    pub const BPF: u32 = 17;
    /// `userns_create`
    pub const USERNS_CREATE: u32 = 18;
    /// `uring_cmd`
    pub const URING_CMD: u32 = 19;
    /// `uring_override_creds`
    pub const URING_OVERRIDE_CREDS: u32 = 20;
    /// By number.
    pub const NAMES: [&str; 21] = [
        "path_rename",
        "path_chroot",
        "path_mknod",
        "inode_setxattr",
        "inode_removexattr",
        "inode_set_acl",
        "inode_remove_acl",
        "socket_create",
        "socket_connect",
        "socket_bind",
        "socket_listen",
        "socket_sendmsg",
        "task_kill",
        "sb_mount",
        "sb_umount",
        "sb_pivotroot",
        "move_mount",
        "bpf",
        "userns_create",
        "uring_cmd",
        "uring_override_creds",
    ];
}

/// Most bytes of arguments that a record bears.
pub const ARGUMENT_BYTES: usize = 4096;

/// Counters of the programs, by place in the one value of the map `COUNTERS`.
pub mod counter {
    /// Records written.
    pub const RECORDED: u32 = 0;
    /// Actions denied because their record had no room.
    pub const NO_ROOM: u32 = 1;
    /// Actions allowed.
    pub const ALLOWED: u32 = 2;
    /// Actions denied by the tables.
    pub const DENIED: u32 = 3;
    /// Objects whose path could not be had: denied.
    pub const UNRESOLVED: u32 = 4;
    /// Records of processes (fork, exec, exit) that had no room.
    pub const LOST: u32 = 5;
    /// Forks that could not be brought into the scope: refused or killed.
    pub const UNSCOPED: u32 = 6;
    /// How many there are.
    pub const COUNT: u32 = 16;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_padded() {
        assert_eq!(size_of::<Header>(), HEADER);
        assert_eq!(size_of::<Address>(), 32);
    }
}
