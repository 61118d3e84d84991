//! Whether LSM programs are called on this kernel, found out by being called.
//!
//! Without `bpf` in `lsm=` a kernel loads and attaches such a program, and never calls it.

use gait_ebpf::record::kind;

use super::btf::Hooks;
use super::object::map_error;
use super::{BpfError, Object, Reader};
use crate::sys::bpf::program::load_consent;
use crate::sys::thread::own_tid;

const PROGRAM: &str = "canary";
const HOOK: &str = "file_open";
/// What its record must bear.
const TOKEN: u64 = 0x6761_6974_2d6c_736d;

/// How far an engine came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Into the kernel.
    Load,
    /// To its hook.
    Attach,
    /// To being called.
    Fire,
}

impl Stage {
    /// As receipts name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Attach => "attach",
            Self::Fire => "fire",
        }
    }

    /// The stage that an error is of.
    pub fn of(error: &BpfError) -> Self {
        match error {
            BpfError::Program { stage: "attach", .. } => Self::Attach,
            BpfError::Silent { .. } => Self::Fire,
            _ => Self::Load,
        }
    }
}

/// Whether this kernel can be expected to take LSM programs of this user and to call them. Only the canary proves it: this
/// is asked before there are maps, to make them as large as they must be.
pub(super) fn is_expected(hooks: &Hooks) -> bool {
    is_named() && hooks.function(HOOK).is_some_and(|number| load_consent(number).is_ok())
}

/// Whether `bpf` is one of the security modules in force, if those are told: the file is in a file system that need not be
/// mounted.
fn is_named() -> bool {
    let told = std::fs::read_to_string("/sys/kernel/security/lsm");
    told.map_or(true, |modules| modules.trim_end().split(',').any(|module| module == "bpf"))
}

impl Object {
    /// Loads, attaches and triggers an LSM program, and takes it away again.
    ///
    /// Consumes what is in the ring: to be asked before anything else is recorded.
    ///
    /// # Errors
    /// [`BpfError`]; [`Stage::of`] says how far it came.
    pub fn fire_canary(&mut self, reader: &mut Reader) -> Result<(), BpfError> {
        self.attach(PROGRAM, HOOK)?;
        let opened = self.open_with_token();
        // The hook is everybody's: no longer than it takes.
        self.detach_last();
        let opened = opened?;
        let mut fired = false;
        while let Some(is_it) = reader.next(|record| {
            record.is_some_and(|record| record.header.kind == kind::CANARY && record.header.detail == TOKEN)
        }) {
            fired |= is_it;
        }
        if fired && opened { Ok(()) } else { Err(BpfError::Silent { program: PROGRAM }) }
    }

    /// Opens a file with the token out for this thread: whether that worked.
    fn open_with_token(&self) -> Result<bool, BpfError> {
        let tid = own_tid().unsigned_abs();
        let mut tokens = self.hash::<u32, u64>("CANARY")?;
        tokens.insert(tid, TOKEN, 0).map_err(map_error("CANARY"))?;
        let opened = std::fs::File::open("/proc/self/status").is_ok();
        tokens.remove(&tid).map_err(map_error("CANARY"))?;
        Ok(opened)
    }
}
