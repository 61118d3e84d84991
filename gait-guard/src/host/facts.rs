//! The machine, for the receipt.

use std::fs;

use gait_core::digest::Sha256Hex;
use gait_core::guarded::Host;

/// What `guard.json` says about this machine. What can't be read is empty.
pub fn facts() -> Host {
    let uname = rustix::system::uname();
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let lsm = read("/sys/kernel/security/lsm");
    let cgroup = read("/proc/self/cgroup").lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned));
    Host {
        kernel: uname.release().to_string_lossy().into_owned(),
        machine: uname.machine().to_string_lossy().into_owned(),
        lsm: lsm.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        boot_id_digest: Sha256Hex::of(read("/proc/sys/kernel/random/boot_id").as_bytes()).to_string(),
        cgroup,
    }
}
