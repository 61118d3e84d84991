//! What one thread of the supervisor has of its own.

use rustix::io;
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

/// Gives the calling thread its own root, working directory and umask.
pub fn own_fs() -> io::Result<()> {
    // SAFETY: only `UnshareFlags::FILES` can hide descriptors from other threads, and it is not given.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
}

/// Drops every capability of the calling thread, for good.
pub fn drop_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}
