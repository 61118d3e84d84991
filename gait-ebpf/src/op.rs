//! What a program can ask the tables about: each kind of action that is decided by a value has a number.

/// Number of an operation, the index of its entry in [`crate::tables::Tables::kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs, reason = "each is the operation of its name, as in gait-guard's events")]
pub enum Op {
    Read = 0,
    List = 1,
    Write = 2,
    Create = 3,
    Truncate = 4,
    Mkdir = 5,
    Mknod = 6,
    Symlink = 7,
    Link = 8,
    RenameTo = 9,
    Chmod = 10,
    Chown = 11,
    Utimes = 12,
    Setxattr = 13,
    Removexattr = 14,
    Delete = 15,
    Rmdir = 16,
    RenameFrom = 17,
    Map = 18,
    Watch = 19,
    Exec = 20,
    ExecMemory = 21,
    UnixConnectPath = 22,
    UnixSendPath = 23,
    UnixBindPath = 24,
    UnixConnectOther = 25,
    UnixSendOther = 26,
    UnixBindOther = 27,
    ConnectHttp = 28,
    ConnectDns = 29,
    SendHttp = 30,
    SendDns = 31,
    BindHttp = 32,
    BindDns = 33,
}

/// The flags of an open that is held for the supervisor. One with none of them only reads what is there: `O_ACCMODE`,
/// `O_CREAT`, `O_TRUNC`, `O_DIRECTORY`, `O_PATH` and what is `O_TMPFILE` without that.
pub const HELD_FLAGS: u32 = 0x3 | 0x40 | 0x200 | 0x1_0000 | 0x20_0000 | 0x40_0000;

impl Op {
    /// All, by number.
    pub const ALL: [Self; 34] = [
        Self::Read,
        Self::List,
        Self::Write,
        Self::Create,
        Self::Truncate,
        Self::Mkdir,
        Self::Mknod,
        Self::Symlink,
        Self::Link,
        Self::RenameTo,
        Self::Chmod,
        Self::Chown,
        Self::Utimes,
        Self::Setxattr,
        Self::Removexattr,
        Self::Delete,
        Self::Rmdir,
        Self::RenameFrom,
        Self::Map,
        Self::Watch,
        Self::Exec,
        Self::ExecMemory,
        Self::UnixConnectPath,
        Self::UnixSendPath,
        Self::UnixBindPath,
        Self::UnixConnectOther,
        Self::UnixSendOther,
        Self::UnixBindOther,
        Self::ConnectHttp,
        Self::ConnectDns,
        Self::SendHttp,
        Self::SendDns,
        Self::BindHttp,
        Self::BindDns,
    ];

    /// The operation of this number.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_where_its_number_says() {
        for (number, op) in (0..).zip(Op::ALL) {
            assert_eq!(op as u32, number);
            assert_eq!(Op::of(number), Some(op));
        }
        assert_eq!(Op::of(Op::ALL.len() as u32), None);
    }
}
