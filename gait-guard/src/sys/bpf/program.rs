//! Programs: loaded, attached, run once, described.

use std::ffi::CStr;

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io;

use super::{Command, call, name, open};

/// What the kernel tells programs apart by when they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At a tracepoint, with arguments of the kernel's types: the number of its type.
    Tracepoint(u32),
    /// At a hook of the security module: the number of its function.
    Lsm(u32),
    /// At calls on the sockets of a control group, with an address: the `enum bpf_attach_type`.
    SocketAddress(u32),
    /// At the making of a socket in a control group: the `enum bpf_attach_type`.
    Socket(u32),
    /// At nothing: run by [`run`].
    Raw,
}

impl Kind {
    /// `enum bpf_prog_type`, `enum bpf_attach_type`, number among the kernel's types.
    fn numbers(self) -> (u32, u32, u32) {
        const RAW_TRACEPOINT: u32 = 17;
        const CGROUP_SOCK: u32 = 9;
        const CGROUP_SOCK_ADDR: u32 = 18;
        const TRACING: u32 = 26;
        const LSM: u32 = 29;
        const TRACE_RAW_TP: u32 = 23;
        const LSM_MAC: u32 = 27;
        match self {
            Self::Tracepoint(number) => (TRACING, TRACE_RAW_TP, number),
            Self::Lsm(number) => (LSM, LSM_MAC, number),
            Self::SocketAddress(attach) => (CGROUP_SOCK_ADDR, attach, 0),
            Self::Socket(attach) => (CGROUP_SOCK, attach, 0),
            Self::Raw => (RAW_TRACEPOINT, 0, 0),
        }
    }
}

/// A program to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Its name, of which 15 bytes are used.
    pub name: &'a str,
    /// What it is for.
    pub kind: Kind,
    /// Its instructions, `struct bpf_insn` each.
    pub instructions: &'a [[u8; 8]],
    /// Its license.
    pub license: &'a CStr,
    /// The types of its functions.
    pub functions: Option<Functions<'a>>,
}

/// Where the functions of a program begin, and of which type each is.
#[derive(Clone, Copy, Debug)]
pub struct Functions<'a> {
    /// The types of the object.
    pub types: BorrowedFd<'a>,
    /// `struct bpf_func_info` each.
    pub places: &'a [[u8; 8]],
}

/// The members of `union bpf_attr` for [`Command::ProgramLoad`].
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// Loads a program. What the verifier has to say is written to `log`, if that is not empty: text up to a zero.
///
/// # Errors
/// Those of `bpf(BPF_PROG_LOAD)`. `EPERM`: this user can't, or a container refuses it.
pub fn load(program: &Program<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let (prog_type, expected_attach_type, attach_btf_id) = program.kind.numbers();
    let places = program.functions.map_or(&[][..], |functions| functions.places);
    let mut attr = Load {
        prog_type,
        insn_cnt: program.instructions.len() as u32,
        insns: program.instructions.as_ptr() as u64,
        license: program.license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kern_version: 0,
        prog_flags: 0,
        prog_name: name(program.name),
        prog_ifindex: 0,
        expected_attach_type,
        prog_btf_fd: program.functions.map_or(0, |functions| functions.types.as_raw_fd().unsigned_abs()),
        func_info_rec_size: if places.is_empty() { 0 } else { 8 },
        func_info: if places.is_empty() { 0 } else { places.as_ptr() as u64 },
        func_info_cnt: places.len() as u32,
        line_info_rec_size: 0,
        line_info: 0,
        line_info_cnt: 0,
        attach_btf_id,
    };
    // SAFETY: the members for this command. The pointers are to as many instructions, records and bytes of a log as said, and
    // to a text that ends in a zero; the kernel writes to the log alone, which is borrowed mutably.
    unsafe { open(Command::ProgramLoad, &mut attr) }
}

/// Loads a program that permits everything for the hook of this number among the kernel's types, and lets go of it. It is
/// attached to nothing.
///
/// # Errors
/// Those of [`load`]. `EINVAL`: no such hook, or no such programs in this kernel.
pub fn load_consent(hook: u32) -> io::Result<()> {
    /// `r0 = 0; exit`.
    const CONSENT: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let program = Program { name: "", kind: Kind::Lsm(hook), instructions: &CONSENT, license: c"GPL", functions: None };
    load(&program, &mut []).map(drop)
}

