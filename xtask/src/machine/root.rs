//! The guest's root file system: packages of Debian and their dependencies, unpacked into an ext4 image that no guest
//! writes to, each has its changes thrown away.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process::{output, succeed};

/// What the suites run. What these depend on comes with them.
const PACKAGES: &[&str] = &[
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "gcc",
    "git",
    "grep",
    "gzip",
    "libc-bin",
    "libc6-dev",
    "make",
    "mawk",
    "mount",
    "procps",
    "python3",
    "runc",
    "sed",
    "tar",
    "util-linux",
];

/// Folders that hold nothing of use in a guest.
const LEFT_OUT: &[&str] = &["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"];

/// What maintainer scripts, which do not run here, would have made: link, target.
const LINKS: &[(&str, &str)] =
    &[("usr/bin/sh", "dash"), ("usr/bin/awk", "mawk"), ("usr/bin/cc", "gcc"), ("var/run", "/run")];

/// Room for the image and what a guest writes, in MiB. The file is sparse.
const SIZE_MIB: u32 = 4096;

/// The image, made if the packages' versions are not those of the one in `cache`.
///
/// # Errors
/// The packages can't be had, or there is no room for them.
pub fn image(cache: &Path) -> Result<PathBuf> {
    fs::create_dir_all(cache)?;
    let (image, list) = (cache.join("root.ext4"), cache.join("root.packages"));
    let before = fs::read_to_string(&list).unwrap_or_default();
    let wanted = match closure(cache) {
        Ok(wanted) => wanted,
        // Without an index there is nothing newer to be had either.
        Err(_) if image.is_file() && !before.is_empty() => return Ok(image),
        Err(error) => return Err(error),
    };
    let text = format!("{}\n{}", wanted.join("\n"), recipe());
    if image.is_file() && before == text {
        return Ok(image);
    }
    let folder = tempfile::tempdir_in(cache)?;
    let root = folder.path().join("root");
    download(&wanted, folder.path())?;
    skeleton(&root)?;
    for entry in fs::read_dir(folder.path())?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            unpack(&entry.path(), &root)?;
        }
    }
    finish(&root)?;
    make_image(&root, &image, SIZE_MIB)?;
    fs::write(list, text)?;
    Ok(image)
}

/// What of this file makes another image out of the same packages.
fn recipe() -> String {
    format!("{LEFT_OUT:?} {LINKS:?} {SIZE_MIB}")
}

/// `name=version` of all that an empty machine would have to install, sorted.
fn closure(cache: &Path) -> Result<Vec<String>> {
    let empty = cache.join("no-packages");
    fs::write(&empty, "")?;
    let status = format!("Dir::State::status={}", empty.canonicalize()?.display());
    let mut command = Command::new("apt-get");
    command.args(["-o", &status, "--no-install-recommends", "--simulate", "install"]).args(PACKAGES);
    let said = output(command.env("LC_ALL", "C"))?;
    let mut all: Vec<String> = said.lines().filter_map(installed).collect();
    ensure!(all.len() > PACKAGES.len(), "apt-get --simulate names {} packages only", all.len());
    all.sort();
    Ok(all)
}

/// `Inst bash (5.2.15-2+b13 Debian:12.13/oldstable [amd64])` as `bash=5.2.15-2+b13`.
fn installed(line: &str) -> Option<String> {
    let mut words = line.strip_prefix("Inst ")?.split_whitespace();
    Some(format!("{}={}", words.next()?, words.next()?.strip_prefix('(')?))
}

fn download(packages: &[String], folder: &Path) -> Result<()> {
    succeed(Command::new("apt-get").args(["download", "--quiet"]).args(packages).current_dir(folder))
}

/// The folders that packages expect to be links already.
fn skeleton(root: &Path) -> Result<()> {
    for folder in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(folder))?;
        symlink(format!("usr/{folder}"), root.join(folder))?;
    }
    for folder in ["dev", "proc", "sys", "run", "root", "etc", "var", "mnt/suite"] {
        fs::create_dir_all(root.join(folder))?;
    }
    Ok(())
}

/// Unpacks one package over the others. `dpkg -x` would replace the links of [`skeleton`] by folders.
fn unpack(package: &Path, root: &Path) -> Result<()> {
    let mut dpkg = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let content = dpkg.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "--keep-directory-symlink", "-C"]).arg(root);
    for folder in LEFT_OUT {
        tar.arg(format!("--exclude=./{folder}"));
    }
    let unpacked = tar.stdin(content).output()?;
    let listed = dpkg.wait()?;
    let complaint = String::from_utf8_lossy(&unpacked.stderr);
    ensure!(unpacked.status.success() && listed.success(), "{} does not unpack: {complaint}", package.display());
    Ok(())
}

/// Accounts, names and links.
fn finish(root: &Path) -> Result<()> {
    for (link, target) in LINKS {
        let link = root.join(link);
        if !link.is_symlink() && !link.exists() {
            symlink(target, link)?;
        }
    }
    let etc = root.join("etc");
    fs::write(
        etc.join("passwd"),
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    )?;
    fs::write(etc.join("group"), "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")?;
    fs::write(etc.join("hosts"), "127.0.0.1 localhost guest\n::1 localhost\n")?;
    fs::write(etc.join("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files\n")?;
    let tmp = root.join("tmp");
    fs::create_dir_all(&tmp)?;
    succeed(Command::new("chmod").arg("1777").arg(&tmp))?;
    // The loader's cache is among what a policy names, and programs start faster with it.
    succeed(Command::new("/usr/sbin/ldconfig").arg("-r").arg(root))
}

/// An ext4 image of what lies in `folder`, everything in it root's.
///
/// # Errors
/// It does not fit, or there is no `mke2fs`.
pub fn make_image(folder: &Path, image: &Path, size_mib: u32) -> Result<()> {
    let part = image.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut command = Command::new("mke2fs");
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command.args(["-q", "-F", "-t", "ext4", "-m", "0", "-E", "root_owner=0:0,lazy_itable_init=1", "-d"]);
    succeed(command.arg(folder).arg(&part).arg(format!("{size_mib}M")))?;
    Ok(fs::rename(part, image)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_would_install_is_read_with_its_version() {
        let line = "Inst libattr1 (1:2.5.1-4 Debian:12.13/oldstable [amd64])";
        assert_eq!(installed(line).as_deref(), Some("libattr1=1:2.5.1-4"));
        assert_eq!(installed("Inst base-files (12.4 Debian:12 [amd64]) []").as_deref(), Some("base-files=12.4"));
        assert_eq!(installed("Conf bash (5.2.15-2+b13 Debian:12.13/oldstable [amd64])"), None);
    }
}
