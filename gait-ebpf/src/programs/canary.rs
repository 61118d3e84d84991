//! The self-test of LSM programs: a kernel can load and attach one and never call it.

use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::{btf_map, lsm};
use aya_ebpf::programs::LsmContext;
use gait_ebpf::record::kind;

use crate::kernel;
use crate::ring;

/// By thread that opens a file for the test: the token that its record must bear.
#[btf_map]
static CANARY: HashMap<u32, u64, 4> = HashMap::new();

/// Records that it was called, for a thread that asked for it. Denies nothing.
#[lsm(hook = "file_open")]
pub fn canary(_ctx: LsmContext) -> i32 {
    let tid = kernel::number(kernel::current());
    // SAFETY: the value is copied before anything else runs.
    if let Some(token) = unsafe { CANARY.get(tid) } {
        let mut header = ring::header(kind::CANARY, 0, 0);
        header.detail = *token;
        ring::put(&header);
    }
    0
}