/// Attaches a program to the tracepoint or the hook that it was loaded for, until the link is closed.
///
/// # Errors
/// Those of `bpf(BPF_RAW_TRACEPOINT_OPEN)`.
pub fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // No name: the place is that of the load.
    #[repr(C)]
    struct Open {
        name: u64,
        prog_fd: u32,
        reserved: u32,
    }
    let mut attr = Open { name: 0, prog_fd: program.as_raw_fd().unsigned_abs(), reserved: 0 };
    // SAFETY: the members for this command, and no pointer.
    unsafe { open(Command::RawTracepointOpen, &mut attr) }
}

/// Attaches a program to a control group as `enum bpf_attach_type` says, until the link is closed.
///
/// # Errors
/// Those of `bpf(BPF_LINK_CREATE)`.
pub fn attach_to_group(program: BorrowedFd<'_>, group: BorrowedFd<'_>, kind: Kind) -> io::Result<OwnedFd> {
    let (_, attach_type, _) = kind.numbers();
    // prog_fd, target_fd, attach_type, flags.
    let mut attr = [program.as_raw_fd().unsigned_abs(), group.as_raw_fd().unsigned_abs(), attach_type, 0];
    // SAFETY: the members for this command, and no pointer.
    unsafe { open(Command::LinkCreate, &mut attr) }
}

/// Gives a program or a link a name in a bpffs, by which it outlives its descriptor.
///
/// # Errors
/// Those of `bpf(BPF_OBJ_PIN)`.
pub fn pin(object: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    #[repr(C)]
    struct Pin {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let mut attr = Pin { pathname: path.as_ptr() as u64, bpf_fd: object.as_raw_fd().unsigned_abs(), file_flags: 0 };
    // SAFETY: the members for this command; the path ends in a zero, and the kernel only reads it.
    unsafe { call(Command::Pin, &mut attr) }.map(drop)
}

/// The members of `union bpf_attr` for [`Command::TestRun`].
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

/// Runs a program of [`Kind::Raw`] once, on this processor, with these arguments.
///
/// # Errors
/// Those of `bpf(BPF_PROG_TEST_RUN)`.
pub fn run(program: BorrowedFd<'_>, arguments: [u64; 2]) -> io::Result<()> {
    let mut attr = TestRun {
        prog_fd: program.as_raw_fd().unsigned_abs(),
        ctx_size_in: size_of_val(&arguments) as u32,
        ctx_in: arguments.as_ptr() as u64,
        ..TestRun::default()
    };
    // SAFETY: the members for this command; the arguments are as long as said, and the kernel only reads them.
    unsafe { call(Command::TestRun, &mut attr) }.map(drop)
}

/// What the kernel tells about a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its number.
    pub id: u32,
    /// The kernel's tag of its instructions.
    pub tag: [u8; 8],
    /// How many instructions the verifier went through; kernels since 5.16 tell.
    pub verified: Option<u32>,
}

/// Describes a program.
///
/// # Errors
/// Those of `bpf(BPF_OBJ_GET_INFO_BY_FD)`.
pub fn describe(program: BorrowedFd<'_>) -> io::Result<Description> {
    /// `struct bpf_prog_info` up to `verified_insns`, as words.
    const WORDS: usize = 55;
    const VERIFIED: usize = 54;
    #[repr(C)]
    struct Info {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut words = [0_u32; WORDS];
    let mut attr = Info {
        bpf_fd: program.as_raw_fd().unsigned_abs(),
        info_len: size_of_val(&words) as u32,
        info: words.as_mut_ptr() as u64,
    };
    // SAFETY: the members for this command; the kernel writes at most as many bytes as said to memory that is borrowed
    // mutably, in which there are only numbers: no pointer to more memory is set.
    unsafe { call(Command::Info, &mut attr) }?;
    let mut tag = [0; 8];
    for (to, word) in tag.as_chunks_mut::<4>().0.iter_mut().zip(&words[2..4]) {
        *to = word.to_ne_bytes();
    }
    let is_told = attr.info_len as usize >= size_of_val(&words);
    Ok(Description { id: words[1], tag, verified: is_told.then_some(words[VERIFIED]) })
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn members_lie_where_the_kernel_reads_them() {
        let at = [
            offset_of!(Load, insns),
            offset_of!(Load, prog_name),
            offset_of!(Load, expected_attach_type),
            offset_of!(Load, func_info),
            offset_of!(Load, attach_btf_id),
        ];
        assert_eq!((at, size_of::<Load>()), ([8, 48, 68, 80, 108], 112));
        assert_eq!([offset_of!(TestRun, ctx_size_in), offset_of!(TestRun, ctx_in), size_of::<TestRun>()], [40, 48, 64]);
    }

    #[test]
    fn a_hook_that_is_none_is_an_error() {
        assert!(load_consent(u32::MAX).is_err());
    }
}
