//! `cargo xtask build-ebpf`: the object with the BPF programs, from source, the same bytes wherever it is built.
//!
//! Why the object is committed: docs/decisions/0008-committed-object.md.

mod tools;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::places::{root, target};
use crate::process::{output, succeed};

/// The committed object, seen from the root.
const OBJECT: &str = "gait-ebpf/object/gait.bpf.o";
const TRIPLE: &str = "bpfel-unknown-none";
const PROFILE: &str = "ebpf";

/// Builds the object and writes it to its place, or with `--check` compares it with what is there.
pub fn run(args: &[&str]) -> Result<()> {
    let (mut install, mut check, mut lint) = (false, false, false);
    for arg in args {
        match *arg {
            "--install" => install = true,
            "--check" => check = true,
            "--lint" => lint = true,
            other => bail!("unknown argument `{other}`"),
        }
    }
    if install {
        tools::install()?;
    }
    let tools = tools::find()?;
    if lint {
        tools::has_clippy()?;
        // By its path: `cargo clippy` would look for one of rustup's first.
        return cargo(&tools, tools::CLIPPY, "clippy", &["--", "-D", "warnings"]);
    }
    let built = build(&tools)?;
    let place = root().join(OBJECT);
    if check {
        let committed = fs::read(&place).with_context(|| format!("read {OBJECT}"))?;
        return compare(&committed, &built);
    }
    fs::write(&place, &built).with_context(|| format!("write {OBJECT}"))?;
    println!("{OBJECT}: {} bytes", built.len());
    Ok(())
}

/// Whether the committed object is the one that the sources give.
fn compare(committed: &[u8], built: &[u8]) -> Result<()> {
    if committed == built {
        println!("{OBJECT} is what the sources give: {} bytes", built.len());
        return Ok(());
    }
    let same = committed.iter().zip(built).take_while(|(one, other)| one == other).count();
    bail!(
        "{OBJECT} is not what the sources give: it has {} bytes, built were {}, and they differ from byte {same} on. \
         After a change to gait-ebpf run `cargo xtask build-ebpf` and commit the object with it",
        committed.len(),
        built.len()
    )
}

/// The bytes of the object: linked, without debug sections but BTF.
fn build(tools: &tools::Tools) -> Result<Vec<u8>> {
    cargo(tools, tools::CARGO, "build", &[])?;
    let linked = target().join("ebpf").join(TRIPLE).join(PROFILE).join("gait-ebpf");
    let stripped = target().join("ebpf/gait.bpf.o");
    succeed(Command::new(tools::STRIP).arg("-g").arg("-o").arg(&stripped).arg(&linked))?;
    Ok(fs::read(stripped)?)
}

/// A verb of cargo with the pinned compiler on the programs. What it says goes to the terminal.
fn cargo(tools: &tools::Tools, program: &str, verb: &str, more: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.current_dir(root()).args([
        verb,
        "--locked",
        "--profile",
        PROFILE,
        "--target",
        TRIPLE,
        "-Z",
        "build-std=core",
    ]);
    command.args(["--package", "gait-ebpf", "--features", "programs", "--bin", "gait-ebpf", "--target-dir"]);
    command.arg(target().join("ebpf")).args(more);
    for (name, _) in std::env::vars_os().filter(|(name, _)| steers_a_build(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    // The directory of the pinned compiler comes before that of a rustup proxy; the linker is found by name.
    command.env("PATH", path_with(&tools.folder)?).env("RUSTC", tools::RUSTC).env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(&cargo_home()?)?.join("\u{1f}")).env("CARGO_INCREMENTAL", "0");
    let status = command.status().with_context(|| format!("start {program}"))?;
    ensure!(status.success(), "{program} {verb} of the programs: {status}");
    Ok(())
}

/// Whether an environment variable changes what a build gives. What says where crates come from may stay.
fn steers_a_build(name: &str) -> bool {
    const KEPT: [&str; 6] =
        ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];
    (name.starts_with("CARGO") || name.starts_with("RUST")) && !KEPT.iter().any(|kept| name.starts_with(kept))
}

fn path_with(first: &Path) -> Result<OsString> {
    Ok(std::env::join_paths([first, Path::new("/usr/bin"), Path::new("/bin")])?)
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        return Ok(std::path::absolute(home)?);
    }
    Ok(std::env::home_dir().context("no home folder")?.join(".cargo"))
}

/// Flags of the compiler. Each path of this machine that could end in the object is given another name: the last that
/// fits counts.
fn flags(cargo_home: &Path) -> Result<Vec<String>> {
    let sysroot = output(Command::new(tools::RUSTC).args(["--print", "sysroot"]))?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
    let mut names = vec![(root(), "/gait"), (cargo_home.to_path_buf(), "/cargo"), (library, "/rust")];
    if let Ok(registries) = fs::read_dir(cargo_home.join("registry/src")) {
        // Named after the registry: a mirror's name differs.
        names.extend(registries.filter_map(|registry| Some((registry.ok()?.path(), "/crates"))));
    }
    let text = |path: &Path| path.to_str().map(str::to_owned).with_context(|| format!("{path:?} is not UTF-8"));
    let mut flags: Vec<String> =
        ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3", "--cfg=bpf_target_arch=\"x86_64\""]
            .map(str::to_owned)
            .to_vec();
    for (path, name) in names {
        flags.push(format!("--remap-path-prefix={}={name}", text(&path)?));
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_is_told() {
        let error = compare(b"abcd", b"abXd").unwrap_err().to_string();
        assert!(error.contains("from byte 2 on") && error.contains("cargo xtask build-ebpf"), "{error}");
        assert!(compare(b"abc", b"abcd").is_err());
        compare(b"abcd", b"abcd").unwrap();
    }

    #[test]
    fn what_steers_a_build_is_not_inherited() {
        for name in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_PROFILE_EBPF_LTO", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN"]
        {
            assert!(steers_a_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_HTTP_CAINFO", "PATH", "HOME"] {
            assert!(!steers_a_build(name), "{name}");
        }
    }
}
