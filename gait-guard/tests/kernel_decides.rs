//! The BPF programs on the real kernel: that they decide as user space does, and what becomes of their records.
//!
//! `GAIT_AGREEMENT=full` asks about 100,000 subjects for each of 200 random policies and a million for each shipped one;
//! without it a tenth of that. `--release` is for the full number: most of the time goes into user space.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

#[path = "kernel_decides/agreement.rs"]
mod agreement;
#[path = "kernel_decides/dice.rs"]
mod dice;
#[path = "kernel_decides/policies.rs"]
mod policies;
#[path = "kernel_decides/proof.rs"]
mod proof;
#[path = "kernel_decides/ring.rs"]
mod ring;
#[path = "kernel_decides/subjects.rs"]
mod subjects;

use gait_guard::bpf::BpfError;
use gait_guard::bpf::trial::Trial;
use kernel_suite::need::{Found, Need};

/// The programs can be loaded and run here.
const BPF: Need = Need::Tried("bpf", tried);

/// The smallest ring: nothing is written to it by whoever takes this.
const RING_BYTES: u32 = 4096;

fn main() -> std::process::ExitCode {
    kernel_suite::suite::main([proof::tests(), ring::tests()].into_iter().flatten().collect())
}

/// Not there: no types of the kernel, no such call, or no right to it. Anything else is a program that this kernel
/// refuses, and that is a failure.
fn tried() -> Found {
    let error = match Trial::new(RING_BYTES) {
        Ok(_) => return Found::Present,
        Err(error) => error,
    };
    let errno = errno(&error);
    match errno {
        Some(libc::EPERM) => Found::Absent("bpf EPERM".to_owned()),
        Some(libc::ENOSYS) => Found::Absent("bpf ENOSYS".to_owned()),
        Some(libc::ENOENT) if matches!(error, BpfError::Btf(_)) => {
            Found::Absent("open /sys/kernel/btf/vmlinux ENOENT".to_owned())
        }
        _ => Found::Broken(format!("{error} ({errno:?})")),
    }
}

/// The error of the call that failed.
fn errno(error: &BpfError) -> Option<i32> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.raw_os_error();
        }
        cause = error.source();
    }
    None
}
