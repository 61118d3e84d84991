//! The bar: on a terminal, for what takes longer than a second, and nowhere else.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Starts `gait scout signal` of the demo, which waits for its trace until somebody writes it into the pipe.
fn start(folder: &Path, stderr: Stdio) -> Child {
    let gait = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gait"));
        command.current_dir(folder).env_clear().env("HOME", folder.join("home")).env("TERM", "xterm");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    assert!(gait().arg("demo").stderr(Stdio::null()).status().unwrap().success());
    mknodat(CWD, folder.join("trace"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    gait().args(["scout", "signal", "run_demo", "--traces", "trace"]).stderr(stderr).spawn().unwrap()
}

/// Lets the command go on after `wait`.
fn release(folder: &Path, wait: Duration) {
    thread::sleep(wait);
    File::create(folder.join("trace")).unwrap().write_all(b"{}").unwrap();
}

/// What is shown on a terminal for a command that takes `wait`.
fn shown(wait: Duration) -> String {
    let folder = TempDir::new().unwrap();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let side: OwnedFd = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut child = start(folder.path(), Stdio::from(side));
    let reader = thread::spawn(move || {
        let (mut terminal, mut text, mut buffer) = (File::from(terminal), Vec::new(), [0; 4096]);
        // The other side is gone when it is an error.
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    release(folder.path(), wait);
    assert!(child.wait().unwrap().success());
    drop(child);
    reader.join().unwrap()
}

#[test]
fn a_terminal_gets_a_bar_when_it_takes_longer_than_a_second_and_a_clean_line_after_it() {
    let text = shown(Duration::from_millis(2500));
    assert!(text.contains("looking at runs [") && text.contains('%'), "{text:?}");
    // The line is cleared in the end.
    assert!(text.trim_end_matches(['\r', '\n']).ends_with("\u{1b}[2K"), "{text:?}");
}

#[test]
fn what_is_quick_has_no_bar() {
    assert_eq!(shown(Duration::ZERO), "");
}

#[test]
fn no_bar_is_written_into_a_pipe() {
    let folder = TempDir::new().unwrap();
    let mut child = start(folder.path(), Stdio::piped());
    release(folder.path(), Duration::from_millis(2500));
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text, "");
    assert!(fs::exists(folder.path().join("gait-out/scout_signal_report.json")).unwrap());
}
