//! The BPF programs of `gait-ebpf` in this kernel: loaded with the offsets of its own BTF, filled with the policy of the
//! run, and read.
//!
//! ```text
//! btf      where the members of this kernel's structures are
//! committed  the committed object, as the build linked it
//! linked   the same, put together for this kernel
//! object   its programs and maps, for one run
//! image    the compiled policy as the kernel walks it
//! laid     columns of its automata in an order that makes walks short
//! lsm      programs at hooks of the security module
//! reader   records out of the ring
//! trial    the decision by itself, for the proof that kernel and engine agree
//! canary   whether LSM programs are called
//! cgroup   the control group of the agent, and the socket hooks in it
//! given    what the supervisor announces to the hook of received descriptors
//! lock     what the supervisor announces to the socket hooks
//! watch    what the probes saw, record by record
//! probes   all of that for one run
//! ```

pub mod btf;
pub mod canary;
pub mod cgroup;
pub(crate) mod committed;
pub mod given;
pub mod image;
mod laid;
pub mod linked;
pub mod lock;
pub mod lsm;
pub mod object;
pub mod probes;
pub mod reader;
pub mod trial;
pub mod watch;

pub use linked::Refusal;
pub use object::{Object, Options, Purpose};
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
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// One program can't be loaded or attached.
    #[error("{stage} of the BPF program `{program}` failed: {cause}")]
    Program {
        /// Its name.
        program: String,
        /// `load` or `attach`.
        stage: &'static str,
        /// Why.
        #[source]
        cause: Refusal,
    },
    /// A map can't be made.
    #[error("the BPF map `{map}` can't be made: {cause}")]
    NoMap {
        /// Its name.
        map: String,
        /// Why.
        #[source]
        cause: std::io::Error,
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
    /// There is no control group for the agent.
    #[error("no control group for the agent: {what}: {cause}")]
    ControlGroup {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        cause: std::io::Error,
    },
    /// No process to test with.
    #[error("no process for the self-test: {0}")]
    NoProcess(#[source] std::io::Error),
    /// A program is in force and was not called.
    #[error("the BPF program `{program}` is attached and was not called")]
    Silent {
        /// Its name.
        program: &'static str,
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
    /// The kernel's error, where there is one.
    pub fn errno(&self) -> Option<rustix::io::Errno> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<std::io::Error>()
                && let Some(errno) = rustix::io::Errno::from_io_error(io)
            {
                return Some(errno);
            }
            cause = error.source();
        }
        None
    }

    /// An error with its causes, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            cause = error.source();
        }
        text.lines().next().unwrap_or_default().to_owned()
    }
}
