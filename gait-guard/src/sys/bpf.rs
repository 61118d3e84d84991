//! What the `aya` crate has no call for: a program of the security module that is loaded by its number, without an object.

use std::ptr;

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io;

/// `BPF_PROG_LOAD`.
const PROG_LOAD: libc::c_int = 5;
/// `BPF_PROG_TYPE_LSM`.
const LSM: u32 = 29;
/// `BPF_LSM_MAC`.
const MAC: u32 = 27;

/// `r0 = 0; exit`.
const CONSENT: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The members of `union bpf_attr` for [`PROG_LOAD`], up to the last one that is set.
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

/// Loads a program that permits everything for the hook of this number among the kernel's types, and lets go of it. It is
/// attached to nothing.
///
/// # Errors
/// Those of `bpf(BPF_PROG_LOAD)`. `EPERM`: this user can't, or a container refuses it. `EINVAL`: no such hook, or no such
/// programs in this kernel.
pub fn load_consent(hook: u32) -> io::Result<()> {
    let load = Load {
        prog_type: LSM,
        insn_cnt: CONSENT.len() as u32,
        insns: CONSENT.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: [0; 16],
        prog_ifindex: 0,
        expected_attach_type: MAC,
        prog_btf_fd: 0,
        func_info_rec_size: 0,
        func_info: 0,
        func_info_cnt: 0,
        line_info_rec_size: 0,
        line_info: 0,
        line_info_cnt: 0,
        attach_btf_id: hook,
    };
    // SAFETY: `load` is as long as said and has no padding; both pointers in it are to constants, one with as many
    // instructions as said and one that ends in a NUL. The kernel only reads.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, ptr::from_ref(&load), size_of::<Load>()) };
    let Some(number) = i32::try_from(rc).ok().filter(|number| *number >= 0) else { return Err(super::last_errno()) };
    // SAFETY: the kernel made this descriptor just now, for nobody else.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_lie_where_the_kernel_reads_them() {
        let at = [
            std::mem::offset_of!(Load, insns),
            std::mem::offset_of!(Load, prog_name),
            std::mem::offset_of!(Load, expected_attach_type),
            std::mem::offset_of!(Load, func_info),
            std::mem::offset_of!(Load, attach_btf_id),
        ];
        assert_eq!((at, size_of::<Load>()), ([8, 48, 68, 80, 108], 112));
    }

    #[test]
    fn a_hook_that_is_none_is_an_error() {
        assert!(load_consent(u32::MAX).is_err());
    }
}
