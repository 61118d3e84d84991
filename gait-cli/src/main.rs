//! The command line of gait: parse, dispatch, render.
#![forbid(unsafe_code)]

mod app;
mod artifact_key;
mod check;
mod clock;
mod eventlog;
mod exit;
mod failure;
mod flags;
mod gate;
mod guarded;
mod help;
mod inspect;
mod key_mode;
mod keys;
mod local_key;
mod locate;
mod manual;
mod mcp;
mod pack;
mod policy_file;
mod private_file;
mod progress;
mod reference;
mod registry;
mod render;
mod shell;
mod state_file;
mod verb;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    ExitCode::from(app::run(&args).code())
}
