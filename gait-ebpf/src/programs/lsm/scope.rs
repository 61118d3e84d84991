//! Membership is inherited before the child can be seen by anybody: here a fork can be refused.

use core::ffi::c_void;

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use gait_ebpf::record::counter;

use crate::{kernel, ring, scope};

const ENOMEM: i32 = -12;

/// Runs in the parent.
#[lsm(hook = "task_alloc")]
pub fn task_alloc(ctx: LsmContext) -> i32 {
    let child: *mut c_void = ctx.arg::<*mut c_void>(0);
    if !scope::is_heir(kernel::current()) || scope::adopt(child) {
        return 0;
    }
    ring::count(counter::UNSCOPED);
    ENOMEM
}

/// The point of no return of an exec, which was judged: what is mapped from here to its end is mapped by the kernel.
#[lsm(hook = "bprm_committing_creds")]
pub fn bprm_committing_creds(_ctx: LsmContext) -> i32 {
    if let Some(scratch) = scope::mine() {
        scratch.state = 1;
    }
    0
}
