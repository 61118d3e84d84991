//! Virtual machines with stock kernels of Debian, under QEMU without KVM: what the kernel suites and the benches that
//! count instructions run in.

mod boot;
mod kernel;
mod root;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Result;
pub use boot::{Boot, Ended, Processors};
pub use kernel::Kernel;

use crate::places::target;
use crate::process::is_here;

/// Statically linked, so that it runs in an empty guest.
const BUSYBOX: &str = "/usr/bin/busybox";

/// What a guest can't be made without, and where it is from.
const TOOLS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("setpriv", "util-linux"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("mke2fs", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("apt-get", "apt"),
    ("apt-cache", "apt"),
    ("dpkg-deb", "dpkg"),
    ("tar", "tar"),
    ("git", "git"),
];

/// Why no guest can be made here.
pub fn missing() -> Option<String> {
    let absent = TOOLS.iter().find(|(tool, _)| !is_here(tool));
    let absent = absent.map(|(tool, package)| format!("no {tool}: install {package}"));
    absent.or_else(|| (!is_static(BUSYBOX)).then(|| format!("{BUSYBOX} is not static: install busybox-static")))
}

/// Whether a program needs no loader, whose name would be in it.
fn is_static(program: &str) -> bool {
    let loader = b"/lib64/ld-linux";
    fs::read(program).is_ok_and(|bytes| !bytes.windows(loader.len()).any(|window| window == loader))
}

/// What is kept from one task to the next, and the right to use it.
pub struct Store {
    folder: PathBuf,
    /// Released when the task ends.
    _only_one: File,
}

impl Store {
    /// The folder `target/kernel-matrix`. Images, logs and reports have fixed names: a second task waits for the first.
    ///
    /// # Errors
    /// It can't be made or locked.
    pub fn open() -> Result<Self> {
        let folder = target().join("kernel-matrix");
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let only_one = File::create(folder.join("lock"))?;
        only_one.lock()?;
        Ok(Self { folder, _only_one: only_one })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The root file system of all guests: none writes to it.
    ///
    /// # Errors
    /// Its packages can't be had, or there is no room for them.
    pub fn root(&self) -> Result<PathBuf> {
        root::image(&self.folder)
    }

    /// The newest kernel of `series`: `6.12`.
    ///
    /// # Errors
    /// There is none, or it could not be downloaded.
    pub fn kernel(&self, series: &str) -> Result<Kernel> {
        Kernel::newest(series, &self.folder.join("kernels"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_told_from_one_without() {
        assert!(!is_static("/bin/sh") && !is_static("/no/such/program"));
    }
}
