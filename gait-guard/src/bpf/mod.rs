//! The BPF programs of `gait-ebpf` in this kernel: loaded with the offsets of its own BTF, filled with the policy of the
//! run, and read.
//!
//! ```text
//! btf      where the members of this kernel's structures are
//! object   the committed object, loaded with those offsets
//! image    the compiled policy as the kernel walks it
//! lsm      programs at hooks of the security module
//! reader   records out of the ring
//! trial    the decision by itself, for the proof that kernel and engine agree
//! ```

pub mod btf;
pub mod image;
pub mod lsm;
pub mod object;
pub mod reader;
pub mod trial;

pub use object::{Object, Options};
pub use reader::{Reader, Record};

use std::error::Error;

use aya::programs::ProgramError;
use rustix::io::Errno;

/// Why no BPF program can be used here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BpfError {
    /// The kernel does not describe its own structures.
    #[error("the kernel's types can't be read from /sys/kernel/btf/vmlinux: {0}")]
    Btf(#[source] std::io::Error),
    /// It describes them in a way that is not understood.
    #[error("the kernel's types can't be understood: {what}")]
    Types {
        /// Where it broke.
        what: &'static str,
    },
    /// A member that a program needs is not there: the programs don't fit this kernel.
    #[error("this kernel has no `{structure}.{member}`, which the programs need")]
    Member {
        /// The structure.
        structure: String,
        /// The member.
        member: String,
    },
    /// The object can't be loaded.
    #[error("the BPF object can't be loaded: {0}")]
    Load(#[from] Box<aya::EbpfError>),
    /// One program can't be loaded or attached.
    #[error("{stage} of the BPF program `{program}` failed: {cause}")]
    Program {
        /// Its name.
        program: String,
        /// `load` or `attach`.
        stage: &'static str,
        /// Why.
        #[source]
        cause: Box<aya::programs::ProgramError>,
    },
    /// A map is not what it should be.
    #[error("the BPF map `{map}` can't be used: {cause}")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The floor can't be put into tables.
    #[error("the floor can't be compiled: {what}")]
    Floor {
        /// Why.
        what: String,
    },
    /// The policy is larger than what the kernel's tables take.
    #[error("the policy needs {needed} {what}, the kernel's tables take {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        needed: usize,
        /// How many there can be.
        limit: usize,
    },
}

impl BpfError {
    /// The kernel's error, if there was one.
    pub fn errno(&self) -> Option<Errno> {
        let cause: &(dyn Error + 'static) = match self {
            Self::Btf(cause) => cause,
            Self::Load(cause) => &**cause,
            Self::Program { cause, .. } => &**cause,
            Self::Map { cause, .. } => &**cause,
            _ => return None,
        };
        let mut next = Some(cause);
        while let Some(cause) = next {
            if let Some(error) = cause.downcast_ref::<std::io::Error>() {
                return error.raw_os_error().map(Errno::from_raw_os_error);
            }
            if let Some(ProgramError::LoadError { io_error, .. }) = cause.downcast_ref::<ProgramError>() {
                return io_error.raw_os_error().map(Errno::from_raw_os_error);
            }
            if let Some(ProgramError::SyscallError(failed)) = cause.downcast_ref::<ProgramError>() {
                return failed.io_error.raw_os_error().map(Errno::from_raw_os_error);
            }
            next = cause.source();
        }
        None
    }

    /// In one line: the verifier's log of a program that was refused can have thousands.
    pub fn brief(&self) -> String {
        match (self, self.errno()) {
            (Self::Program { program, stage, .. }, Some(errno)) => {
                format!("{stage} of the BPF program `{program}`: {errno}")
            }
            _ => self.to_string().lines().next().unwrap_or_default().to_owned(),
        }
    }
}
