//! The BPF programs of `gait-ebpf` in this kernel: loaded with the offsets of its own BTF, filled with the policy of the
//! run, and read.
//!
//! ```text
//! btf      where the members of this kernel's structures are
//! object   the committed object, loaded with those offsets
//! image    the compiled policy as the kernel walks it
//! lsm      programs at hooks of the security module
//! reader   records out of the ring
//! ```

pub mod btf;
pub mod image;
pub mod lsm;
pub mod object;
pub mod reader;

pub use object::{Object, Options};
pub use reader::{Reader, Record};

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
