//! Opens and mutations under the guard: a program sees what it would see without, and what is
//! denied does not happen.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use common::Guarded;

/// Compiles a program of `tests/programs`. The linker that made this test is a C compiler.
fn program(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name).with_extension("c");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let made = Command::new("cc").args(["-O1", "-w", "-o"]).arg(&target).arg(source).arg("-lpthread").status();
    assert!(made.expect("cc runs").success(), "{name} does not compile");
    target
}

static FILES: LazyLock<PathBuf> = LazyLock::new(|| program("files"));

fn in_folder(folder: &Path, program: &Path, arguments: &str) -> String {
    format!("cd '{}' && exec '{}' {arguments}", folder.display(), program.display())
}

/// Lines that may differ, each with its reason.
fn is_known_difference(line: &str) -> bool {
    // openat2 with O_PATH is ENOSYS: its flags are in memory, and handles can't be injected.
    line.contains("open2(AT_FDCWD, \"a\", O_PATH")
}

#[test]
fn a_program_sees_the_same_file_system_bare_and_guarded() {
    let [bare_folder, guarded_folder] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let bare =
        Command::new(&*FILES).current_dir(bare_folder.path()).stdin(Stdio::null()).output().expect("the program runs");
    let guarded = Guarded::sh(&in_folder(guarded_folder.path(), &FILES, "")).run();
    let bare = String::from_utf8_lossy(&bare.stdout).into_owned();
    assert!(bare.lines().count() > 400, "the bare run is complete");
    let differences: Vec<String> = bare
        .lines()
        .zip(guarded.stdout.lines().chain(std::iter::repeat("(missing)")))
        .filter(|(bare, guarded)| bare != guarded && !is_known_difference(bare))
        .map(|(bare, guarded)| format!("bare:    {bare}\nguarded: {guarded}"))
        .collect();
    assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), guarded.stderr);
    assert_eq!(bare.lines().count(), guarded.stdout.lines().count());
}
