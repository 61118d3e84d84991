//! The BPF programs of gait. `cargo xtask build-ebpf` builds them; the object is committed.
//!
//! Rules of this crate: all scratch memory is task storage, never per CPU (two tasks of one CPU would share it: an LSM
//! program can be preempted, and then a decision is made on another task's path); a decision is recorded before it is
//! let through, and what can't be recorded is denied.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod automaton;
mod canary;
mod cgroup;
mod hybrid;
mod kernel;
mod lsm;
mod path;
mod process;
mod ring;
mod scope;
mod trial;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // The verifier refuses an object in which this could be reached.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
