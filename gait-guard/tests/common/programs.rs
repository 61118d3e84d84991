//! C programs of `tests/programs`, built once per test binary with the compiler that links Rust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The program `name`, built.
pub fn program(name: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _alone = BUILDING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let newer = |a: &Path, b: &Path| Some(a.metadata().ok()?.modified().ok()? > b.metadata().ok()?.modified().ok()?);
    if newer(&target, &source) != Some(true) {
        // Beside it first: another test binary may be running the old one.
        let fresh = target.with_extension(std::process::id().to_string());
        let built = Command::new("cc").args(["-O1", "-w", "-o"]).arg(&fresh).arg(&source).arg("-lpthread").status();
        assert!(built.unwrap().success(), "{name}.c does not compile");
        std::fs::rename(&fresh, &target).unwrap();
    }
    target
}

/// A static program without libc that exits with `code`: nothing but its own file is mapped.
pub fn tiny(target: &Path, code: u8) {
    let source = format!(
        "__attribute__((noreturn)) void _start(void) {{ __asm__ volatile(\"syscall\" :: \"a\"(60), \"D\"({code})); __builtin_unreachable(); }}"
    );
    let file = target.with_extension("c");
    std::fs::write(&file, source).unwrap();
    let built = Command::new("cc").args(["-O1", "-w", "-nostdlib", "-static", "-o"]).arg(target).arg(&file).status();
    assert!(built.unwrap().success());
    std::fs::remove_file(file).unwrap();
}
