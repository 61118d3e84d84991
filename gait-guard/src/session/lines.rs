//! Lines of the journal about programs and ends.

use gait_core::canonical::CanonicalError;
use gait_core::journal::{Close, CloseReason, Exec, Exit};
use gait_core::name::name;

use super::config::{CaptureMode, Outcome, Stop};
use crate::intent::argv_digest;

/// Longest recorded argument vector, in bytes of names.
const ARGV_LIMIT: usize = 64 << 10;

pub(super) fn exec_line(
    proc: u64,
    file: &[u8],
    argv: &[Vec<u8>],
    capture: CaptureMode,
) -> Result<Exec, CanonicalError> {
    let mut line = Exec {
        proc,
        file: name(file),
        argc: argv.len() as u64,
        argv_digest: argv_digest(argv)?,
        argv: None,
        argv_cut: None,
    };
    if capture == CaptureMode::Raw {
        let mut room = ARGV_LIMIT;
        let names: Vec<String> = argv
            .iter()
            .map(|arg| name(arg))
            .take_while(|arg| {
                let fits = arg.len() <= room;
                room = room.saturating_sub(arg.len());
                fits
            })
            .collect();
        line.argv_cut = (names.len() < argv.len()).then_some(true);
        line.argv = Some(names);
    }
    Ok(line)
}

pub(super) fn exit_line(proc: u64, outcome: Outcome) -> Exit {
    let (code, signal) = parts(outcome);
    Exit { proc, code, signal }
}

pub(super) fn close_line(outcome: Outcome, stop: Option<Stop>) -> Close {
    let (exit_code, signal) = parts(outcome);
    let reason = match (stop, outcome) {
        (Some(Stop::Disagreement), _) => CloseReason::Disagreement,
        (Some(Stop::Disk), _) => CloseReason::Disk,
        (Some(Stop::GuardError), _) => CloseReason::GuardError,
        (Some(Stop::Lost), _) => CloseReason::Lost,
        (None, Outcome::Exited(_)) => CloseReason::Exit,
        (None, Outcome::Signalled(_)) => CloseReason::Signal,
    };
    Close { reason, complete: stop.is_none(), exit_code, signal: (signal > 0).then_some(signal) }
}

fn parts(outcome: Outcome) -> (u64, u64) {
    match outcome {
        Outcome::Exited(code) => (code.into(), 0),
        Outcome::Signalled(signal) => (0, signal.into()),
    }
}
