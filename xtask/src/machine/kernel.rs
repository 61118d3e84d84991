//! A stock kernel of Debian: found, downloaded, unpacked, and kept for the next time.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{output, succeed};

/// What the guest's first program can't do without; where the kernel has it built in there is no such file.
const TO_BOOT: &[&str] = &["virtio_pci", "virtio_blk"];

/// Socket families, file systems and formats that tests ask for. A kernel without one skips those tests.
const FOR_TESTS: &[&str] = &["vsock", "af_alg", "sctp", "udp_diag", "overlay", "binfmt_misc"];

/// A kernel that is unpacked on this machine.
pub struct Kernel {
    /// `6.12.117+deb12-cloud-amd64`
    pub release: String,
    folder: PathBuf,
}

impl Kernel {
    /// The newest cloud kernel of `series` (`6.12`) that the package index knows; where it can't be asked, the newest
    /// that was unpacked before in `cache`.
    ///
    /// # Errors
    /// There is none, or it could not be downloaded.
    pub fn newest(series: &str, cache: &Path) -> Result<Self> {
        let pattern = format!(r"^linux-image-{}\.[0-9].*-cloud-amd64$", series.replace('.', r"\."));
        let known = output(Command::new("apt-cache").args(["search", "--names-only", &pattern])).unwrap_or_default();
        let names = known.lines().filter_map(|line| line.split_whitespace().next());
        let newest = names.max_by(|a, b| by_numbers(a, b)).map(str::to_owned);
        let newest = newest.or_else(|| unpacked_before(series, cache));
        let package =
            newest.with_context(|| format!("no package linux-image-{series}.*-cloud-amd64 is known to apt"))?;
        let folder = cache.join(&package);
        if !folder.is_dir() {
            unpack(&package, &folder)?;
        }
        let release = package.strip_prefix("linux-image-").unwrap_or(&package).to_owned();
        Ok(Self { release, folder })
    }

    /// What the boot loader loads.
    pub fn image(&self) -> PathBuf {
        self.folder.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// Copies the modules that a guest needs into `folder`, uncompressed; gives their file names in the order in
    /// which they can be loaded.
    ///
    /// # Errors
    /// One of them can't be unpacked.
    pub fn modules(&self, folder: &Path) -> Result<Vec<String>> {
        fs::create_dir_all(folder)?;
        let mut order = Order { all: Vec::new(), seen: HashSet::new(), folder: folder.to_path_buf() };
        find_modules(&self.folder.join("lib/modules"), &mut order.all)?;
        let mut files = Vec::new();
        for name in TO_BOOT.iter().chain(FOR_TESTS) {
            order.add(name, &mut files)?;
        }
        Ok(files)
    }
}

fn unpacked_before(series: &str, cache: &Path) -> Option<String> {
    let start = format!("linux-image-{series}.");
    let names = fs::read_dir(cache).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&start)).max_by(|a, b| by_numbers(a, b))
}

fn unpack(package: &str, folder: &Path) -> Result<()> {
    let parent = folder.parent().context("no folder to unpack to")?;
    fs::create_dir_all(parent)?;
    let download = tempfile::tempdir_in(parent)?;
    succeed(Command::new("apt-get").args(["download", "--quiet", package]).current_dir(download.path()))?;
    let unpacked = download.path().join("unpacked");
    for entry in fs::read_dir(download.path())?.flatten().filter(|entry| entry.path().is_file()) {
        succeed(Command::new("dpkg").arg("-x").arg(entry.path()).arg(&unpacked))?;
    }
    ensure!(unpacked.join("boot").is_dir(), "{package} holds no kernel");
    // Under its name only when it is whole.
    Ok(fs::rename(unpacked, folder)?)
}

fn find_modules(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            find_modules(&path, found)?;
        } else if module_name(&path).is_some() {
            found.push(path);
        }
    }
    Ok(())
}

/// `virtio_blk` of `.../virtio_blk.ko.xz`: modules are named with `_` where files may have `-`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, end) = file.split_once(".ko")?;
    matches!(end, "" | ".xz" | ".zst" | ".gz").then(|| name.replace('-', "_"))
}

/// Modules in the order of what they depend on.
struct Order {
    all: Vec<PathBuf>,
    seen: HashSet<String>,
    folder: PathBuf,
}

impl Order {
    fn add(&mut self, name: &str, files: &mut Vec<String>) -> Result<()> {
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let found = self.all.iter().find(|path| module_name(path).as_deref() == Some(name));
        let Some(path) = found.cloned() else { return Ok(()) };
        let bytes = uncompressed(&path)?;
        for needed in depends(&bytes) {
            self.add(&needed.replace('-', "_"), files)?;
        }
        let file = format!("{name}.ko");
        fs::write(self.folder.join(&file), bytes)?;
        files.push(file);
        Ok(())
    }
}

fn uncompressed(path: &Path) -> Result<Vec<u8>> {
    let tool = match path.extension().and_then(|end| end.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return Ok(fs::read(path)?),
    };
    let unpacked = Command::new(tool).arg("-dc").arg(path).output().with_context(|| format!("start {tool}"))?;
    ensure!(unpacked.status.success(), "{tool} can't read {}", path.display());
    Ok(unpacked.stdout)
}

/// What a module says of itself: `depends=a,b`, terminated by NUL.
fn depends(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|window| window == key) else { return Vec::new() };
    let value = module[at + key.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Names with numbers in them in the order of the numbers: `6.12.9` before `6.12.117`.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        let pieces = text.split(|c: char| !c.is_ascii_alphanumeric());
        pieces.map(|piece| (piece.parse().unwrap_or(0), piece.to_owned())).collect()
    };
    parts(a).cmp(&parts(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_ordered_by_number() {
        let mut names =
            ["linux-image-6.12.117+deb12-cloud", "linux-image-6.12.9+deb12-cloud", "linux-image-6.12.20-cloud"];
        names.sort_by(|a, b| by_numbers(a, b));
        assert_eq!(
            names,
            ["linux-image-6.12.9+deb12-cloud", "linux-image-6.12.20-cloud", "linux-image-6.12.117+deb12-cloud"]
        );
        assert_eq!(by_numbers("linux-image-6.1.0-9-cloud", "linux-image-6.1.0-56-cloud"), Ordering::Less);
    }

    #[test]
    fn a_module_names_what_it_depends_on() {
        assert_eq!(depends(b"x\0license=GPL\0depends=virtio,virtio_ring\0name=y\0"), ["virtio", "virtio_ring"]);
        assert!(depends(b"x\0depends=\0name=y").is_empty() && depends(b"nothing").is_empty());
    }

    #[test]
    fn modules_go_by_the_name_that_the_kernel_uses() {
        assert_eq!(module_name(Path::new("a/virtio-rng.ko.xz")).as_deref(), Some("virtio_rng"));
        assert_eq!(module_name(Path::new("a/af_alg.ko")).as_deref(), Some("af_alg"));
        assert_eq!(module_name(Path::new("a/modules.order")), None);
    }
}
