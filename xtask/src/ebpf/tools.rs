//! The tools that the object is made with, each at one version: other versions give other bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::places::target;
use crate::process::{Unavailable, output, succeed};

/// The compiler of Debian's `rustc-web`: its own source of `core` lies beside it, and its libLLVM is shared.
pub const RUSTC: &str = "/usr/bin/rustc";
/// That of `cargo-web`.
pub const CARGO: &str = "/usr/bin/cargo";
/// That of `rust-web-clippy`, which only `--lint` needs.
pub const CLIPPY: &str = "/usr/bin/cargo-clippy";
/// That of `llvm-19`.
pub const STRIP: &str = "llvm-strip-19";

const RELEASE: &str = "1.96.0";
const STRIP_RELEASE: &str = "19.1";
const LINKER: &str = "0.13.0";
const LLVM: &str = "libLLVM.so.22.1";
const LLVM_FOLDER: &str = "/usr/lib/x86_64-linux-gnu";
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy", "llvm-19"];

/// Tools of the right versions.
pub struct Tools {
    /// Where `bpf-linker` is.
    pub folder: PathBuf,
}

/// How the packages are installed by hand.
fn apt_hint() -> String {
    format!("apt-get install --no-install-recommends {} (or --install)", PACKAGES.join(" "))
}

/// How the linker is installed by hand.
fn linker_hint() -> String {
    format!(
        "mkdir -p llvm22/lib && ln -sf {LLVM_FOLDER}/{LLVM} llvm22/lib/libLLVM.so && LLVM_PREFIX=$PWD/llvm22 cargo install \
         bpf-linker --version {LINKER} --locked --no-default-features --features llvm-22 --root {} (or --install)",
        tools_folder().display()
    )
}

fn tools_folder() -> PathBuf {
    target().join("ebpf-tools")
}

fn unavailable(what: String, hint: String) -> anyhow::Error {
    Unavailable(format!("{what}: {hint}")).into()
}

/// Looks for the tools and at their versions.
///
/// # Errors
/// [`Unavailable`], with the command that helps.
pub fn find() -> Result<Tools> {
    ensure!(cfg!(target_arch = "x86_64"), Unavailable("the pinned tools are those of x86_64".to_owned()));
    packages()?;
    linker()
}

fn packages() -> Result<()> {
    let version =
        output(Command::new(RUSTC).arg("-vV")).map_err(|error| unavailable(format!("{error:#}"), apt_hint()))?;
    let field =
        |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    is(RUSTC, &field("release:"), RELEASE)?;
    is("the LLVM of that rustc", &field("LLVM version:"), "22.1")?;
    let version =
        output(Command::new(CARGO).arg("-V")).map_err(|error| unavailable(format!("{error:#}"), apt_hint()))?;
    is(CARGO, version.split_whitespace().nth(1).unwrap_or_default(), RELEASE)?;
    let sysroot = output(Command::new(RUSTC).args(["--print", "sysroot"]))?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if !core.exists() {
        return Err(unavailable(format!("no source of core at {}", core.display()), apt_hint()));
    }
    let version =
        output(Command::new(STRIP).arg("--version")).map_err(|error| unavailable(format!("{error:#}"), apt_hint()))?;
    let number = version.lines().find_map(|line| line.split("LLVM version ").nth(1)).unwrap_or_default();
    is(STRIP, number, STRIP_RELEASE)
}

fn is(tool: &str, version: &str, wanted: &str) -> Result<()> {
    let fits = version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if fits {
        Ok(())
    } else {
        Err(unavailable(format!("{tool} has version `{version}`, needed is {wanted}"), apt_hint()))
    }
}

/// The linker that `--install` made, or the one in PATH.
fn linker() -> Result<Tools> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools_folder().join("bin")).chain(std::env::split_paths(&path));
    let folder = folders.into_iter().find(|folder| folder.join("bpf-linker").is_file());
    let folder = folder.ok_or_else(|| unavailable("no bpf-linker".to_owned(), linker_hint()))?;
    let program = folder.join("bpf-linker");
    let version = output(Command::new(&program).arg("--version"))
        .map_err(|error| unavailable(format!("{error:#}"), linker_hint()))?;
    let version = version.split_whitespace().nth(1).unwrap_or_default();
    if version != LINKER {
        return Err(unavailable(
            format!("{} has version `{version}`, needed is {LINKER}", program.display()),
            linker_hint(),
        ));
    }
    // One that was built for another LLVM can't read what this compiler writes, or links it otherwise.
    let bytes = fs::read(&program)?;
    if !bytes.windows(LLVM.len()).any(|window| window == LLVM.as_bytes()) {
        return Err(unavailable(format!("{} does not use {LLVM}", program.display()), linker_hint()));
    }
    Ok(Tools { folder })
}

/// Installs what is missing.
///
/// # Errors
/// [`Unavailable`]: the packages can't be had here.
pub fn install() -> Result<()> {
    if packages().is_err() || !Path::new(CLIPPY).exists() {
        // An old list may name versions that are gone; without any, the one at hand may do.
        let _ = apt_get(&["update"]);
        // Not in the place of a compiler that somebody else installed.
        let words: Vec<&str> =
            ["install", "-y", "--no-install-recommends", "--no-remove"].into_iter().chain(PACKAGES).collect();
        apt_get(&words)
            .map_err(|error| Unavailable(format!("the pinned compiler can't be installed here: {error:#}")))?;
        packages()?;
    }
    if linker().is_ok() {
        return Ok(());
    }
    // Against the library that the compiler uses; its development package is not needed.
    let library = Path::new(LLVM_FOLDER).join(LLVM);
    if !library.exists() {
        return Err(unavailable(format!("no {}", library.display()), apt_hint()));
    }
    let prefix = tools_folder().join("llvm22");
    fs::create_dir_all(prefix.join("lib"))?;
    let link = prefix.join("lib/libLLVM.so");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(library, link)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "install",
        "bpf-linker",
        "--version",
        LINKER,
        "--locked",
        "--no-default-features",
        "--features",
        "llvm-22",
    ]);
    command.arg("--force").arg("--root").arg(tools_folder()).env("LLVM_PREFIX", &prefix);
    // Its own build folder: that of the workspace is locked by who runs this.
    command.env("CARGO_TARGET_DIR", tools_folder().join("build"));
    succeed(&mut command).map_err(|error| Unavailable(format!("bpf-linker can't be installed here: {error:#}")))?;
    linker().map(|_| ())
}

fn apt_get(words: &[&str]) -> Result<()> {
    let is_root = output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = Command::new(if is_root { "apt-get" } else { "sudo" });
    if !is_root {
        command.args(["-n", "apt-get"]);
    }
    succeed(command.args(words).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Whether `--lint` can run.
///
/// # Errors
/// [`Unavailable`]
pub fn has_clippy() -> Result<()> {
    if Path::new(CLIPPY).exists() { Ok(()) } else { Err(unavailable(format!("no {CLIPPY}"), apt_hint())) }
}
